//! Copies of a data directory: made under load, by the very lines of `docs/operations/backup.md`, and after the end;
//! and what is left without the lake.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::process::{DEADLINE, Running, Setup};

const EVENTS_PER_REQUEST: usize = 50;
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, n BIGINT)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', grid '64', gap '200ms', partitions '2');
CREATE MATERIALIZED VIEW hits_by_page AS SELECT page, count(*) AS hits, sum(n) AS n FROM hits GROUP BY page;
";

/// So often that a copy falls into commits, publications and compactions.
fn setup(folder: &Path) -> Setup {
    Setup::new(folder, PIPELINE, Vec::new())
        .with("ARCHIVE__COMMIT_INTERVAL", "50ms")
        .with("BATCH__INTERVAL", "200ms")
        .with("LAKE__CHECKPOINT_INTERVAL", "3")
}

/// Sends one request of events; the token.
async fn send(running: &Running, number: usize) -> String {
    let events = number * EVENTS_PER_REQUEST..(number + 1) * EVENTS_PER_REQUEST;
    let event = |n: usize| format!(r#"{{"id":"{n}","time":"2026-01-05T10:00:00Z","page":"p{}","n":{n}}}"#, n % 3);
    let lines: Vec<String> = events.map(event).collect();
    running.post("hits", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await
}

/// The answer is of exactly so many requests.
async fn check_exact(running: &Running, token: &str, requests: usize) {
    let events = requests * EVENTS_PER_REQUEST;
    let answer = running.rows("hits_by_page", &[("by", ""), ("after", token), ("timeout", "30s")]).await;
    let expected = json!([{ "hits": events, "n": events * (events - 1) / 2 }]);
    assert_eq!(answer["rows"], expected, "{}\n{}", answer["envelope"], running.log());
    assert_eq!(answer["envelope"]["holes"], json!([]), "{}", answer["envelope"]);
}

/// The lines of the page that copy a directory while a system runs on it.
fn documented_copy() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations/backup.md");
    let page = std::fs::read_to_string(page).unwrap();
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.filter(|block| block.contains("copy() {")).collect()
}

async fn copy_hot(from: &Path, to: &Path) {
    let mut shell = tokio::process::Command::new("sh");
    shell.arg("-euc").arg(documented_copy()).env("D", from).env("B", to).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE, shell.output()).await.expect("it ended by itself").unwrap();
    assert!(output.status.success(), "{output:?}");
}

/// Starts on a copy: all that was acknowledged before it was made is there; with everything sent once more it is exact.
async fn check_copy(setup: &Setup, copy: &str, before: usize, sent: usize) {
    let running = Running::start(&setup.beside(copy)).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let (status, answer) = running.try_rows("hits_by_page", &[("by", "")]).await;
        let hits = answer["rows"][0]["hits"].as_u64().unwrap_or(0);
        if status == 200 && hits >= (before * EVENTS_PER_REQUEST) as u64 {
            break;
        }
        assert!(Instant::now() < deadline, "{copy} lacks what was acknowledged: {answer}\n{}", running.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut token = String::new();
    for number in 0..sent {
        token = send(&running, number).await;
    }
    check_exact(&running, &token, sent).await;
    let done = Instant::now() + DEADLINE;
    loop {
        let output = running.run_batch(&["--full"]).await;
        match output.status.code() {
            Some(0) => break,
            // It waits for the silence behind the last record.
            Some(3) => assert!(Instant::now() < done, "{output:?}"),
            _ => panic!("{output:?}\n{}", running.log()),
        }
    }
    check_exact(&running, &token, sent).await;
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_copy_holds_what_was_acknowledged_before_it() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let running = Running::start(&setup).await;
    let sent = AtomicUsize::new(0);
    let sending = async {
        for number in 0.. {
            send(&running, number).await;
            sent.store(number + 1, Ordering::SeqCst);
        }
    };
    let copying = async {
        let mut copies: Vec<(&str, usize)> = Vec::new();
        for copy in ["first", "second", "third"] {
            // There is something new in each.
            let deadline = Instant::now() + DEADLINE;
            let before = copies.last().map_or(0, |(_, before)| *before);
            while sent.load(Ordering::SeqCst) < before + 20 {
                assert!(Instant::now() < deadline, "nothing is taken:\n{}", running.log());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            copies.push((copy, sent.load(Ordering::SeqCst)));
            copy_hot(&setup.data_dir, &setup.data_dir.with_file_name(copy)).await;
        }
        copies
    };
    let copies = tokio::select! {
        biased;
        copies = copying => copies,
        () = sending => unreachable!("it sends without end"),
    };
    assert!(running.terminate().success());
    for (copy, before) in copies {
        check_copy(&setup, copy, before, sent.load(Ordering::SeqCst) + 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_copy_is_the_whole_also_without_its_lake() {
    let folder = tempfile::tempdir().unwrap();
    let setup = setup(folder.path());
    let running = Running::start(&setup).await;
    let mut token = String::new();
    for number in 0..20 {
        token = send(&running, number).await;
    }
    check_exact(&running, &token, 20).await;
    assert!(running.terminate().success());
    let copied = setup.data_dir.with_file_name("cold");
    let status = Command::new("cp").arg("-a").args([&setup.data_dir, &copied]).status().unwrap();
    assert!(status.success());
    let cold = setup.beside("cold");
    let running = Running::start(&cold).await;
    check_exact(&running, &token, 20).await;
    assert!(running.terminate().success());

    // The log alone: everything that it still keeps is archived and answered again.
    std::fs::remove_dir_all(cold.data_dir.join("lake")).unwrap();
    let running = Running::start(&cold).await;
    check_exact(&running, &token, 20).await;
    running.wait_until_archived(20 * EVENTS_PER_REQUEST as i64).await;
    check_exact(&running, &token, 20).await;
    assert!(running.terminate().success());
}
