//! A process that is killed in the middle of producing: what was acknowledged is there after the restart.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use ::event_log::EventLog;
use ::event_log::embedded::EmbeddedLog;
use tokio::time::Instant;

use super::{PATIENCE, append, numbered, read, reader_of, record};

/// Names the data directory to the process that is going to be killed.
const CHILD: &str = "TWOFOLD_TEST_LOG_DIR";
const ROUNDS: usize = 3;

async fn open(folder: &std::path::Path) -> EmbeddedLog {
    let log = super::embedded::open(folder).await.unwrap();
    log.ensure_topic("t", 1).await.unwrap();
    log
}

/// Not a test: what the child process runs. Produces until it is killed, printing what was acknowledged.
#[tokio::test(flavor = "multi_thread")]
async fn produce_until_killed() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let log = open(folder.as_ref()).await;
    let deadline = Instant::now() + PATIENCE;
    let mut number = 0;
    while Instant::now() < deadline {
        let records = (number..number + 50).map(|number| record(None, format!("event {number}"), number)).collect();
        for (_, offset) in append(&log, "t", records).await {
            println!("acknowledged {} {number}", offset.0);
            number += 1;
        }
        std::io::stdout().flush().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_records_outlive_a_killed_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(i64, String)> = Vec::new();
    for round in 0..ROUNDS {
        let lines = run_and_kill(folder.path(), 300 + 450 * round);
        acknowledged.extend(lines);
    }
    let log = open(folder.path()).await;
    let end = log.bounds("t", positions::PartitionId(0)).await.unwrap().high.0 as usize;
    let records = read(reader_of(&log, "t").await.as_mut(), end).await;
    for (offset, number) in acknowledged {
        let found = &records[offset as usize];
        assert_eq!((found.offset.0, found.payload.as_ref()), (offset, format!("event {number}").as_bytes()));
    }
    append(&log, "t", numbered(1)).await;
}

/// Runs the child until it has acknowledged `count` records, kills it, and gives what it printed.
fn run_and_kill(folder: &std::path::Path, count: usize) -> Vec<(i64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "event_log::kill::produce_until_killed", "--nocapture"])
        .env(CHILD, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut acknowledged = Vec::new();
    for line in lines {
        let line = line.unwrap();
        // The test harness prints the name of the test before the first line.
        let Some((_, rest)) = line.split_once("acknowledged ") else { continue };
        let Some((offset, number)) = rest.split_once(' ') else { continue };
        acknowledged.push((offset.parse().unwrap(), number.to_owned()));
        if acknowledged.len() == count {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(acknowledged.len() >= count, "the child ended by itself after {} records", acknowledged.len());
    // The last line may be cut off by the kill.
    acknowledged.truncate(count);
    acknowledged
}
