//! A source whose definition changes between two runs of the system: what was archived is read as it is defined now.

use batch_layer::recompute::Mode;
use serde_json::{Value, json};

use super::compaction::wait_for;
use super::{Kind, World, publish_all_of, send};

fn pipeline(columns: &str, options: &str, measures: &str) -> String {
    format!(
        "CREATE UNBOUNDED EXTERNAL TABLE hits (id VARCHAR, time TIMESTAMP NOT NULL, k VARCHAR NOT NULL{columns})
         STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms'{options});
         CREATE MATERIALIZED VIEW ev_k AS SELECT k, count(*) AS hits{measures} FROM hits GROUP BY k;"
    )
}

fn event(id: &str, rest: &str) -> String {
    format!(r#"{{"time":"2026-03-01T12:00:00Z","id":"{id}","k":"a"{rest}}}"#)
}

/// Sends events to a system of the first definition, others to one of the second, and compares what each says once
/// batch has all: in the end also after a full recompute.
async fn check(kind: Kind, definitions: [&str; 2], events: [&[String]; 2], expected: [Value; 2]) {
    let Some(mut world) = World::new(kind, definitions[0]).await else { return };
    for step in 0..2 {
        world.pipeline = world.parts.pipeline(definitions[step]);
        let (system, client) = world.start().await;
        let lines: Vec<&str> = events[step].iter().map(String::as_str).collect();
        let token = send(&client, &lines).await.token;
        let answer = publish_all_of(&system, &client, "ev_k", &token).await;
        assert_eq!(answer["rows"], expected[step], "{}", answer["envelope"]);
        if step == 1 {
            assert!(system.recompute(Mode::Full).await.unwrap().values().all(Result::is_ok));
            let answer = publish_all_of(&system, &client, "ev_k", &token).await;
            assert_eq!(answer["rows"], expected[step], "{}", answer["envelope"]);
            // Compaction reads again what is archived, and what was rejected is no longer counted as that.
            let archive = |status: &Value| status["system"]["archive of hits"].clone();
            wait_for(&client, "read again", |status| archive(status)["rejected"] == json!(0)).await;
            let answer = publish_all_of(&system, &client, "ev_k", &token).await;
            assert_eq!(answer["rows"], expected[step], "{}", answer["envelope"]);
        }
        system.stop().await.unwrap();
    }
}

pub async fn a_new_column_is_read_from_what_was_archived_before_it(kind: Kind) {
    let before = pipeline(", n BIGINT", "", "");
    let after = pipeline(", country VARCHAR, n BIGINT", "", ", count(country) AS with_country, sum(n) AS n");
    let first = [event("1", r#","n":1,"country":"DE""#), event("2", r#","n":2"#)];
    let second = [event("3", r#","n":4,"country":"FR""#), event("1", r#","n":1,"country":"DE""#)];
    let expected = [json!([{"k": "a", "hits": 2}]), json!([{"k": "a", "hits": 3, "with_country": 2, "n": 7}])];
    check(kind, [&before, &after], [&first, &second], expected).await;
}

pub async fn what_was_rejected_counts_once_the_definition_takes_it(kind: Kind) {
    let before = pipeline(", n BIGINT NOT NULL", "", "");
    let after = pipeline(", n BIGINT", "", "");
    let first = [event("1", r#","n":1"#), event("2", "")];
    let second = [event("3", ""), event("2", "")];
    let expected = [json!([{"k": "a", "hits": 1}]), json!([{"k": "a", "hits": 3}])];
    check(kind, [&before, &after], [&first, &second], expected).await;
}

/// Both are other readings of what is archived, in columns of the same stored type. A value that was lost comes back.
pub async fn text_becomes_json_and_a_missing_key_its_default(kind: Kind) {
    let before = pipeline(", doc VARCHAR, n BIGINT", "", ", sum(n) AS n");
    let after = pipeline(", doc JSON, n BIGINT DEFAULT 10", "", ", sum(n) AS n, max(json_get_str(doc, 'x')) AS x");
    let first = [event("1", r#","doc":"text","n":1"#), event("2", r#","doc":{"x":"y"}"#), event("3", r#","n":null"#)];
    let second = [event("4", r#","doc":["z"],"n":100"#), event("1", r#","doc":"text","n":1"#)];
    let expected = [json!([{"k": "a", "hits": 3, "n": 1}]), json!([{"k": "a", "hits": 4, "n": 111, "x": "y"}])];
    check(kind, [&before, &after], [&first, &second], expected).await;
}

pub async fn another_identity_and_dropped_columns_hold_for_what_was_archived(kind: Kind) {
    let before = pipeline(", n BIGINT, other VARCHAR", "", ", sum(n) AS n");
    // Copies are told by another column from here on, and one column is no longer declared.
    let after = pipeline(", other VARCHAR", "", "").replace("event_id 'id'", "event_id 'other'");
    let first = [event("1", r#","n":1,"other":"x""#), event("2", r#","n":2,"other":"x""#)];
    let second = [event("3", r#","other":"x""#), event("4", r#","other":"y""#)];
    let expected = [json!([{"k": "a", "hits": 2, "n": 3}]), json!([{"k": "a", "hits": 2}])];
    check(kind, [&before, &after], [&first, &second], expected).await;
}

/// A table holds one type under a name: the new column stands beside the old one there, and every record is read again.
pub async fn columns_of_other_types_letters_and_fields_read_every_record_again(kind: Kind) {
    let before = pipeline(", uid BIGINT, st STRUCT<a INT>, Name VARCHAR", "", ", max(uid) AS u");
    let after = pipeline(
        ", uid VARCHAR, st STRUCT<a INT, b VARCHAR>, \"NAME\" VARCHAR",
        "",
        ", max(uid) AS u, max(st.b) AS b, max(\"NAME\") AS n",
    );
    let first = [event("1", r#","uid":7,"st":{"a":1,"b":"x"},"name":"y""#)];
    let second = [event("2", r#","uid":"8b""#)];
    let expected =
        [json!([{"k": "a", "hits": 1, "u": 7}]), json!([{"k": "a", "hits": 2, "u": "8b", "b": "x", "n": "y"}])];
    check(kind, [&before, &after], [&first, &second], expected).await;
}

/// And back: what the first definition stored is read as that again.
pub async fn a_column_gets_its_first_type_back(kind: Kind) {
    let before = pipeline(", uid VARCHAR", "", ", max(uid) AS u");
    let after = pipeline(", uid BIGINT", "", ", max(uid) AS u");
    let first = [event("1", r#","uid":"7""#), event("2", r#","uid":"10""#)];
    let second = [event("3", r#","uid":9"#)];
    let expected = [json!([{"k": "a", "hits": 2, "u": "7"}]), json!([{"k": "a", "hits": 3, "u": 10}])];
    check(kind, [&before, &after], [&first, &second], expected).await;
    let expected = [json!([{"k": "a", "hits": 2, "u": 10}]), json!([{"k": "a", "hits": 3, "u": "9"}])];
    check(kind, [&after, &before], [&first, &second], expected).await;
}
