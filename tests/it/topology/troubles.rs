//! What a process says and does when something of it cannot go on: the rest is served, the collector refuses what
//! nobody would keep, and the status lists what is wrong, since when, and what to do.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::anyhow;
use batch_layer::BatchError;
use event_log::EventLogError;
use positions::{Offset, PartitionId, TimestampMicros};
use query_gateway::Trouble;
use serde_json::{Value, json};
use tokio::time::sleep;
use twofold::commands::status::draw_status;
use twofold::role::{Role, Roles};
use twofold::status::TroubleBook;
use views::Pipeline;

use super::steady;
use super::world::{Process, World};
use crate::simulation::plan::Rates;

const DEADLINE: Duration = Duration::from_secs(60);
const EVENT: &str = r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/"}"#;

/// Sends an event; the status, the body, and whether it is said when to come back.
async fn send(process: &Process, source: &str) -> (u16, Value, bool) {
    let url = format!("{}/v1/sources/{source}/events", process.client.base());
    let request = reqwest::Client::new().post(url).header("content-type", "application/json").body(EVENT);
    let answer = request.send().await.unwrap();
    let (status, comes_back) = (answer.status().as_u16(), answer.headers().contains_key("retry-after"));
    (status, answer.json().await.unwrap(), comes_back)
}

async fn get(process: &Process, path: &str) -> (u16, String) {
    let answer = reqwest::get(format!("{}{path}", process.client.base())).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Waits for a status as it should be.
async fn until(process: &Process, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = process.client.get("/v1/status", &[]).await.unwrap();
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "{what}: {status:#}");
        sleep(Duration::from_millis(20)).await;
    }
}

fn find<'a>(status: &'a Value, kind: &str) -> Option<&'a Value> {
    status["problems"].as_array().unwrap().iter().find(|trouble| trouble["kind"] == kind)
}

fn another_topic() -> anyhow::Error {
    let (topic, partition, offset) = ("bad".to_owned(), PartitionId(0), Offset(5));
    anyhow!(BatchError::Log(EventLogError::AnotherTopic { topic, partition, offset }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_stops_is_told_of_and_takes_nothing_while_another_is_served() {
    let world = World::new(1, Rates::default());
    let process = world.start(&(steady("good") + &steady("bad"))).await;
    let is_told = |status: &Value| status["problems"] == json!([]) && status["system"]["stopped_sources"].is_object();
    let started = until(&process, "nothing is wrong", is_told).await;
    assert_eq!(started["system"]["stopped_sources"], json!({}));
    process.health.stop_source("bad", "archive", &another_topic());

    let (status, problem, comes_back) = send(&process, "bad").await;
    assert_eq!((status, comes_back), (503, false), "{problem}");
    assert_eq!(problem["type"], "urn:twofold:problem:source-stopped");
    assert!(problem["hint"].as_str().unwrap().contains("twofold source reset bad"), "{problem}");
    let (status, receipt, _) = send(&process, "good").await;
    assert_eq!((status, &receipt["accepted"]), (200, &json!(1)), "{receipt}");
    let token = [("after", receipt["token"].as_str().unwrap()), ("timeout", "30s")];
    let answer = process.client.get("/v1/views/good_count/rows", &token).await.unwrap();
    assert_eq!(answer["rows"][0]["n"], 1, "{answer:#}");
    let (status, readiness) = get(&process, "/readyz").await;
    assert_eq!(status, 200, "{readiness}");

    let stopped = until(&process, "the list names it", |status| find(status, "source-stopped").is_some()).await;
    let trouble = find(&stopped, "source-stopped").unwrap();
    assert_eq!(trouble["about"], "source bad");
    assert!(trouble["problem"].as_str().unwrap().contains("archive: topic bad partition 0"), "{trouble}");
    assert!(trouble["way_out"].as_str().unwrap().contains("twofold source reset bad"), "{trouble}");
    let drawn = draw_status(&stopped);
    assert!(drawn.contains("source bad: it has stopped"), "{drawn}");
    assert!(drawn.contains("twofold source reset bad"), "{drawn}");
    let (_, metrics) = get(&process, "/metrics").await;
    for line in ["twofold_source_stopped{source=\"bad\"} 1", "twofold_source_stopped{source=\"good\"} 0"] {
        assert!(metrics.contains(line), "{line} is missing");
    }
    // The instant stays while the trouble does.
    let later = until(&process, "a later status", |status| status["at"] != stopped["at"]).await;
    assert_eq!(find(&later, "source-stopped").unwrap()["since"], trouble["since"]);

    process.health.clear_source("bad", "archive");
    assert_eq!(send(&process, "bad").await.0, 200);
    until(&process, "the list is empty again", |status| find(status, "source-stopped").is_none()).await;
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_whose_only_source_has_stopped_is_not_ready_and_builds_nothing() {
    let world = World::new(1, Rates::default());
    let roles = Roles::all().without(Role::Speed).without(Role::Batch);
    let process = world.start_roles(Pipeline::read(&steady("lone"), &BTreeMap::new()).unwrap(), roles).await;
    process.health.stop_source("lone", "archive", &another_topic());
    until(&process, "the view is given up", |status| status["views"][0]["state"] == "unavailable").await;
    let refused = reqwest::get(format!("{}/v1/views/lone_count/rows", process.client.base())).await.unwrap();
    assert!(!refused.headers().contains_key("retry-after"));
    let problem: Value = refused.json().await.unwrap();
    assert_eq!(problem["type"], "urn:twofold:problem:source-stopped", "{problem}");
    let (status, text) = get(&process, "/readyz").await;
    let readiness: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &readiness["roles"]["collector"]), (503, &json!(false)), "{readiness}");
    assert_eq!(readiness["roles"]["gateway"], false, "{readiness}");
    process.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_stops_in_one_process_is_told_of_and_takes_nothing_in_another() {
    let world = World::new(1, Rates::default());
    let pipeline = Pipeline::read(&(steady("far") + &steady("near")), &BTreeMap::new()).unwrap();
    let archive = world.start_roles(pipeline.clone(), Roles::only(Role::Archive)).await;
    let front = Roles::all().without(Role::Archive).without(Role::Speed).without(Role::Batch);
    let front = world.start_roles(pipeline, front).await;
    let is_built = |status: &Value| status["views"][0]["state"] == "being built" && status["problems"] == json!([]);
    until(&front, "nothing is wrong yet", is_built).await;
    archive.health.stop_source("far", "archive", &another_topic());

    let told = until(&front, "the list names it", |status| find(status, "source-stopped").is_some()).await;
    let trouble = find(&told, "source-stopped").unwrap();
    assert_eq!((&trouble["about"], &trouble["told_by"]), (&json!("source far"), &json!("archive")));
    assert!(trouble["way_out"].as_str().unwrap().contains("twofold source reset far"), "{trouble}");
    let there = until(&archive, "its own list, too", |status| find(status, "source-stopped").is_some()).await;
    let own = find(&there, "source-stopped").unwrap();
    assert_eq!((&trouble["since"], &trouble["problem"]), (&own["since"], &own["problem"]));
    assert_eq!(own["told_by"], Value::Null);
    let drawn = draw_status(&told);
    assert!(drawn.contains("source far: it has stopped") && drawn.contains("told by archive"), "{drawn}");
    until(&front, "the view is given up", |status| status["views"][0]["state"] == "unavailable").await;
    let (status, problem, comes_back) = send(&front, "far").await;
    assert_eq!((status, comes_back), (503, false), "{problem}");
    assert_eq!(problem["type"], "urn:twofold:problem:source-stopped");
    assert!(problem["hint"].as_str().unwrap().contains("twofold source reset far"), "{problem}");
    let (status, text) = get(&front, "/v1/views/far_count/rows").await;
    assert!(status == 503 && text.contains("source-stopped"), "{status} {text}");
    assert_eq!(send(&front, "near").await.0, 200);
    assert_eq!(get(&front, "/readyz").await.0, 200, "one source of two takes no process out");

    archive.stop().await;
    until(&front, "the list is empty again", |status| find(status, "source-stopped").is_none()).await;
    assert_eq!(send(&front, "far").await.0, 200);
    front.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_keeps_silent_makes_the_collector_not_ready_and_leaves_the_gateway_alone() {
    let world = World::new(1, Rates::default());
    let process = world.start(&steady("quiet")).await;
    assert_eq!(send(&process, "quiet").await.0, 200);
    world.silence_log(true);
    until(&process, "the list names the log", |status| find(status, "log-silent").is_some()).await;
    let (status, text) = get(&process, "/readyz").await;
    let readiness: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, &readiness["roles"]["collector"]), (503, &json!(false)), "{readiness}");
    assert_eq!(readiness["roles"]["speed"], false, "{readiness}");
    assert!(readiness["problems"][0].as_str().unwrap().starts_with("collector: the event log"), "{readiness}");
    assert_eq!(get(&process, "/readyz?role=gateway").await.0, 200);
    assert_eq!(get(&process, "/readyz?role=collector").await.0, 503);

    world.silence_log(false);
    until(&process, "the log is there again", |status| find(status, "log-silent").is_none()).await;
    assert_eq!(get(&process, "/readyz").await.0, 200);
    process.stop().await;
}

#[test]
fn trouble_is_dated_from_its_beginning_without_a_break() {
    let book = TroubleBook::default();
    let trouble = |about: &str, problem: &str| Trouble::new("view-stale", about, problem, "wait");
    let since = |told: &[Trouble]| told.iter().map(|trouble| trouble.since.clone().unwrap()).collect::<Vec<_>>();
    let [first, second, third] = [1_000_000, 2_000_000, 3_000_000].map(TimestampMicros);
    assert_eq!(since(&book.date(vec![trouble("view a", "1 s")], first)), ["1970-01-01T00:00:01.000Z"]);
    let both = book.date(vec![trouble("view a", "2 s"), trouble("view b", "2 s"), trouble("view b", "again")], second);
    assert_eq!(since(&both), ["1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z"]);
    assert_eq!(both[0].problem, "2 s");
    assert!(book.date(Vec::new(), second).is_empty());
    assert_eq!(since(&book.date(vec![trouble("view a", "4 s")], third)), ["1970-01-01T00:00:03.000Z"]);
    // What is written down knows better than a process that has just started.
    let dated = || Trouble { since: Some("1969-01-01T00:00:00.000Z".to_owned()), ..trouble("run 1", "it failed") };
    for at in [first, third] {
        assert_eq!(since(&TroubleBook::default().date(vec![dated()], at)), ["1969-01-01T00:00:00.000Z"]);
    }
}
