//! Starting runs: a new one, or the one that does the same already.

use std::sync::Arc;

use serde_json::Value;
use tracing::warn;

use crate::entry::Change;
use crate::error::WorkflowError;
use crate::ids::RunId;
use crate::journal::{Decision, Journal};
use crate::refused::Refused;
use crate::spec::{RunSpec, TaskSpec};
use crate::state::State;

/// The largest parameters of a run, in bytes of JSON.
pub const MAX_SPEC_BYTES: usize = 64 << 10;

/// How a start ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// The run is new.
    Started(RunId),
    /// There was one already: of the same idempotency key, or of the same work and not ended; of that the key is one
    /// from now on.
    Joined(RunId),
}

impl Start {
    /// The run.
    pub fn run(self) -> RunId {
        match self {
            Self::Started(run) | Self::Joined(run) => run,
        }
    }
}

/// Starts a run, or finds the one that there is; notes what the caller, the leader, has to remember, in the same entry.
pub(crate) async fn start(
    journal: &Journal,
    spec: RunSpec,
    tasks: &[TaskSpec],
    notes: &[(String, Value)],
) -> Result<Start, WorkflowError> {
    let bytes = serde_json::to_vec(&spec).expect("what a run is asked for with is plain data").len();
    if bytes > MAX_SPEC_BYTES {
        return Err(WorkflowError::TooLarge { what: "what a run is asked for with", bytes, limit: MAX_SPEC_BYTES });
    }
    let key: Arc<str> = format!("{:032x}", journal.draw()).into();
    let planned = journal.objects().store_tasks(&key, "first", tasks).await?;
    let spec = Arc::new(spec);
    let started = journal.commit(|state| {
        let mut changes: Vec<Change> = noted(notes);
        let Some(found) = found(state, &spec)? else {
            let run = RunId(state.last_run.0 + 1);
            let (key, spec, tasks) = (Arc::clone(&key), Arc::clone(&spec), planned.clone());
            changes.push(Change::Started { run, key, spec, tasks });
            return Ok(Decision::Append(changes, Start::Started(run)));
        };
        // A lost reply: what is found is what a try before this one has appended.
        let is_ours = state.run(found).is_some_and(|run| run.key == key);
        let joined = if is_ours { Start::Started(found) } else { Start::Joined(found) };
        if !is_ours {
            changes.extend(joining(state, &spec, found));
        }
        let is_over = changes.is_empty() || is_ours;
        Ok(if is_over { Decision::Nothing(joined) } else { Decision::Append(changes, joined) })
    });
    let started = started.await;
    // Where it is not known whether the entry is there, its objects must stay; `upkeep.rs` finds them if it is not.
    let is_new = matches!(started, Ok(Start::Started(_)));
    let is_known = started.as_ref().err().is_none_or(|error| matches!(error, WorkflowError::Refused(_)));
    if !is_new
        && is_known
        && let Err(error) = journal.objects().delete_of_run(&key).await
    {
        warn!(%error, run_key = %key, "objects of a run that was not started stay");
    }
    started
}

/// What makes the key of a start that has found a run one of that run, also once it has ended.
fn joining(state: &State, spec: &RunSpec, run: RunId) -> Option<Change> {
    let key = spec.idempotency_key.as_deref().filter(|key| state.run_of_key(key).is_none())?;
    Some(Change::Joined { run, key: key.into() })
}

/// The run that a start finds in the place of a new one.
fn found(state: &State, spec: &RunSpec) -> Result<Option<RunId>, Refused> {
    if let Some(run) = spec.idempotency_key.as_deref().and_then(|key| state.run_of_key(key)) {
        return if run.spec.is_same_work(spec) { Ok(Some(run.id)) } else { Err(Refused::KeyInUse(run.id)) };
    }
    Ok(state.open_run_of(spec).map(|run| run.id))
}

pub(crate) fn noted(notes: &[(String, Value)]) -> Vec<Change> {
    notes.iter().map(|(key, value)| Change::Noted { key: key.clone(), value: value.clone() }).collect()
}
