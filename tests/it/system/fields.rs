//! Views over fields of a STRUCT, as the feeds that bring them are declared: the same answer from either layer.

use positions::ViewName;
use serde_json::{Value, json};
use twofold::client::{Client, SendOutcome};

use super::{Kind, World, publish_until};

/// A feed in the manner of Wikimedia's recent changes, and the least source with a STRUCT.
const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE changes (
  "$schema" VARCHAR, meta STRUCT<dt TIMESTAMP, domain VARCHAR, id VARCHAR, "offset" BIGINT>, id BIGINT, type VARCHAR,
  title VARCHAR, timestamp TIMESTAMP, "user" VARCHAR, bot BOOLEAN, length STRUCT<old BIGINT, new BIGINT>,
  log_params STRUCT<action VARCHAR>
) STORED AS JSON LOCATION 'kafka://changes' OPTIONS (event_time 'timestamp', grid '512', gap '500ms', partitions '1');
CREATE MATERIALIZED VIEW changes_by_domain AS
SELECT meta['domain'] AS k, count(*) AS events, sum(length['new'] - coalesce(length['old'], 0)) AS grown,
       count(*) FILTER (WHERE bot) AS bots
FROM changes GROUP BY k;
CREATE MATERIALIZED VIEW actions WITH (bucket = 'none') AS
SELECT coalesce(log_params.action, type) AS k, count(*) FILTER (WHERE meta.domain LIKE 'en.%') AS english,
       max(meta['id']) AS last, sum(length['new']) AS bytes
FROM changes WHERE meta['offset'] > 0 GROUP BY k;

CREATE UNBOUNDED EXTERNAL TABLE e (time TIMESTAMP NOT NULL, meta STRUCT<domain VARCHAR>)
STORED AS JSON LOCATION 'kafka://e' OPTIONS (event_time 'time', gap '500ms', partitions '1');
CREATE MATERIALIZED VIEW v AS SELECT meta['domain'] AS k, count(*) AS n FROM e GROUP BY k;
"#;

const CHANGES: &str = r#"{"$schema": "/mediawiki/recentchange/1.0.0", "meta": {"dt": "2026-03-01T12:00:00Z", "domain": "en.example.org", "id": "u-0", "offset": 6232533545}, "id": 1000, "type": "edit", "namespace": 0, "title": "P0", "timestamp": "2026-03-01T12:00:00Z", "user": "u", "bot": true, "parsedcomment": "<b>x</b>", "length": {"old": 100, "new": 120}}
{"$schema": "/mediawiki/recentchange/1.0.0", "meta": {"dt": "2026-03-01T12:00:00Z", "domain": "en.example.org", "id": "u-1", "offset": 6232533545}, "id": 1001, "type": "new", "namespace": 0, "title": "P1", "timestamp": "2026-03-01T12:00:00Z", "user": "u", "bot": false, "parsedcomment": "<b>x</b>", "length": {"new": 50}}
{"$schema": "/mediawiki/recentchange/1.0.0", "meta": {"dt": "2026-03-01T12:00:00Z", "domain": "en.example.org", "id": "u-2", "offset": 6232533545}, "id": 1002, "type": "log", "namespace": 0, "title": "P2", "timestamp": "2026-03-01T12:00:00Z", "user": "u", "bot": true, "parsedcomment": "<b>x</b>", "log_params": {"action": "edit", "log": 1}}"#;

tests::on_all_parts!(a_view_over_fields_has_the_same_answer_in_both_layers);

async fn send(client: &Client, source: &str, lines: &'static str) -> String {
    match client.send_events(source, lines.into()).await.unwrap() {
        SendOutcome::Received(receipt) if receipt.rejected == 0 => receipt.token,
        SendOutcome::Received(receipt) => panic!("{} of {source} are rejected", receipt.rejected),
        SendOutcome::Later { reason, .. } => panic!("{reason}"),
    }
}

async fn answer(client: &Client, view: &str, token: &str) -> Value {
    let parameters = [("order", "k"), ("after", token), ("timeout", "30s")];
    client.get(&format!("/v1/views/{view}/rows"), &parameters).await.unwrap()
}

async fn a_view_over_fields_has_the_same_answer_in_both_layers(kind: Kind) {
    let Some(world) = World::new(kind, PIPELINE).await else { return };
    let (system, client) = world.start().await;
    let changes = send(&client, "changes", CHANGES).await;
    let least = r#"{"time": "2026-03-01T12:00:00Z", "meta": {"domain": "a"}}"#;
    let least = send(&client, "e", least).await;
    let expected = [
        ("changes_by_domain", &changes, json!([{"k": "en.example.org", "events": 3, "grown": 70, "bots": 2}])),
        (
            "actions",
            &changes,
            json!([
                {"k": "edit", "english": 2, "last": "u-2", "bytes": 120},
                {"k": "new", "english": 1, "last": "u-1", "bytes": 50},
            ]),
        ),
        ("v", &least, json!([{"k": "a", "n": 1}])),
    ];
    for (view, token, rows) in &expected {
        let found = answer(&client, view, token).await;
        assert_eq!((&found["rows"], &found["envelope"]["batch_rows"]), (rows, &json!(0)), "{view} in realtime");
    }
    for (view, token, rows) in &expected {
        let found = publish_until(&system, &ViewName::new(view), async || Ok(answer(&client, view, token).await)).await;
        assert_eq!((&found["rows"], &found["envelope"]["version"].is_null()), (rows, &false), "{view} in batch");
    }
    system.stop().await.unwrap();
}
