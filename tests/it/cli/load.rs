//! `twofold load` as a user runs it: files of every kind become rows of a view, in both layers; exit codes; a pipe.

use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{Place, Running, binary, check, text, twofold};
use crate::collector::gzip;

const ROWS_IN: &str = "
CREATE UNBOUNDED EXTERNAL TABLE rows_in (
  id VARCHAR, time TIMESTAMP NOT NULL, k VARCHAR NOT NULL, n BIGINT
) STORED AS JSON LOCATION 'kafka://rows_in'
OPTIONS (event_time 'time', event_id 'id', grid '512', gap '200ms', partitions '2');
CREATE MATERIALIZED VIEW rows_k AS SELECT k, count(*) AS events, sum(n) AS n FROM rows_in GROUP BY k;
";

/// Event number `at` of a file.
fn row(k: &str, at: usize) -> String {
    format!(r#"{{"id": "{k}-{at}", "time": "2026-03-01T12:00:00Z", "k": "{k}", "n": 1}}"#)
}

fn rows(k: &str, count: usize, between: &str) -> String {
    (0..count).map(|at| row(k, at)).collect::<Vec<_>>().join(between)
}

/// A place whose system takes rows.
struct Rows {
    place: Place,
    data: String,
}

impl Rows {
    fn new() -> Self {
        let place = Place::new();
        place.write("pipeline.sql", ROWS_IN);
        let data = text(&place.path("data"));
        Self { place, data }
    }

    fn load(&self, files: &[&str], rest: &[&str]) -> Output {
        twofold(&[&["load", "--source", "rows_in", "--data-dir", &self.data], files, rest].concat())
    }

    fn load_bytes(&self, name: &str, bytes: impl AsRef<[u8]>) -> Output {
        let path = self.place.path(name);
        std::fs::write(&path, bytes).unwrap();
        self.load(&[&text(&path)], &[])
    }
}

fn token_of(output: &Output) -> String {
    let printed = String::from_utf8(output.stdout.clone()).unwrap();
    printed.trim().rsplit(' ').next().unwrap().to_owned()
}

/// The view holds so many events of each key, and no other key.
async fn check_rows(running: &Running, token: &str, expected: &[(&str, u64)]) {
    let answer = running.rows("rows_k", &[("order", "k"), ("after", token), ("timeout", "30s")]).await;
    let found: Vec<(Value, Value)> =
        answer["rows"].as_array().unwrap().iter().map(|row| (row["k"].clone(), row["events"].clone())).collect();
    let expected: Vec<(Value, Value)> = expected.iter().map(|(k, events)| (json!(k), json!(events))).collect();
    assert_eq!(found, expected, "{}", answer["envelope"]);
}

/// Recomputes until there is a version: the end of a partition can be cut once it has been silent for the gap.
async fn publish(running: &Running) {
    for _ in 0..300 {
        let output = running.run_batch(&[]).await;
        check(&output, 0, &["rows_k: "]);
        if String::from_utf8_lossy(&output.stdout).contains("version 1 published") {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nothing was published");
}

#[tokio::test(flavor = "multi_thread")]
async fn files_of_every_kind_become_rows_and_loading_them_again_changes_nothing() {
    let world = Rows::new();
    let running = Running::start(&world.place.setup()).await;
    let pretty = |at| {
        let event: Value = serde_json::from_str(&row("prettyseq", at)).unwrap();
        format!("{event:#}")
    };
    let csv = "id,time,k,n\r\n1,2026-03-01T12:00:00Z,csv,1\r\n2,2026-03-01T12:00:00Z,csv,1\r\n";
    let packed = zstd::stream::encode_all((rows("zst", 5, "\n") + "\n").as_bytes(), 3).unwrap();
    let files = [
        ("zstd lines", packed, 5),
        ("array in one line", format!("[{}]", rows("array", 5, ", ")).into_bytes(), 5),
        ("pretty objects", format!("{}\n{}\n{}", pretty(0), pretty(1), pretty(2)).into_bytes(), 3),
        ("rows.csv", csv.as_bytes().to_vec(), 2),
        ("plain lines", (rows("plain", 5, "\n") + "\n").into_bytes(), 5),
        ("crlf", rows("crlf", 5, "\r\n").into_bytes(), 5),
    ];
    let expected = [("array", 5), ("crlf", 5), ("csv", 2), ("plain", 5), ("prettyseq", 3), ("zst", 5)];
    let mut token = String::new();
    for _ in 0..2 {
        for (name, bytes, events) in &files {
            let output = world.load_bytes(name, bytes);
            check(&output, 0, &[&format!("{events} events accepted, 0 rejected, {} bytes read", bytes.len())]);
            token = token_of(&output);
            // Each token covers what its own load stored.
            running.rows("rows_k", &[("after", &token), ("timeout", "30s")]).await;
        }
        check_rows(&running, &token, &expected).await;
    }
    running.wait_until_archived(50).await;
    publish(&running).await;
    check_rows(&running, &token, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_torn_file_counts_what_it_reports_and_whole_again_each_event_once() {
    let world = Rows::new();
    let running = Running::start(&world.place.setup()).await;
    let whole = gzip(rows("gztorn", 2_000, "\n") + "\n");
    let torn = world.load_bytes("torn.gz", &whole[..whole.len() - 20]);
    let printed = String::from_utf8_lossy(&torn.stdout).into_owned();
    let (before, _) = printed.split_once(" events accepted").unwrap();
    let taken: u64 = before.rsplit(' ').next().unwrap().parse().unwrap();
    assert!(taken > 0 && taken <= 2_000, "{printed}");
    check(&torn, 1, &["torn.gz", &format!("reading failed after line {taken}: ")]);
    check_rows(&running, &token_of(&torn), &[("gztorn", taken)]).await;
    let output = world.load_bytes("whole.gz", &whole);
    check(&output, 0, &["2000 events accepted"]);
    check_rows(&running, &token_of(&output), &[("gztorn", 2_000)]).await;
    running.wait_until_archived(i64::try_from(taken).unwrap() + 2_000).await;
    publish(&running).await;
    check_rows(&running, &token_of(&output), &[("gztorn", 2_000)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_says_by_its_exit_code_whether_events_were_taken() {
    let world = Rows::new();
    let running = Running::start(&world.place.setup()).await;
    let missing = text(&world.place.path("missing*.gz"));
    check(&world.load(&[&missing], &[]), 1, &["no file matches `", "missing*.gz"]);
    check(&world.load(&[&world.data], &[]), 1, &["is a directory", "/*`"]);
    check(&world.load(&[], &[]), 2, &["<FILE>"]);
    check(&world.load_bytes("empty", ""), 1, &["nothing was accepted: there was no event to load"]);
    check(&world.load_bytes("logo.jsonl", b"\x89PNG\r\n\x1a\n\0"), 1, &["it is an image (PNG)", "what is read: "]);
    let bad = "{\"k\": 1}\n".repeat(3_000);
    let output = world.load_bytes("bad.jsonl", &bad);
    check(&output, 1, &["1000 events in a row were rejected, from line 1 to line 1000", "0 events accepted, 1000 rej"]);
    let written = output.stdout.iter().chain(&output.stderr).filter(|byte| **byte == b'\n').count();
    assert!(written < 20, "{output:?}");
    let path = text(&world.place.path("bad.jsonl"));
    let refused = ["--on-error", "refuse", "--give-up-after-bad", "0"];
    check(&world.load(&[&path], &refused), 1, &["nothing was accepted: all 3000 events were rejected", "JSON lines"]);
    // Kept were those of the first load alone, and a good one of a pipe.
    let output = pipe(&world, &row("pipe", 0));
    check(&output, 0, &["standard input (JSON lines): 1 events accepted"]);
    running.wait_until_archived(1_001).await;
    check_rows(&running, &token_of(&output), &[("pipe", 1)]).await;
}

fn pipe(world: &Rows, text: &str) -> Output {
    let mut command = Command::new(binary());
    command.args(["load", "-", "--source", "rows_in", "--data-dir", &world.data]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}
