//! Totals that do not fit their type, sets of bits and zeros, in realtime, in batch and across both.

use serde_json::{Value, json};

use super::{Kind, World, publish_all_of, rows_of, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits
  (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, g VARCHAR, n BIGINT, d DECIMAL(38, 0), m INT, z DOUBLE)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW v AS
SELECT g, count(*) AS hits, sum(n) AS s, sum(d) AS d, sum(CAST(n AS DECIMAL(38, 0))) AS wide,
       bit_xor(DISTINCT m) AS bits, count(DISTINCT z) AS zs, count(DISTINCT -z) AS minus
FROM hits GROUP BY g;

CREATE MATERIALIZED VIEW plain AS SELECT g, count(*) AS hits FROM hits GROUP BY g;
";

const EVENTS: [&str; 4] = [
    r#"{"id":"0","time":"2026-02-27T10:00:00Z","g":"x","n":6000000000000000000,"m":1,"z":0.0,
        "d":"99999999999999999999999999999999999990"}"#,
    r#"{"id":"1","time":"2026-02-27T10:00:00Z","g":"x","n":5000000000000000000,"m":3,"z":-0.0,
        "d":"99999999999999999999999999999999999990"}"#,
    r#"{"id":"2","time":"2026-02-27T10:00:00Z","g":"x","m":1,"z":1.0}"#,
    r#"{"id":"3","time":"2026-02-27T10:00:00Z","g":"x","n":-5000000000000000000,
        "d":"-99999999999999999999999999999999999990"}"#,
];

tests::on_all_parts!(a_total_that_does_not_fit_is_null_said_and_right_again_when_it_fits);

fn check(answer: &Value, case: &str) {
    let wide = "11000000000000000000";
    let expected = json!({"g": "x", "hits": 3, "s": null, "d": null, "wide": wide, "bits": 2, "zs": 2, "minus": 2});
    assert_eq!(answer["rows"], json!([expected]), "{case}");
    let overflows = &answer["envelope"]["overflows"];
    assert_eq!((&overflows["s"]["groups"], &overflows["d"]["groups"]), (&json!(1), &json!(1)), "{case}: {overflows}");
    let hint = |measure: &str| overflows[measure]["hint"].as_str().unwrap_or_default().to_owned();
    assert!(hint("s").contains("CAST(x AS DECIMAL(38, 0))") && hint("d").contains("CAST(x AS DOUBLE)"), "{overflows}");
    assert!(overflows.get("wide").is_none(), "{overflows}");
}

async fn a_total_that_does_not_fit_is_null_said_and_right_again_when_it_fits(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let events = EVENTS.map(|event| event.split_whitespace().collect::<String>());
    let token = send(&client, &[events[0].as_str()]).await.token;
    let answer = publish_all_of(&system, &client, "v", &token).await;
    assert_eq!(answer["rows"][0]["s"], json!(6_000_000_000_000_000_000_i64));
    assert!(answer["envelope"].get("overflows").is_none(), "{}", answer["envelope"]);

    // One event in batch, the others in runs of their own.
    let mut token = token;
    for event in &events[1..3] {
        token = send(&client, &[event.as_str()]).await.token;
        rows_of(&client, "v", &token).await;
    }
    check(&rows_of(&client, "v", &token).await, "both layers");
    check(&publish_all_of(&system, &client, "v", &token).await, "batch");
    assert_eq!(rows_of(&client, "plain", &token).await["rows"], json!([{"g": "x", "hits": 3}]));

    let token = send(&client, &[events[3].as_str()]).await.token;
    let answer = rows_of(&client, "v", &token).await;
    let row = &answer["rows"][0];
    assert_eq!((&row["s"], &row["wide"]), (&json!(6_000_000_000_000_000_000_i64), &json!("6000000000000000000")));
    assert_eq!(row["d"], json!("99999999999999999999999999999999999990"));
    assert!(answer["envelope"].get("overflows").is_none(), "{}", answer["envelope"]);
    system.stop().await.unwrap();
}
