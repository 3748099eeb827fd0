//! What the journal consists of: entries, each some changes that come into force together or not at all.

use std::sync::Arc;

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{Epoch, RunId, TaskId, Token, WorkerId};
use crate::spec::{RunSpec, TaskKind};

/// One entry of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The epoch as its writer read it; one of another epoch is refused.
    pub epoch: Epoch,
    /// The writer.
    pub by: WorkerId,
    /// When, by the writer's clock: for people alone, never compared.
    pub at: TimestampMicros,
    /// What changes, in this order; all of it or, where one is refused, nothing.
    pub changes: Vec<Change>,
}

/// A JSON value, or the object that holds it: so that the state stays small, whatever tasks give.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// The value.
    Inline(Value),
    /// The name of an object, behind the key of its run.
    Object(Arc<str>),
}

/// A task as the journal holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its number.
    pub id: TaskId,
    /// What it does.
    pub kind: TaskKind,
    /// What must be done before.
    pub after: Arc<[TaskId]>,
    /// How much it reads.
    pub weight_bytes: u64,
    /// Its parameters; an object holds those of several tasks, by their numbers.
    pub parameters: Content,
}

/// What was done for a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Work {
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// How long it took by the worker's monotonic clock, in milliseconds.
    pub took_millis: u64,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// In words, with the way out.
    pub reason: String,
    /// Whether the same task may succeed later without anybody doing anything.
    pub is_transient: bool,
    /// What it depends on, where it is permanent.
    pub cause_key: Option<String>,
    /// Whether others do what is left of it, so that nothing is wrong. Builds before this one do not write it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_superseded: bool,
}

impl Failure {
    /// One that stays until something changes, by what its run says of itself.
    pub fn permanent(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), is_transient: false, cause_key: None, is_superseded: false }
    }
}

/// A change of the state. Those marked *leader* are refused from anybody else.
///
/// A build that does not know one of them takes nothing any more until it is updated: what is added here is to be rare,
/// or of no use to whoever does not know it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// The writer leads, in the next epoch.
    Lead,
    /// Leader: leads no more.
    Resigned,
    /// Leader: the most tasks at the same time, in all runs.
    Limited {
        /// `None`: as many as there are slots.
        max_concurrent: Option<u32>,
    },
    /// A run with its first tasks.
    Started {
        /// The number after the last one.
        run: RunId,
        /// Names its objects and its files; drawn for it, so that no other run ever had it.
        key: Arc<str>,
        /// What was asked for.
        spec: Arc<RunSpec>,
        /// Each behind those that it names.
        tasks: Vec<Planned>,
    },
    /// A start of the same work found this run: its idempotency key is one of the run's from now on.
    Joined {
        /// The run.
        run: RunId,
        /// The key.
        key: Arc<str>,
    },
    /// The writer takes a task.
    Leased {
        /// Its lease.
        token: Token,
    },
    /// The writer has done a task.
    Done {
        /// Its lease.
        token: Token,
        /// What it gives.
        output: Content,
        /// Tasks that it brings.
        next: Vec<Planned>,
        /// What was done.
        work: Work,
    },
    /// The writer could not do a task.
    Failed {
        /// Its lease.
        token: Token,
        /// Why.
        failure: Failure,
    },
    /// The writer gives a task back.
    Released {
        /// Its lease.
        token: Token,
    },
    /// Leader: takes a task away from a worker that is silent, or stands still.
    Expired {
        /// The lease.
        token: Token,
        /// Why.
        reason: String,
    },
    /// Leader: takes a task away from a worker that stands still, and puts parts of it in its place.
    Split {
        /// The lease.
        token: Token,
        /// With numbers that no task of the run has; kind and predecessors are the task's.
        parts: Vec<Planned>,
    },
    /// Leader: a task that waited after a failure may be tried again.
    Ready {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskId,
        /// The attempt that failed.
        attempt: u32,
    },
    /// No task is taken any more.
    Paused {
        /// Of this run; `None`: of any.
        run: Option<RunId>,
    },
    /// Ends a pause.
    Resumed {
        /// Of this run; `None`: the pause of all.
        run: Option<RunId>,
    },
    /// A run ends here; what its tasks still give is refused.
    Cancelled {
        /// The run.
        run: RunId,
    },
    /// What failed, was skipped or cancelled in a run is tried again.
    Retried {
        /// The run.
        run: RunId,
    },
    /// Leader: a run took longer than its deadline.
    DeadlineMissed {
        /// The run.
        run: RunId,
    },
    /// Leader: the tasks of an ended run are in an object of the history, and nowhere else any more.
    Archived {
        /// The run.
        run: RunId,
    },
    /// Leader: an archived run leaves the state.
    Forgotten {
        /// The run.
        run: RunId,
    },
    /// Leader: something small to remember, such as when a schedule was last due.
    Noted {
        /// What it is about.
        key: String,
        /// `null` forgets it.
        value: Value,
    },
}
