//! Events of OpenLineage: which run of which job read which source and wrote which views.
//!
//! Guarantee: pure. The id of a run is the same UUID in all of its events.
//!
//! # Source
//! <https://openlineage.io/spec/2-0-2/OpenLineage.json>, `RunEvent`; facets `ErrorMessageRunFacet` and
//! `NominalTimeRunFacet` 1-0-1.

use serde_json::{Map, Value, json};
use uuid::Uuid;
use workflow::{RunMode, RunState};

use super::event::{RunEvent, rfc3339};
use super::notice::shortened;

const PRODUCER: &str = concat!("urn:twofold:", env!("CARGO_PKG_VERSION"));
const RUN_EVENT: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent";
const ERROR_FACET: &str =
    "https://openlineage.io/spec/facets/1-0-1/ErrorMessageRunFacet.json#/$defs/ErrorMessageRunFacet";
const RANGE_FACET: &str =
    "https://openlineage.io/spec/facets/1-0-1/NominalTimeRunFacet.json#/$defs/NominalTimeRunFacet";

/// The event of a run that started or ended; `None`: it did neither.
pub fn lineage_event(event: &RunEvent, namespace: &str) -> Option<Value> {
    let event_type = match event.state {
        RunState::Running => "START",
        RunState::Done => "COMPLETE",
        RunState::Failed => "FAIL",
        RunState::Cancelled => "ABORT",
        RunState::Queued | RunState::Paused => return None,
    };
    let run_id = Uuid::new_v5(&Uuid::NAMESPACE_URL, format!("urn:twofold:{namespace}:run:{}", event.run).as_bytes());
    let outputs: Vec<Value> =
        event.views.iter().map(|view| json!({ "namespace": namespace, "name": format!("view.{view}") })).collect();
    Some(json!({
        "eventType": event_type,
        "eventTime": rfc3339(event.at),
        "producer": PRODUCER,
        "schemaURL": RUN_EVENT,
        "run": { "runId": run_id.to_string(), "facets": run_facets(event) },
        "job": { "namespace": namespace, "name": format!("{}.{}", event.kind, event.source), "facets": {} },
        "inputs": [{ "namespace": namespace, "name": format!("source.{}", event.source) }],
        "outputs": outputs,
    }))
}

/// Why it failed, and the stretch of event time of a backfill.
fn run_facets(event: &RunEvent) -> Value {
    let mut facets = Map::new();
    if let RunMode::Buckets { from, to, .. } = event.mode {
        let range = json!({
            "_producer": PRODUCER,
            "_schemaURL": RANGE_FACET,
            "nominalStartTime": rfc3339(from),
            "nominalEndTime": rfc3339(to),
        });
        facets.insert("nominalTime".to_owned(), range);
    }
    if let Some(reason) = event.reason.as_ref().filter(|_| event.state == RunState::Failed) {
        let failed = json!({
            "_producer": PRODUCER,
            "_schemaURL": ERROR_FACET,
            "message": shortened(reason),
            "programmingLanguage": "SQL",
        });
        facets.insert("errorMessage".to_owned(), failed);
    }
    Value::Object(facets)
}
