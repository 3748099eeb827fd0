//! Avro and Protobuf of a schema registry through both layers: several schemas in one topic, registries that are away,
//! and what no registry knows.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use apache_avro::types::Value as Avro;
use batch_layer::recompute::Mode;
use event_log::NewRecord;
use positions::{Clock, PositionToken, SourceName};
use serde_json::{Value, json};
use twofold::client::Client;
use twofold::config::{Config, SchemaRegistrySettings, Secret};
use twofold::environment::SystemClock;
use twofold::schema_registry::HttpSchemaRegistry;
use twofold::system::System;
use views::Pipeline;

use super::{DEADLINE, Kind, World, publish_all, rows, send};
use crate::decode::wire::{datum, framed, message};
use crate::support::schema_registry::SchemaRegistry;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, page VARCHAR NOT NULL, bytes BIGINT)
STORED AS AVRO LOCATION 'kafka://hits' OPTIONS (event_time 'time', gap '200ms', partitions '1');

CREATE MATERIALIZED VIEW hits_by_page AS SELECT page, count(*) AS hits, sum(bytes) AS bytes FROM hits GROUP BY page;
";

/// 2026-01-05T10:00:00Z.
const TIME_MILLIS: i64 = 1_767_607_200_000;

const FIRST: &str = r#"{"type": "record", "name": "Hit", "fields": [
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-millis"}},
    {"name": "page", "type": "string"}]}"#;

const SECOND: &str = r#"{"type": "record", "name": "Hit", "fields": [
    {"name": "bytes", "type": ["null", "long"]}, {"name": "page", "type": "string"},
    {"name": "time", "type": {"type": "long", "logicalType": "timestamp-micros"}}]}"#;

const PROTO: &str = r#"
syntax = "proto3";
import "google/protobuf/timestamp.proto";
message Hit { google.protobuf.Timestamp time = 1; string page = 2; int64 bytes = 3; }
"#;

tests::on_all_parts!(
    payloads_of_several_schemas_count_in_both_layers_and_outlive_their_registry,
    an_outage_of_the_registry_delays_events_and_rejects_none,
    a_registry_that_refuses_the_password_is_waited_for_with_the_setting_named,
    an_unknown_schema_is_waited_for_until_the_source_rejects_it,
    payloads_that_were_archived_as_json_are_read_once_the_source_says_what_they_are,
);

fn fields(pairs: Vec<(&str, Avro)>) -> Avro {
    Avro::Record(pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

fn first(id: u32, page: &str) -> Vec<u8> {
    let value = fields(vec![("time", Avro::TimestampMillis(TIME_MILLIS)), ("page", Avro::String(page.to_owned()))]);
    framed(id, &datum(FIRST, value))
}

fn second(id: u32, page: &str, bytes: i64) -> Vec<u8> {
    let value = fields(vec![
        ("bytes", Avro::Union(1, Box::new(Avro::Long(bytes)))),
        ("page", Avro::String(page.to_owned())),
        ("time", Avro::TimestampMicros(TIME_MILLIS * 1_000)),
    ]);
    framed(id, &datum(SECOND, value))
}

fn proto(id: u32, page: &str, bytes: i64) -> Vec<u8> {
    let fields = format!("time {{ seconds: {} }} page: \"{page}\" bytes: {bytes}", TIME_MILLIS / 1_000);
    framed(id, &[[0].as_slice(), message(PROTO, "Hit", &fields).as_slice()].concat())
}

fn with_registry(world: &World, url: &str) -> Config {
    let url = url.parse().unwrap();
    let registry = SchemaRegistrySettings { url, credentials: None, timeout: Duration::from_secs(5) };
    Config { schema_registry: Some(registry), ..world.config() }
}

/// Into the log itself, as a producer with a serializer; the token behind the last.
async fn append(world: &World, system: &System, payloads: Vec<Vec<u8>>) -> String {
    let topic = Pipeline::read(&world.pipeline, &BTreeMap::new()).unwrap().sources[0].topic.clone();
    let timestamp = SystemClock.now();
    let records = payloads.into_iter().map(|payload| NewRecord {
        key: None,
        payload: payload.into(),
        timestamp,
        clock_shift: None,
    });
    let mut token = PositionToken::default();
    for stored in system.log().unwrap().append(&topic, records.collect()).await {
        let (partition, offset) = stored.unwrap();
        token.cover(&SourceName::new("hits"), partition, offset.next());
    }
    token.encode()
}

/// Waits until the archive says that it waits, and in these words.
async fn until_waiting(client: &Client, words: &[&str]) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let status = client.get("/v1/status", &[]).await.unwrap();
        let told = status["system"]["archive of hits"]["error"].as_str().unwrap_or_default();
        if words.iter().all(|word| told.contains(word)) {
            return;
        }
        assert!(Instant::now() < deadline, "never said: {words:?} in {status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Fails unless both layers answer so, and count so many rejected records.
async fn check(system: &System, client: &Client, token: &str, expected: &Value, rejected: u64) {
    let realtime = rows(client, token).await;
    let batch = publish_all(system, client, token).await;
    for answer in [&realtime, &batch] {
        assert_eq!((&answer["rows"], &answer["envelope"]["rejected"]), (expected, &json!(rejected)), "{answer:#}");
    }
}

async fn payloads_of_several_schemas_count_in_both_layers_and_outlive_their_registry(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let registry = SchemaRegistry::start().await;
    let one = registry.register("hits-value", &json!({ "schema": FIRST })).await;
    let two = registry.register("hits-value", &json!({ "schema": SECOND })).await;
    let three = registry.register("hits-value", &json!({ "schema": PROTO, "schemaType": "PROTOBUF" })).await;
    let config = with_registry(&world, registry.url());
    let (system, client) = world.start_with(config.clone()).await;
    let mut cut_off = second(two, "/cut", 1);
    cut_off.pop();
    let payloads = vec![first(one, "/a"), second(two, "/a", 5), cut_off, proto(three, "/a", 7), b"a,1".to_vec()];
    append(&world, &system, payloads).await;
    // What comes over HTTP is JSON, also here.
    let token = send(&client, &[r#"{"time":"2026-01-05T10:00:00Z","page":"/b","bytes":1}"#]).await.token;
    let expected = json!([{"page": "/a", "hits": 3, "bytes": 12}, {"page": "/b", "hits": 1, "bytes": 1}]);
    check(&system, &client, &token, &expected, 2).await;
    let reasons = client.rejected("hits", &[]).await.unwrap()["reasons"].clone();
    assert_eq!(reasons.as_array().unwrap().len(), 2, "{reasons}");
    for kind in ["bad_payload", "no_schema"] {
        assert!(reasons.to_string().contains(kind), "{kind} is not among {reasons}");
    }
    assert!(registry.asked_schemas() <= 6, "each layer asks once for each schema");
    system.stop().await.unwrap();
    drop(registry);

    let (system, client) = world.start_with(config).await;
    let token = append(&world, &system, vec![second(two, "/a", 3)]).await;
    let expected = json!([{"page": "/a", "hits": 4, "bytes": 15}, {"page": "/b", "hits": 1, "bytes": 1}]);
    check(&system, &client, &token, &expected, 2).await;
    let round = system.recompute(Mode::Full).await.unwrap();
    assert!(round.values().all(Result::is_ok), "{round:?}");
    assert_eq!(rows(&client, &token).await["rows"], expected);
    system.stop().await.unwrap();
}

async fn an_outage_of_the_registry_delays_events_and_rejects_none(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let registry = SchemaRegistry::start().await;
    let one = registry.register("hits-value", &json!({ "schema": FIRST })).await;
    let two = registry.register("hits-value", &json!({ "schema": SECOND })).await;
    let (system, client) = world.start_with(with_registry(&world, registry.url())).await;
    let token = append(&world, &system, vec![first(one, "/a")]).await;
    assert_eq!(rows(&client, &token).await["rows"], json!([{"page": "/a", "hits": 1, "bytes": null}]));

    registry.set_down(true);
    let token = append(&world, &system, vec![first(one, "/a"), second(two, "/a", 5), first(one, "/b")]).await;
    until_waiting(&client, &["partition 0 waits at offset 2", &format!("schema {two}"), "503"]).await;
    let answer = client.get("/v1/views/hits_by_page/rows", &[("order", "-hits")]).await.unwrap();
    assert!(answer["rows"].to_string().contains("/a") && !answer["rows"].to_string().contains("/b"), "{answer:#}");
    registry.set_down(false);
    let expected = json!([{"page": "/a", "hits": 3, "bytes": 5}, {"page": "/b", "hits": 1, "bytes": null}]);
    check(&system, &client, &token, &expected, 0).await;
    system.stop().await.unwrap();
}

async fn a_registry_that_refuses_the_password_is_waited_for_with_the_setting_named(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let registry = SchemaRegistry::start().await;
    let one = registry.register("hits-value", &json!({ "schema": FIRST })).await;
    registry.set_credentials("twofold", "right");
    let mut config = with_registry(&world, registry.url());
    let settings = config.schema_registry.as_mut().unwrap();
    settings.credentials = Some(("twofold".to_owned(), Secret("wrong".to_owned())));
    let asked = HttpSchemaRegistry::new(settings).unwrap().count_subjects().await.unwrap_err().to_string();
    assert!(asked.contains("`schema_registry.password`") && !asked.contains("wrong"), "{asked}");
    let (system, client) = world.start_with(config.clone()).await;
    let token = append(&world, &system, vec![first(one, "/a")]).await;
    until_waiting(&client, &["`schema_registry.user`", "401"]).await;
    system.stop().await.unwrap();

    let settings = config.schema_registry.as_mut().unwrap();
    settings.credentials = Some(("twofold".to_owned(), Secret("right".to_owned())));
    assert_eq!(HttpSchemaRegistry::new(settings).unwrap().count_subjects().await.unwrap(), 1);
    let (system, client) = world.start_with(config).await;
    check(&system, &client, &token, &json!([{"page": "/a", "hits": 1, "bytes": null}]), 0).await;
    system.stop().await.unwrap();
}

async fn an_unknown_schema_is_waited_for_until_the_source_rejects_it(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let registry = SchemaRegistry::start().await;
    let one = registry.register("hits-value", &json!({ "schema": FIRST })).await;
    let (mut system, client) = world.start_with(with_registry(&world, registry.url())).await;
    let token = append(&world, &system, vec![first(one, "/a"), framed(99, b"junk"), first(one, "/a")]).await;
    until_waiting(&client, &["partition 0 waits at offset 1 for schema 99", "reject_schemas '99'"]).await;
    let rejecting = world.pipeline.replace("event_time 'time'", "event_time 'time', reject_schemas '99'");
    system.change_definitions(Pipeline::read(&rejecting, &BTreeMap::new()).unwrap()).await.unwrap();
    check(&system, &client, &token, &json!([{"page": "/a", "hits": 2, "bytes": null}]), 1).await;
    system.stop().await.unwrap();
}

async fn payloads_that_were_archived_as_json_are_read_once_the_source_says_what_they_are(kind: Kind) {
    let Some(mut world) = World::new(kind, PIPELINE).await else { return };
    let registry = SchemaRegistry::start().await;
    let one = registry.register("hits-value", &json!({ "schema": FIRST })).await;
    let as_avro = world.pipeline.clone();
    world.pipeline = as_avro.replace("STORED AS AVRO", "STORED AS JSON");
    let config = with_registry(&world, registry.url());
    let (system, client) = world.start_with(config.clone()).await;
    let token = append(&world, &system, vec![first(one, "/a"), first(one, "/b")]).await;
    check(&system, &client, &token, &json!([]), 2).await;
    system.stop().await.unwrap();

    world.pipeline = as_avro;
    let (system, client) = world.start_with(config).await;
    let token = append(&world, &system, vec![first(one, "/a")]).await;
    let expected = json!([{"page": "/a", "hits": 2, "bytes": null}, {"page": "/b", "hits": 1, "bytes": null}]);
    let deadline = Instant::now() + DEADLINE;
    // The schemas of what was archived are in the facts soon after the start.
    while system.recompute(Mode::Full).await.unwrap().values().any(Result::is_err) {
        assert!(Instant::now() < deadline, "the archived schemas are never learned");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let answer = publish_all(&system, &client, &token).await;
    assert_eq!(answer["rows"], expected, "{answer:#}");
    system.stop().await.unwrap();
}

/// A schema that imports another one, which the registry keeps under a subject of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_protobuf_schema_is_read_with_what_it_imports() {
    let pipeline = PIPELINE.replace("STORED AS AVRO", "STORED AS PROTOBUF");
    let world = World::new(Kind::Embedded, &pipeline).await.expect("the embedded parts are always there");
    let registry = SchemaRegistry::start().await;
    let common = r#"syntax = "proto3"; package common; message Page { string name = 1; }"#;
    registry.register("common", &json!({ "schema": common, "schemaType": "PROTOBUF" })).await;
    let hit = r#"syntax = "proto3"; import "common.proto";
        message Hit { int64 time = 1; string page = 2; common.Page at = 3; }"#;
    let references = json!([{"name": "common.proto", "subject": "common", "version": 1}]);
    let body = json!({ "schema": hit, "schemaType": "PROTOBUF", "references": references });
    let id = registry.register("hits-value", &body).await;
    let (system, client) = world.start_with(with_registry(&world, registry.url())).await;
    // Field 1, 1_767_607_200 seconds; field 2, one byte; field 3, a message of three bytes.
    let message = [0x08, 0xa0, 0x97, 0xee, 0xca, 0x06, 0x12, 1, b'a', 0x1a, 3, 0x0a, 1, b'x'];
    let token = append(&world, &system, vec![framed(id, &[[0].as_slice(), message.as_slice()].concat())]).await;
    check(&system, &client, &token, &json!([{"page": "a", "hits": 1, "bytes": null}]), 0).await;
    system.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_with_schemas_is_refused_without_a_registry() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let pipeline = Pipeline::read(&world.pipeline, &BTreeMap::new()).unwrap();
    let refused = System::start(world.config(), pipeline).await.unwrap_err().to_string();
    assert!(refused.contains("hits is STORED AS AVRO") && refused.contains("`schema_registry.url`"), "{refused}");
}
