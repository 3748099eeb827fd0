//! The command as a process: what it says of folders, tables, ports and settings, and what it leaves alone.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::cli::check;
use crate::support::process::{Running, Setup, binary};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms');
CREATE MATERIALIZED VIEW hits_by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";
const EVENT: &str = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#;

struct Place {
    folder: tempfile::TempDir,
    setup: Setup,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup::new(folder.path(), PIPELINE, Vec::new()).with("ARCHIVE__COMMIT_INTERVAL", "50ms");
        Self { folder, setup }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn doctor(&self, data_dir: impl AsRef<OsStr>, variables: &[(&str, &str)]) -> Output {
        let mut command = Command::new(binary());
        command.arg("doctor").arg("--pipeline").arg(&self.setup.pipeline).arg("--data-dir").arg(data_dir);
        command.args(["--listen", "127.0.0.1:0"]).stdin(Stdio::null());
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// Names of all that lies in the folder of the test.
    fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn what_a_start_would_make_is_not_made() {
    let place = Place::new();
    let before = place.names();
    let lake = place.path("a/lake");
    let output = place.doctor(place.path("data"), &[("TWOFOLD_LAKE__LOCATION", lake.to_str().unwrap())]);
    let data = format!("ok    data directory: {}: no data yet, the first start makes it", place.path("data").display());
    let log = format!("ok    event log: {}: no data yet", place.path("data/log").display());
    let lake = format!("ok    object store: {}: no data yet", lake.display());
    check(&output, 0, &["ok    pipeline: 1 views", &data, &log, &lake, "ok    realtime store: in this process"]);
    assert_eq!(place.names(), before);
    std::fs::create_dir(place.path("empty")).unwrap();
    check(&place.doctor(place.path("empty"), &[]), 0, &["no data yet, the first start makes it"]);
    assert_eq!(std::fs::read_dir(place.path("empty")).unwrap().count(), 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_told() {
    let place = Place::new();
    let told = ["FAIL  data directory: /proc/twofold is not there, and cannot be made in /proc", "FAIL  object store"];
    check(&place.doctor("/proc/twofold", &[]), 1, &told);
    let below_a_file = place.setup.pipeline.join("data");
    check(&place.doctor(below_a_file, &[]), 1, &["FAIL  data directory", "cannot be used: data directory"]);
}

#[test]
fn a_data_directory_that_is_no_text_is_refused_instead_of_another_one_made() {
    let output = Place::new().doctor(OsStr::from_bytes(b"data-\xff"), &[]);
    check(&output, 2, &["`system.data_dir` (flag --data-dir): must be UTF-8"]);
}

async fn fill(setup: &Setup) {
    let running = Running::start(setup).await;
    running.post("hits", &[EVENT]).await;
    running.wait_until_archived(1).await;
    assert!(running.terminate().success());
}

/// The first commit of a table, in place of what it was.
fn damage(table: &Path) {
    let log = table.join("_delta_log");
    for entry in std::fs::read_dir(&log).unwrap() {
        std::fs::write(entry.unwrap().path(), "no commit").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_and_the_log_of_a_stopped_system_are_opened() {
    let place = Place::new();
    fill(&place.setup).await;
    let data = &place.setup.data_dir;
    let found = ["ok    data directory", "ok    object store", "ok    tables", "event log: embedded", "are free"];
    check(&place.doctor(data, &[]), 0, &found);
    // The topic has no partition of imported files.
    let history = place.path("history.jsonl");
    std::fs::write(&history, EVENT.replace(r#""1""#, r#""2""#)).unwrap();
    let imported = place.setup.run_to_its_end(&["import", "--source", "hits", history.to_str().unwrap()]).await;
    assert!(imported.status.success(), "{imported:?}");
    check(&place.doctor(data, &[]), 0, &found);
    let stricter = PIPELINE.replace("page VARCHAR NOT NULL)", "page VARCHAR NOT NULL, country VARCHAR NOT NULL)");
    std::fs::write(&place.setup.pipeline, stricter).unwrap();
    let doubt = "WARN  table raw/hits: column country is new or of another type, and NOT NULL: of the 2 records";
    check(&place.doctor(data, &[]), 0, &[doubt, "with a DEFAULT"]);
    std::fs::write(&place.setup.pipeline, PIPELINE).unwrap();
    damage(&data.join("lake/raw/hits"));
    check(
        &place.doctor(data, &[]),
        1,
        &["FAIL  table raw/hits", "`twofold lake repair`", "cannot be used: table raw/hits"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_that_were_replaced_are_told_as_at_the_start() {
    let place = Place::new();
    fill(&place.setup).await;
    let before = std::fs::read_to_string(&place.setup.pipeline).unwrap();
    std::fs::write(&place.setup.pipeline, before.replace("count(*) AS hits", "count(*) AS hits, max(id) AS last"))
        .unwrap();
    check(&place.doctor(&place.setup.data_dir, &[]), 0, &["ok    tables"]);
    assert!(Running::start(&place.setup).await.terminate().success());
    std::fs::write(&place.setup.pipeline, before).unwrap();
    let told = ["FAIL  definitions: definitions ", "were replaced by definitions", "twofold apply --pipeline FILE"];
    check(&place.doctor(&place.setup.data_dir, &[]), 1, &told);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lake_and_a_log_that_a_start_would_refuse_are_told_in_its_words() {
    let place = Place::new();
    fill(&place.setup).await;
    let data = &place.setup.data_dir;
    let start = async || String::from_utf8_lossy(&place.setup.run_to_its_end(&["up"]).await.stderr).into_owned();
    let format = data.join("lake/format.json");
    for (text, told) in [("", "put the text {\"format\":2} into it"), ("{\"format\":99}", "the lake has format 99")] {
        let whole = std::fs::read(&format).unwrap();
        std::fs::write(&format, text).unwrap();
        check(&place.doctor(data, &[]), 1, &["FAIL  object store", told]);
        assert!(start().await.contains(told));
        std::fs::write(&format, whole).unwrap();
    }
    for lost in ["version", "keyspaces", "0.jnl"] {
        let (path, away) = (data.join("log").join(lost), data.join(lost));
        std::fs::rename(&path, &away).unwrap();
        let told = ["FAIL  event log", "lacks files, or they are damaged", "bring the folder back from a copy"];
        check(&place.doctor(data, &[]), 1, &told);
        assert!(start().await.contains(told[1]), "{lost}");
        std::fs::rename(&away, &path).unwrap();
    }
    std::fs::rename(data.join("log"), data.join("log-before")).unwrap();
    let told =
        ["ok    event log", "FAIL  topic hits: topic hits partition ", "`twofold source reset` begins its next life"];
    check(&place.doctor(data, &[]), 1, &told);
    std::fs::rename(data.join("log-before"), data.join("log")).unwrap();
    std::fs::rename(data.join("lake/raw/hits"), data.join("lake/raw/hits-before")).unwrap();
    check(
        &place.doctor(data, &[]),
        1,
        &["FAIL  table raw/hits", "but in raw/hits-before: somebody renamed its folder"],
    );
    std::fs::rename(data.join("lake/raw/hits-before"), data.join("lake/raw/hits")).unwrap();
    check(&place.doctor(data, &[]), 0, &["ok    event log: embedded", "with 1 topics", "ok    tables"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_journal_of_runs_is_looked_at_and_left_as_it_is() {
    let place = Place::new();
    fill(&place.setup).await;
    let data = &place.setup.data_dir;
    let journal = data.join("lake/_workflow/journal");
    let entries = || std::fs::read_dir(&journal).unwrap().count();
    let before = entries();
    check(&place.doctor(data, &[]), 0, &["ok    runs: their journal has ", " 0 not ended; no process leads"]);
    let workers = data.join("lake/_workflow/workers");
    let left = std::fs::read_dir(workers).map_or(0, Iterator::count);
    assert_eq!((entries(), left), (before, 0), "an entry, or a sign of life that stayed");

    assert!(place.setup.run_command(&["runs", "pause"]).await.status.success());
    let paused = "WARN  runs: all runs are paused: no task is taken, in no process, and no batch view computed; `twofold runs resume`";
    check(&place.doctor(data, &[]), 0, &[paused]);
    for entry in std::fs::read_dir(&journal).unwrap() {
        std::fs::write(entry.unwrap().path(), "no entry").unwrap();
    }
    let told = ["FAIL  runs", "put it back from a backup", "delete its folder `_workflow`", "cannot be used: runs"];
    check(&place.doctor(data, &[]), 1, &told);
    std::fs::remove_dir_all(data.join("lake/_workflow")).unwrap();
    check(&place.doctor(data, &[]), 0, &["ok    runs: none was ever started"]);
    assert!(!journal.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_check_left_is_removed_once_it_can_be_nobodys() {
    let place = Place::new();
    fill(&place.setup).await;
    let probes = place.setup.data_dir.join("lake/_probe");
    std::fs::create_dir_all(&probes).unwrap();
    for name in ["left", "new"] {
        std::fs::write(probes.join(name), "1").unwrap();
    }
    let left = std::fs::File::options().write(true).open(probes.join("left")).unwrap();
    left.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    check(&place.doctor(&place.setup.data_dir, &[]), 0, &["ok    object store"]);
    let entries = std::fs::read_dir(&probes).unwrap();
    let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["new"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_system_that_runs_is_told_and_not_disturbed() {
    let place = Place::new();
    let running = Running::start(&place.setup).await;
    let told = ["FAIL  data directory", "is in use by another process", "FAIL  event log", "held by another process"];
    check(&place.doctor(&place.setup.data_dir, &[]), 1, &told);
    running.post("hits", &[EVENT]).await;
    running.wait_until_archived(1).await;
    assert!(running.terminate().success());
}

#[test]
fn variables_that_end_the_client_of_the_store_are_refused_by_their_names() {
    let place = Place::new();
    let location = ("TWOFOLD_LAKE__LOCATION", "s3://bucket/lake");
    for (variable, value) in [
        ("AWS_ACCESS_KEY_ID", "two\nlines"),
        ("AWS_SESSION_TOKEN", "two words"),
        ("AWS_METADATA_ENDPOINT", "no address"),
        ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http:/one-slash"),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:1/a b"),
    ] {
        let output = place.doctor(place.path("data"), &[location, (variable, value)]);
        check(&output, 1, &["FAIL  object store", &format!("environment variable {variable} must be")]);
    }
}

/// A limit of half the address space is doubled for a body as JSON.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_limits_let_a_system_start() {
    let place = Place::new();
    let running = Running::start(&place.setup.clone().with("GATEWAY__SQL_TEXT", "16777215TiB")).await;
    let (status, answer) = running.sql("SELECT 1 AS one").await;
    assert_eq!(status, 200, "{answer}");
}
