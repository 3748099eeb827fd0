//! Which task is done by what, measured.
//!
//! Not here: what tasks of a kind do (`choose.rs`, `compute.rs`, `publish.rs`).

use async_trait::async_trait;
use tokio::time::Instant;
use workflow::{Assignment, Executor, Progress, RunSpec, TaskError, TaskKind, TaskOutput, TaskPart, TaskSpec};

use super::choose::choose;
use super::compute::compute;
use super::metrics;
use super::publish::publish;
use super::tasks::RecomputeTasks;

#[async_trait]
impl Executor for RecomputeTasks {
    async fn execute(&self, work: &Assignment, progress: &Progress) -> Result<TaskOutput, TaskError> {
        let began = Instant::now();
        let done = match work.task.kind {
            TaskKind::Choose => choose(self, work, progress).await,
            TaskKind::Compute => compute(self, work, progress).await,
            TaskKind::Publish => publish(self, work, progress).await,
            _ => Err(TaskError::Permanent {
                reason: "this version of Twofold does no tasks of this kind; update the process that took it"
                    .to_owned(),
                cause_key: Some("version".to_owned()),
            }),
        };
        metrics::note_task(work.task.kind, began.elapsed(), done.as_ref().err());
        done
    }

    /// A group is what its plan says, and its buckets were made as few as `batch.task_bytes` allows.
    fn split(&self, _run: &RunSpec, _task: &TaskSpec) -> Option<Vec<TaskPart>> {
        None
    }
}
