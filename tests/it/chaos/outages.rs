//! Outages one at a time, each with what must be seen from outside while it lasts.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::faults::Cluster;
use super::load::{Load, Pace};
use super::oracle::Oracle;
use super::reader::{Reader, check_rows};
use super::schedule::Role;
use super::{STALE_AFTER, VIEW, World, catch_up, check_once_calm};
use crate::support::process::{DEADLINE, Running};

fn as_of(answer: &Value) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(answer["envelope"]["as_of"].as_str().unwrap()).unwrap().to_utc()
}

async fn total(gateway: &Running) -> Value {
    gateway.rows(VIEW, &[("by", "")]).await
}

/// Asks until `is_met`; every answer is 200.
async fn until(gateway: &Running, what: &str, is_met: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = total(gateway).await;
        if is_met(&answer) {
            return answer;
        }
        assert!(Instant::now() < deadline, "never came: {what}: {}\n{}", answer["envelope"], gateway.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_kafka_the_collector_answers_503_and_the_gateway_an_ever_older_instant() {
    let Some(world) = World::new().await else { return };
    let world = world.with("LOG__DELIVERY_TIMEOUT", "1s").with("LOG__REQUEST_TIMEOUT", "1s");
    let cluster = Cluster::start(&world).await;
    let (mut load, mut reader) = (Load::new(1, Pace::SMALL), Reader::default());
    load.send_some(&world, 20).await;
    let oracle = catch_up(Oracle::new(&world.own.services)).await;
    let gateway = cluster.of(Role::Gateway);
    let before = until(gateway, "everything is answered", |answer| {
        super::reader::heads(&answer["envelope"]) == oracle.heads() && answer["envelope"]["stale"] == false
    })
    .await;
    check_rows(&oracle, true, &before);

    world.own.run(&["kill", "kafka"]).await;
    let gone = Utc::now();
    let good = r#"{"id":"while-away","time":"2026-01-05T10:00:00Z","page":"p1","amount":1}"#;
    let (status, problem) = cluster.of(Role::Collector).try_post(super::SOURCE, &[good]).await.unwrap();
    assert_eq!((status, &problem["accepted"]), (503, &json!(0)), "{problem}");
    // Nothing of the log is known any more: the instant stands, and after a while it is called stale. The numbers stay.
    let stale = until(gateway, "the answer is stale", |answer| answer["envelope"]["stale"] == true).await;
    assert!(as_of(&stale) <= gone && Utc::now() - as_of(&stale) >= chrono::TimeDelta::from_std(STALE_AFTER).unwrap());
    let later = total(gateway).await;
    assert_eq!((as_of(&later), &later["rows"]), (as_of(&stale), &before["rows"]), "{}", later["envelope"]);
    check_rows(&oracle, true, &later);

    world.own.run(&["start", "kafka"]).await;
    // What was refused may be in the log; sent again it is the same event.
    let deadline = Instant::now() + DEADLINE;
    while cluster.of(Role::Collector).try_post(super::SOURCE, &[good]).await.is_ok_and(|(status, _)| status != 200) {
        assert!(Instant::now() < deadline, "the collector does not come back\n{}", world.log("collector"));
    }
    load.send_some(&world, 5).await;
    until(gateway, "the answer is fresh again", |answer| answer["envelope"]["stale"] == false).await;
    check_once_calm(&world, &cluster, oracle, &mut reader, load.events as usize + 1).await;
}
