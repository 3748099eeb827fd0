//! What of housekeeping is due: asked before a run is started, so that a quiet system writes nothing.
//!
//! In: the newest versions of tables, and what the last clean-up found. Out: runs with those tasks alone that would
//! find something to do.
//! Guarantee: nothing is written, and no rows are read: for each source the opening of its master dataset, and of its
//! views where a clean-up may be due or `batch.fold_after` is set. What cannot be read of one source keeps no other
//! back.
//! Not here: how often to ask (schedules); that each task looks again, since others may have been first.

use std::sync::Arc;

use batch_layer::compact::{NamedMerge, due_merges};
use batch_layer::fold::bytes_to_fold;
use batch_layer::{BatchContext, BatchError, FormerDefinitions};
use serving_layer::ServingError;
use tracing::warn;
use views::{PlannedView, SourceDefinition};
use workflow::{RunSpec, TaskKind, TaskSpec};

use super::record::last_record;
use super::specs::housekeeping_runs_of;
use super::vacuum::{versions, views_to_clean};
use crate::config::Config;

/// Of [`housekeeping_runs_of`] the runs that are due, with the tasks that are; none where nothing is.
pub async fn due_housekeeping(
    context: &BatchContext,
    former: &dyn FormerDefinitions,
    config: &Config,
) -> Vec<(RunSpec, Vec<TaskSpec>)> {
    let mut due = Vec::new();
    let of_source = |source: &Arc<SourceDefinition>| former.views_of(&source.name);
    let former_views: Vec<PlannedView> = context.pipeline.sources.iter().flat_map(of_source).collect();
    for (spec, mut tasks) in housekeeping_runs_of(&context.pipeline, &former_views, config) {
        match due_work(context, (&spec, &tasks), &former_views, config).await {
            Ok(work) => {
                tasks.retain(|task| work.is_of(task.kind));
                for task in tasks.iter_mut().filter(|task| task.kind == TaskKind::Fold) {
                    task.weight_bytes = work.bytes_to_fold.unwrap_or_default();
                }
                due.extend((!tasks.is_empty()).then_some((spec, tasks)));
            }
            Err(error) => warn!(source = %spec.source, %error, "whether housekeeping is due is not known now"),
        }
    }
    due
}

/// What is due of the tasks of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DueWork {
    /// Files to be merged, as many as one run merges.
    pub merges: Vec<NamedMerge>,
    /// The bytes of the files that would be folded; `None`: nothing is to be folded.
    pub bytes_to_fold: Option<u64>,
    /// Whether a clean-up may find something to delete.
    pub is_clean_due: bool,
}

impl DueWork {
    /// Whether it is of such a task.
    pub fn is_of(&self, kind: TaskKind) -> bool {
        match kind {
            TaskKind::Compact => !self.merges.is_empty(),
            TaskKind::Fold => self.bytes_to_fold.is_some(),
            _ => self.is_clean_due,
        }
    }
}

/// What is due of the tasks of one run of [`housekeeping_runs_of`]; `former` are the definitions that still answer, of
/// all sources.
///
/// # Errors
/// Those of the store: ask again.
pub async fn due_work(
    context: &BatchContext,
    (spec, tasks): (&RunSpec, &[TaskSpec]),
    former: &[PlannedView],
    config: &Config,
) -> Result<DueWork, BatchError> {
    let Some(source) = context.pipeline.sources.iter().find(|source| source.name == spec.source) else {
        return Ok(DueWork::default());
    };
    let has = |kind: TaskKind| tasks.iter().any(|task| task.kind == kind);
    let merges = match has(TaskKind::Compact) {
        true => due_merges(context, source, &config.batch.compact).await?,
        false => Vec::new(),
    };
    let is_named = |view: &&PlannedView| spec.views.iter().any(|(name, hash)| view.name == *name && view.hash == *hash);
    let folded = context.pipeline.views.iter().chain(former).find(is_named);
    let bytes_to_fold = match folded.filter(|_| has(TaskKind::Fold)).zip(config.batch.fold_after) {
        Some((view, age)) => bytes_to_fold(context, view, age).await?,
        None => None,
    };
    let is_clean_due = has(TaskKind::Vacuum) && is_clean_due(context, source, former, config).await?;
    Ok(DueWork { merges, bytes_to_fold, is_clean_due })
}

async fn is_clean_due(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    former: &[PlannedView],
    config: &Config,
) -> Result<bool, BatchError> {
    let (interval, grace) = (config.batch.cleanup_interval, config.batch.cleanup_grace);
    let last = last_record(&context.lake, &source.name).await.map_err(ServingError::from)?;
    let now = context.clock.now();
    if last.as_ref().is_some_and(|last| !last.is_interval_over(now, interval)) {
        return Ok(false);
    }
    let former = former.iter().filter(|view| view.source.name == source.name).cloned().collect();
    let views = views_to_clean(context, source, former);
    let found = versions(context, source, &views).await?;
    Ok(match last {
        Some(last) => last.is_due(&found, now, (interval, grace)),
        // Before anything is archived or published there is nothing.
        None => !found.is_empty(),
    })
}
