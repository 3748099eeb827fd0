//! What housekeeping would find to do, before any of it is started.
//!
//! In: its runs as they would be started. Out: for each of their tasks whether it is due, and how much it is.
//! Guarantee: looks as the processes with the batch role do before they start such a run by themselves, and writes
//! nothing. A task that is not due is done all the same by a run that is started by hand: it looks again, and may find
//! what has just come.
//! Why a clean-up has no numbers: what nobody needs is known once all objects of the tables are listed, which is its
//! work.

use std::sync::Arc;

use batch_layer::BatchContext;
use positions::{SourceName, ViewName};
use serde::Serialize;
use views::{Pipeline, PlannedView};
use workflow::{RunSpec, TaskKind, TaskSpec};

use super::dry_run::{Planning, Unplanned};
use crate::workflow::housekeeping::{DueWork, due_work};

/// What a task of housekeeping would find.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DryTask {
    /// The source.
    pub source: SourceName,
    /// The view that is folded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub view: Option<ViewName>,
    /// What it does.
    pub task: TaskKind,
    /// Whether a process would start it by itself now.
    pub due: bool,
    /// Of what merges: how many large files small ones would become.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merges: Option<usize>,
    /// Of what merges: the small ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<usize>,
    /// Of what merges or folds: the bytes of the files that would be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// What these runs of housekeeping would find to do now. `former` are the definitions that still answer.
///
/// # Errors
/// [`Unplanned`]: the store does not answer.
pub async fn dry_housekeeping(
    planning: &Planning,
    pipeline: &Arc<Pipeline>,
    former: &[PlannedView],
    runs: &[(RunSpec, Vec<TaskSpec>)],
) -> Result<Vec<DryTask>, Unplanned> {
    let context = BatchContext {
        lake: planning.lake.clone(),
        pipeline: Arc::clone(pipeline),
        clock: Arc::clone(&planning.clock),
        ids: Arc::clone(&planning.ids),
    };
    let mut found = Vec::new();
    for (spec, tasks) in runs {
        let work = due_work(&context, (spec, tasks), former, &planning.config).await;
        let unplanned = |error| Unplanned { source_name: spec.source.clone(), error: Box::new(error) };
        let work = work.map_err(unplanned)?;
        found.extend(tasks.iter().map(|task| dry_task(spec, task.kind, &work)));
    }
    Ok(found)
}

fn dry_task(spec: &RunSpec, task: TaskKind, work: &DueWork) -> DryTask {
    let view = spec.views.first().map(|(view, _)| view.clone());
    let nothing = DryTask {
        source: spec.source.clone(),
        view,
        task,
        due: work.is_of(task),
        merges: None,
        files: None,
        bytes: None,
    };
    match task {
        TaskKind::Compact => DryTask {
            merges: Some(work.merges.len()),
            files: Some(work.merges.iter().map(|merge| merge.files.len()).sum()),
            bytes: Some(work.merges.iter().map(|merge| merge.size_bytes).sum()),
            ..nothing
        },
        TaskKind::Fold => DryTask { bytes: Some(work.bytes_to_fold.unwrap_or_default()), ..nothing },
        _ => nothing,
    }
}
