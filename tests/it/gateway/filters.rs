//! Filters of rows requests: tests of dimensions, instants as clients write them, and what is refused with a way out.

use edge::Principal;
use query_gateway::{GatewaySettings, RowsAnswer};
use serde_json::Value;

use super::world::{Event, World, event};

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW keys AS SELECT "user" AS k, count(*) AS c FROM edits GROUP BY "user";

CREATE MATERIALIZED VIEW times AS
SELECT date_trunc('day', time) AS day, date_trunc('hour', time) AS hour, count(*) AS c
FROM edits GROUP BY date_trunc('day', time), date_trunc('hour', time);

CREATE MATERIALIZED VIEW hours AS
SELECT date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS c FROM edits GROUP BY date_bin(INTERVAL '1 hour', time);
"#;

const HOUR: i64 = 60;

/// Events from 2026-01-01T00:00:00Z on: at 0:00 `a` and `A`, at 13:00 `a` and `b`, on the next day at 1:00 none.
async fn world() -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(0, "", "a", 1), event(0, "", "A", 1), event(13 * HOUR, "", "a", 1)]);
    world.append_run(0).await;
    let unnamed = Event { user: None, ..event(25 * HOUR, "", "", 1) };
    world.send(1, [event(13 * HOUR, "", "b", 1), unnamed]);
    world.append_run(1).await;
    world
}

/// The values of a column and the counts, as `a:2`.
fn shown(answer: &RowsAnswer, column: &str) -> String {
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    let row = |row: &Value| format!("{}:{}", row[column].as_str().unwrap_or("null"), row["c"]);
    body["rows"].as_array().unwrap().iter().map(row).collect::<Vec<_>>().join(" ")
}

#[tokio::test]
async fn tests_of_a_dimension_are_those_of_sql() {
    let world = world().await;
    for (parameters, expected) in [
        (vec![], "A:1 a:2 b:1 null:1"),
        (vec![("k.ne", "a")], "A:1 b:1"),
        (vec![("k.ne", "a"), ("k.ne", "b")], "A:1"),
        (vec![("k.in", "a,A")], "A:1 a:2"),
        (vec![("k.in", "\"a\",\"x,\"\"y\"\"\"")], "a:2"),
        (vec![("k.in", "b"), ("k", "a")], "a:2 b:1"),
        (vec![("k.in", "")], ""),
        (vec![("k.like", "a%")], "a:2"),
        (vec![("k.like", "_")], "A:1 a:2 b:1"),
        (vec![("k.like", "\\_")], ""),
        (vec![("k.like", "%"), ("k.ne", "b")], "A:1 a:2"),
        (vec![("k.is", "null")], "null:1"),
        (vec![("k.is", "not_null"), ("k.ge", "a")], "a:2 b:1"),
    ] {
        let answer = world.rows("keys", &parameters).await.unwrap_or_else(|error| panic!("{parameters:?}: {error}"));
        assert_eq!(shown(&answer, "k"), expected, "{parameters:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_with_what_can() {
    let world = world().await;
    let many = vec!["a"; 1_001].join(",");
    let long = "%".repeat(1_001);
    for (view, parameters, reason, hint) in [
        ("keys", vec![("k", "a"), ("k.is", "null")], "`k.is=null` and the other tests of `k`", "a request for each"),
        ("keys", vec![("k.is", "null"), ("k.is", "not_null")], "exclude each other", "a request for each"),
        ("keys", vec![("k.lik", "a")], "there is no test `.lik`", "did you mean `like`?"),
        ("keys", vec![("limt", "1")], "no dimension or parameter `limt`", "did you mean `limit`?"),
        ("keys", vec![("something", "1")], "no dimension or parameter `something`", ".eq, .in, .ne, .like, .ge"),
        ("keys", vec![("c.gt", "1")], "is a measure", "use SQL"),
        ("keys", vec![("k.in", "\"a")], "`k.in`: a quote", "\"a,b\",c"),
        ("keys", vec![("k.in", "\"a\"b")], "`k.in`: a quote", "\"a,b\",c"),
        ("keys", vec![("k.in", many.as_str())], "1000 values at most", "in SQL"),
        ("keys", vec![("k.like", long.as_str())], "1000 bytes at most", ""),
        ("hours", vec![("hour.like", "2026%")], "patterns are for texts", ".ge"),
        ("times", vec![("from", "2026-01-01")], "`day` and `hour`", "`range_of=hour`"),
        ("times", vec![("range_of", "c"), ("from", "2026-01-01")], "`range_of` must be a time dimension", ""),
        ("hours", vec![("from", "20260101")], "`from` must be a TIMESTAMP", "9 to 11 digits"),
        ("hours", vec![("from", "yesterday")], "got `yesterday`", "%2B"),
    ] {
        let refused = world.rows(view, &parameters).await.unwrap_err().problem();
        assert_eq!(refused.status().as_u16(), 400, "{parameters:?}");
        assert!(refused.detail().contains(reason), "{parameters:?}: {}", refused.detail());
        assert!(refused.hint().unwrap_or_default().contains(hint), "{parameters:?}: {refused:?}");
    }
}

#[tokio::test]
async fn many_rows_are_tested_as_few_are() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    let users: Vec<String> = (0..20_000).map(|number| format!("u{number}")).collect();
    world.send(0, users.iter().map(|user| event(0, "", user, 1)));
    world.append_run(0).await;
    world.own(1).await;
    let is_meant = |user: &&String| user.split_once('7').is_some_and(|(_, behind)| behind.contains('9'));
    let meant = users.iter().filter(is_meant).count();
    let answer = world.rows("keys", &[("k.like", "%7%9%"), ("k.ne", "x"), ("by", "")]).await.unwrap();
    assert_eq!(shown(&answer, "k"), format!("null:{meant}"));
}

#[tokio::test]
async fn tests_that_would_look_at_too_much_are_refused() {
    let world = World::on(PIPELINE, GatewaySettings::default());
    let long = "a".repeat(900_000);
    world.send(0, [event(0, "", &long, 1), event(0, "", "b", 1)]);
    world.append_run(0).await;
    world.own(1).await;
    let pattern = format!("%a{}b", "_".repeat(99));
    let refused = world.rows("keys", &[("k.like", pattern.as_str()); 60]).await.unwrap_err().problem();
    assert_eq!(refused.status().as_u16(), 413, "{refused:?}");
    assert!(refused.detail().contains("would have to look at"), "{refused:?}");
    // Behind what a look-up leaves they are few.
    let narrowed = [("k", "b"), ("k.like", pattern.as_str())];
    assert_eq!(shown(&world.rows("keys", &narrowed).await.unwrap(), "k"), "");
}

#[tokio::test]
async fn the_dimension_that_a_range_bounds_is_chosen_where_there_are_two() {
    let world = world().await;
    let of_hour = [("range_of", "hour"), ("from", "2026-01-01T12:00:00Z")];
    assert_eq!(
        shown(&world.rows("times", &of_hour).await.unwrap(), "hour"),
        "2026-01-01T13:00:00Z:2 2026-01-02T01:00:00Z:1"
    );
    let of_day = [("range_of", "day"), ("from", "2026-01-01T12:00:00Z")];
    assert_eq!(shown(&world.rows("times", &of_day).await.unwrap(), "hour"), "2026-01-02T01:00:00Z:1");
    let written_out = [("hour.ge", "2026-01-01T12:00:00Z"), ("hour.lt", "2026-01-02")];
    assert_eq!(shown(&world.rows("times", &written_out).await.unwrap(), "hour"), "2026-01-01T13:00:00Z:2");
    // Who has one may name it.
    let of_only = [("range_of", "hour"), ("from", "2026-01-02")];
    assert_eq!(shown(&world.rows("hours", &of_only).await.unwrap(), "hour"), "2026-01-02T01:00:00Z:1");
    assert_eq!(world.gateway.view(&Principal::anyone(), "times").await.unwrap().time_dimension, None);
    assert_eq!(
        world.gateway.view(&Principal::anyone(), "hours").await.unwrap().time_dimension.as_deref(),
        Some("hour")
    );
}

#[tokio::test]
async fn instants_are_read_as_clients_write_them() {
    let world = world().await;
    let last = "2026-01-02T01:00:00Z:1";
    for from in [
        "2026-01-02",
        "2026-01-02T00:00:00Z",
        "2026-01-02 00:00:00",
        "2026-01-02T02:00:00+02:00",
        // A raw plus in a URL.
        "2026-01-02T02:00:00 02:00",
        "2026-01-02T02:00:00 0200",
        "2026-01-01 22:00:00-02:00",
        "1767312000",
        "1767312000000",
        "1767312000000000",
        "1767312000000000000",
    ] {
        for name in ["from", "hour.ge"] {
            let answer = world.rows("hours", &[(name, from)]).await.unwrap_or_else(|error| panic!("{from}: {error}"));
            assert_eq!(shown(&answer, "hour"), last, "{name}={from}");
        }
    }
    for all in ["0", "-1767312000", "100000000", "-9223372036854775807"] {
        assert_eq!(world.rows("hours", &[("from", all)]).await.unwrap().rows.num_rows(), 3, "{all}");
    }
}
