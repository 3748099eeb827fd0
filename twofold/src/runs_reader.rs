//! Runs for SQL: what the gateway asks of the journal, which it never reads itself.
//!
//! Guarantee: as many as are kept, `workflow.history_runs` and those that have not ended.
//! Not here: the table (`query-gateway/src/runs_table.rs`), how far tasks at work are (`runs_route.rs`).

use async_trait::async_trait;
use query_gateway::{RunRow, RunsReader, RunsUnread};
use workflow::{Run, RunMode, Workflow};

use crate::runs::word::word_of;

/// Reads the runs of a lake.
pub struct LakeRuns {
    /// As this process reads them.
    pub workflow: Workflow,
}

#[async_trait]
impl RunsReader for LakeRuns {
    async fn read(&self) -> Result<Vec<RunRow>, RunsUnread> {
        let state = self.workflow.refresh().await.map_err(|error| RunsUnread { reason: error.to_string() })?;
        Ok(state.runs.values().map(|run| row(run)).collect())
    }
}

fn row(run: &Run) -> RunRow {
    let views: Vec<&str> = run.spec.views.iter().map(|(view, _)| view.as_str()).collect();
    RunRow {
        run: run.id.0,
        state: run.state.name(),
        kind: word_of(&run.spec.kind),
        mode: match run.spec.mode {
            RunMode::Full => "full",
            RunMode::Incremental => "incremental",
            RunMode::Buckets { .. } => "buckets",
        },
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
