//! A process that is told to end while four clients send: it ends in order, and what it acknowledged is there.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::support::process::{DEADLINE, Running, Setup};

const SENDERS: usize = 4;
const EVENTS_PER_REQUEST: usize = 20;
/// Requests of each sender before the signal: it comes into full traffic.
const REQUESTS_BEFORE: usize = 10;
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');
CREATE MATERIALIZED VIEW hits_by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";

/// One request of a sender; the same number always makes the same one.
fn request(sender: usize, number: usize) -> Vec<String> {
    let events = number * EVENTS_PER_REQUEST..(number + 1) * EVENTS_PER_REQUEST;
    let event =
        |event: usize| format!(r#"{{"id":"{sender}-{event}","time":"2026-01-05T10:00:00Z","page":"{sender}"}}"#);
    events.map(event).collect()
}

/// The status of the answer; `None` where there was none.
async fn post(running: &Running, sender: usize, number: usize) -> Option<u16> {
    let lines = request(sender, number);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    running.try_post("hits", &lines).await.ok().map(|(status, _)| status)
}

/// Sends until it is refused or nobody answers; `acknowledged` counts the requests that were taken.
async fn send(running: &Running, sender: usize, acknowledged: &AtomicUsize) {
    loop {
        match post(running, sender, acknowledged.load(Ordering::SeqCst)).await {
            Some(200) => acknowledged.fetch_add(1, Ordering::SeqCst),
            Some(429) => continue,
            _ => return,
        };
    }
}

/// Waits until every sender has got through, then sends the signal, then waits for the end.
async fn signal_under_load(mut running: Running, signal: &str, acknowledged: &[AtomicUsize]) {
    let deadline = Instant::now() + DEADLINE;
    let before: Vec<usize> = acknowledged.iter().map(|count| count.load(Ordering::SeqCst)).collect();
    let sending = join_all(acknowledged.iter().enumerate().map(|(sender, count)| send(&running, sender, count)));
    let signalling = async {
        let is_slow = || {
            let mut counts = acknowledged.iter().zip(&before);
            counts.any(|(count, before)| count.load(Ordering::SeqCst) < before + REQUESTS_BEFORE)
        };
        while is_slow() {
            assert!(Instant::now() < deadline, "the senders do not get through:\n{}", running.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        running.signal(signal);
    };
    tokio::join!(sending, signalling);
    let status = running.wait_until_ended().await;
    let log = running.log();
    assert!(status.success() && log.contains(&format!("SIG{signal}")), "{status}\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_under_load_loses_nothing_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), PIPELINE, Vec::new())
        .with("ARCHIVE__COMMIT_INTERVAL", "50ms")
        .with("BATCH__INTERVAL", "300ms");
    let acknowledged: Vec<AtomicUsize> = (0..SENDERS).map(|_| AtomicUsize::new(0)).collect();
    for signal in ["TERM", "HUP", "QUIT"] {
        signal_under_load(Running::start(&setup).await, signal, &acknowledged).await;
        let running = Running::start(&setup).await;
        // What was under way at the signal may be stored or not; sent again it is.
        let mut token = String::new();
        for (sender, count) in acknowledged.iter().enumerate() {
            let lines = request(sender, count.fetch_add(1, Ordering::SeqCst));
            token = running.post("hits", &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
        }
        for (sender, count) in acknowledged.iter().enumerate() {
            let events = count.load(Ordering::SeqCst) * EVENTS_PER_REQUEST;
            let wanted = [("by", "page"), ("page", &sender.to_string()), ("after", &token), ("timeout", "30s")];
            let answer = running.rows("hits_by_page", &wanted).await;
            let hits = &answer["rows"][0]["hits"];
            assert_eq!(hits, &json!(events), "after SIG{signal}: {}\n{}", answer["envelope"], running.log());
        }
        assert!(running.terminate().success());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_mean_nothing_end_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let running = Running::start(&Setup::new(folder.path(), PIPELINE, Vec::new())).await;
    for (number, signal) in ["USR1", "USR2", "XFSZ"].into_iter().enumerate() {
        running.signal(signal);
        assert_eq!(post(&running, 0, number).await, Some(200), "after SIG{signal}:\n{}", running.log());
    }
    let status = running.terminate();
    assert!(status.success(), "{status}");
}

/// As `timeout` sends it, and a terminal that is closed: to the process, and to the group that it belongs to.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_comes_twice_at_once_is_one() {
    let folder = tempfile::tempdir().unwrap();
    let mut running = Running::start(&Setup::new(folder.path(), PIPELINE, Vec::new())).await;
    running.signal("TERM");
    running.signal("TERM");
    let status = running.wait_until_ended().await;
    assert!(status.success(), "{status}\n{}", running.log());
}
