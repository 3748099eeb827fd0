//! Public events of GitHub (`examples/github-events`): a payload that differs by type, ids as text and as numbers,
//! fields that are missing, a record that is no event.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Feed, distinct, percentile, rows, sum, text};

#[tokio::test(flavor = "multi_thread")]
async fn events_of_github_have_the_same_answers_in_both_layers_and_loaded_twice() {
    let feed = Feed {
        name: "github-events",
        source: "github",
        fold,
        lines: 25,
        // Without a time.
        rejected: 1,
        // One line twice, one event with its id as a number.
        copies: 2,
        question: "SELECT repo, sum(stars) AS stars, sum(pushes) AS pushes, MEASURE(developers) AS developers \
                   FROM activity_by_repo GROUP BY repo ORDER BY developers DESC, repo",
        told: json!([
            {"repo": "octo/rocket", "stars": 2, "pushes": 3, "developers": 5},
            {"repo": "octo/docs", "stars": 0, "pushes": 0, "developers": 2},
            {"repo": "octo/rocket-engine", "stars": 1, "pushes": 1, "developers": 2},
            {"repo": "ada/notes", "stars": 0, "pushes": 1, "developers": 1},
        ]),
    };
    feed.check().await;
}

/// The hour or the day of an event: its time as far as it goes.
fn start(event: &Value, to: usize, rest: &str) -> Value {
    json!(format!("{}{rest}", &event["created_at"].as_str().unwrap()[..to]))
}

fn hour(event: &Value) -> Value {
    start(event, 13, ":00:00Z")
}

fn day(event: &Value) -> Value {
    start(event, 10, "T00:00:00Z")
}

fn commits(event: &Value) -> Option<i64> {
    event["payload"]["size"].as_i64()
}

fn is_bot(event: &Value) -> bool {
    event["actor"]["login"].as_str().is_some_and(|login| login.ends_with("[bot]"))
}

fn developers(events: &[&Value]) -> usize {
    distinct(events.iter().map(|event| &event["actor"]["id"]))
}

fn of_type(events: &[&Value], name: &str) -> usize {
    events.iter().filter(|event| event["type"] == name).count()
}

fn opened(events: &[&Value], name: &str) -> usize {
    events.iter().filter(|event| event["type"] == name && event["payload"]["action"] == "opened").count()
}

fn fold(events: &[Value]) -> Value {
    let mut seen = BTreeSet::new();
    let identity = |event: &Value| ["id", "created_at"].map(|field| text(&event[field]));
    let read = events.iter().filter(|event| event["created_at"].is_string());
    let events: Vec<&Value> = read.filter(|event| seen.insert(identity(event))).collect();
    json!({
        "activity_by_repo": activity_by_repo(&events),
        "events_by_type": events_by_type(&events),
        "active_developers": active_developers(&events),
        "push_sizes": push_sizes(&events),
    })
}

fn activity_by_repo(events: &[&Value]) -> Value {
    let keys = |event: &Value| vec![event["repo"]["name"].clone(), hour(event)];
    rows(events.iter().copied(), keys, |keys, events| {
        let merged = |event: &&&Value| event["payload"]["pull_request"]["merged"].as_bool() == Some(true);
        json!({
            "repo": keys[0], "hour": keys[1], "events": events.len(),
            "pushes": of_type(events, "PushEvent"),
            "commits": sum(events.iter().map(|event| commits(event))),
            "stars": of_type(events, "WatchEvent"),
            "forks": of_type(events, "ForkEvent"),
            "issues_opened": opened(events, "IssuesEvent"),
            "pulls_opened": opened(events, "PullRequestEvent"),
            "pulls_merged": events.iter().filter(merged).count(),
            "developers": developers(events),
        })
    })
}

fn events_by_type(events: &[&Value]) -> Value {
    let keys = |event: &Value| vec![event["type"].clone(), hour(event)];
    rows(events.iter().copied(), keys, |keys, events| {
        json!({
            "type": keys[0], "hour": keys[1], "events": events.len(),
            "bot_events": events.iter().filter(|event| is_bot(event)).count(),
            "developers": developers(events),
        })
    })
}

fn active_developers(events: &[&Value]) -> Value {
    let people = events.iter().copied().filter(|event| event["actor"]["login"].is_string() && !is_bot(event));
    let keys = |event: &Value| vec![json!(event["org"]["login"].as_str().unwrap_or("(none)")), day(event)];
    rows(people, keys, |keys, events| {
        json!({
            "org": keys[0], "day": keys[1], "events": events.len(), "developers": developers(events),
            "repos": distinct(events.iter().map(|event| &event["repo"]["id"])),
        })
    })
}

fn push_sizes(events: &[&Value]) -> Value {
    let pushes = events.iter().copied().filter(|event| event["type"] == "PushEvent");
    let keys = |event: &Value| vec![hour(event)];
    rows(pushes, keys, |keys, events| {
        json!({
            "hour": keys[0], "pushes": events.len(),
            "commits": sum(events.iter().map(|event| commits(event))),
            "median_commits": percentile(events.iter().map(|event| commits(event)), 0.5),
            "p95_commits": percentile(events.iter().map(|event| commits(event)), 0.95),
            "largest": events.iter().filter_map(|event| commits(event)).max(),
        })
    })
}
