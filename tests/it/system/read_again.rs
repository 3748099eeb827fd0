//! Rejected records judged again after their source was mended: on request, by the batch role, with what came back.

use serde_json::json;

use super::{Kind, World, publish_all_of, send};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, k VARCHAR NOT NULL, n BIGINT NOT NULL)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', gap '200ms', partitions '2');

CREATE MATERIALIZED VIEW ev_k AS SELECT k, count(*) AS hits FROM hits GROUP BY k;
";

const EVENTS: [&str; 4] = [
    r#"{"time":"2026-03-01T12:00:00Z","k":"a","n":1}"#,
    r#"{"time":"2026-03-01T12:00:01Z","k":"a"}"#,
    r#"{"time":"2026-03-01T12:00:02Z","k":"a"}"#,
    r#"{"time":"2026-03-01T12:00:03Z","n":2}"#,
];

#[tokio::test(flavor = "multi_thread")]
async fn after_a_mend_rejected_records_come_back_and_it_is_said_how_many() {
    let mut world = World::new(Kind::Embedded, PIPELINE).await.expect("the embedded parts are always there");
    let (system, client) = world.start().await;
    let receipt = send(&client, &EVENTS).await;
    assert_eq!((receipt.accepted, receipt.rejected), (1, 3));
    publish_all_of(&system, &client, "ev_k", &receipt.token).await;
    let mut answer = client.read_again("hits").await.unwrap();
    assert_eq!(answer["views"]["ev_k"].as_object_mut().unwrap().remove("error"), Some(json!(null)));
    let version = answer["views"]["ev_k"]["version"].as_u64().unwrap();
    let views = json!({"ev_k": {"state": "published", "version": version}});
    let expected = json!({
        "source": "hits", "records": 4, "rejected_when_archived": 3, "rejected_now": 3, "came_back": 0, "views": views,
    });
    assert_eq!(answer, expected);
    system.stop().await.unwrap();

    world.pipeline = PIPELINE.replace("n BIGINT NOT NULL", "n BIGINT");
    // A compaction would count them anew by itself, perhaps before the question.
    let mut config = world.config();
    config.batch.compact.is_on = false;
    let (system, client) = world.start_with(config).await;
    let answer = client.read_again("hits").await.unwrap();
    let told = ["records", "rejected_when_archived", "rejected_now", "came_back"].map(|name| answer[name].clone());
    assert_eq!(json!(told), json!([4, 3, 1, 2]), "{answer:#}");
    assert_eq!(answer["views"]["ev_k"]["state"], "published", "{answer:#}");
    let rows = publish_all_of(&system, &client, "ev_k", &receipt.token).await;
    assert_eq!(rows["rows"], json!([{"k": "a", "hits": 3}]));
    let refused = client.read_again("nowhere").await.unwrap_err().to_string();
    assert!(refused.contains("there is no source `nowhere`"), "{refused}");
    system.stop().await.unwrap();
}
