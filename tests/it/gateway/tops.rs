//! Lists of the most frequent values: how an answer shows them, how far off they may be, and how states are rolled up.

use query_gateway::GatewaySettings;
use serde_json::{Value, json};

use super::world::{World, event};

const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW tops AS
SELECT page, approx_top_k("user", 2) AS users, approx_top_k(added, 3, 9) AS added, mode("user") AS most,
       max_by("user", added) AS best, arg_min("user", time) AS earliest, approx_top_k("user", 1)[1]['value'] AS one
FROM edits GROUP BY page;
"#;

/// One part in a batch version, one in realtime.
async fn world() -> World {
    let world = World::on(PIPELINE, GatewaySettings::default());
    world.send(0, [event(3, "A", "ann", 3), event(1, "A", "bob", 5), event(9, "B", "bob", 5)]);
    world.append_run(0).await;
    world.publish("tops", &[3, 0]).await;
    world.send(1, [event(0, "A", "cat", 5), event(7, "A", "cat", 4), event(8, "B", "ann", 1), event(5, "B", "bob", 2)]);
    world.append_run(1).await;
    world
}

fn item(value: impl Into<Value>, count: i64) -> Value {
    json!({"value": value.into(), "count": count, "error": 0})
}

async fn ask(world: &World, sql: &str) -> Value {
    let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    body["rows"].clone()
}

#[tokio::test]
async fn rows_show_lists_of_values_with_their_counts_and_how_far_they_may_be_off() {
    let world = world().await;
    let answer = world.rows("tops", &[]).await.unwrap();
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    let a = json!({"page": "A", "users": [item("cat", 2), item("ann", 1)],
        "added": [item(5, 2), item(3, 1), item(4, 1)], "most": "cat", "best": "bob", "earliest": "cat", "one": "cat"});
    let b = json!({"page": "B", "users": [item("bob", 2), item("ann", 1)],
        "added": [item(1, 1), item(2, 1), item(5, 1)], "most": "bob", "best": "bob", "earliest": "bob", "one": "bob"});
    assert_eq!(body["rows"], json!([a, b]));
    assert_eq!(body["columns"][1], json!({"name": "users", "type": "ARRAY"}));
    let bounds = &body["envelope"]["error_bounds"];
    for (measure, bound) in [("users", 1.0 / 1_001.0), ("one", 1.0 / 1_001.0), ("added", 0.1)] {
        let told = bounds[measure]["bound"].as_f64().unwrap();
        assert!((told - bound).abs() < 1e-9 && bounds[measure]["kind"] == "sketch", "{measure}: {bounds}");
    }
    assert!(bounds.get("most").is_none() && bounds.get("best").is_none(), "{bounds}");
}

#[tokio::test]
async fn queries_roll_lists_up_from_states_and_take_them_apart() {
    let world = world().await;
    let all = ask(&world, "SELECT MEASURE(users) AS u, MEASURE(most) AS m, MEASURE(best) AS b FROM tops").await;
    assert_eq!(all, json!([{"u": [item("bob", 3), item("ann", 2)], "m": "bob", "b": "bob"}]));
    let apart = "SELECT u['value'] AS name, u['count'] AS n FROM \
                 (SELECT unnest(l) AS u FROM (SELECT MEASURE(users) AS l FROM tops) x) t ORDER BY n DESC";
    assert_eq!(ask(&world, apart).await, json!([{"name": "bob", "n": 3}, {"name": "ann", "n": 2}]));
    let some = ask(&world, "SELECT page, most FROM tops WHERE users[1]['count'] > 1 ORDER BY page").await;
    assert_eq!(some, json!([{"page": "A", "most": "cat"}, {"page": "B", "most": "bob"}]));
    let dotted = "SELECT t.users[1].value AS name, users[1].count AS n FROM tops t WHERE page = 'A'";
    assert_eq!(ask(&world, dotted).await, json!([{"name": "cat", "n": 2}]));
    let Err(refused) = world.sql("SELECT sum(users[1]['count']) AS n FROM tops").await else { panic!("it is summed") };
    assert!(refused.to_string().contains("must not add up values of `users`"), "{refused}");
}
