//! Views over the items of an array: one event counts in several groups, its copy in none, and both layers, SQL and a
//! full recompute say the same.

use batch_layer::recompute::Mode;
use serde_json::{Value, json};

use super::{Kind, World, publish_all_of, rows_of, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR, time TIMESTAMP NOT NULL, page VARCHAR, tags ARRAY<VARCHAR>, price DOUBLE
) STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW by_tag AS
SELECT unnest(tags) AS tag, count(*) AS hits, count(DISTINCT page, price) AS offers FROM hits GROUP BY tag;

CREATE MATERIALIZED VIEW by_tag_and_hour AS
SELECT t.tag, date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS hits
FROM hits LEFT JOIN UNNEST(tags) AS t(tag) ON true WHERE page <> '/hidden' GROUP BY t.tag, hour;
";

/// The third is a copy of the second, the last is of another year than the others.
const EVENTS: [&str; 8] = [
    r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/a","tags":["x","y","x"],"price":0.0}"#,
    r#"{"id":"2","time":"2026-01-05T10:30:00Z","page":"/a","tags":["x"],"price":-0.0}"#,
    r#"{"id":"2","time":"2026-01-05T10:30:00Z","page":"/a","tags":["x"],"price":-0.0}"#,
    r#"{"id":"3","time":"2026-01-05T11:00:00Z","page":"/b","tags":[],"price":1.5}"#,
    r#"{"id":"4","time":"2026-01-05T11:00:00Z","page":"/b"}"#,
    r#"{"id":"5","time":"2026-01-05T11:00:00Z","page":"/b","tags":[null,"x"],"price":1.5}"#,
    r#"{"id":"6","time":"2026-01-05T11:00:00Z","page":"/hidden","tags":["z","z","z"]}"#,
    r#"{"id":"7","time":"2025-12-31T23:00:00Z","page":"/c","tags":["y"],"price":2.5}"#,
];

pub async fn each_item_of_an_array_counts_and_a_copy_brings_none(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    assert_eq!(receipt.rejected, 0);
    let by_tag = json!([
        {"tag": "x", "hits": 4, "offers": 2},
        {"tag": "z", "hits": 3, "offers": 0},
        {"tag": "y", "hits": 2, "offers": 2},
        {"tag": null, "hits": 1, "offers": 1},
    ]);
    let without_hour = json!([{"tag": "x", "hits": 4}, {"tag": null, "hits": 3}, {"tag": "y", "hits": 2}]);
    let check_sql = async |layer: &str| {
        let sql = "SELECT tag, sum(hits) AS hits FROM by_tag_and_hour GROUP BY tag ORDER BY hits DESC";
        let answer: Value = serde_json::from_str(&client.sql(sql).await.unwrap()).unwrap();
        assert_eq!(answer["rows"], without_hour, "{layer}");
    };
    let before = rows_of(&client, "by_tag", &receipt.token).await;
    assert_eq!((&before["rows"], &before["envelope"]["batch_rows"]), (&by_tag, &json!(0)), "in realtime");
    rows_of(&client, "by_tag_and_hour", &receipt.token).await;
    check_sql("in realtime").await;
    for layer in ["in batch", "once more, all of it"] {
        assert_eq!(publish_all_of(&system, &client, "by_tag", &receipt.token).await["rows"], by_tag, "{layer}");
        publish_all_of(&system, &client, "by_tag_and_hour", &receipt.token).await;
        check_sql(layer).await;
        assert!(system.recompute(Mode::Full).await.unwrap().values().all(Result::is_ok));
    }
    system.stop().await.unwrap();
}
