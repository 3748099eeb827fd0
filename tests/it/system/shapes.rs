//! Records of other shapes than one flat event, through both layers: columns inside objects, several events in a
//! record, envelopes, the record's own timestamp; and a source that learns of its envelope later.

use event_log::NewRecord;
use positions::{Clock, PositionToken, SourceName, TimestampMicros};
use serde_json::{Value, json};
use twofold::client::Client;
use twofold::system::System;

use super::{Kind, World, publish_all_of, rows_of};
use twofold::environment::SystemClock;

fn pipeline(columns: &str, options: &str) -> String {
    format!(
        "CREATE UNBOUNDED EXTERNAL TABLE hits ({columns}) STORED AS JSON LOCATION 'kafka://hits'
         OPTIONS (gap '200ms', partitions '2', {options});
         CREATE MATERIALIZED VIEW by_k AS SELECT k, count(*) AS hits, sum(n) AS n FROM hits GROUP BY k;"
    )
}

/// Sends records into the log itself, as a producer does that knows nothing of the collector.
async fn produce(world: &World, system: &System, payloads: &[&str]) -> String {
    let now = SystemClock.now();
    let record = |payload: &&str| NewRecord {
        key: None,
        payload: payload.as_bytes().to_vec().into(),
        timestamp: now,
        clock_shift: None,
    };
    append(world, system, payloads.iter().map(record).collect()).await
}

async fn append(world: &World, system: &System, records: Vec<NewRecord>) -> String {
    let topic = world.parts.services.as_ref().map_or("hits".to_owned(), |services| services.named("hits"));
    let mut token = PositionToken::default();
    for answer in system.log().unwrap().append(&topic, records).await {
        let (partition, offset) = answer.unwrap();
        token.cover(&SourceName::new("hits"), partition, offset.next());
    }
    token.encode()
}

async fn check(system: &System, client: &Client, token: &str, expected: &Value) {
    let answer = rows_of(client, "by_k", token).await;
    assert_eq!(answer["rows"], *expected, "{answer:#}");
    assert_eq!(publish_all_of(system, client, "by_k", token).await["rows"], *expected);
}

const FLAT: &str = "id VARCHAR, time TIMESTAMP NOT NULL, k VARCHAR, n BIGINT";
const A: &str = r#"{"id":"1","time":"2026-03-01T12:00:00Z","k":"a","n":1}"#;
const B: &str = r#"{"id":"2","time":"2026-03-01T13:00:00Z","k":"b","n":2}"#;
const C: &str = r#"{"id":"3","time":"2026-03-02T12:00:00Z","k":"a","n":4}"#;

pub async fn each_event_of_a_record_counts_once(kind: Kind) {
    let Some(world) = World::new(kind, &pipeline(FLAT, "event_time 'time', event_id 'id'")).await else { return };
    let (system, client) = world.start().await;
    let lines = format!("{A}\n{B}\n");
    let array = format!("[{B},{C},{C},5]");
    // Copies of single events among several, in both directions, and the whole record once more.
    let token = produce(&world, &system, &[&lines, &array, A, &lines, &array]).await;
    let expected = json!([{"k": "a", "hits": 2, "n": 5}, {"k": "b", "hits": 1, "n": 2}]);
    let answer = publish_all_of(&system, &client, "by_k", &token).await;
    assert_eq!(answer["rows"], expected);
    assert_eq!((&answer["envelope"]["copies"], &answer["envelope"]["rejected"]), (&json!(8), &json!(2)));
    system.stop().await.unwrap();
    // What was archived is read as it was, and so are more copies of it.
    let (system, client) = world.start().await;
    let token = produce(&world, &system, &[&array]).await;
    assert_eq!(publish_all_of(&system, &client, "by_k", &token).await["rows"], expected);
    system.stop().await.unwrap();
}

/// None is a reason to reject the event, nor to take it for another one than its copy.
pub async fn records_whose_timestamps_are_no_clocks_count_once(kind: Kind) {
    let Some(world) = World::new(kind, &pipeline(FLAT, "event_time 'time', event_id 'id'")).await else { return };
    let (system, client) = world.start().await;
    let now = SystemClock.now().0;
    let now = now - now.rem_euclid(1_000);
    // The time, a millisecond, and seconds for milliseconds; each event comes with all of them.
    let seconds = now / 1_000_000 * 1_000;
    let times = [now, 1_000, seconds, now, seconds, 1_000];
    let record = |(time, payload): (i64, &str)| NewRecord {
        key: Some("one partition".into()),
        payload: payload.as_bytes().to_vec().into(),
        timestamp: TimestampMicros(time),
        clock_shift: None,
    };
    let records = times.into_iter().zip([A, A, B, B, A, B]).map(record).collect();
    let token = append(&world, &system, records).await;
    let expected = json!([{"k": "a", "hits": 1, "n": 1}, {"k": "b", "hits": 1, "n": 2}]);
    check_sorted(&system, &client, &token, &expected).await;
    system.stop().await.unwrap();
}

pub async fn events_are_taken_out_of_their_envelopes(kind: Kind) {
    let debezium =
        format!(r#"{{"schema":{{}},"payload":{{"before":null,"after":{A},"op":"c","ts_ms":1772366400000}}}}"#);
    let update = format!(r#"{{"before":{A},"after":{A},"op":"u"}}"#);
    let batch = format!(r#"{{"batch":[{A},{B}],"sentAt":"2026-03-01T12:00:01Z"}}"#);
    let one = json!([{"k": "a", "hits": 1, "n": 1}]);
    let both = json!([{"k": "a", "hits": 1, "n": 1}, {"k": "b", "hits": 1, "n": 2}]);
    for (option, payloads, expected) in
        [("envelope 'debezium'", [&debezium, &update], one), ("events_at 'batch'", [&batch, &update], both)]
    {
        let options = format!("event_time 'time', event_id 'id', {option}");
        let Some(world) = World::new(kind, &pipeline(FLAT, &options)).await else { return };
        let (system, client) = world.start().await;
        let token = produce(&world, &system, &payloads.map(String::as_str)).await;
        check_sorted(&system, &client, &token, &expected).await;
        system.stop().await.unwrap();
    }
}

/// Groups of equal counts have no order of their own.
async fn check_sorted(system: &System, client: &Client, token: &str, expected: &Value) {
    for answer in [rows_of(client, "by_k", token).await, publish_all_of(system, client, "by_k", token).await] {
        let mut rows = answer["rows"].as_array().unwrap().clone();
        rows.sort_by_key(|row| row["k"].as_str().map(str::to_owned));
        assert_eq!(Value::from(rows), *expected);
    }
}

pub async fn columns_are_read_where_the_source_says(kind: Kind) {
    let columns = "meta STRUCT<dt TIMESTAMP, id VARCHAR>, k VARCHAR NOT NULL OPTIONS (path = 'meta.domain'),
                   n BIGINT OPTIONS (path = 'length.new'), at TIMESTAMP OPTIONS (path = 'timestamp', format = 'epoch_s')";
    let Some(world) = World::new(kind, &pipeline(columns, "event_time 'meta.dt', event_id 'meta.id'")).await else {
        return;
    };
    let (system, client) = world.start().await;
    let event = |id: &str, n: i64| {
        format!(
            r#"{{"meta":{{"dt":"2026-03-01T12:00:00Z","id":"{id}","domain":"a"}},"timestamp":17,"length":{{"new":{n}}}}}"#
        )
    };
    let token = produce(&world, &system, &[&event("1", 3), &event("2", 4), &event("1", 3)]).await;
    // Two partitions, a copy in the other one: batch alone finds it.
    let expected = json!([{"k": "a", "hits": 2, "n": 7}]);
    assert_eq!(publish_all_of(&system, &client, "by_k", &token).await["rows"], expected);
    system.stop().await.unwrap();
}

pub async fn events_may_happen_when_their_record_says(kind: Kind) {
    let Some(world) = World::new(kind, &pipeline("k VARCHAR, n BIGINT", "event_time '_timestamp'")).await else {
        return;
    };
    let (system, client) = world.start().await;
    let token = produce(&world, &system, &[r#"{"k":"a","n":1}"#, r#"{"k":"a","n":2}"#]).await;
    check(&system, &client, &token, &json!([{"k": "a", "hits": 2, "n": 3}])).await;
    system.stop().await.unwrap();
}

pub async fn a_source_that_learns_of_its_envelope_reads_what_it_rejected(kind: Kind) {
    let flat = pipeline(FLAT, "event_time 'time', event_id 'id'");
    let Some(mut world) = World::new(kind, &flat).await else { return };
    let batch = format!(r#"{{"batch":[{A},{B}]}}"#);
    let (system, client) = world.start().await;
    let token = produce(&world, &system, &[&batch, C]).await;
    let answer = publish_all_of(&system, &client, "by_k", &token).await;
    assert_eq!(answer["rows"], json!([{"k": "a", "hits": 1, "n": 4}]));
    system.stop().await.unwrap();

    let enveloped = pipeline(FLAT, "event_time 'time', event_id 'id', events_at 'batch'");
    world.pipeline = world.parts.pipeline(&enveloped);
    let (system, client) = world.start().await;
    let token = produce(&world, &system, &[&batch]).await;
    let answer = publish_all_of(&system, &client, "by_k", &token).await;
    assert_eq!(answer["rows"], json!([{"k": "a", "hits": 2, "n": 5}, {"k": "b", "hits": 1, "n": 2}]));
    assert_eq!(answer["envelope"]["rejected"], json!(0));
    system.stop().await.unwrap();
}
