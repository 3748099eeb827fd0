//! Kafka killed under roles that are processes of their own: the probe of each says what it can do, the status why, and
//! all of them come back by themselves.

use serde_json::{Value, json};
use tests::own_services::OwnServices;

use super::{EVENTS_PER_REQUEST, PIPELINE, VIEW, event, eventually};
use crate::support::process::{Running, Setup};

const ROLES: [(&str, &[&str]); 5] = [
    ("collector", &["collector"]),
    ("archive", &["archive"]),
    ("speed", &["speed"]),
    ("batch", &["batch", "loop"]),
    ("gateway", &["gateway"]),
];
/// Those that can do nothing without the log.
const OF_THE_LOG: [&str; 3] = ["collector", "archive", "speed"];

async fn readiness(process: &Running) -> (u16, Value) {
    let answer = reqwest::get(format!("{}/readyz", process.address)).await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// Sends a request of events, again until it is taken; the token.
async fn send(collector: &Running, request: i64) -> String {
    let first = request * EVENTS_PER_REQUEST;
    let lines: Vec<String> = (first..first + EVENTS_PER_REQUEST).map(event).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let token = eventually(collector, "events are taken", || async {
        match collector.try_post("hits", &lines).await {
            Ok((200, body)) if body["accepted"] == json!(lines.len()) => Some(body["token"].clone()),
            _ => None,
        }
    });
    token.await.as_str().unwrap().to_owned()
}

async fn check_hits(gateway: &Running, token: &str, hits: i64) {
    let answer = gateway.rows(VIEW, &[("by", ""), ("after", token), ("timeout", "30s")]).await;
    assert_eq!(answer["rows"][0]["hits"], json!(hits), "{}", answer["envelope"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_kafka_shows_in_the_probes_of_the_roles_that_need_it_and_in_no_other() {
    let Some(own) = OwnServices::start().await else { return };
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::new(folder.path(), &own.services.pipeline(PIPELINE), own.services.settings())
        .with_short_waits()
        .with("ARCHIVE__COMMIT_INTERVAL", "100ms")
        .with("BATCH__INTERVAL", "1s")
        .with("LOG__REQUEST_TIMEOUT", "2s");
    let mut running = Vec::new();
    for (name, command) in ROLES {
        running.push((name, Running::start_role(&setup.beside(name), command).await));
    }
    let (collector, gateway) = (&running[0].1, &running[4].1);
    let token = send(collector, 0).await;
    check_hits(gateway, &token, EVENTS_PER_REQUEST).await;

    own.run(&["kill", "kafka"]).await;
    for (name, process) in running.iter().filter(|(name, _)| OF_THE_LOG.contains(name)) {
        let problems = eventually(process, "the probe tells of the log", || async {
            let (status, told) = readiness(process).await;
            (status == 503).then(|| told["problems"].to_string())
        });
        let problems = problems.await;
        assert!(problems.contains(&format!("{name}: the event log does not answer")), "{problems}");
        eventually(process, "the status names the log", || async {
            let status = process.status().await;
            let mut problems = status["problems"].as_array().unwrap().iter();
            problems.any(|trouble| trouble["kind"] == "log-silent").then_some(())
        })
        .await;
    }
    for (name, process) in running.iter().filter(|(name, _)| !OF_THE_LOG.contains(name)) {
        let (status, told) = readiness(process).await;
        assert_eq!((status, &told["ready"]), (200, &json!(true)), "{name}: {told}");
    }
    check_hits(gateway, &token, EVENTS_PER_REQUEST).await;

    own.run(&["start", "kafka"]).await;
    for (_, process) in &running {
        eventually(process, "it is ready again", || async { (readiness(process).await.0 == 200).then_some(()) }).await;
    }
    let token = send(collector, 1).await;
    check_hits(gateway, &token, 2 * EVENTS_PER_REQUEST).await;
}
