//! Which sources runs are at work for: their batch loops wait meanwhile.
//!
//! Guarantee: a loop waits only while a task of a run is leased, and for some seconds between two of them; a run that
//! is paused, or that waits for a retry, holds nobody up for long. A worker that died does so until its leases are
//! taken away.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use batch_layer::RunsAtWork;
use positions::SourceName;
use tokio::time::Instant;
use workflow::{RunState, Workflow};

/// So long a run may be without a task at work, between two of them, and still be waited for.
const PAUSE: Duration = Duration::from_secs(5);

/// By the journal, as this process reads it.
pub struct JournalAtWork {
    workflow: Workflow,
    // When a source was last seen at work. Touched by its loop alone, held for a look only.
    seen: Mutex<BTreeMap<SourceName, Instant>>,
}

impl JournalAtWork {
    /// Of a process that takes part, so that what it read is about a second old.
    pub fn new(workflow: &Workflow) -> Self {
        Self { workflow: workflow.clone(), seen: Mutex::default() }
    }
}

impl RunsAtWork for JournalAtWork {
    fn is_at_work(&self, source: &SourceName) -> bool {
        let state = self.workflow.state();
        let is_of_source =
            |lease: &workflow::Leased| state.run(lease.token.run).is_some_and(|run| run.spec.source == *source);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if state.leases.iter().any(is_of_source) {
            seen.insert(source.clone(), Instant::now());
            return true;
        }
        let mut open = state.open_runs();
        let is_open = open.any(|run| run.spec.source == *source && run.state == RunState::Running);
        is_open && !state.is_paused && seen.get(source).is_some_and(|at| at.elapsed() < PAUSE)
    }
}
