//! Definitions that are easily read otherwise than they are meant, in realtime, in batch and across both: names, keys
//! of every type, calendars, NULL, fields of a STRUCT.

use serde_json::{Value, json};
use twofold::client::Client;

use super::{Kind, World, publish_all_of, send};

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, "order" INT, "group" VARCHAR, b BOOLEAN, d DECIMAL(10, 2), i BIGINT,
  st STRUCT<a INT, b VARCHAR, deep STRUCT<c DOUBLE>>, items ARRAY<STRUCT<sku VARCHAR, qty INT>>
) STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW days AS SELECT date_trunc('day', time) AS time, count(*) AS n FROM hits GROUP BY 1;
CREATE MATERIALIZED VIEW weeks AS SELECT date_part('week', time) AS w, count(*) AS n FROM hits GROUP BY date_part('week', time);
CREATE MATERIALIZED VIEW mondays AS SELECT date_trunc('week', time) AS w, count(*) AS n FROM hits GROUP BY date_trunc('week', time);
CREATE MATERIALIZED VIEW reserved AS SELECT "group", max("order") AS "select" FROM hits GROUP BY "group";
CREATE MATERIALIZED VIEW answered AS
SELECT "group" AS g, count(*) FILTER (WHERE b) AS y, count(*) FILTER (WHERE NOT b) AS n FROM hits GROUP BY "group";
CREATE MATERIALIZED VIEW prices AS SELECT d, count(*) AS hits FROM hits GROUP BY d;
CREATE MATERIALIZED VIEW numbers AS SELECT i, count(*) AS n FROM hits GROUP BY i;
CREATE MATERIALIZED VIEW ends AS
SELECT "group" AS g, last_value(id ORDER BY time, id) AS l, first_value("order" ORDER BY time, id) AS f,
       max_by(id, time) AS latest, array_agg(DISTINCT "order" ORDER BY "order") AS all_orders,
       string_agg(DISTINCT id, ',' ORDER BY id) AS ids
FROM hits GROUP BY "group";
CREATE MATERIALIZED VIEW dotted AS SELECT h.st.b AS b, count(*) AS n FROM hits h GROUP BY h.st.b;
CREATE MATERIALIZED VIEW called AS SELECT get_field(st, 'b') AS b, count(*) AS n FROM hits GROUP BY get_field(st, 'b');
CREATE MATERIALIZED VIEW replaced AS SELECT coalesce(st.b, 'none') AS b, count(*) AS n FROM hits GROUP BY coalesce(st.b, 'none');
CREATE MATERIALIZED VIEW measured AS
SELECT "group" AS g, sum(st.a) AS a, max(st.deep.c) AS c, count(*) FILTER (WHERE st.a > 2) AS large,
       sum(hits.items[1].qty) AS qty
FROM hits GROUP BY "group";
CREATE MATERIALIZED VIEW first_items AS SELECT items[1].sku AS sku, count(*) AS n FROM hits GROUP BY items[1].sku;
"#;

const EVENTS: [&str; 4] = [
    r#"{"id":"1","time":"2024-12-30T12:00:00Z","order":2,"group":"x","b":true,"d":"0.10","i":9007199254740992,"st":{"a":1,"b":"t","deep":{"c":0.5}},"items":[{"sku":"k","qty":2}]}"#,
    r#"{"id":"2","time":"2026-02-27T10:00:00Z","order":3,"group":"x","b":null,"d":"0.1","i":9007199254740993,"st":{"a":4,"b":"u","deep":{"c":2.0}},"items":[{"sku":"l","qty":1},{"sku":"k","qty":9}]}"#,
    r#"{"id":"3","time":"2026-02-27T11:00:00Z","order":2,"group":"x","b":false,"d":"0.2","i":null,"st":null,"items":[]}"#,
    r#"{"id":"4","time":"2026-02-27T10:30:00Z","order":1,"group":"y","b":true,"d":null,"i":null,"st":{"a":2,"b":"t","deep":null},"items":null}"#,
];

tests::on_all_parts!(what_is_easily_misread_is_answered_as_it_is_written);

async fn check(client: &Client, token: &str, case: &str) {
    let last = json!({"g": "x", "l": "3", "f": 2, "latest": "3", "all_orders": [2, 3], "ids": "1,2,3"});
    let other = json!({"g": "y", "l": "4", "f": 1, "latest": "4", "all_orders": [1], "ids": "4"});
    for (view, filter, expected) in [
        ("days", None, json!([{"time": "2024-12-30T00:00:00Z", "n": 1}, {"time": "2026-02-27T00:00:00Z", "n": 3}])),
        ("weeks", None, json!([{"w": 1, "n": 1}, {"w": 9, "n": 3}])),
        ("mondays", None, json!([{"w": "2024-12-30T00:00:00Z", "n": 1}, {"w": "2026-02-23T00:00:00Z", "n": 3}])),
        ("reserved", None, json!([{"group": "x", "select": 3}, {"group": "y", "select": 1}])),
        ("answered", None, json!([{"g": "x", "y": 1, "n": 1}, {"g": "y", "y": 1, "n": 0}])),
        ("prices", Some(("d", "0.1")), json!([{"d": "0.10", "hits": 2}])),
        ("numbers", Some(("i", "9007199254740993")), json!([{"i": 9_007_199_254_740_993_i64, "n": 1}])),
        ("ends", None, json!([last, other])),
        ("dotted", None, json!([{"b": "t", "n": 2}, {"b": "u", "n": 1}, {"b": null, "n": 1}])),
        ("called", None, json!([{"b": "t", "n": 2}, {"b": "u", "n": 1}, {"b": null, "n": 1}])),
        ("replaced", None, json!([{"b": "none", "n": 1}, {"b": "t", "n": 2}, {"b": "u", "n": 1}])),
        (
            "measured",
            None,
            json!([
                {"g": "x", "a": 5, "c": 2.0, "large": 1, "qty": 3},
                {"g": "y", "a": 2, "c": null, "large": 0, "qty": null},
            ]),
        ),
        ("first_items", None, json!([{"sku": "k", "n": 1}, {"sku": "l", "n": 1}, {"sku": null, "n": 2}])),
    ] {
        let parameters = [("after", token), ("timeout", "30s")].into_iter().chain(filter);
        let parameters: Vec<(&str, &str)> = parameters.collect();
        let answer: Value = client.get(&format!("/v1/views/{view}/rows"), &parameters).await.unwrap();
        assert_eq!(answer["rows"], expected, "{view}, {case}");
    }
}

async fn what_is_easily_misread_is_answered_as_it_is_written(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let token = send(&client, &EVENTS).await.token;
    check(&client, &token, "realtime").await;
    system.stop().await.unwrap();

    // Two events in batch, two in realtime, then all in batch.
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let token = send(&client, &EVENTS[..2]).await.token;
    publish_all_of(&system, &client, "prices", &token).await;
    let token = send(&client, &EVENTS[2..]).await.token;
    check(&client, &token, "both layers").await;
    publish_all_of(&system, &client, "prices", &token).await;
    check(&client, &token, "batch").await;
    system.stop().await.unwrap();
}
