//! Values that their column cannot take, through both layers: NULL where the source says so, refused by name elsewhere.

use serde_json::json;

use super::{Kind, World, publish_all_of, rows_of, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, k VARCHAR NOT NULL, uid BIGINT)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW users AS SELECT k, count(*) AS hits, count(uid) AS uids FROM hits GROUP BY k;
";

const EVENTS: [&str; 2] =
    [r#"{"time":"2026-03-01T12:34:56Z","k":"a","uid":7}"#, r#"{"time":"2026-03-01T12:34:56Z","k":"a","uid":""}"#];

pub async fn an_unreadable_value_is_null_in_both_layers_where_the_source_says_so(kind: Kind) {
    for (option, hits) in [("", 1), (", unreadable 'null'", 2)] {
        let pipeline = PIPELINE.replace("event_time 'time'", &format!("event_time 'time'{option}"));
        let Some(world) = World::new(kind, &pipeline).await else { return };
        let (system, client) = world.start().await;
        let receipt = send(&client, &EVENTS).await;
        assert_eq!((receipt.accepted, receipt.rejected), (hits, 2 - hits), "{option}");
        for told in &receipt.errors {
            assert!(["column uid", "no value is null"].iter().all(|word| told.error.contains(word)), "{}", told.error);
        }
        let expected = json!([{"k": "a", "hits": hits, "uids": 1}]);
        let before = rows_of(&client, "users", &receipt.token).await;
        assert_eq!(before["rows"], expected, "{option}");
        let after = publish_all_of(&system, &client, "users", &receipt.token).await;
        assert_eq!(after["rows"], expected, "{option}");
        system.stop().await.unwrap();
    }
}
