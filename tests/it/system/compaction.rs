//! A whole system whose batch role compacts the master dataset whenever it can.

use std::time::{Duration, Instant};

use batch_layer::recompute::Mode;
use serde_json::{Value, json};

use super::{DEADLINE, EVENTS, PIPELINE, World, expected_rows, publish_all, rows, send};
use crate::support::parts::Kind;
use twofold::client::Client;

/// Waits until the status says so.
pub async fn wait_for(client: &Client, what: &str, is_so: impl Fn(&Value) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = client.get("/v1/status", &[]).await.unwrap();
        if is_so(&status) {
            return;
        }
        assert!(Instant::now() < deadline, "not {what}: {status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn archived(status: &Value) -> i64 {
    let partitions = status["sources"][0]["partitions"].as_array().unwrap();
    partitions.iter().map(|partition| partition["archived"].as_i64().unwrap_or(0)).sum()
}

pub async fn answers_stay_the_same_while_the_master_dataset_is_compacted(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let config = || {
        let mut config = world.config();
        config.batch.compact.min_files = 2;
        config
    };
    let (system, client) = world.start_with(config()).await;
    let mut token = String::new();
    for (sent, event) in (1..).zip(EVENTS) {
        token = send(&client, &[event]).await.token;
        wait_for(&client, "archived in a commit of its own", |status| archived(status) == sent).await;
    }
    // Five commits, of one or two files each; the compactions run after the rounds that publish.
    let answer = publish_all(&system, &client, &token).await;
    assert_eq!(answer["rows"], expected_rows());
    system.recompute(Mode::Full).await.unwrap();
    let files = |status: &Value| status["system"]["batch"]["master_files"]["hits"].as_u64();
    wait_for(&client, "compacted", |status| files(status).is_some_and(|files| files < 5)).await;
    system.recompute(Mode::Full).await.unwrap();
    assert_eq!(rows(&client, &token).await["rows"], expected_rows());
    system.stop().await.unwrap();

    // The archive goes on behind the compactions, and what is computed anew from their files is the same.
    let (system, client) = world.start_with(config()).await;
    let copy = send(&client, &EVENTS[1..2]).await.token;
    let answer = publish_all(&system, &client, &copy).await;
    assert_eq!(answer["rows"], expected_rows());
    assert_eq!(answer["envelope"]["copies"], json!(2));
    let round = system.recompute(Mode::Full).await.unwrap();
    assert!(round.values().all(Result::is_ok), "{round:?}");
    assert_eq!(rows(&client, &copy).await["rows"], expected_rows());
    system.stop().await.unwrap();
}
