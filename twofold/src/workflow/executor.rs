//! Which task is done by what, measured.
//!
//! Not here: what tasks of a kind do (`choose.rs`, `compute.rs`, `publish.rs`, `housekeeping/`).

use async_trait::async_trait;
use tokio::time::Instant;
use workflow::{Assignment, Executor, Progress, RunSpec, TaskError, TaskKind, TaskOutput, TaskPart, TaskSpec};

use super::choose::choose;
use super::compute::compute;
use super::divide::divide;
use super::housekeeping::{compact, fold, trim, vacuum};
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
            TaskKind::Compact => compact(self, work, progress).await,
            TaskKind::Fold => fold(self, work, progress).await,
            TaskKind::Vacuum => vacuum(self, work, progress).await,
            TaskKind::Trim => trim(self, work, progress).await,
            _ => Err(TaskError::Permanent {
                reason: "this version of Twofold does no tasks of this kind; update the process that took it"
                    .to_owned(),
                cause_key: Some("version".to_owned()),
            }),
        };
        metrics::note_task(work.task.kind, began.elapsed(), done.as_ref().err());
        done
    }

    /// Whatever needs the lake alone: every process that takes part has that, a worker nothing else. Runs of the
    /// realtime store are dropped by the worker of their partition, which has its index; and what a command does is
    /// its.
    fn can_do(&self, kind: TaskKind) -> bool {
        !kind.is_by_command() && kind != TaskKind::Expire
    }

    fn split(&self, _run: &RunSpec, task: &TaskSpec) -> Option<Vec<TaskPart>> {
        divide(task, self.config.batch.recompute.task_bytes)
    }
}
