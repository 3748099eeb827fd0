//! Events that expressions fail on, and states that grow too large: what they cost, in both layers.

use std::time::{Duration, Instant};

use positions::ViewName;
use serde_json::{Value, json};

use super::{DEADLINE, Kind, Mode, World, publish_all_of, rows_of, send};

const SOURCE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits
  (id VARCHAR NOT NULL, time TIMESTAMP NOT NULL, page VARCHAR, bytes BIGINT, parts BIGINT, code VARCHAR)
STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');
";

const RATIOS: &str = "
CREATE MATERIALIZED VIEW per_part AS SELECT bytes / parts AS size, count(*) AS hits FROM hits GROUP BY bytes / parts;

CREATE MATERIALIZED VIEW codes AS
SELECT page, count(*) AS hits, sum(CAST(code AS BIGINT)) AS codes, count(*) FILTER (WHERE bytes / parts > 5) AS large,
       sum(bytes) / sum(parts) AS mean
FROM hits WHERE bytes / parts IS DISTINCT FROM 13 GROUP BY page;
";

const EVENTS: [&str; 5] = [
    r#"{"id":"1","time":"2026-01-05T10:00:00Z","page":"/","bytes":100,"parts":10,"code":"7"}"#,
    r#"{"id":"2","time":"2026-01-05T10:01:00Z","page":"/","bytes":50,"parts":0,"code":"poison"}"#,
    r#"{"id":"3","time":"2026-01-05T10:02:00Z","page":"/about","bytes":30,"parts":0,"code":"8"}"#,
    r#"{"id":"4","time":"2026-01-05T10:03:00Z","page":"/","bytes":20,"parts":2}"#,
    r#"{"id":"5","time":"2026-01-05T10:04:00Z","page":"/","bytes":90,"parts":9,"code":"1"}"#,
];

tests::on_all_parts!(
    an_event_that_expressions_fail_on_stops_no_view_in_either_layer,
    a_state_beyond_its_limit_stops_its_view_alone_and_is_named,
);

async fn an_event_that_expressions_fail_on_stops_no_view_in_either_layer(kind: Kind) {
    let Some(world) = World::new(kind, &format!("{SOURCE}{RATIOS}")).await else { return };
    let (system, client) = world.start().await;
    let views = ["per_part", "codes"];
    let expected = [
        json!([{"size": 10, "hits": 3}, {"size": null, "hits": 2}]),
        json!([
            {"page": "/", "hits": 4, "codes": 8, "large": 3, "mean": 12},
            {"page": "/about", "hits": 1, "codes": 8, "large": 0, "mean": null},
        ]),
    ];
    let mut token = String::new();
    for event in EVENTS {
        token = send(&client, &[event]).await.token;
        rows_of(&client, "codes", &token).await;
    }
    for (view, expected) in views.iter().zip(&expected) {
        let answer = rows_of(&client, view, &token).await;
        assert_eq!((&answer["rows"], &answer["envelope"]["batch_rows"]), (expected, &json!(0)), "{view} in realtime");
    }
    for (view, expected) in views.iter().zip(&expected) {
        let answer = publish_all_of(&system, &client, view, &token).await;
        assert_eq!((&answer["rows"], &answer["envelope"]["batch_rows"]), (expected, &json!(5)), "{view} in batch");
    }
    let sql = "SELECT MEASURE(mean) AS mean FROM codes WHERE page = '/about'";
    let answer: Value = serde_json::from_str(&client.sql(sql).await.unwrap()).unwrap();
    assert_eq!(answer["rows"], json!([{"mean": null}]));
    system.stop().await.unwrap();
}

async fn a_state_beyond_its_limit_stops_its_view_alone_and_is_named(kind: Kind) {
    let pipeline = format!(
        "{SOURCE}CREATE MATERIALIZED VIEW plain AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
         CREATE MATERIALIZED VIEW texts WITH (max_state_bytes = 2000) AS
         SELECT page, count(*) AS hits, count(DISTINCT code) AS codes FROM hits GROUP BY page;"
    );
    let Some(world) = World::new(kind, &pipeline).await else { return };
    let (system, client) = world.start().await;
    let event = |id: usize| {
        format!(r#"{{"id":"{id}","time":"2026-01-05T10:00:00Z","page":"/","code":"{id}{}"}}"#, "x".repeat(200))
    };
    let events: Vec<String> = (0..200).map(event).collect();
    let receipt = send(&client, &events.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let expected = json!([{"page": "/", "hits": 200}]);
    assert_eq!(rows_of(&client, "plain", &receipt.token).await["rows"], expected);

    let deadline = Instant::now() + DEADLINE;
    let error = loop {
        let round = system.recompute(Mode::Incremental).await.unwrap();
        assert!(round[&ViewName::new("plain")].is_ok());
        if let Err(error) = &round[&ViewName::new("texts")] {
            break error.to_string();
        }
        assert!(Instant::now() < deadline, "the state is within its limit");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(error.contains("state of codes in group page=/ exceeds max_state_bytes = 2000"), "{error}");
    let answer = publish_all_of(&system, &client, "plain", &receipt.token).await;
    assert_eq!((&answer["rows"], &answer["envelope"]["batch_rows"]), (&expected, &json!(200)));
    // Nothing half counted: stale where the gateway had served the view before its first run, not served otherwise.
    match client.get("/v1/views/texts/rows", &[]).await {
        Ok(texts) => assert_eq!((&texts["rows"], &texts["envelope"]["stale"]), (&json!([]), &json!(true))),
        Err(error) => assert!(format!("{error:#}").contains("does not hold the view"), "{error:#}"),
    }
    loop {
        let status = client.get("/v1/status", &[]).await.unwrap();
        let errors = status["system"]["batch"]["errors"].as_object().unwrap();
        if errors.contains_key("texts") && status["system"]["archive of hits"]["rows"] == 200 {
            assert_eq!(errors.len(), 1);
            assert!(errors["texts"].as_str().unwrap().contains("page=/"), "{status:#}");
            break;
        }
        assert!(Instant::now() < deadline, "the status does not name the view: {status:#}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    system.stop().await.unwrap();
}
