//! A column whose values come under another key: said where people look, with the way out.

use std::time::{Duration, Instant};

use serde_json::json;
use twofold::commands::status::draw_status;

use super::{DEADLINE, Kind, World, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, k VARCHAR NOT NULL, user_id BIGINT)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', gap '200ms', partitions '1');

CREATE MATERIALIZED VIEW users AS SELECT k, count(user_id) AS hits FROM hits GROUP BY k;
";

#[tokio::test(flavor = "multi_thread")]
async fn a_column_that_was_never_seen_is_in_the_status_of_its_source() {
    let world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let (system, client) = world.start().await;
    send(&client, &[r#"{"time":"2026-03-01T12:34:56Z","k":"a","userId":7}"#]).await;
    let way_out = "declare the column as \"userId\", in double quotes, or write OPTIONS (path = 'userId') behind the \
                   type of the column";
    let expected = json!([{"column": "user_id", "keys": {"userId": 1}, "way_out": way_out}]);
    let deadline = Instant::now() + DEADLINE;
    let status = loop {
        let status = client.get("/v1/status", &[]).await.unwrap();
        if status["sources"][0]["unseen_columns"] == expected {
            break status;
        }
        assert!(Instant::now() < deadline, "it is not told: {status:#}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(status["system"]["archive of hits"]["unseen_columns"], expected);
    // With a gateway beside the archive, and without one.
    for status in [&status, &status["system"]] {
        let text = draw_status(status);
        let told = format!(
            "source hits: column user_id has had no value so far; of the payloads looked at, some have userId (in 1): \
             {way_out}\n"
        );
        assert_eq!(text.matches(&told).count(), 1, "{text}");
    }
    system.stop().await.unwrap();
}
