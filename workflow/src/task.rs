//! A task of a run, and where it stands.

use std::sync::Arc;

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};

use crate::entry::{Content, Failure, Planned, Work};
use crate::ids::{Epoch, TaskId, WorkerId};
use crate::spec::TaskKind;

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// To be done; to be had once nothing before it is open.
    Pending,
    /// At work.
    Leased {
        /// By whom.
        worker: WorkerId,
        /// The epoch of its token.
        epoch: Epoch,
    },
    /// Failed, and to be tried again after a while.
    Waiting {
        /// Why it failed.
        failure: Failure,
    },
    /// Done.
    Done {
        /// What it gives.
        output: Content,
        /// What was done.
        work: Work,
    },
    /// Failed for good.
    Failed {
        /// Why.
        failure: Failure,
    },
    /// Not done, since its run failed.
    Skipped,
    /// Not done by itself: parts are in its place.
    Split {
        /// The parts.
        into: Vec<TaskId>,
    },
    /// Not done, since its run was cancelled.
    Cancelled,
}

impl TaskState {
    /// In one word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Leased { .. } => "leased",
            Self::Waiting { .. } => "waiting",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Skipped => "skipped",
            Self::Split { .. } => "split",
            Self::Cancelled => "cancelled",
        }
    }
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// What must be done before.
    pub after: Arc<[TaskId]>,
    /// How much it reads.
    pub weight_bytes: u64,
    /// Its parameters.
    pub parameters: Content,
    /// Where it stands.
    pub state: TaskState,
    /// Leases so far.
    pub attempt: u32,
    /// Transient failures so far.
    pub failures: u32,
    /// Leases that were taken away.
    pub lost: u32,
    /// How many tasks of `after` are not done.
    pub blocked_by: u32,
    /// When it came to stand so, by the clock of whoever wrote the entry.
    pub since: TimestampMicros,
}

impl Task {
    pub(crate) fn new(planned: &Planned, blocked_by: u32, at: TimestampMicros) -> Self {
        Self {
            id: planned.id,
            kind: planned.kind,
            after: Arc::clone(&planned.after),
            weight_bytes: planned.weight_bytes,
            parameters: planned.parameters.clone(),
            state: TaskState::Pending,
            attempt: 0,
            failures: 0,
            lost: 0,
            blocked_by,
            since: at,
        }
    }

    /// Whether it is pending with nothing open before it.
    pub fn is_ready(&self) -> bool {
        matches!(self.state, TaskState::Pending) && self.blocked_by == 0
    }
}

/// How many tasks of a run stand where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// To be done.
    pub pending: u32,
    /// At work.
    pub leased: u32,
    /// To be tried again after a while.
    pub waiting: u32,
    /// Done.
    pub done: u32,
    /// Failed for good.
    pub failed: u32,
    /// Not done since the run failed, or split.
    pub skipped: u32,
    /// Not done since the run was cancelled.
    pub cancelled: u32,
}

impl TaskCounts {
    /// Those that something is still to be done for.
    pub fn open(&self) -> u32 {
        self.pending + self.leased + self.waiting
    }

    /// All.
    pub fn all(&self) -> u32 {
        self.open() + self.done + self.failed + self.skipped + self.cancelled
    }

    pub(crate) fn of(&mut self, state: &TaskState) -> &mut u32 {
        match state {
            TaskState::Pending => &mut self.pending,
            TaskState::Leased { .. } => &mut self.leased,
            TaskState::Waiting { .. } => &mut self.waiting,
            TaskState::Done { .. } => &mut self.done,
            TaskState::Failed { .. } => &mut self.failed,
            TaskState::Skipped | TaskState::Split { .. } => &mut self.skipped,
            TaskState::Cancelled => &mut self.cancelled,
        }
    }
}
