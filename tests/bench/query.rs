//! Point queries over HTTP against a running system, beside its smallest answer; from an event to an answer that holds
//! it; and memory while idle. On parts of both kinds.

use std::time::{Duration, Instant};

use tests::parts::{Kind, Parts};
use tests::process::{Running, Setup, cpu_now, memory_now};

use crate::data::{PIPELINE, Traffic};
use crate::parts::KINDS;
use crate::report::Report;

const EVENTS: usize = 100_000;
const REQUESTS: usize = 20_000;
const CLIENTS: usize = 8;
/// Events that are sent one after the other.
const SENT_ALONE: usize = 200;

/// How long an idle system is watched.
const IDLE: Duration = Duration::from_secs(20);
/// Sent beside the events whose way is timed: so many requests a second, of so many events each.
const BESIDE: (u64, usize) = (100, 10);

/// Rate and latency of one merged row by all dimensions, how soon an event is in an answer, and idle memory.
pub async fn measure(report: &mut Report) {
    for kind in KINDS {
        let Some(parts) = Parts::of(kind).await else { continue };
        let folder = tempfile::tempdir().unwrap();
        let pipeline = parts.pipeline(PIPELINE).replace("65536", "4096");
        let setup = Setup::new(folder.path(), &pipeline, parts.settings());
        let running = Running::start(&setup.with("BATCH__INTERVAL", "1h")).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        let before = cpu_now(running.process_id());
        tokio::time::sleep(IDLE).await;
        let busy = (cpu_now(running.process_id()) - before).as_secs_f64() / IDLE.as_secs_f64();
        report.on_parts("idle `up`, resident memory", kind, memory_now(running.process_id()) as f64 / 1e6, "MB");
        report.on_parts("idle `up`, cores", kind, busy, "of one");
        measure_system(report, kind, &running).await;
    }
}

async fn measure_system(report: &mut Report, kind: Kind, running: &Running) {
    let mut traffic = Traffic::new(EVENTS + SENT_ALONE);
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
    let (limit, _, _) = ask(&[format!("{}/healthz", running.address)]).await;
    let (rate, median, p99) = ask(&urls).await;
    let what = "point query over HTTP, one row by all dimensions";
    if kind == Kind::Embedded {
        report.add(what, rate, "requests/s", ("`/healthz` of the same server", limit));
    }
    report.on_parts(what, kind, rate, "requests/s");
    report.on_parts("point query, median", kind, median, "ms");
    report.on_parts("point query, p99", kind, p99, "ms");
    let alone = send_alone(running, &mut traffic).await;
    report_times(report, kind, "one event", alone);
    let mut beside = Traffic::new(EVENTS);
    tokio::select! {
        biased;
        among = send_alone(running, &mut traffic) => report_times(report, kind, "one of 1,000 events/s", among),
        () = send_on(running, &mut beside) => {}
    }
}

fn report_times(report: &mut Report, kind: Kind, which: &str, [acknowledged, visible]: [Vec<f64>; 2]) {
    let between = acknowledged_to_visible(&acknowledged, &visible);
    let spans = [
        ("sent to acknowledged", sorted(acknowledged)),
        ("sent to visible in an answer", sorted(visible)),
        ("acknowledged to visible in an answer", sorted(between)),
    ];
    for (what, times) in spans {
        report.on_parts(&format!("{which}, {what}, median"), kind, times[times.len() / 2], "ms");
        report.on_parts(&format!("{which}, {what}, p99"), kind, times[times.len() * 99 / 100], "ms");
    }
}

fn acknowledged_to_visible(acknowledged: &[f64], visible: &[f64]) -> Vec<f64> {
    std::iter::zip(acknowledged, visible).map(|(acknowledged, visible)| visible - acknowledged).collect()
}

fn sorted(mut times: Vec<f64>) -> Vec<f64> {
    times.sort_by(f64::total_cmp);
    times
}

/// Sends events at an even pace, without end.
async fn send_on(running: &Running, traffic: &mut Traffic) {
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(BESIDE.0).unwrap());
    loop {
        ticks.tick().await;
        let payloads: Vec<String> = (0..BESIDE.1).map(|_| traffic.next_payload().0).collect();
        let lines: Vec<&str> = payloads.iter().map(String::as_str).collect();
        running.post("hits", &lines).await;
    }
}

/// Events one after the other, each asked for by its position token: milliseconds until it was acknowledged, and until
/// it was in an answer.
async fn send_alone(running: &Running, traffic: &mut Traffic) -> [Vec<f64>; 2] {
    let (mut acknowledged, mut visible) = (Vec::new(), Vec::new());
    for _ in 0..SENT_ALONE {
        let payload = traffic.next_payload().0;
        let sent = Instant::now();
        let token = running.post("hits", &[&payload]).await;
        acknowledged.push(sent.elapsed().as_secs_f64() * 1_000.0);
        running.rows("hits_by_hour", &[("by", ""), ("after", &token)]).await;
        visible.push(sent.elapsed().as_secs_f64() * 1_000.0);
    }
    [acknowledged, visible]
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
