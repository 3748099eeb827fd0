//! Why a change does not fit the state.

use crate::ids::{Epoch, RunId, TaskId, Token};

/// Why a change was refused; nothing was changed. The state that it was decided on is over, or it never fitted any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Somebody else leads since.
    #[error("epoch {found} is not the present one, {present}")]
    OtherEpoch {
        /// That of the entry.
        found: Epoch,
        /// That of the state.
        present: Epoch,
    },
    /// An entry that changes nothing.
    #[error("an entry without a change")]
    Empty,
    /// Only the leader may do this, and the writer is not.
    #[error("only the leader may do this")]
    NotLeader,
    /// The writer leads already.
    #[error("the writer leads already")]
    AlreadyLeads,
    /// The run has another number than the next.
    #[error("run {0} is not the next one")]
    NotNext(RunId),
    /// The same work is queued or at work.
    #[error("run {0} does the same work already")]
    SameWork(RunId),
    /// Another run has this idempotency key.
    #[error("the idempotency key belongs to run {0}, which asked for other work: use another key")]
    KeyInUse(RunId),
    /// It failed for good, and nothing has changed since.
    #[error("run {run} of the same work failed for good ({reason}), and nothing has changed since")]
    SameFailure {
        /// The failed run.
        run: RunId,
        /// Why it failed.
        reason: String,
    },
    /// Too much of something that is bounded.
    #[error("{0}")]
    TooMuch(String),
    /// There is no such run, or not any more.
    #[error("there is no run {0}")]
    NoRun(RunId),
    /// The run has ended.
    #[error("run {0} has ended")]
    Ended(RunId),
    /// The run has not ended, or ended well.
    #[error("run {0} has not failed and was not cancelled: there is nothing to do again")]
    NothingToRetry(RunId),
    /// The tasks of the run are in the history alone.
    #[error("the tasks of run {0} are archived: start another run of the same work")]
    Archived(RunId),
    /// A run must end before it is archived, and be archived before it is forgotten.
    #[error("run {0} is still needed")]
    StillNeeded(RunId),
    /// There is no such task.
    #[error("run {run} has no task {task}")]
    NoTask {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskId,
    },
    /// Two tasks of one number.
    #[error("run {run} has a task {task} already")]
    TaskExists {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskId,
    },
    /// The task is not to be had: not pending, not ready, paused, or the caps are reached.
    #[error("{token} is not to be had: {why}")]
    NotToBeHad {
        /// The lease.
        token: Token,
        /// Why.
        why: &'static str,
    },
    /// The lease is not in force, or another worker's.
    #[error("{0} is no lease that is in force")]
    LeaseLost(Token),
    /// The task does not wait, or waits after another attempt.
    #[error("task {task} of run {run} does not wait")]
    NotWaiting {
        /// The run.
        run: RunId,
        /// The task.
        task: TaskId,
    },
    /// It is so already.
    #[error("nothing to change: it is so already")]
    Already,
}
