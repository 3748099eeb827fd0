//! The seam to whatever does tasks: this crate knows which task is whose, an [`Executor`] knows what a task is.

use std::sync::Arc;

use async_trait::async_trait;
use futures::{Stream, StreamExt};
use serde_json::Value;

use crate::entry::{Content, Failure};
use crate::error::WorkflowError;
use crate::ids::{TaskId, Token};
use crate::lease::Lease;
use crate::objects::Objects;
use crate::progress::Progress;
use crate::runs::Run;
use crate::spec::{RunSpec, TaskKind, TaskPart, TaskSpec};
use crate::state::State;

/// Outputs that are read at the same time.
const CONCURRENT_READS: usize = 16;

/// Does tasks.
#[async_trait]
pub trait Executor: Send + Sync + 'static {
    /// Does one task. May be dropped at any moment, and run again elsewhere while this one has not noticed yet: files
    /// bear [`Assignment::file_prefix`], and [`Lease::is_current`] is asked directly before a commit.
    ///
    /// # Errors
    /// [`TaskError::Transient`]: it is tried again, as often as the run allows. [`TaskError::Permanent`],
    /// [`TaskError::Superseded`]: the run fails.
    async fn execute(&self, work: &Assignment, progress: &Progress) -> Result<TaskOutput, TaskError>;

    /// Whether this process has what a task of this kind needs; others are left to processes that do. Pure, and the
    /// same for the life of the process.
    fn can_do(&self, kind: TaskKind) -> bool {
        !kind.is_by_command()
    }

    /// Parts that together do what a task does, each of them less; `None` where it cannot be divided. Pure.
    fn split(&self, run: &RunSpec, task: &TaskSpec) -> Option<Vec<TaskPart>>;
}

/// What a task gives.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskOutput {
    /// What later tasks read.
    pub output: Value,
    /// Tasks that the run needs now, each behind those that it names, with numbers that no task of the run has.
    pub next: Vec<TaskSpec>,
}

/// Why a task was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// The same task may succeed later without anybody doing anything.
    #[error("{reason}")]
    Transient {
        /// Why.
        reason: String,
    },
    /// It will fail again until something changes.
    #[error("{reason}")]
    Permanent {
        /// Why, with the way out.
        reason: String,
        /// What it depends on, such as the hash of a definition and a limit; `None`: what the run says.
        cause_key: Option<String>,
    },
    /// Others do what is left of it, and nobody waits for this one: its run fails, and nothing is wrong.
    #[error("{reason}")]
    Superseded {
        /// Why.
        reason: String,
    },
}

impl From<WorkflowError> for TaskError {
    fn from(error: WorkflowError) -> Self {
        // What a store has lost or refuses is no fault of a definition: a schedule tries again when it is due next.
        match error.is_about_content() {
            true => Self::Permanent { reason: error.to_string(), cause_key: None },
            false => Self::Transient { reason: error.to_string() },
        }
    }
}

/// The longest reason that is kept, in characters.
const LONGEST_REASON: usize = 2_000;

impl From<&TaskError> for Failure {
    fn from(error: &TaskError) -> Self {
        let failure = Self::permanent(error.to_string().chars().take(LONGEST_REASON).collect::<String>());
        match error {
            TaskError::Transient { .. } => Self { is_transient: true, ..failure },
            TaskError::Permanent { cause_key, .. } => Self { cause_key: cause_key.clone(), ..failure },
            TaskError::Superseded { .. } => Self { is_superseded: true, ..failure },
        }
    }
}

/// A task to be done, with all that is known of it.
#[derive(Clone)]
pub struct Assignment {
    /// The fencing token of its lease.
    pub token: Token,
    /// The lease.
    pub lease: Lease,
    /// The run.
    pub run: Arc<RunSpec>,
    /// Drawn for the run: no other ever had it.
    pub run_key: Arc<str>,
    /// The task, with its parameters.
    pub task: TaskSpec,
    pub(crate) before: Vec<(TaskId, Content)>,
    pub(crate) objects: Objects,
}

impl Assignment {
    /// What the names of all files of this attempt begin with: no other run, task or attempt has it.
    pub fn file_prefix(&self) -> String {
        format!("{}-{}-{}", self.run_key, self.token.task, self.token.attempt)
    }

    /// All runs, by the journal as it is now.
    ///
    /// # Errors
    /// The journal does not answer.
    pub async fn state(&self) -> Result<Arc<State>, WorkflowError> {
        self.lease.state().await
    }

    /// What a task of another run gave. Those of archived runs that were too large for the journal are gone.
    ///
    /// # Errors
    /// As [`Self::output`].
    pub async fn given(&self, run: &Run, output: &Content) -> Result<Value, WorkflowError> {
        Ok(self.objects.output(&run.key, output).await?)
    }

    /// The output of a task that this one comes after; `None` where it does not.
    ///
    /// # Errors
    /// The store does not answer, or has lost it.
    pub async fn output(&self, task: TaskId) -> Result<Option<Value>, WorkflowError> {
        match self.before.iter().find(|(before, _)| *before == task) {
            Some((_, output)) => Ok(Some(self.objects.output(&self.run_key, output).await?)),
            None => Ok(None),
        }
    }

    /// The outputs of those tasks that this one comes after which `is_meant`, in their order, read as they are asked
    /// for: of ten thousand, a few are in memory at a time.
    ///
    /// # Errors
    /// As [`Self::output`].
    pub fn outputs(
        &self,
        is_meant: impl Fn(TaskId) -> bool,
    ) -> impl Stream<Item = Result<(TaskId, Value), WorkflowError>> + Send {
        let meant: Vec<(TaskId, Content)> = self.before.iter().filter(|(task, _)| is_meant(*task)).cloned().collect();
        let (objects, key) = (self.objects.clone(), Arc::clone(&self.run_key));
        let reads = futures::stream::iter(meant).map(move |(task, output)| {
            let (objects, key) = (objects.clone(), Arc::clone(&key));
            async move { Ok::<_, WorkflowError>((task, objects.output(&key, &output).await?)) }
        });
        reads.buffered(CONCURRENT_READS)
    }
}
