//! Page views of a web site (`examples/web-analytics`): visits that span hours and layers, a late page view that joins
//! two of them, a copy, a visitor who is not named.

use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use serde_json::{Value, json};

use super::{Feed, distinct, rows, text};

const HALF_HOUR: i64 = 1_800;

#[tokio::test(flavor = "multi_thread")]
async fn page_views_make_the_same_visits_in_both_layers_and_loaded_twice() {
    let feed = Feed {
        name: "web-analytics",
        source: "page_views",
        fold,
        lines: 24,
        // Without a time.
        rejected: 1,
        copies: 1,
        question: "SELECT sum(views) AS views, MEASURE(visitors) AS visitors, MEASURE(visits) AS visits, \
                   MEASURE(bounces) AS bounces FROM visits_by_hour",
        told: json!([{"views": 22, "visitors": 8, "visits": 10, "bounces": 4}]),
    };
    feed.check().await;
}

/// The hour or the day of an event: its time as far as it goes.
fn start(event: &Value, to: usize, rest: &str) -> Value {
    json!(format!("{}{rest}", &event["time"].as_str().unwrap()[..to]))
}

fn hour(event: &Value) -> Value {
    start(event, 13, ":00:00Z")
}

fn day(event: &Value) -> Value {
    start(event, 10, "T00:00:00Z")
}

fn seconds(event: &Value) -> i64 {
    DateTime::parse_from_rfc3339(event["time"].as_str().unwrap()).unwrap().timestamp()
}

fn visitors(events: &[&Value]) -> usize {
    distinct(events.iter().map(|event| &event["visitor"]))
}

/// How many visits there are, and how many of them are one page view.
fn visits(events: &[&Value]) -> (usize, usize) {
    let mut times: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for event in events {
        if let Some(visitor) = event["visitor"].as_str() {
            times.entry(visitor).or_default().push(seconds(event));
        }
    }
    let (mut visits, mut bounces) = (0, 0);
    for mut times in times.into_values() {
        times.sort_unstable();
        for visit in times.chunk_by(|before, after| after - before <= HALF_HOUR) {
            visits += 1;
            bounces += usize::from(visit.len() == 1);
        }
    }
    (visits, bounces)
}

fn fold(events: &[Value]) -> Value {
    let mut seen = BTreeSet::new();
    let identity = |event: &Value| ["id", "time"].map(|field| text(&event[field]));
    let read = events.iter().filter(|event| event["time"].is_string());
    let events: Vec<&Value> = read.filter(|event| seen.insert(identity(event))).collect();
    json!({
        "traffic": traffic(&events),
        "visits_by_hour": visits_by_hour(&events),
        "bounces_by_device": bounces_by_device(&events),
    })
}

fn traffic(events: &[&Value]) -> Value {
    let keys = |event: &Value| vec![event["page"].clone(), hour(event)];
    rows(
        events.iter().copied(),
        keys,
        |keys, events| json!({"page": keys[0], "hour": keys[1], "views": events.len(), "visitors": visitors(events)}),
    )
}

fn visits_by_hour(events: &[&Value]) -> Value {
    let keys = |event: &Value| vec![hour(event)];
    rows(events.iter().copied(), keys, |keys, events| {
        let (visits, bounces) = visits(events);
        json!({
            "hour": keys[0], "views": events.len(), "visitors": visitors(events), "visits": visits, "bounces": bounces,
        })
    })
}

fn bounces_by_device(events: &[&Value]) -> Value {
    let keys = |event: &Value| vec![json!(event["device"].as_str().unwrap_or("unknown")), day(event)];
    rows(events.iter().copied(), keys, |keys, events| {
        let (visits, bounces) = visits(events);
        json!({
            "device": keys[0], "day": keys[1], "views": events.len(),
            "bounce_rate": bounces as f64 / visits as f64,
        })
    })
}
