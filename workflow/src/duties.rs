//! The seam to whatever decides that runs are due: schedules, housekeeping.

use async_trait::async_trait;
use positions::TimestampMicros;
use serde_json::Value;

use crate::error::WorkflowError;
use crate::spec::{RunSpec, TaskSpec};
use crate::start::Start;
use crate::state::State;

/// What is due now.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// The run.
    pub spec: RunSpec,
    /// Its first tasks.
    pub tasks: Vec<TaskSpec>,
    /// What is remembered in [`State::notes`] in the same entry, such as when the schedule was due: so that a new
    /// leader does not find it due again. It is remembered, too, where the run is refused.
    pub notes: Vec<(String, Value)>,
}

/// Decides what is due. Asked by the leader alone, with every beat.
#[async_trait]
pub trait Duties: Send + Sync + 'static {
    /// What is to be remembered in [`State::notes`] although nothing starts: written before [`Self::due`] is asked, in
    /// an entry of its own where it is not empty. What comes of it besides, such as telling somebody, may happen again
    /// where that entry could not be written.
    async fn notes(&self, _state: &State, _now: TimestampMicros) -> Vec<(String, Value)> {
        Vec::new()
    }

    /// What is due in this state at `now`, by the leader's clock.
    async fn due(&self, state: &State, now: TimestampMicros) -> Vec<Due>;

    /// What became of a due run: started, joined, or refused.
    fn note_start(&self, _due: &Due, _start: &Result<Start, WorkflowError>) {}
}
