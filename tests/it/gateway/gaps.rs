//! Bins of time in which nothing came: `fill`.

use query_gateway::GatewaySettings;
use serde_json::Value;

use super::world::{World, event};

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW hits AS
SELECT page, date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS c, sum(price) AS price, max("user") AS newest
FROM edits GROUP BY page, date_bin(INTERVAL '1 hour', time);

CREATE MATERIALIZED VIEW weeks AS
SELECT date_trunc('week', time) AS bin, count(*) AS c FROM edits GROUP BY date_trunc('week', time);

CREATE MATERIALIZED VIEW months AS
SELECT date_trunc('month', time) AS bin, count(*) AS c FROM edits GROUP BY date_trunc('month', time);

CREATE MATERIALIZED VIEW instants AS SELECT time AS bin, count(*) AS c FROM edits GROUP BY time;

CREATE MATERIALIZED VIEW two AS
SELECT date_trunc('day', time) AS day, date_trunc('hour', time) AS hour, count(*) AS c
FROM edits GROUP BY date_trunc('day', time), date_trunc('hour', time);
"#;

const DAY: [(&str, &str); 2] = [("from", "2026-01-01T00:00:00Z"), ("to", "2026-01-01T04:00:00Z")];

/// At 0:00 twice `A`, at 2:00 once `A` and twice `B`, of Thursday 2026-01-01.
async fn world() -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(0, "A", "ann", 1), event(5, "A", "bob", 1), event(120, "A", "ann", 1)]);
    world.append_run(0).await;
    world.send(1, [event(121, "B", "ann", 1), event(122, "B", "ann", 1)]);
    world.append_run(1).await;
    world
}

/// The columns of the rows, a row behind another.
async fn shown(world: &World, view: &str, parameters: &[(&str, &str)], columns: &[&str]) -> String {
    let answer = world.rows(view, parameters).await.unwrap_or_else(|error| panic!("{parameters:?}: {error}"));
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    let rows = body["rows"].as_array().unwrap();
    assert_eq!(body["groups"], Value::from(rows.len()), "groups that were added are groups");
    let row = |row: &Value| {
        let values = columns.iter().map(|column| row[*column].to_string().replace('"', ""));
        values.collect::<Vec<_>>().join(" ")
    };
    rows.iter().map(row).collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn each_bin_of_the_range_has_a_row() {
    let world = world().await;
    for (fill, expected) in [("0", "2, 0, 3, 0"), ("null", "2, null, 3, null"), ("previous", "2, 2, 3, 3")] {
        let all: Vec<(&str, &str)> = DAY.into_iter().chain([("by", "hour"), ("fill", fill)]).collect();
        assert_eq!(shown(&world, "hits", &all, &["c"]).await, expected, "{fill}");
    }
    let zeros: Vec<(&str, &str)> = DAY.into_iter().chain([("by", "hour"), ("fill", "0"), ("page", "B")]).collect();
    assert_eq!(
        shown(&world, "hits", &zeros, &["hour", "c", "price", "newest"]).await,
        "2026-01-01T00:00:00Z 0 0.00 null, 2026-01-01T01:00:00Z 0 0.00 null, \
         2026-01-01T02:00:00Z 2 0.30 ann, 2026-01-01T03:00:00Z 0 0.00 null"
    );
}

#[tokio::test]
async fn each_series_is_filled_for_itself() {
    let world = world().await;
    let all: Vec<(&str, &str)> = DAY.into_iter().chain([("fill", "previous")]).collect();
    assert_eq!(shown(&world, "hits", &all, &["page", "c"]).await, "A 2, A 2, A 1, A 1, B null, B null, B 2, B 2");
    let ordered: Vec<(&str, &str)> =
        DAY.into_iter().chain([("fill", "0"), ("by", "hour,page"), ("order", "-hour")]).collect();
    assert_eq!(shown(&world, "hits", &ordered, &["page", "c"]).await, "A 0, B 0, A 1, B 2, A 0, B 0, A 2, B 0");
    // Where no series came there is none to fill; a total always is one.
    let nothing = [("from", "2027-01-01"), ("to", "2027-01-01T02:00:00Z"), ("fill", "0")];
    assert_eq!(shown(&world, "hits", &nothing, &["c"]).await, "");
    let total: Vec<(&str, &str)> = nothing.into_iter().chain([("by", "hour")]).collect();
    assert_eq!(shown(&world, "hits", &total, &["c"]).await, "0, 0");
}

#[tokio::test]
async fn bins_are_those_of_the_view() {
    let world = world().await;
    for (view, from, to, expected) in [
        ("weeks", "2025-12-20", "2026-01-04", "2025-12-22T00:00:00Z 0, 2025-12-29T00:00:00Z 5"),
        ("months", "2025-12-02", "2026-02-02", "2026-01-01T00:00:00Z 5, 2026-02-01T00:00:00Z 0"),
        ("months", "2026-03-01", "2026-03-01", ""),
    ] {
        let parameters = [("from", from), ("to", to), ("fill", "0")];
        assert_eq!(shown(&world, view, &parameters, &["bin", "c"]).await, expected, "{view}");
    }
}

#[tokio::test]
async fn what_cannot_be_filled_is_refused_with_a_way_out() {
    let world = world().await;
    let (from, to, long) = (("from", "2026-01-01"), ("to", "2026-01-02"), ("to", "2029-01-01"));
    let fill = ("fill", "0");
    for (view, parameters, reason, hint) in [
        ("hits", vec![fill], "`fill` needs a range", "`from` and `to`"),
        ("hits", vec![fill, from], "`fill` needs a range", "`from` and `to`"),
        ("hits", vec![fill, from, to, ("by", "page")], "`fill` needs `hour` in the answer", "add `hour` to `by`"),
        ("hits", vec![fill, from, to, ("hour.ne", "2026-01-01")], "other tests bound `hour`", "leave out"),
        ("hits", vec![fill, from, long, ("by", "hour")], "more than 10000 groups", "a shorter range"),
        ("hits", vec![("fill", "1"), from, to], "`fill` must be 0, null or previous", ""),
        ("instants", vec![fill, from, to], "`bin` is none", "date_bin"),
        ("two", vec![fill, from, to, ("range_of", "hour")], "`day` is a time dimension", "leave `day` out of `by`"),
    ] {
        let refused = world.rows(view, &parameters).await.unwrap_err().problem();
        assert_eq!(refused.status().as_u16(), 400, "{parameters:?}");
        assert!(refused.detail().contains(reason), "{parameters:?}: {}", refused.detail());
        assert!(refused.hint().unwrap_or_default().contains(hint), "{parameters:?}: {refused:?}");
    }
    let by_hour = [fill, from, to, ("range_of", "hour"), ("by", "hour")];
    assert_eq!(world.rows("two", &by_hour).await.unwrap().rows.num_rows(), 24);
}

#[tokio::test]
async fn filled_answers_have_pages_and_parts_like_others() {
    let world = world().await;
    let all: Vec<(&str, &str)> = DAY.into_iter().chain([("fill", "0"), ("by", "hour")]).collect();
    let limited: Vec<(&str, &str)> = all.iter().copied().chain([("limit", "3"), ("parts", "true")]).collect();
    let first = world.rows("hits", &limited).await.unwrap();
    assert_eq!((first.rows.num_rows(), first.extent.groups, first.extent.truncated), (3, 4, true));
    let text = first.to_json().unwrap();
    assert!(text.contains(r#""_realtime":{"c":2,"#) && text.contains(r#""_realtime":{"c":null,"#), "{text}");
    let next = first.extent.next.unwrap();
    let rest: Vec<(&str, &str)> = all.into_iter().chain([("cursor", next.as_str())]).collect();
    let rest = world.rows("hits", &rest).await.unwrap();
    assert_eq!((rest.rows.num_rows(), rest.extent.truncated), (1, false));
}
