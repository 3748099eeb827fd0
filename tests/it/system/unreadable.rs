//! Values that their column cannot take, through both layers: NULL and told by column, or refused by name where the
//! source is strict.

use std::collections::BTreeMap;

use serde_json::json;

use super::{Kind, World, publish_all_of, rows_of, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, k VARCHAR NOT NULL, uid BIGINT, price DECIMAL(24,4))
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW users AS
SELECT k, count(*) AS hits, count(uid) AS uids, count(price) AS prices FROM hits GROUP BY k;
";

const GOOD: &str = r#"{"time":"2026-03-01T12:34:56Z","k":"a","uid":7,"price":19.99}"#;

/// Values that a column cannot take, and words of what a strict source says of them.
const UNREADABLE: [(&str, [&str; 2]); 3] = [
    (r#"{"time":"2026-03-01T12:34:56Z","k":"a","uid":""}"#, ["column uid", "no value is null"]),
    (r#"{"time":"2026-03-01T12:34:56Z","k":"a","uid":12.5}"#, ["column uid", "BIGINT"]),
    (r#"{"time":"2026-03-01T12:34:56Z","k":"a","price":19.99999}"#, ["column price", "DECIMAL"]),
];

pub async fn an_unreadable_value_is_null_in_both_layers_unless_the_source_is_strict(kind: Kind) {
    let lines: Vec<&str> = [GOOD].into_iter().chain(UNREADABLE.map(|(event, _)| event)).collect();
    for (option, hits) in [("", 4), (", strict 'true'", 1)] {
        let pipeline = PIPELINE.replace("event_time 'time'", &format!("event_time 'time'{option}"));
        let Some(world) = World::new(kind, &pipeline).await else { return };
        let (system, client) = world.start().await;
        let receipt = send(&client, &lines).await;
        assert_eq!((receipt.accepted, receipt.rejected), (hits, 4 - hits), "{option}");
        if option.is_empty() {
            assert_eq!(receipt.unreadable, BTreeMap::from([("uid".to_owned(), 2), ("price".to_owned(), 1)]));
        } else {
            assert_eq!(receipt.unreadable, BTreeMap::new());
            for (told, (event, words)) in receipt.errors.iter().zip(UNREADABLE) {
                assert!(words.iter().all(|word| told.error.contains(word)), "{event}: {}", told.error);
            }
        }
        let expected = json!([{"k": "a", "hits": hits, "uids": 1, "prices": 1}]);
        let before = rows_of(&client, "users", &receipt.token).await;
        assert_eq!(before["rows"], expected, "{option}");
        let after = publish_all_of(&system, &client, "users", &receipt.token).await;
        assert_eq!(after["rows"], expected, "{option}");
        system.stop().await.unwrap();
    }
}
