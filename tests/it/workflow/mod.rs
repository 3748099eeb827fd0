//! The workflow: what the journal takes and refuses, and what processes make of it, whoever dies, sleeps or is too
//! late.

mod commands;
mod estimates;
mod fake;
mod fold;
mod interleaved;
mod lasting;
mod loops;
mod size;

use std::sync::Arc;

use lake::Lake;
use positions::{DefinitionHash, SourceName, ViewName};
use serde_json::{Value, json};
use workflow::{Priority, RunKind, RunMode, RunSpec, TaskId, TaskKind, TaskSpec, Workflow};

use crate::support::seams::{ManualClock, SeededIds};

/// A recompute with these parameters, tried again twice.
pub fn spec(parameters: Value) -> RunSpec {
    RunSpec {
        kind: RunKind::Recompute,
        source: SourceName::new("edits"),
        views: vec![(ViewName::new("by_hour"), DefinitionHash(7))],
        mode: RunMode::Full,
        parameters,
        priority: Priority::ByHand,
        retries: 2,
        max_concurrent: None,
        idempotency_key: None,
        deadline: None,
        schedule: None,
        cause_key: None,
    }
}

/// A task of a weight, behind others.
pub fn task(id: u32, kind: TaskKind, after: impl IntoIterator<Item = u32>) -> TaskSpec {
    let after = after.into_iter().map(TaskId).collect();
    TaskSpec { id: TaskId(id), kind, after, parameters: json!({}), weight_bytes: 100 }
}

/// The handle of a process whose ids repeat for a seed.
fn process(lake: &Lake, seed: u64) -> Workflow {
    Workflow::new(lake, Arc::new(ManualClock::at(0)), Arc::new(SeededIds::new(seed)))
}
