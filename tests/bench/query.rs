//! Point queries over HTTP against a running system, beside its smallest answer; and its memory while idle.

use std::time::{Duration, Instant};

use crate::data::{PIPELINE, Traffic};
use crate::report::Report;
use tests::process::{Running, Setup};

const EVENTS: usize = 100_000;
const REQUESTS: usize = 20_000;
const CLIENTS: usize = 8;

/// Rate and latency of one merged row by all dimensions.
pub async fn measure(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.sql");
    std::fs::write(&pipeline, PIPELINE.replace("65536", "4096")).unwrap();
    let settings = vec![("TWOFOLD_BATCH__INTERVAL".to_owned(), "1h".to_owned())];
    let running = Running::start(&Setup { pipeline, data_dir: folder.path().join("data"), settings }).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    report.note("idle `up`, resident memory", resident_bytes(running.process_id()) / 1e6, "MB");
    let mut traffic = Traffic::new(EVENTS);
    for _ in 0..EVENTS / 2_000 {
        let payloads: Vec<String> = (0..2_000).map(|_| traffic.next_payload().0).collect();
        let lines: Vec<&str> = payloads.iter().map(String::as_str).collect();
        running.post("hits", &lines).await;
    }
    assert!(running.run_batch(&[]).await.status.success());
    let hour = "2026-01-05T12:00:00Z";
    let urls: Vec<String> = (1..=50)
        .map(|url| format!("{}/v1/views/hits_by_url/rows?url=/page/{url}&hour={hour}", running.address))
        .collect();
    let health = vec![format!("{}/healthz", running.address)];
    let (limit, _, _) = ask(&health).await;
    let (rate, median, p99) = ask(&urls).await;
    report.add(
        "point query over HTTP, one row by all dimensions",
        rate,
        "requests/s",
        ("/healthz of the same server", limit),
    );
    report.note("point query, median", median, "ms");
    report.note("point query, p99", p99, "ms");
}

/// Requests per second, median and p99 in milliseconds.
async fn ask(urls: &[String]) -> (f64, f64, f64) {
    let client = reqwest::Client::new();
    let start = Instant::now();
    let clients = (0..CLIENTS).map(|one| {
        let client = client.clone();
        async move {
            let mut times = Vec::with_capacity(REQUESTS / CLIENTS);
            for request in 0..REQUESTS / CLIENTS {
                let begin = Instant::now();
                let answer = client.get(&urls[(one + request) % urls.len()]).send().await.unwrap();
                assert!(answer.status().is_success(), "{answer:?}");
                answer.bytes().await.unwrap();
                times.push(begin.elapsed().as_secs_f64() * 1_000.0);
            }
            times
        }
    });
    let mut times: Vec<f64> = futures::future::join_all(clients).await.into_iter().flatten().collect();
    times.sort_by(f64::total_cmp);
    let rate = times.len() as f64 / start.elapsed().as_secs_f64();
    (rate, times[times.len() / 2], times[times.len() * 99 / 100])
}

fn resident_bytes(process: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1_024.0
}
