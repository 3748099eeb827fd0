//! Totals that do not fit their type in SQL over views: NULL in their groups, and said in the envelope of their view.

use std::collections::BTreeMap;

use query_gateway::{GatewaySettings, Overflow};
use serde_json::{Value, json};

use super::world::{World, event};

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW t AS
SELECT page, date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS c, sum(added) AS s,
       sum(CAST(added AS DECIMAL(38, 0))) AS wide, sum(DISTINCT added) AS ds,
       sum(added) FILTER (WHERE added > 100) AS big
FROM edits GROUP BY page, hour;

CREATE MATERIALIZED VIEW u AS SELECT page, sum(added) AS s FROM edits GROUP BY page;
"#;

/// Page `A` with a total of 2^64 - 3 in one hour, in batch and above it; `B` with 5.
async fn world() -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(0, "A", "ann", i64::MAX)]);
    world.append_run(0).await;
    world.publish("t", &[1, 0]).await;
    world.publish("u", &[1, 0]).await;
    world.send(0, [event(1, "A", "ann", i64::MAX - 1)]);
    world.append_run(0).await;
    world.send(1, [event(2, "B", "bob", 5)]);
    world.append_run(1).await;
    world
}

/// What an answer says of totals, by view, and its rows.
async fn ask(world: &World, sql: &str) -> (BTreeMap<String, BTreeMap<String, Overflow>>, Value) {
    let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    let views = answer.envelope.views.into_iter();
    let told = views.filter(|(_, envelope)| !envelope.overflows.is_empty());
    (told.map(|(view, envelope)| (view, envelope.overflows)).collect(), body["rows"].clone())
}

#[tokio::test]
async fn a_total_that_does_not_fit_is_never_null_without_a_word() {
    let world = world().await;
    for (sql, measure, groups) in [
        ("SELECT page, s FROM t", "s", 1),
        ("SELECT c FROM t WHERE s IS NULL", "s", 1),
        ("SELECT page, MEASURE(s) AS s FROM t GROUP BY page", "s", 1),
        ("SELECT MEASURE(s) AS s FROM t", "s", 1),
        ("SELECT page, MEASURE(s) AS s FROM t GROUP BY ROLLUP (page)", "s", 2),
        ("SELECT coalesce(x, 0) AS x FROM (SELECT MEASURE(s) AS x FROM t GROUP BY page) AS q", "s", 1),
        ("SELECT sum(s) AS s FROM t", "s", 1),
        ("SELECT MEASURE(ds) AS ds FROM t", "ds", 1),
        ("SELECT page, ds FROM t", "ds", 1),
        ("SELECT page, big FROM t", "big", 1),
        ("SELECT c FROM t WHERE page IN (SELECT page FROM u WHERE u.s IS NULL)", "s", 1),
    ] {
        let (told, rows) = ask(&world, sql).await;
        let told: Vec<(&String, &Overflow)> = told.values().flatten().collect();
        let [(name, overflow)] = told.as_slice() else { panic!("{sql}: {told:?} {rows}") };
        assert_eq!((name.as_str(), overflow.groups), (measure, groups), "{sql}: {rows}");
        assert!(overflow.hint.contains("CAST(x AS DECIMAL(38, 0))"), "{sql}: {overflow:?}");
    }
    // Of a window as often as it was asked for a value.
    let (told, _) = ask(&world, "SELECT page, MEASURE(s) OVER (PARTITION BY page ORDER BY hour) AS s FROM t").await;
    assert!(told["t"]["s"].groups > 0, "{told:?}");
    let rows = world.rows("t", &[("by", "page")]).await.unwrap();
    assert_eq!(rows.envelope.overflows["s"].groups, 1);
}

#[tokio::test]
async fn what_fits_or_has_no_values_or_is_not_asked_is_not_told() {
    let world = world().await;
    for (sql, expected) in [
        ("SELECT page, c FROM t ORDER BY page", json!([{"page": "A", "c": 2}, {"page": "B", "c": 1}])),
        ("SELECT page, s FROM t WHERE page = 'B'", json!([{"page": "B", "s": 5}])),
        ("SELECT page, big FROM t WHERE page = 'B'", json!([{"page": "B", "big": null}])),
        ("SELECT MEASURE(s) AS s FROM t WHERE page = 'none'", json!([{"s": null}])),
        // The hint, followed.
        ("SELECT MEASURE(wide) AS wide FROM t", json!([{"wide": "18446744073709551618"}])),
    ] {
        let (told, rows) = ask(&world, sql).await;
        assert_eq!((told, rows), (BTreeMap::new(), expected), "{sql}");
    }
}

#[tokio::test]
async fn each_view_of_a_query_tells_of_its_own_totals() {
    let world = world().await;
    let sql = "SELECT t.page, t.s, u.s AS whole FROM t JOIN u ON t.page = u.page";
    let (told, _) = ask(&world, sql).await;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["t", "u"]);
    let (told, _) = ask(&world, "SELECT t.c, u.s FROM t JOIN u ON t.page = u.page").await;
    assert_eq!(told.keys().collect::<Vec<_>>(), ["u"]);
    // Each answer counts for itself.
    let (again, _) = ask(&world, "SELECT t.c, u.s FROM t JOIN u ON t.page = u.page").await;
    assert_eq!(again, told);
}
