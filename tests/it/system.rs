//! The thin thread through everything, in this process: HTTP in, both layers, HTTP out; on embedded and on real parts.

mod clocks;
mod columns;
mod compaction;
mod dead;
mod definitions;
mod documents;
mod failures;
mod fields;
mod formats;
mod forms;
mod full_store;
mod items;
mod lives;
mod overload;
mod partitions;
mod poison;
mod read_again;
mod readings;
mod shapes;
mod totals;
mod unreadable;
mod unseen;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use batch_layer::recompute::Mode;
use edge::{AllowedOrigins, Origins};
use event_log::NewRecord;
use positions::{Clock, ViewName};
use serde_json::{Value, json};
use twofold::client::{Client, Receipt, SendOutcome};
use twofold::config::{Config, ConfigInputs};
use twofold::environment::SystemClock;
use twofold::system::System;
use views::Pipeline;

use crate::support::parts::{AT_ONCE, Kind, Parts};
use clocks::a_wrong_clock_is_corrected_and_an_event_sent_again_counts_once;
use columns::{
    a_column_gets_its_first_type_back, a_new_column_is_read_from_what_was_archived_before_it,
    another_identity_and_dropped_columns_hold_for_what_was_archived,
    columns_of_other_types_letters_and_fields_read_every_record_again, text_becomes_json_and_a_missing_key_its_default,
    what_was_rejected_counts_once_the_definition_takes_it,
};
use compaction::answers_stay_the_same_while_the_master_dataset_is_compacted;
use dead::rejected_records_are_in_a_topic_of_their_own_where_the_setting_says_so;
use documents::json_maps_and_defaults_have_the_same_answer_in_both_layers;
use forms::events_count_in_every_form_that_means_one_value;
use items::each_item_of_an_array_counts_and_a_copy_brings_none;
use lives::{a_reset_from_the_end_counts_what_comes, a_source_whose_topic_was_replaced_goes_on_after_a_reset};
use overload::a_collector_asked_too_much_counts_what_it_accepted;
use poison::a_poisoned_topic_costs_no_good_event;
use shapes::{
    a_source_that_learns_of_its_envelope_reads_what_it_rejected, columns_are_read_where_the_source_says,
    each_event_of_a_record_counts_once, events_are_taken_out_of_their_envelopes,
    events_may_happen_when_their_record_says, records_whose_timestamps_are_no_clocks_count_once,
};
use unreadable::an_unreadable_value_is_null_in_both_layers_unless_the_source_is_strict;

const DEADLINE: Duration = Duration::from_secs(60);
const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, bytes BIGINT)
STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW hits_by_page AS
SELECT page, count(*) AS hits, sum(bytes) AS bytes, approx_distinct(id) AS ids FROM hits GROUP BY page;
";

const EVENTS: [&str; 5] = [
    r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/","bytes":100}"#,
    r#"{"id":"2","time":"2026-01-05T10:01:00Z","page":"/","bytes":20}"#,
    r#"{"id":"2","time":"2026-01-05T10:01:00Z","page":"/","bytes":20}"#,
    r#"{"id":"3","time":"2026-01-05T10:02:00Z","page":"/about","bytes":null}"#,
    r#"{"id":"4","time":"2026-01-05T10:02:00Z","bytes":7}"#,
];

fn expected_rows() -> Value {
    json!([
        {"page": "/", "hits": 2, "bytes": 120, "ids": 2},
        {"page": "/about", "hits": 1, "bytes": null, "ids": 1},
    ])
}

/// What outlives a system: its parts, its data directory, its definitions.
struct World {
    parts: Parts,
    folder: tempfile::TempDir,
    pipeline: String,
}

impl World {
    /// `None` where the parts that are asked for cannot be had.
    async fn new(kind: Kind, pipeline: &str) -> Option<Self> {
        let parts = Parts::of(kind).await?;
        let pipeline = parts.pipeline(pipeline);
        Some(Self { parts, folder: tempfile::tempdir().unwrap(), pipeline })
    }

    fn config(&self) -> Config {
        let flags = vec![("system.data_dir".to_owned(), self.folder.path().to_str().unwrap().to_owned())];
        let files = vec![("test".to_owned(), AT_ONCE.to_owned())];
        Config::read(ConfigInputs { files, flags, environment: self.parts.settings() }).unwrap()
    }

    async fn start(&self) -> (System, Client) {
        self.start_with(self.config()).await
    }

    async fn start_with(&self, config: Config) -> (System, Client) {
        let pipeline = Pipeline::read(&self.pipeline, &BTreeMap::new()).unwrap();
        let system = System::start(config, pipeline).await.unwrap();
        let client = Client::new(&system.url()).unwrap();
        (system, client)
    }

    /// Writes events to the topic, past the collector: it takes none of a source that has stopped.
    async fn append(&self, system: &System, lines: &[&str]) {
        let topic = self.parts.services.as_ref().map_or_else(|| "hits".to_owned(), |services| services.named("hits"));
        let record = |line: &&str| {
            let event: Value = serde_json::from_str(line).unwrap();
            let key = event["id"].as_str().map(|id| id.to_owned().into());
            NewRecord { key, payload: (*line).to_owned().into(), timestamp: SystemClock.now(), clock_shift: None }
        };
        let stored = system.log().unwrap().append(&topic, lines.iter().map(record).collect()).await;
        assert!(stored.iter().all(Result::is_ok), "{stored:?}");
    }

    /// The topic is lost and made again under its name; no system runs.
    async fn replace_topic(&self) {
        match &self.parts.services {
            Some(services) => services.admin().replace(&services.named("hits"), 2).await,
            None => std::fs::remove_dir_all(self.folder.path().join("log")).unwrap(),
        }
    }
}

async fn send(client: &Client, lines: &[&str]) -> Receipt {
    match client.send_events("hits", lines.join("\n").into()).await.unwrap() {
        SendOutcome::Received(receipt) => receipt,
        SendOutcome::Later { reason, .. } => panic!("{reason}"),
    }
}

async fn rows(client: &Client, token: &str) -> Value {
    rows_of(client, "hits_by_page", token).await
}

async fn rows_of(client: &Client, view: &str, token: &str) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let answer = try_rows_of(client, view, (token, "30s")).await.unwrap();
        // What a former definition says is asked for elsewhere.
        if answer["envelope"]["former"].is_null() {
            return answer;
        }
        assert!(Instant::now() < deadline, "never by the present definition: {answer:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn try_rows_of(client: &Client, view: &str, (token, timeout): (&str, &str)) -> anyhow::Result<Value> {
    let parameters = [("order", "-hits"), ("after", token), ("timeout", timeout)];
    client.get(&format!("/v1/views/{view}/rows"), &parameters).await
}

/// Recomputes until the batch part of `hits_by_page` covers everything.
async fn publish_all(system: &System, client: &Client, token: &str) -> Value {
    publish_all_of(system, client, "hits_by_page", token).await
}

/// The archive may be behind, with one partition more than with another, and each publication covers what it has by
/// then.
async fn publish_all_of(system: &System, client: &Client, view: &str, token: &str) -> Value {
    // Not waited for: what a changed view lacks in realtime comes with a later publication alone.
    let answer = async || try_rows_of(client, view, (token, "100ms")).await;
    publish_until(system, &ViewName::new(view), answer).await
}

/// Recomputes until nothing of the view's answer is realtime's.
async fn publish_until(system: &System, view: &ViewName, answer: impl AsyncFn() -> anyhow::Result<Value>) -> Value {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let round = system.recompute(Mode::Incremental).await.unwrap();
        assert!(round[view].is_ok(), "{round:?}");
        let answer = answer().await;
        if let Ok(answer) = &answer {
            let envelope = &answer["envelope"];
            if envelope["realtime_rows"] == 0 && !envelope["version"].is_null() && envelope["former"].is_null() {
                return answer.clone();
            }
        }
        let found = answer.map(|answer| answer["envelope"].clone());
        assert!(Instant::now() < deadline, "batch never covered everything: {found:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

tests::on_all_parts!(
    a_source_that_learns_of_its_envelope_reads_what_it_rejected,
    columns_are_read_where_the_source_says,
    each_event_of_a_record_counts_once,
    events_are_taken_out_of_their_envelopes,
    events_may_happen_when_their_record_says,
    records_whose_timestamps_are_no_clocks_count_once,
    a_column_gets_its_first_type_back,
    columns_of_other_types_letters_and_fields_read_every_record_again,
    a_new_column_is_read_from_what_was_archived_before_it,
    another_identity_and_dropped_columns_hold_for_what_was_archived,
    text_becomes_json_and_a_missing_key_its_default,
    what_was_rejected_counts_once_the_definition_takes_it,
    a_reset_from_the_end_counts_what_comes,
    a_source_whose_topic_was_replaced_goes_on_after_a_reset,
    an_answer_stays_the_same_when_batch_takes_over,
    events_count_in_every_form_that_means_one_value,
    each_item_of_an_array_counts_and_a_copy_brings_none,
    json_maps_and_defaults_have_the_same_answer_in_both_layers,
    an_unreadable_value_is_null_in_both_layers_unless_the_source_is_strict,
    rejected_records_are_in_a_topic_of_their_own_where_the_setting_says_so,
    a_wrong_clock_is_corrected_and_an_event_sent_again_counts_once,
    a_stopped_system_goes_on_where_it_stood,
    status_shows_every_part_of_the_way,
    a_source_whose_topic_was_replaced_stops_and_says_so,
    a_poisoned_topic_costs_no_good_event,
    a_collector_asked_too_much_counts_what_it_accepted,
    answers_stay_the_same_while_the_master_dataset_is_compacted,
);

async fn an_answer_stays_the_same_when_batch_takes_over(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    assert_eq!((receipt.accepted, receipt.rejected), (4, 1));

    let before = rows(&client, &receipt.token).await;
    assert_eq!(before["rows"], expected_rows());
    assert_eq!(before["envelope"]["version"], Value::Null);
    assert_eq!(before["envelope"]["batch_rows"], 0);

    let after = publish_all(&system, &client, &receipt.token).await;
    assert_eq!(after["rows"], expected_rows());
    assert_eq!(after["envelope"]["batch_rows"], 5);
    assert_eq!(after["envelope"]["head"], before["envelope"]["head"]);
    assert_eq!((&after["envelope"]["copies"], &after["envelope"]["rejected"]), (&json!(1), &json!(1)));

    let sql = "SELECT sum(hits) AS hits, MEASURE(ids) AS ids FROM hits_by_page";
    let answer: Value = serde_json::from_str(&client.sql(sql).await.unwrap()).unwrap();
    assert_eq!(answer["rows"], json!([{"hits": 3, "ids": 3}]));
    system.stop().await.unwrap();
}

async fn a_stopped_system_goes_on_where_it_stood(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let token = send(&client, &EVENTS[..3]).await.token;
    rows(&client, &token).await;
    system.stop().await.unwrap();

    let (system, client) = world.start().await;
    let token = send(&client, &EVENTS[3..]).await.token;
    assert_eq!(rows(&client, &token).await["rows"], expected_rows());
    assert_eq!(publish_all(&system, &client, &token).await["rows"], expected_rows());
    system.stop().await.unwrap();
}

async fn status_shows_every_part_of_the_way(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    publish_all(&system, &client, &receipt.token).await;
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = client.get("/v1/status", &[]).await.unwrap();
        let sum = |field: &str| -> i64 {
            let partitions = status["sources"][0]["partitions"].as_array().unwrap();
            partitions.iter().map(|partition| partition[field].as_i64().unwrap_or(0)).sum()
        };
        let reached = ["produced", "archived", "batched", "realtime", "rows"].map(sum);
        if reached == [5; 5] {
            assert_eq!(["rejected", "copies", "lag"].map(sum), [1, 1, 0]);
            let shown = json!({
                "records": 1, "command": "twofold rejected hits", "route": "GET /v1/sources/hits/rejected",
            });
            assert_eq!(status["sources"][0]["rejected"], shown);
            let stored = status["system"]["embedded_log_bytes"].as_u64();
            assert_eq!(stored.is_some_and(|bytes| bytes > 0), kind == Kind::Embedded, "{stored:?}");
            assert_eq!(status["system"]["stopped_sources"], json!({}));
            break;
        }
        assert!(Instant::now() < deadline, "not all reached the end: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    system.stop().await.unwrap();
}

/// Why the source stopped, once it has.
async fn until_stopped(client: &Client) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = client.get("/v1/status", &[]).await.unwrap();
        if let Some(reason) = status["system"]["stopped_sources"]["hits"].as_str() {
            return reason.to_owned();
        }
        assert!(Instant::now() < deadline, "the source goes on: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the collector says once the archive has stopped, too, and it takes no events any more.
async fn until_refused(client: &Client) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let SendOutcome::Later { after: None, reason, .. } =
            client.send_events("hits", EVENTS[0].into()).await.unwrap()
        {
            return reason;
        }
        assert!(Instant::now() < deadline, "events are still taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The topic is lost and created again under its name: going on would mix two topics.
async fn a_source_whose_topic_was_replaced_stops_and_says_so(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    publish_all(&system, &client, &receipt.token).await;
    system.stop().await.unwrap();
    world.replace_topic().await;

    let (system, client) = world.start().await;
    let others: Vec<String> = (0..20)
        .map(|id| format!(r#"{{"id":"other-{id}","time":"2026-01-05T10:00:00Z","page":"/","bytes":1}}"#))
        .collect();
    world.append(&system, &others.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let reason = until_stopped(&client).await;
    assert!(reason.contains("deleted and created again"), "{reason}");
    let refusal = until_refused(&client).await;
    assert!(refusal.contains("Source has stopped") && refusal.contains("twofold source reset hits"), "{refusal}");
    let readiness = client.get("/readyz", &[]).await.unwrap_err().to_string();
    assert!(readiness.contains("503"), "{readiness}");
    let answer = client.get("/v1/views/hits_by_page/rows", &[("order", "-hits"), ("layer", "batch")]).await.unwrap();
    assert_eq!(answer["rows"], expected_rows());
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_setting_lets_a_page_send_what_both_layers_count() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let mut config = world.config();
    let shop = Origins::These(["https://shop.example".to_owned()].into());
    config.collector.allowed_origins = AllowedOrigins::default().and_of("hits", shop);
    let (system, client) = world.start_with(config).await;
    let events = format!("{}/v1/sources/hits/events", client.base());
    let browser = reqwest::Client::new();
    for (origin, asked, sent) in [("https://shop.example", 204, 200), ("https://other.example", 403, 403)] {
        let question = browser.request(reqwest::Method::OPTIONS, &events).header("origin", origin);
        let leave = question.header("access-control-request-method", "POST").send().await.unwrap();
        let beacon = browser.post(&events).header("origin", origin).header("content-type", "text/plain;charset=UTF-8");
        let beacon = beacon.body(EVENTS.join("\n")).send().await.unwrap();
        assert_eq!((leave.status().as_u16(), beacon.status().as_u16()), (asked, sent), "{origin}");
        let told = [&leave, &beacon].map(|answer| answer.headers().get("access-control-allow-origin").cloned());
        assert!(told.iter().all(|told| told.is_some() == (sent == 200)), "{origin}: {told:?}");
        if sent == 200 {
            let receipt: Value = serde_json::from_str(&beacon.text().await.unwrap()).unwrap();
            let token = receipt["token"].as_str().unwrap();
            assert_eq!(rows(&client, token).await["rows"], expected_rows());
            assert_eq!(publish_all(&system, &client, token).await["rows"], expected_rows());
        }
    }
    system.stop().await.unwrap();
}
