//! Recent changes of Wikimedia (`examples/wikimedia-changes`): nested fields, seconds since 1970, an identity of two
//! columns, canary events, log entries without a length.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};

use super::{Feed, distinct, percentile, rows, sum};

#[tokio::test(flavor = "multi_thread")]
async fn recent_changes_have_the_same_answers_in_both_layers_and_loaded_twice() {
    let feed = Feed {
        name: "wikimedia-changes",
        source: "changes",
        fold,
        lines: 24,
        rejected: 0,
        // One received twice, one sent again as a new event.
        copies: 2,
        question: "SELECT wiki, sum(edits) AS edits, MEASURE(editors) AS editors FROM edits_by_wiki GROUP BY wiki \
                   ORDER BY editors DESC, wiki",
        told: json!([
            {"wiki": "enwiki", "edits": 7, "editors": 4},
            {"wiki": "wikidatawiki", "edits": 4, "editors": 2},
            {"wiki": "arwiki", "edits": 1, "editors": 1},
            {"wiki": "dewiki", "edits": 2, "editors": 1},
            {"wiki": "jawiki", "edits": 1, "editors": 1},
        ]),
    };
    feed.check().await;
}

/// The start of the minute, hour or day that a change fell into.
fn start(event: &Value, seconds: i64) -> Value {
    let at = event["timestamp"].as_i64().unwrap();
    json!(DateTime::from_timestamp(at - at % seconds, 0).unwrap().to_rfc3339_opts(SecondsFormat::Secs, true))
}

/// New bytes less old ones; a page that is new had none.
fn grown(event: &Value) -> Option<i64> {
    Some(event["length"]["new"].as_i64()? - event["length"]["old"].as_i64().unwrap_or(0))
}

fn size(event: &Value) -> Option<i64> {
    grown(event).map(i64::abs)
}

fn is_canary(event: &Value) -> bool {
    event["meta"]["domain"] == "canary"
}

fn is_edit(event: &Value) -> bool {
    !is_canary(event) && (event["type"] == "edit" || event["type"] == "new")
}

fn users(events: &[&Value]) -> usize {
    distinct(events.iter().map(|event| &event["user"]))
}

fn bots(events: &[&Value]) -> usize {
    events.iter().filter(|event| event["bot"].as_bool() == Some(true)).count()
}

fn fold(events: &[Value]) -> Value {
    let mut seen = BTreeSet::new();
    let identity = |event: &Value| ["wiki", "id", "timestamp"].map(|field| event[field].to_string());
    let changes: Vec<&Value> = events.iter().filter(|event| seen.insert(identity(event))).collect();
    let edits: Vec<&Value> = changes.iter().copied().filter(|event| is_edit(event)).collect();
    json!({
        "edits_by_wiki": edits_by_wiki(&edits),
        "edits_by_article": edits_by_article(&edits),
        "change_sizes": change_sizes(&edits),
        "log_actions": log_actions(&changes),
        "feed": feed(&changes),
    })
}

fn edits_by_wiki(edits: &[&Value]) -> Value {
    let keys = |event: &Value| vec![event["wiki"].clone(), start(event, 60)];
    rows(edits.iter().copied(), keys, |keys, events| {
        json!({
            "wiki": keys[0], "minute": keys[1], "edits": events.len(),
            "new_pages": events.iter().filter(|event| event["type"] == "new").count(),
            "bot_edits": bots(events),
            "bot_share": bots(events) as f64 / events.len() as f64,
            "grown_bytes": sum(events.iter().map(|event| grown(event))),
            "editors": users(events),
        })
    })
}

fn edits_by_article(edits: &[&Value]) -> Value {
    let keys = |event: &Value| vec![event["wiki"].clone(), event["title"].clone(), start(event, 3_600)];
    rows(edits.iter().copied().filter(|event| event["namespace"] == 0), keys, |keys, events| {
        json!({
            "wiki": keys[0], "title": keys[1], "hour": keys[2], "edits": events.len(), "editors": users(events),
            "grown_bytes": sum(events.iter().map(|event| grown(event))),
        })
    })
}

fn change_sizes(edits: &[&Value]) -> Value {
    let keys = |event: &Value| vec![event["bot"].clone(), start(event, 3_600)];
    rows(edits.iter().copied(), keys, |keys, events| {
        json!({
            "bot": keys[0], "hour": keys[1], "edits": events.len(),
            "median_bytes": percentile(events.iter().map(|event| size(event)), 0.5),
            "p95_bytes": percentile(events.iter().map(|event| size(event)), 0.95),
            "largest_page": events.iter().filter_map(|event| event["length"]["new"].as_i64()).max(),
        })
    })
}

fn log_actions(changes: &[&Value]) -> Value {
    let logged = changes.iter().copied().filter(|event| event["type"] == "log" && !is_canary(event));
    let keys = |event: &Value| {
        let [wiki, kind, action] = ["wiki", "log_type", "log_action"].map(|field| event[field].clone());
        vec![wiki, kind, action, start(event, 86_400)]
    };
    rows(logged, keys, |keys, events| {
        json!({
            "wiki": keys[0], "log_type": keys[1], "log_action": keys[2], "day": keys[3],
            "actions": events.len(), "people": users(events),
        })
    })
}

fn feed(changes: &[&Value]) -> Value {
    let keys = |event: &Value| vec![event["$schema"].clone(), event["type"].clone(), start(event, 3_600)];
    rows(changes.iter().copied(), keys, |keys, events| {
        json!({
            "event_schema": keys[0], "type": keys[1], "hour": keys[2], "events": events.len(),
            "canaries": events.iter().filter(|event| is_canary(event)).count(),
            "with_length": events.iter().filter(|event| event["length"]["new"].is_i64()).count(),
            "last_sent": events.iter().filter_map(|event| event["meta"]["dt"].as_str()).max(),
        })
    })
}
