//! A topic that gains partitions, between two runs of the system and in one: both layers read them from their start. A
//! number that is smaller, or not written, leaves the topic as it is.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use batch_layer::recompute::Mode;
use serde_json::{Value, json};
use twofold::client::Client;
use twofold::system::System;
use views::Pipeline;

use super::{DEADLINE, Kind, World, publish_all_of, rows_of, send};

const VIEW: &str = "ev_k";

tests::on_all_parts!(added_partitions_are_read_by_both_layers, a_topic_is_taken_as_it_is_where_no_number_is_written,);

fn pipeline(partitions: &str) -> String {
    format!(
        "CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR, time TIMESTAMP NOT NULL, k VARCHAR NOT NULL, n BIGINT)
         STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms'{partitions});
         CREATE MATERIALIZED VIEW {VIEW} AS SELECT k, count(*) AS hits, sum(n) AS n FROM hits GROUP BY k;"
    )
}

/// Events 1 to `sent`, each once: event N adds N.
fn expected(sent: i64) -> Value {
    json!([{"k": "a", "hits": sent, "n": sent * (sent + 1) / 2}])
}

/// Sends so many events more; the token.
async fn send_more(client: &Client, sent: &mut i64, count: i64) -> String {
    let numbers = *sent + 1..=*sent + count;
    let lines: Vec<String> =
        numbers.map(|n| format!(r#"{{"time":"2026-03-01T12:00:00Z","id":"{n}","k":"a","n":{n}}}"#)).collect();
    let receipt = send(client, &lines.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert_eq!(receipt.rejected, 0);
    *sent += count;
    receipt.token
}

/// Waits for an answer that is right for everything sent, not stale, and of so many partitions.
async fn wait_for_partitions(client: &Client, token: &str, sent: i64, count: usize) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = rows_of(client, VIEW, token).await;
        assert_eq!(answer["rows"], expected(sent), "{}", answer["envelope"]);
        let head = answer["envelope"]["head"].as_object().unwrap();
        if head.len() == count && answer["envelope"]["stale"] == json!(false) {
            return answer;
        }
        assert!(Instant::now() < deadline, "not of {count} partitions: {}", answer["envelope"]);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Sends until each of so many partitions holds something; the token. Ids choose the partitions.
async fn fill(client: &Client, sent: &mut i64, count: usize) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let token = send_more(client, sent, 10).await;
        let answer = wait_for_partitions(client, &token, *sent, count).await;
        let head = answer["envelope"]["head"].as_object().unwrap();
        if head.values().all(|offset| offset.as_i64() > Some(0)) {
            return token;
        }
        assert!(Instant::now() < deadline, "a partition stays empty: {}", answer["envelope"]);
    }
}

/// Batch alone answers for everything, in every partition; also computed anew.
async fn check_batch(system: &System, client: &Client, token: &str, sent: i64) {
    let answer = publish_all_of(system, client, VIEW, token).await;
    assert_eq!(answer["rows"], expected(sent), "{}", answer["envelope"]);
    assert!(system.recompute(Mode::Full).await.unwrap().values().all(Result::is_ok));
    let answer = publish_all_of(system, client, VIEW, token).await;
    assert_eq!(answer["rows"], expected(sent), "{}", answer["envelope"]);
    assert_eq!(answer["envelope"]["cut"], answer["envelope"]["head"]);
}

impl World {
    /// The topic has three partitions at the next start, which is one with this option: the embedded log is raised by
    /// it, brokers' topics by an operator.
    async fn raise_to_three(&mut self) {
        if let Some(services) = &self.parts.services {
            services.admin().add_partitions(&services.named("hits"), 3).await;
        }
        self.pipeline = self.parts.pipeline(&pipeline(", partitions '3'"));
    }
}

async fn added_partitions_are_read_by_both_layers(kind: Kind) {
    let Some(mut world) = World::new(kind, &pipeline(", partitions '1'")).await else { return };
    let mut sent = 0;
    let (system, client) = world.start().await;
    let token = send_more(&client, &mut sent, 1).await;
    check_batch(&system, &client, &token, sent).await;
    system.stop().await.unwrap();

    world.raise_to_three().await;
    let (system, client) = world.start().await;
    let token = fill(&client, &mut sent, 3).await;
    check_batch(&system, &client, &token, sent).await;
    system.stop().await.unwrap();

    for fewer in [", partitions '1'", ""] {
        world.pipeline = world.parts.pipeline(&pipeline(fewer));
        let (system, client) = world.start().await;
        let token = fill(&client, &mut sent, 3).await;
        check_batch(&system, &client, &token, sent).await;
        system.stop().await.unwrap();
    }
}

async fn a_topic_is_taken_as_it_is_where_no_number_is_written(kind: Kind) {
    let Some(mut world) = World::new(kind, &pipeline(", partitions '1'")).await else { return };
    let mut sent = 0;
    let (system, client) = world.start().await;
    send_more(&client, &mut sent, 3).await;
    system.stop().await.unwrap();

    world.pipeline = world.parts.pipeline(&pipeline(""));
    let (system, client) = world.start().await;
    let token = fill(&client, &mut sent, 1).await;
    check_batch(&system, &client, &token, sent).await;
    system.stop().await.unwrap();

    // Raised, and started again while the new partitions are empty.
    world.raise_to_three().await;
    for _ in 0..2 {
        let (system, client) = world.start().await;
        wait_for_partitions(&client, &token, sent, 3).await;
        system.stop().await.unwrap();
    }
    let (system, client) = world.start().await;
    let token = fill(&client, &mut sent, 3).await;
    check_batch(&system, &client, &token, sent).await;
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_larger_number_raises_the_topic_of_a_system_that_runs() {
    let world = World::new(Kind::Embedded, &pipeline(", partitions '1'")).await.expect("they are always there");
    let mut sent = 0;
    let (mut system, client) = world.start().await;
    let token = fill(&client, &mut sent, 1).await;
    check_batch(&system, &client, &token, sent).await;
    for (partitions, count) in [(", partitions '3'", 3), (", partitions '2'", 3), ("", 3), (", partitions '5'", 5)] {
        let changed = Pipeline::read(&pipeline(partitions), &BTreeMap::new()).unwrap();
        system.change_definitions(changed).await.unwrap();
        let token = fill(&client, &mut sent, count).await;
        check_batch(&system, &client, &token, sent).await;
    }
    system.stop().await.unwrap();
}
