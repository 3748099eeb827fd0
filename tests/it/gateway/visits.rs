//! Visits: one that spans the cut, partitions or bins of time is one, at whatever grain is asked.

use query_gateway::{GatewaySettings, SqlRequest};
use serde_json::{Value, json};

use super::world::{World, event};
use crate::support::principals::{reader, these};

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW traffic AS
SELECT page, date_bin(INTERVAL '1 hour', time) AS hour, visits("user", time, INTERVAL '30 minutes') AS visits,
       bounces("user", time, INTERVAL '30 minutes') AS bounces,
       bounce_rate("user", time, INTERVAL '30 minutes') AS bounce_rate, approx_distinct("user") AS users
FROM edits GROUP BY page, hour;
"#;

/// Ann goes from one page to another and from one hour to the next: in the batch version, in a run of the same
/// partition, in a run of another one. Bob comes twice, each time for one page.
async fn world() -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(40, "A", "ann", 1), event(5, "A", "bob", 1)]);
    world.append_run(0).await;
    world.publish("traffic", &[2, 0]).await;
    world.send(0, [event(55, "A", "ann", 1)]);
    world.append_run(0).await;
    world.send(1, [event(70, "B", "ann", 1), event(90, "B", "bob", 1)]);
    world.append_run(1).await;
    world
}

async fn ask(world: &World, sql: &str) -> Value {
    let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    body["rows"].clone()
}

const TOTAL: &str = "SELECT MEASURE(visits) AS v, MEASURE(bounces) AS b, MEASURE(bounce_rate) AS r FROM traffic";

#[tokio::test]
async fn a_visit_that_spans_the_cut_runs_pages_and_hours_is_one() {
    let world = world().await;
    assert_eq!(ask(&world, TOTAL).await, json!([{"v": 3, "b": 2, "r": 2.0 / 3.0}]));
    let by_page = format!("{} GROUP BY page ORDER BY page", TOTAL.replace("SELECT", "SELECT page,"));
    let a = json!({"page": "A", "v": 2, "b": 1, "r": 0.5});
    assert_eq!(ask(&world, &by_page).await, json!([a, {"page": "B", "v": 2, "b": 2, "r": 1.0}]));
    // Only what happened within the hours that are asked for.
    let first = format!("{TOTAL} WHERE hour < TIMESTAMP '2026-01-01T01:00:00Z'");
    assert_eq!(ask(&world, &first).await, json!([{"v": 2, "b": 1, "r": 0.5}]));
    let none = format!("{TOTAL} WHERE page = 'C'");
    assert_eq!(ask(&world, &none).await, json!([{"v": 0, "b": 0, "r": null}]));
    let over = "SELECT DISTINCT hour, MEASURE(visits) OVER (ORDER BY hour) AS v FROM traffic ORDER BY hour";
    let hours = ["2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z"];
    assert_eq!(ask(&world, over).await, json!([{"hour": hours[0], "v": 2}, {"hour": hours[1], "v": 3}]));
}

#[tokio::test]
async fn rows_say_the_same_and_values_are_not_added_up() {
    let world = world().await;
    let answer = world.rows("traffic", &[("by", "hour")]).await.unwrap();
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    let row = |hour: &str, visits: i64, bounces: i64| {
        let rate = bounces as f64 / visits as f64;
        json!({"hour": hour, "visits": visits, "bounces": bounces, "bounce_rate": rate, "users": 2})
    };
    assert_eq!(body["rows"], json!([row("2026-01-01T00:00:00Z", 2, 1), row("2026-01-01T01:00:00Z", 2, 2)]));
    let bounds = &body["envelope"]["error_bounds"];
    assert!(bounds.get("visits").is_none() && bounds.get("bounces").is_none(), "{bounds}");
    let Err(refused) = world.sql("SELECT sum(visits) AS n FROM traffic").await else { panic!("it is summed") };
    let problem = refused.problem();
    assert!(problem.hint().unwrap_or_default().contains("MEASURE(visits)"), "{refused}");
}

#[tokio::test]
async fn a_late_event_that_joins_two_visits_makes_them_one() {
    let world = world().await;
    world.send(1, [event(150, "B", "ann", 1)]);
    world.append_run(1).await;
    assert_eq!(ask(&world, TOTAL).await, json!([{"v": 4, "b": 3, "r": 0.75}]));
    // Between minute 70 and minute 150, each of them within half an hour of the next.
    world.send(0, [event(100, "A", "ann", 1), event(125, "A", "ann", 1)]);
    world.append_to_segment(0).await;
    let joined = json!([{"v": 3, "b": 2, "r": 2.0 / 3.0}]);
    assert_eq!(ask(&world, TOTAL).await, joined);
    // Batch, once it covers everything, says the same, whatever the runs were merged into.
    world.merge_last_runs(0, 2).await;
    assert_eq!(ask(&world, TOTAL).await, joined);
    world.publish("traffic", &[world.log_end(0), world.log_end(1)]).await;
    assert_eq!(ask(&world, TOTAL).await, joined);
}

#[tokio::test]
async fn who_may_see_one_page_is_told_of_the_visits_there() {
    let world = world().await;
    let one_page = reader(these(&["traffic"]), &[("page", &["A"])]);
    let answer = world.gateway.sql(&one_page, SqlRequest::new(TOTAL)).await.unwrap();
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    assert_eq!(body["rows"], json!([{"v": 2, "b": 1, "r": 0.5}]));
}
