//! JSON columns, the functions that read them, MAP and DEFAULT: the same answer from either layer, and in SQL over
//! views.

use serde_json::{Value, json};

use super::{Kind, World, publish_all_of, rows_of, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (
  id VARCHAR, time TIMESTAMP NOT NULL, kind VARCHAR NOT NULL DEFAULT 'unknown', weight BIGINT DEFAULT 1,
  properties JSON, items ARRAY<JSON>, labels MAP<VARCHAR, VARCHAR>
) STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', event_id 'id', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW by_plan AS
SELECT json_get_str(properties, 'plan') AS plan, count(*) AS hits, sum(weight) AS weight,
       sum(json_get_float(properties, 'price')) AS price,
       count(*) FILTER (WHERE json_contains(properties, 'beta')) AS beta,
       max(json_get_json(properties, 'tags')) AS tags, max(json_get_int(items[1], 'n')) AS n,
       max(json_length(properties, 'tags')) AS most
FROM hits WHERE json_get_bool(properties, 'bot') IS NOT TRUE GROUP BY plan;

CREATE MATERIALIZED VIEW by_team AS
SELECT labels['team'] AS team, count(*) AS hits, count(*) FILTER (WHERE labels['env'] = 'prod') AS production
FROM hits WHERE labels['hidden'] IS NULL GROUP BY team;

CREATE MATERIALIZED VIEW by_geo AS
SELECT json_get_json(properties, 'geo') AS geo, kind, count(*) AS hits FROM hits GROUP BY geo, kind;
";

const EVENTS: [&str; 8] = [
    r#"{"id":"1","time":1772368496,"kind":"buy","weight":2,"properties":{"plan":"pro","price":9.5,"geo":{"country":"de"},"tags":["a", "b"],"beta":null},"items":[{"n":1},2],"labels":{"env":"prod","team":"a"}}"#,
    r#"{"id":"2","time":1772368496,"properties":{"plan":"pro","price":"free","geo":{"country":"de"}},"labels":{"team":"a","env":null}}"#,
    r#"{"id":"3","time":1772368496,"kind":"view","weight":null,"properties":{"plan":7,"bot":false,"geo":{"country":"at"}}}"#,
    r#"{"id":"4","time":1772368496,"kind":"view","properties":"only a text","labels":{"hidden":"yes"}}"#,
    r#"{"id":"5","time":1772368496,"kind":"view","properties":{"plan":"pro","bot":true}}"#,
    r#"{"id":"6","time":1772368496,"properties":{"plan":"\u0070ro"}}"#,
    r#"{"id":"7","time":1772368496,"kind":null}"#,
    r#"{"id":"8","time":1772368496,"labels":{"team":"a","team":"b"}}"#,
];

pub async fn json_maps_and_defaults_have_the_same_answer_in_both_layers(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    assert_eq!((receipt.accepted, receipt.rejected), (6, 2));
    assert!(receipt.errors[0].error.contains("column kind is NOT NULL"), "{}", receipt.errors[0].error);
    assert!(receipt.errors[1].error.contains("column labels.team is given twice"), "{}", receipt.errors[1].error);

    let expected = json!([
        {"plan": "pro", "hits": 3, "weight": 4, "price": 9.5, "beta": 1, "tags": "[\"a\", \"b\"]", "n": 1, "most": 2},
        {"plan": null, "hits": 2, "weight": 1, "price": null, "beta": 0, "tags": null, "n": null, "most": null},
    ]);
    let teams = json!([{"team": null, "hits": 3, "production": 0}, {"team": "a", "hits": 2, "production": 1}]);
    let asked = [
        (
            "SELECT json_get_str(geo, 'country') AS country, sum(hits) AS hits FROM by_geo
             GROUP BY country ORDER BY hits DESC",
            json!([{"country": null, "hits": 3}, {"country": "de", "hits": 2}, {"country": "at", "hits": 1}]),
        ),
        (
            "SELECT kind, sum(hits) AS hits FROM by_geo GROUP BY kind ORDER BY kind",
            json!([{"kind": "buy", "hits": 1}, {"kind": "unknown", "hits": 2}, {"kind": "view", "hits": 3}]),
        ),
    ];
    let check_sql = async || {
        for (sql, rows) in &asked {
            let answer: Value = serde_json::from_str(&client.sql(sql).await.unwrap()).unwrap();
            assert_eq!(&answer["rows"], rows, "{sql}");
        }
    };
    let before = rows_of(&client, "by_plan", &receipt.token).await;
    assert_eq!((&before["rows"], &before["envelope"]["batch_rows"]), (&expected, &json!(0)), "in realtime");
    assert_eq!(rows_of(&client, "by_team", &receipt.token).await["rows"], teams, "in realtime");
    check_sql().await;
    let after = publish_all_of(&system, &client, "by_plan", &receipt.token).await;
    assert_eq!(after["rows"], expected, "in batch");
    assert_eq!(publish_all_of(&system, &client, "by_team", &receipt.token).await["rows"], teams, "in batch");
    check_sql().await;

    let details = client.get("/v1/sources/hits", &[]).await.unwrap();
    let (of_kind, of_properties) = (&details["columns"][2], &details["columns"][4]);
    assert_eq!(of_kind, &json!({"name": "kind", "type": "VARCHAR", "nullable": false, "default": "unknown"}));
    assert_eq!(of_properties, &json!({"name": "properties", "type": "JSON", "nullable": true}));
    system.stop().await.unwrap();
}
