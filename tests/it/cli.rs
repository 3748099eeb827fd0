//! The binary as a black box: what it prints, and its exit codes.

mod by_hand;
mod kappa;
mod load;
mod operating;
mod runs;
mod superseded;
mod ways_out;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use flate2::Compression;
use flate2::write::GzEncoder;
use views::MAX_STATIC_BYTES;

use crate::support::process::{Running, Setup, binary};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, bytes BIGINT)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');
CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, approx_distinct(id) AS ids FROM hits GROUP BY page;
";

/// A folder with a good pipeline and a place for data.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write("pipeline.sql", PIPELINE);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `twofold COMMAND --pipeline .. --data-dir .. REST`.
    fn run(&self, command: &[&str], rest: &[&str]) -> Output {
        let mut arguments: Vec<String> = command.iter().map(|word| (*word).to_owned()).collect();
        arguments.extend(["--pipeline".to_owned(), text(&self.path("pipeline.sql"))]);
        arguments.extend(["--data-dir".to_owned(), text(&self.path("data"))]);
        arguments.extend(rest.iter().map(|word| (*word).to_owned()));
        twofold(&arguments)
    }

    fn setup(&self) -> Setup {
        let settings = [("TWOFOLD_ARCHIVE__COMMIT_INTERVAL", "50ms"), ("TWOFOLD_BATCH__INTERVAL", "1d")];
        let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Setup { pipeline: self.path("pipeline.sql"), data_dir: self.path("data"), settings }
    }
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn twofold(arguments: &[impl AsRef<OsStr>]) -> Output {
    Command::new(binary()).args(arguments).stdin(Stdio::null()).output().unwrap()
}

/// The exit code is as expected, and the output (of both kinds) holds every part.
pub fn check(output: &Output, code: i32, parts: &[&str]) {
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{all}");
    for part in parts {
        assert!(all.contains(part), "`{part}` is missing in:\n{all}");
    }
    assert!(!all.contains("panicked"), "{all}");
}

/// What `generate` says in the end: visits, and the token that covers them.
pub fn generated(output: Output) -> (u64, String) {
    let printed = String::from_utf8(output.stdout).unwrap();
    let (summary, token) = printed.trim().rsplit_once("\ntoken ").unwrap();
    let visits = summary.lines().last().unwrap().split(' ').next().unwrap();
    (visits.parse().unwrap(), token.to_owned())
}

#[test]
fn version_and_usage_errors_have_their_exit_codes() {
    check(&twofold(&["--version"]), 0, &[env!("CARGO_PKG_VERSION")]);
    check(&twofold(&["no-such-command"]), 2, &["no-such-command"]);
    check(&twofold(&["query"]), 2, &["<SQL>"]);
    check(&twofold(&["demo", "--for", "soon"]), 2, &["must be a span of time", "got `soon`"]);
}

#[test]
fn validate_describes_a_good_pipeline() {
    let place = Place::new();
    let output = twofold(&["validate", &text(&place.path("pipeline.sql"))]);
    let source = ["source hits", "2 partitions or more", "event id id"];
    check(&output, 0, &source);
    check(&output, 0, &["view hits_by_page", "VARCHAR", "count(*)", "sketch (within", "hash "]);
}

#[test]
fn validate_says_what_becomes_of_an_unreadable_value() {
    let place = Place::new();
    let lenient = "an unreadable value: NULL where the column may be, and counted by column";
    check(&twofold(&["validate", &text(&place.path("pipeline.sql"))]), 0, &[lenient]);
    let strict = place.write("strict.sql", &PIPELINE.replace("gap '200ms'", "gap '200ms', strict 'true'"));
    check(&twofold(&["validate", &text(&strict)]), 0, &["an unreadable value: the record is rejected"]);
}

#[test]
fn validate_runs_views_over_fields() {
    let place = Place::new();
    let fields = PIPELINE.replace("bytes BIGINT)", "bytes BIGINT, meta STRUCT<domain VARCHAR>)");
    let view = "CREATE MATERIALIZED VIEW by_domain AS SELECT meta.domain AS domain, count(*) AS hits FROM hits GROUP BY meta.domain;";
    let fields = place.write("fields.sql", &format!("{fields}{view}"));
    check(&twofold(&["validate", &text(&fields)]), 0, &["view by_domain", "dimension domain"]);
}

#[test]
fn validate_says_which_expressions_can_turn_null() {
    let place = Place::new();
    let ratio = place.write("ratio.sql", &PIPELINE.replace("count(*)", "count(*) / count(id)"));
    check(&twofold(&["validate", &text(&ratio)]), 0, &["NULL where it fails on a row: count(*) / count(id)"]);
}

const SHORT_GAP: &str = "source hits: its gap (200ms) is shorter than archive.commit_interval (5s)";

#[test]
fn validate_warns_of_a_gap_that_is_shorter_than_the_archive_lags() {
    let place = Place::new();
    let pipeline = text(&place.path("pipeline.sql"));
    let remedy = "give the source a gap of 5s or more, or lower the interval";
    check(&twofold(&["validate", &pipeline]), 0, &["warning: ", SHORT_GAP, remedy]);
    let config = place.write("twofold.toml", "[archive]\ncommit_interval = \"200ms\"\n");
    let output = twofold(&["validate", &pipeline, "--config", &text(&config)]);
    check(&output, 0, &["source hits"]);
    assert!(!String::from_utf8_lossy(&output.stdout).contains("warning"), "{output:?}");
}

#[test]
fn validate_warns_of_origins_that_are_allowed_for_a_source_that_there_is_not() {
    let place = Place::new();
    let pipeline = text(&place.path("pipeline.sql"));
    let config = "[archive]\ncommit_interval = \"200ms\"\n[collector]\nallowed_origins = ";
    let validate = |origins: &str| {
        let config = place.write("twofold.toml", &format!("{config}\"{origins}\"\n"));
        twofold(&["validate", &pipeline, "--config", &text(&config)])
    };
    let slip = validate("hits=https://a.example,hit=https://b.example");
    check(&slip, 0, &["warning: `collector.allowed_origins` is also for a source `hit`", "did you mean `hits`?"]);
    for right in ["hits=https://a.example", "https://a.example"] {
        let output = validate(right);
        check(&output, 0, &["source hits"]);
        assert!(!String::from_utf8_lossy(&output.stdout).contains("warning"), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_warns_of_a_gap_that_is_shorter_than_the_archive_lags() {
    let place = Place::new();
    let setup = place.setup();
    let running = Running::start(&setup).await;
    assert!(!running.log().contains("its gap"), "{}", running.log());
    assert!(running.terminate().success());
    let running = Running::start(&setup.with("ARCHIVE__COMMIT_INTERVAL", "5s")).await;
    let log = running.log();
    assert!(log.contains("WARN") && log.contains(SHORT_GAP), "{log}");
}

/// Before it serves anybody: a schedule of a view that is not there would never compute anything.
#[test]
fn a_schedule_of_what_the_pipeline_lacks_is_refused_by_validate_and_by_a_start() {
    let place = Place::new();
    let config =
        text(&place.write("config.toml", "[schedules.nightly]\ncron = \"@daily\"\nviews = [\"hits_by_pag\"]\n"));
    let told = "there is no view `hits_by_pag`; did you mean `hits_by_page`?";
    let named = ["`schedules.nightly.views`", "config.toml", told];
    check(&twofold(&["validate", &text(&place.path("pipeline.sql")), "--config", &config]), 1, &named);
    check(&place.run(&["up"], &["--listen", "127.0.0.1:0", "--config", &config]), 1, &named);
}

#[test]
fn validate_tells_all_problems_at_once() {
    let place = Place::new();
    let bad = place.write("bad.sql", &PIPELINE.replace("count(*)", "sum(nothing)").replace("'time'", "'when'"));
    check(&twofold(&["validate", &text(&bad)]), 1, &["problem", "line 3", "when", "hint"]);
    check(&twofold(&["validate", "no-such-file.sql"]), 1, &["cannot read pipeline file no-such-file.sql"]);
}

#[test]
fn a_static_file_that_is_too_large_is_a_problem_beside_the_others() {
    let place = Place::new();
    let owners = "CREATE EXTERNAL TABLE owners (page VARCHAR, owner VARCHAR) STORED AS CSV LOCATION 'owners.csv';";
    let pipeline = place.write("large.sql", &format!("{}{owners}", PIPELINE.replace("'time'", "'when'")));
    std::fs::File::create(place.path("owners.csv")).unwrap().set_len(MAX_STATIC_BYTES as u64 + 1).unwrap();
    let expected = format!("this file has more than {MAX_STATIC_BYTES} bytes");
    check(&twofold(&["validate", &text(&pipeline)]), 1, &["problems", "when", "owners.csv", &expected]);
}

#[test]
fn a_pipeline_file_may_come_from_any_editor_but_must_be_text() {
    let place = Place::new();
    let windows = place.write("windows.sql", &format!("\u{feff}{}", PIPELINE.replace('\n', "\r\n")));
    check(&twofold(&["validate", &text(&windows)]), 0, &["view hits_by_page"]);
    let zeros = place.write("zeros.sql", "\0\0\0");
    check(&twofold(&["validate", &text(&zeros)]), 1, &["zeros.sql", "not a text file: byte 0 is zero"]);
    let latin = place.path("latin.sql");
    std::fs::write(&latin, b"-- caf\xe9").unwrap();
    check(&twofold(&["validate", &text(&latin)]), 1, &["latin.sql", "not UTF-8 at byte 6"]);
}

#[test]
fn wrong_configuration_is_told_by_key_before_anything_starts() {
    let place = Place::new();
    let config = place.write("twofold.toml", "[speed]\ntik = \"1s\"\n[batch]\nkeep_versions = 1\n");
    let output = place.run(&["up"], &["--config", &text(&config)]);
    check(&output, 2, &["`speed.tik`", "did you mean `speed.tick`?"]);
    let config = place.write("twofold.toml", "[batch]\nkeep_versions = 1\n");
    check(
        &place.run(&["up"], &["--config", &text(&config)]),
        2,
        &["`batch.keep_versions`", "must be at least 2, got `1`"],
    );
    check(&place.run(&["up"], &["--listen", "nowhere"]), 2, &["`system.listen`", "flag --listen"]);
    check(&place.run(&["up"], &["--config", "missing.toml"]), 1, &["cannot read configuration file missing.toml"]);
    assert!(!place.path("data").exists(), "nothing may be made before the configuration is known to be right");
}

#[test]
fn a_variable_of_ours_that_is_not_utf8_is_refused_by_name() {
    let place = Place::new();
    let validate = |name: &str| {
        let mut command = Command::new(binary());
        command.arg("validate").arg(place.path("pipeline.sql")).env(name, OsStr::from_bytes(b"\xff"));
        command.stdin(Stdio::null()).output().unwrap()
    };
    let refused = validate("TWOFOLD_LOG__BROKERS");
    check(&refused, 2, &[r#"environment variable "TWOFOLD_LOG__BROKERS": is not UTF-8"#]);
    check(&validate("TWOFOLD_NO_SETTING"), 0, &[]);
    check(&validate("SOMETHING__ELSE"), 0, &[]);
}

#[test]
fn a_data_directory_of_an_unknown_format_is_refused_unchanged() {
    let place = Place::new();
    place.write("data/format.json", r#"{"format":999}"#);
    check(&place.run(&["up"], &[]), 1, &["has format 999", "knows format 2"]);
    check(&place.run(&["batch", "run"], &[]), 1, &["has format 999"]);
    assert_eq!(std::fs::read_dir(place.path("data")).unwrap().count(), 1);
    place.write("other/letter.txt", "dear diary");
    let output =
        twofold(&["up", "--pipeline", &text(&place.path("pipeline.sql")), "--data-dir", &text(&place.path("other"))]);
    check(&output, 1, &["was not made by twofold"]);
}

#[test]
fn commands_say_that_nothing_is_running() {
    let place = Place::new();
    let data = text(&place.path("data"));
    let nothing = ["no system runs on data directory", "twofold up"];
    check(&twofold(&["query", "SELECT 1", "--data-dir", &data]), 1, &nothing);
    check(&twofold(&["status", "--data-dir", &data]), 1, &nothing);
    let empty = tempfile::tempdir().unwrap();
    let format = format!("{{\"format\":{}}}", twofold::data_dir::FORMAT_VERSION);
    std::fs::write(empty.path().join("format.json"), format).unwrap();
    let idle = text(empty.path());
    check(
        &twofold(&["batch", "run", "--data-dir", &idle]),
        1,
        &["does not tell which pipeline ran on it", "--pipeline FILE"],
    );
    let output = twofold(&["query", "SELECT 1", "--address", "http://127.0.0.1:1"]);
    check(&output, 1, &["nothing answers at http://127.0.0.1:1"]);
}

#[test]
fn a_role_alone_refuses_stores_inside_its_process() {
    let place = Place::new();
    check(&place.run(&["speed"], &[]), 1, &["`log.brokers`", "twofold up"]);
    check(&place.run(&["gateway"], &[]), 1, &["`realtime.store`", "redis://"]);
}

#[test]
fn doctor_tells_of_every_part() {
    let place = Place::new();
    let output = place.run(&["doctor"], &["--listen", "127.0.0.1:0"]);
    check(
        &output,
        0,
        &["ok    pipeline", "ok    data directory", "ok    object store", "ok    port", "ok    event log"],
    );
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    check(&place.run(&["doctor"], &["--listen", &listen]), 1, &["FAIL  port", &listen, "ok    object store"]);
}

/// On one port, the answer names the routes of the gateway, and of all that is beside it.
async fn check_unknown_route(address: &str) {
    let answer = reqwest::get(format!("{address}/v1/source/hits")).await.unwrap();
    assert_eq!(answer.status(), 404);
    let known = answer.json::<serde_json::Value>().await.unwrap()["known"].to_string();
    for route in ["GET /v1/views"].iter().chain(twofold::http::routes_beside(true, true, true)) {
        assert!(known.contains(&format!("\"{route}\"")), "{route} is not in {known}");
    }
}

/// A place that the log does not have is the fault of who asks, in words of its own.
async fn check_no_such_place(address: &str) {
    for (query, detail) in [
        ("partition=99", "topic hits has no partition 99"),
        ("next=x", "`next` must be as an answer gave it, got `x`"),
        ("next=99:0", "`next` must be as an answer gave it, got `99:0`"),
    ] {
        let answer = reqwest::get(format!("{address}/v1/sources/hits/log?{query}")).await.unwrap();
        assert_eq!(answer.status(), 400, "{query}");
        assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["detail"], detail, "{query}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_system_is_found_by_its_data_directory() {
    let place = Place::new();
    let running = Running::start(&place.setup()).await;
    let data = text(&place.path("data"));
    check(&place.run(&["up"], &["--listen", "127.0.0.1:0"]), 1, &["in use by another process", "pid"]);
    check_unknown_route(&running.address).await;
    check_no_such_place(&running.address).await;
    check(&twofold(&["status", "--json", "--data-dir", &data]), 0, &["\"hits_by_page\"", "embedded_log_bytes"]);
    check(&twofold(&["query", "SELECT page FROM nowhere", "--data-dir", &data]), 1, &["nowhere", "hits_by_page"]);

    let lines = place.path("hits.jsonl.gz");
    let mut gzip = GzEncoder::new(std::fs::File::create(&lines).unwrap(), Compression::fast());
    for (id, page) in [("1", "/"), ("2", "/"), ("3", "/about")] {
        writeln!(gzip, r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"{page}","bytes":1}}"#).unwrap();
    }
    writeln!(gzip, "\nnot json\n{{\"id\":\"5\",\"time\":\"yesterday\",\"page\":\"/\"}}").unwrap();
    gzip.finish().unwrap();
    let mut token = String::new();
    for _ in 0..2 {
        let output = twofold(&["load", &text(&lines), "--source", "hits", "--data-dir", &data]);
        check(&output, 0, &["3 events accepted, 2 rejected", "line 5: ", "line 6: ", "token "]);
        let printed = String::from_utf8(output.stdout).unwrap();
        token = printed.trim().rsplit(' ').next().unwrap().to_owned();
    }
    let tail = ["log", "tail", "--no-follow", "--data-dir", &data];
    let first = ["hits", "--from", "0", "--limit", "1000"];
    check(&twofold(&[&tail[..], &first].concat()), 0, &["0:0  ", r#""page":"/about""#]);
    check(&twofold(&[&tail[..], &["nowhere"]].concat()), 1, &["there is no source `nowhere`", "hits"]);
    check(&twofold(&[&tail[..], &["hits", "--partition", "99"]].concat()), 1, &["has no partition 99"]);
    check(&twofold(&[&tail[..], &["hits", "--limit", "1001"]].concat()), 2, &["--limit", "1001"]);
    check(&twofold(&[&tail[..], &["a/../b?c"]].concat()), 1, &["source `a/../b?c`"]);
    let load = ["load", &text(&lines), "--data-dir", &data, "--source"];
    check(&twofold(&[&load[..], &["nowhere"]].concat()), 1, &["there is no source `nowhere`", "known: hits"]);
    check(&twofold(&[&load[..], &["a/../b?c"]].concat()), 1, &["there is no source `a/../b?c`"]);

    // Without a pipeline the one that runs is meant.
    let unnamed = ["batch", "run", "--view", "nowhere", "--data-dir", &data];
    check(&twofold(&unnamed), 1, &["there is no view `nowhere`; the pipeline has: hits_by_page"]);
    let sql = "SELECT page, hits FROM hits_by_page ORDER BY page";
    running.rows("hits_by_page", &[("after", &token), ("timeout", "30s")]).await;
    check(&twofold(&["query", sql, "--data-dir", &data]), 0, &["│ /      ┆    2 │", "│ /about ┆    1 │", "2 rows"]);
    let none = "SELECT page, hits FROM hits_by_page WHERE 1 = 0";
    check(&twofold(&["query", none, "--data-dir", &data]), 0, &["│ page ┆ hits │", "0 rows"]);
    running.wait_until_archived(10).await;
    let status = twofold(&["status", "--data-dir", &data]);
    check(&status, 0, &["embedded log of", "source  part  produced  archived  ", "hits_by_page  served "]);
    check(&status, 0, &["archive of hits: running", "100.0 %"]);
    assert!(running.terminate().success());
    assert!(!place.path("data/run.json").exists());
    check(&place.run(&["batch", "run"], &[]), 0, &["hits_by_page: version 1 published, 10 records"]);
    check(&place.run(&["batch", "run"], &[]), 0, &["hits_by_page: nothing new"]);
    // As it is advised while the source is stopped: without a pipeline the one that ran last is meant.
    let reset = ["source", "reset", "hits", "--data-dir", &data];
    check(&twofold(&reset), 1, &["topic hits is the one that is archived"]);
    let erase = ["erase", "--source", "hits", "--where", "page = '/nowhere'", "--data-dir", &data];
    check(&twofold(&erase), 0, &["source hits: 0 events match", "Nothing was erased"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rejected_records_are_shown_with_their_reasons() {
    let place = Place::new();
    place.write("pipeline.sql", &PIPELINE.replace("gap '200ms'", "gap '200ms', strict 'true'"));
    let running = Running::start(&place.setup()).await;
    let data = text(&place.path("data"));
    let rejected = |rest: &[&str]| twofold(&[&["rejected", "--data-dir", &data][..], rest].concat());
    check(&rejected(&["hits"]), 0, &["source hits: 0 rejected", "nothing of this source is archived yet"]);
    let lines = [
        r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/","bytes":1}"#,
        r#"{"id":"2","time":"2026-01-05T10:00:00Z","page":"/","bytes":"many"}"#,
        r#"{"id":"3","time":"2026-01-05T10:00:00Z"}"#,
        "not json",
    ];
    let (status, receipt) = running.try_post("hits", &lines).await.unwrap();
    assert_eq!((status, &receipt["rejected"]), (200, &serde_json::json!(3)), "{receipt}");
    running.rows("hits_by_page", &[("after", receipt["token"].as_str().unwrap()), ("timeout", "30s")]).await;
    running.wait_until_archived(4).await;

    let wrong_type = r#"wrong type: column bytes is BIGINT, found `"many"`"#;
    let no_value = "no value: column page is NOT NULL";
    let counts = ["source hits: 3 rejected\n", "bad_json ", "no_value ", "wrong_type "];
    check(&rejected(&["hits"]), 0, &counts);
    check(&rejected(&["hits"]), 0, &[wrong_type, no_value, "not json", "archived up to 0:", "is not archived yet"]);
    let of_kind = rejected(&["hits", "--reason", "wrong_type", "--limit", "1"]);
    check(&of_kind, 0, &["no_value ", wrong_type, "many"]);
    assert!(!String::from_utf8_lossy(&of_kind.stdout).contains(no_value), "{of_kind:?}");
    let answer = rejected(&["hits", "--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!((&answer["total"], &answer["withheld"]), (&serde_json::json!(3), &serde_json::Value::Null));

    check(&rejected(&["hits", "--reason", "bad"]), 1, &["`reason` must be empty, erased, too_large", "got `bad`"]);
    check(&rejected(&["hits", "--limit", "101"]), 2, &["--limit", "101"]);
    let again = "of 4 records archived, 3 were rejected when they were archived and 3 are now: none came back";
    check(&rejected(&["hits", "--read-again"]), 0, &["source hits: ", again, "hits_by_page: "]);
    check(&rejected(&["hits", "--read-again", "--limit", "3"]), 2, &["--read-again", "cannot be used with"]);
    check(&rejected(&["nowhere"]), 1, &["there is no source `nowhere`", "known: hits"]);
    check(&rejected(&["a/../b?c"]), 1, &["there is no source `a/../b?c`"]);

    // Whoever sees the count is told where to look.
    check(
        &twofold(&["status", "--data-dir", &data]),
        0,
        &["source hits: 3 rejected; `twofold rejected hits` shows why"],
    );
    let sql = twofold(&["query", "SELECT _error FROM hits", "--data-dir", &data]);
    check(
        &sql,
        1,
        &["`hits` is a source, and SQL reads views", "`twofold rejected hits`", "the table system.rejected"],
    );
    let counts = "SELECT reason, count(*) AS records FROM system.rejected WHERE source = 'hits' GROUP BY reason";
    let counts = twofold(&["query", counts, "--data-dir", &data]);
    check(&counts, 0, &["no_value", "3 rows\n", "source hits: 3 of 3 rejected records read; ", "is not archived yet"]);
    let payloads = "SELECT payload FROM system.rejected WHERE reason = 'wrong_type'";
    let payloads = twofold(&["query", payloads, "--data-dir", &data]);
    check(&payloads, 0, &["many", "1 of 3 rejected records read (those of reason wrong_type)"]);
    let metrics = reqwest::get(format!("{}/metrics", running.address)).await.unwrap().text().await.unwrap();
    let of_archive = metrics.lines().filter(|line| line.starts_with("twofold_archive_rejected_total{"));
    let counted: Vec<&str> = of_archive.filter(|line| !line.ends_with(" 0")).collect();
    let is_counted = |kind: &str| counted.iter().any(|line| line.contains(kind) && line.ends_with(" 1"));
    assert!(counted.len() == 3 && ["wrong_type", "no_value", "bad_json"].into_iter().all(is_counted), "{counted:?}");
    // What a process without a gateway tells.
    let status = running.status().await;
    assert_eq!(status["system"]["archive of hits"]["rejected"], serde_json::json!(3));
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn values_lost_to_null_are_counted_by_column() {
    let place = Place::new();
    let running = Running::start(&place.setup()).await;
    let event =
        |id: &str, bytes: &str| format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/","bytes":{bytes}}}"#);
    let lines = [event("1", "1"), event("2", "\"many\""), event("3", "[]")];
    let lines = lines.each_ref().map(String::as_str);
    let (status, receipt) = running.try_post("hits", &lines).await.unwrap();
    assert_eq!((status, &receipt["rejected"]), (200, &serde_json::json!(0)), "{receipt}");
    assert_eq!(receipt["unreadable"], serde_json::json!({"bytes": 2}));
    running.wait_until_archived(3).await;
    let status = twofold(&["status", "--data-dir", &text(&place.path("data"))]);
    check(&status, 0, &["source hits: 2 values of column bytes are NULL: the column cannot take them\n"]);
    let metrics = reqwest::get(format!("{}/metrics", running.address)).await.unwrap().text().await.unwrap();
    let mut counted: Vec<&str> =
        metrics.lines().filter(|line| line.starts_with("twofold_archive_unreadable_total{")).collect();
    // Every column from the start, and those of values that were lost above zero.
    assert_eq!(counted.len(), 4, "{counted:?}");
    counted.retain(|line| !line.ends_with(" 0"));
    let [of_bytes] = counted[..] else { panic!("{counted:?}") };
    assert!(of_bytes.contains(r#"column="bytes""#) && of_bytes.ends_with(" 2"), "{of_bytes}");
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_an_expression_fails_on_are_counted_by_both_layers() {
    let place = Place::new();
    let view = "CREATE MATERIALIZED VIEW shares AS SELECT page, sum(100 / bytes) AS share FROM hits GROUP BY page;";
    // In one partition, whose cut passes over all of it at once.
    place.write("pipeline.sql", &format!("{}{view}", PIPELINE.replace("partitions '2'", "partitions '1'")));
    let running = Running::start(&place.setup()).await;
    let client = reqwest::Client::new();
    let counted = async |layer: &str| -> String {
        let text = client.get(format!("{}/metrics", running.address)).send().await.unwrap().text().await.unwrap();
        let name = format!("twofold_{layer}_failed_rows_total{{");
        let lines: Vec<&str> = text.lines().filter(|line| line.starts_with(&name)).collect();
        let [line] = lines[..] else { panic!("{layer}: {lines:?}") };
        assert!(line.contains(r#"view="shares""#) && line.contains("expression=\"100 / hits."), "{line}");
        line.rsplit(' ').next().unwrap().to_owned()
    };
    // From the start; what generated events made of it on trial is not told.
    assert_eq!((counted("speed").await, counted("batch").await), ("0".to_owned(), "0".to_owned()));
    let event =
        |id: &str, bytes: i64| format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/","bytes":{bytes}}}"#);
    let lines = [event("1", 0), event("2", 0), event("3", 5)];
    let token = running.post("hits", &lines.each_ref().map(String::as_str)).await;
    let answer = running.rows("shares", &[("after", token.as_str()), ("timeout", "30s")]).await;
    assert_eq!(answer["rows"], serde_json::json!([{"page": "/", "share": 20}]));
    assert_eq!(counted("speed").await, "2");
    running.wait_until_archived(3).await;
    let again = format!("{}/v1/sources/hits/rejected/read-again", running.address);
    let mut asked = 0;
    while counted("batch").await == "0" {
        // A cut comes at the silent end of the archive, some time after its last record.
        assert!(asked < 10_000, "no version: {}", running.log());
        asked += 1;
        client.post(&again).send().await.unwrap().error_for_status().unwrap();
    }
    // Each run that computes them counts both, and one of the interval may come beside one that was asked for.
    let told: u64 = counted("batch").await.parse().unwrap();
    assert!(told > 0 && told.is_multiple_of(2), "{told}");
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_says_what_does_not_fit() {
    let place = Place::new();
    let view = "CREATE MATERIALIZED VIEW sums AS SELECT page, sum(bytes) AS total FROM hits GROUP BY page;";
    place.write("pipeline.sql", &format!("{PIPELINE}{view}"));
    let running = Running::start(&place.setup()).await;
    let event = |id: &str| format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/","bytes":{}}}"#, i64::MAX);
    let token = running.post("hits", &[event("1").as_str(), event("2").as_str()]).await;
    running.rows("sums", &[("after", token.as_str()), ("timeout", "30s")]).await;
    let data = text(&place.path("data"));
    let told = ["1 row", "NULL in 1 groups: total does not fit its type; aggregate CAST(x AS DECIMAL(38, 0))"];
    check(&twofold(&["query", "SELECT page, total FROM sums", "--data-dir", &data]), 0, &told);
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_shown_from_its_folder_while_no_system_runs() {
    let place = Place::new();
    place.write("pipeline.sql", &PIPELINE.replace("kafka://hits", "kafka://page_hits"));
    let (pipeline, data) = (text(&place.path("pipeline.sql")), text(&place.path("data")));
    let tail = |rest: &[&str]| twofold(&[&["log", "tail", "--data-dir", &data], rest].concat());
    check(&tail(&["hits"]), 1, &["no system runs on data directory"]);
    assert!(!place.path("data").exists(), "looking makes no data directory");

    let lines = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#.to_owned() + "\n";
    let file = place.write("hits.jsonl", &(lines.repeat(24) + &lines.replace("\"/\"", "\"/last\"")));
    let mut running = Running::start(&place.setup()).await;
    check(&twofold(&["load", &text(&file), "--source", "hits", "--data-dir", &data]), 0, &["25 events accepted"]);
    check(&tail(&["hits", "--no-follow", "--limit", "100"]), 0, &["/last"]);
    running.kill();
    // Killed, it could not take its note back. Without `--no-follow` all is shown, look after look, and then it ends.
    assert!(place.path("data/run.json").exists());
    let all = tail(&["page_hits", "--from", "0", "--limit", "4"]);
    check(&all, 0, &[":0  ", "/last"]);
    assert_eq!(String::from_utf8_lossy(&all.stdout).lines().count(), 25);
    check(&tail(&["hits", "--no-follow"]), 1, &["has no topic `hits`", "only: page_hits", "--pipeline FILE"]);
    let known = ["hits", "--no-follow", "--limit", "100", "--pipeline", &pipeline];
    check(&tail(&known), 0, &["/last"]);
    check(&tail(&["nowhere", "--pipeline", &pipeline]), 1, &["there is no source `nowhere`; the pipeline has: hits"]);
    check(&tail(&[&known[..], &["--partition", "99"]].concat()), 1, &["has no partition 99"]);
    // The folder is free again, and nothing is gone.
    let running = Running::start(&place.setup()).await;
    running.wait_until_archived(25).await;
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_visits_are_all_counted() {
    let place = Place::new();
    place.write("pipeline.sql", twofold::demo::PIPELINE);
    let running = Running::start(&place.setup()).await;
    let run = ["generate", "--address", &running.address, "--rate", "2000", "--seed", "7", "--for", "1s"];
    let output = twofold(&run);
    check(&output, 0, &["seed 7, 2000 lines a second", " visits, ", " copies, ", " malformed lines acknowledged"]);
    let (visits, token) = generated(output);
    assert!(visits > 0);
    let answer = running.rows("visits_by_page", &[("by", ""), ("after", &token), ("timeout", "30s")]).await;
    assert_eq!(answer["rows"][0]["visits"], serde_json::json!(visits), "{}", answer["envelope"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn generated_traffic_ends_in_order_at_a_signal() {
    let place = Place::new();
    place.write("pipeline.sql", twofold::demo::PIPELINE);
    let running = Running::start(&place.setup()).await;
    let run = ["generate", "--address", &running.address];
    let mut child = Command::new(binary()).args(run).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    // The greeting comes before the first line is sent, the progress after it.
    let progress = lines.find(|line| line.as_ref().is_ok_and(|line| line.contains(" s   "))).unwrap().unwrap();
    assert!(progress.contains(" visits (") && progress.contains("0 requests sent again"), "{progress}");
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = lines.map(|line| line.unwrap()).collect();
    assert!(child.wait().unwrap().success());
    assert!(rest.iter().any(|line| line.contains("malformed lines acknowledged")), "{rest:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn traffic_for_another_pipeline_is_refused_with_its_name() {
    let place = Place::new();
    let running = Running::start(&place.setup()).await;
    let output = twofold(&["generate", "--address", &running.address]);
    check(&output, 1, &["examples/demo/pipeline.sql", "there is no source `visits`", "known: hits"]);
    let output = twofold(&["generate", "--address", "http://127.0.0.1:1"]);
    check(&output, 1, &["nothing answers at http://127.0.0.1:1"]);
}

#[test]
fn a_command_that_fails_says_so_in_one_line_of_json_where_logs_are_json() {
    let place = Place::new();
    for (settings, code) in [
        ("[system]\nlisten_at = \"127.0.0.1:0\"\n", 2),
        ("[system]\nlisten = \"192.0.2.1:1\"\n[access]\nmode = \"none\"\n", 1),
    ] {
        let config = text(&place.write("twofold.toml", settings));
        let output = place.run(&["up"], &["--log-format", "json", "--config", &config]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{said}");
        let lines: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let last = lines.last().unwrap();
        assert_eq!((&last["level"], &last["target"]), (&"ERROR".into(), &"twofold".into()), "{said}");
        assert!(last["timestamp"].as_str().unwrap().ends_with('Z'), "{said}");
        assert!(!last["fields"]["error"].as_str().unwrap().is_empty(), "{said}");
        assert!(last["fields"]["causes"].is_array(), "{said}");
    }
}
