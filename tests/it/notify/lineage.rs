//! Events of OpenLineage, against what its specification asks of a `RunEvent`.

use serde_json::Value;
use twofold::notify::{RunEvent, lineage_event};
use workflow::RunState;

use super::{backfill, event};

/// What `RunEvent` of 2-0-2 requires, and the forms that it names: `uuid`, `date-time`, `uri`.
fn check(event: &Value) {
    let text = |pointer: &str| {
        let value = event.pointer(pointer).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("no text at {pointer} of {event}")).to_owned()
    };
    assert!(chrono::DateTime::parse_from_rfc3339(&text("/eventTime")).is_ok());
    assert!(url::Url::parse(&text("/producer")).is_ok());
    assert!(text("/schemaURL").starts_with("https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"));
    let types = ["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"];
    assert!(types.contains(&text("/eventType").as_str()));
    let id = text("/run/runId");
    let parts: Vec<usize> = id.split('-').map(str::len).collect();
    assert!(parts == [8, 4, 4, 4, 12] && id.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit()), "{id}");
    assert!(!text("/job/namespace").is_empty() && !text("/job/name").is_empty());
    for list in ["inputs", "outputs"] {
        for at in 0..event[list].as_array().unwrap().len() {
            assert!(
                !text(&format!("/{list}/{at}/namespace")).is_empty() && !text(&format!("/{list}/{at}/name")).is_empty()
            );
        }
    }
    // Every facet says by whom it is, and what it is.
    for facet in event["run"]["facets"].as_object().unwrap().keys() {
        for key in ["_producer", "_schemaURL"] {
            assert!(url::Url::parse(&text(&format!("/run/facets/{facet}/{key}"))).is_ok());
        }
    }
}

#[test]
fn a_run_starts_and_ends_once_under_one_id() {
    let states =
        [RunState::Queued, RunState::Running, RunState::Paused, RunState::Done, RunState::Failed, RunState::Cancelled];
    let events: Vec<Option<Value>> =
        states.into_iter().map(|state| lineage_event(&event("r1", state, 5), "shop")).collect();
    events.iter().flatten().for_each(check);
    let types: Vec<Option<&str>> =
        events.iter().map(|event| event.as_ref().map(|event| event["eventType"].as_str().unwrap())).collect();
    assert_eq!(types, [None, Some("START"), None, Some("COMPLETE"), Some("FAIL"), Some("ABORT")]);
    let mut ids: Vec<&Value> = events.iter().flatten().map(|event| &event["run"]["runId"]).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let other = lineage_event(&event("r2", RunState::Running, 5), "shop").unwrap();
    let elsewhere = lineage_event(&event("r1", RunState::Running, 5), "other").unwrap();
    assert!(other["run"]["runId"] != *ids[0] && elsewhere["run"]["runId"] != *ids[0]);
}

#[test]
fn an_event_names_what_was_read_and_written_and_why_it_failed() {
    let failed = lineage_event(&event("r1", RunState::Failed, 5), "shop").unwrap();
    assert_eq!(failed["job"]["name"], "recompute.clicks");
    assert_eq!(failed["inputs"], serde_json::json!([{ "namespace": "shop", "name": "source.clicks" }]));
    let outputs: Vec<&str> =
        failed["outputs"].as_array().unwrap().iter().map(|output| output["name"].as_str().unwrap()).collect();
    assert_eq!(outputs, ["view.hits", "view.visits"]);
    let facet = &failed["run"]["facets"]["errorMessage"];
    assert_eq!(
        (&facet["message"], &facet["programmingLanguage"]),
        (&"group 7 is over its limit".into(), &"SQL".into())
    );
    let cancelled = RunEvent { reason: Some("by hand".to_owned()), ..event("r1", RunState::Cancelled, 5) };
    assert_eq!(lineage_event(&cancelled, "shop").unwrap()["run"]["facets"], serde_json::json!({}));
}

#[test]
fn a_backfill_is_a_job_of_its_own_and_says_which_time_it_is_of() {
    for state in [RunState::Running, RunState::Failed] {
        let told = lineage_event(&backfill("r1", state, 5), "shop").unwrap();
        check(&told);
        assert_eq!(told["job"]["name"], "backfill.clicks");
        let facet = &told["run"]["facets"]["nominalTime"];
        let range = (&facet["nominalStartTime"], &facet["nominalEndTime"]);
        assert_eq!(range, (&"2026-01-01T00:00:00.000Z".into(), &"2026-01-03T00:00:00.000Z".into()));
        let has_failed = told["run"]["facets"].get("errorMessage").is_some();
        assert_eq!(has_failed, state == RunState::Failed);
    }
}
