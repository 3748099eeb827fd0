//! Runs and their tasks for SQL: what the gateway asks of the journal, which it never reads itself.
//!
//! Guarantee: as many as are kept, `workflow.history_runs` and those that have not ended. Of a run whose tasks are in
//! the history alone, its object is read where they are asked for, and not else.
//! Not here: the tables (`query-gateway/src/runs_table.rs`).

use async_trait::async_trait;
use futures::stream::iter;
use futures::{StreamExt, TryStreamExt};
use query_gateway::{RunRow, RunTaskRow, RunsReader, RunsUnread};
use workflow::{Overview, Refused, Run, RunId, Task, Workflow, WorkflowError};

use crate::runs::view::{task_view, worked_millis};
use crate::runs::word::word_of;

/// Objects of the history that are read at one time.
const CONCURRENT_READS: usize = 8;

/// Reads the runs of a lake.
pub struct LakeRuns {
    /// As this process reads them.
    pub workflow: Workflow,
}

#[async_trait]
impl RunsReader for LakeRuns {
    async fn read(&self) -> Result<Vec<RunRow>, RunsUnread> {
        let state = self.workflow.refresh().await.map_err(unread)?;
        Ok(state.runs.values().map(|run| row(run)).collect())
    }

    async fn tasks(&self, runs: &[u64]) -> Result<Vec<RunTaskRow>, RunsUnread> {
        let overview = self.workflow.overview().await.map_err(unread)?;
        let meant: Vec<RunId> = runs.iter().copied().map(RunId).collect();
        let read = iter(meant).map(|id| self.tasks_of(&overview, id)).buffered(CONCURRENT_READS);
        let read: Vec<Vec<RunTaskRow>> = read.try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }
}

impl LakeRuns {
    async fn tasks_of(&self, overview: &Overview, id: RunId) -> Result<Vec<RunTaskRow>, RunsUnread> {
        match self.workflow.run_of(&overview.state, id).await {
            Ok(run) => Ok(run.tasks.iter().map(|task| task_row(overview, &run, task)).collect()),
            // Forgotten since.
            Err(WorkflowError::Refused(Refused::NoRun(_))) => Ok(Vec::new()),
            Err(error) => Err(unread(error)),
        }
    }
}

fn unread(error: WorkflowError) -> RunsUnread {
    RunsUnread { reason: error.to_string() }
}

fn task_row(overview: &Overview, run: &Run, task: &Task) -> RunTaskRow {
    let view = task_view(overview, run, task);
    let after: Vec<String> = task.after.iter().map(ToString::to_string).collect();
    RunTaskRow {
        run: run.id.0,
        task: view.task,
        kind: word_of(&view.kind),
        state: view.state,
        after: after.join(","),
        waits_for: view.waits_for,
        attempt: view.attempt,
        failures: view.failures,
        since: task.since,
        weight_bytes: view.weight_bytes,
        rows_read: view.progress.rows,
        bytes_read: view.progress.bytes,
        worked_millis: worked_millis(overview, run, task),
        phase: view.phase,
        process: view.process,
        reason: view.reason,
    }
}

fn row(run: &Run) -> RunRow {
    let views: Vec<&str> = run.spec.views.iter().map(|(view, _)| view.as_str()).collect();
    RunRow {
        run: run.id.0,
        state: run.state.name(),
        kind: word_of(&run.spec.kind),
        mode: run.spec.mode.name(),
        source: run.spec.source.to_string(),
        views: views.join(","),
        schedule: run.spec.schedule.clone(),
        created_at: run.created_at,
        started_at: run.started_at,
        ended_at: run.ended_at,
        tasks: u64::from(run.counts.all()),
        tasks_done: u64::from(run.counts.done),
        rows_read: run.work.rows,
        bytes_read: run.work.bytes,
        worked_millis: run.work.took_millis,
        missed_deadline: run.has_missed_deadline,
        reason: run.failure.as_ref().map(|failed| failed.failure.reason.clone()),
    }
}
