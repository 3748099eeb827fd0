//! The task that deletes what nobody needs of a source: old versions of its views and of its master dataset, and files
//! that no version names.
//!
//! Guarantee: what `batch.keep_versions` and `batch.cleanup_grace` keep stays, and of the master dataset also every
//! version from the oldest on that the plan of a run at work reads, however long it lasts. Former definitions that
//! answer are cleaned, too.
//! Why no version of a view is kept for a plan: it is published on the newest one, or lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use batch_layer::cleanup::{Kept, clean_master, clean_view};
use batch_layer::{BatchContext, BatchError};
use indicatif::HumanBytes;
use lake::{Vacuumed, Version};
use records::master::MasterDataset;
use serde_json::json;
use serving_layer::{BatchViewStore, ServingError};
use tracing::info;
use views::{PlannedView, SourceDefinition};
use workflow::{Assignment, Progress, RunState, TaskError, TaskKind, TaskOutput, TaskState};

use super::super::compute::told_meanwhile;
use super::super::tasks::RecomputeTasks;
use super::super::values::{Chosen, read, task_error};
use super::record::{CleanRecord, last_record, put_record};

pub(in crate::workflow) async fn vacuum(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let (context, source) = tasks.context(work).await?;
    let views = views_to_clean(&context, &source, tasks.former(&source.name));
    let found = versions(&context, &source, &views).await.map_err(|error| task_error(&error, work))?;
    let mut deleted = Vacuumed::default();
    for view in &views {
        progress.set_phase(format!("cleaning view {}", view.name));
        let kept = kept(tasks, work, None).await?;
        deleted += told(clean_view(&context, view, kept), work, progress).await?;
    }
    progress.set_phase("cleaning the master dataset");
    let read = oldest_read(work).await?;
    let kept = kept(tasks, work, read).await?;
    deleted += told(clean_master(&context, &source, kept), work, progress).await?;
    let last = last_record(&context.lake, &source.name).await.map_err(|error| of_store(error.into(), work))?;
    let mut record = CleanRecord::after(last.as_ref(), found, context.clock.now());
    if read.is_some() {
        // What was kept for a run goes later, also where no table changes any more.
        record.since = record.at;
    }
    put_record(&context.lake, &source.name, &record).await.map_err(|error| of_store(error.into(), work))?;
    Ok(output_of(deleted))
}

/// The views of a source, and former definitions of them.
pub(super) fn views_to_clean(
    context: &BatchContext,
    source: &SourceDefinition,
    former: Vec<PlannedView>,
) -> Vec<PlannedView> {
    let present = context.pipeline.views.iter().filter(|view| view.source.name == source.name).cloned();
    present.chain(former).collect()
}

/// The newest version of each table, by its folder.
pub(super) async fn versions(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    views: &[PlannedView],
) -> Result<BTreeMap<String, Version>, BatchError> {
    let mut versions = BTreeMap::new();
    if let Some(on) = MasterDataset::new(&context.lake, Arc::clone(source)).open().await? {
        versions.insert(on.snapshot.table().folder().to_owned(), on.snapshot.version());
    }
    for view in views {
        if let Some(on) = BatchViewStore::new(&context.lake, view.clone()).newest().await? {
            versions.insert(on.snapshot.table().folder().to_owned(), on.number());
        }
    }
    Ok(versions)
}

/// What is to be kept, where this task is still this process's.
pub(super) async fn kept(tasks: &RecomputeTasks, work: &Assignment, read: Option<Version>) -> Result<Kept, TaskError> {
    if !work.lease.is_current().await {
        let reason = "nothing more is deleted, since the lease of this task is another's by now".to_owned();
        return Err(TaskError::Transient { reason });
    }
    let batch = &tasks.config.batch;
    Ok(Kept { versions: batch.keep_versions, grace: batch.cleanup_grace, read })
}

/// The oldest version of the master dataset that a plan of a run at work reads. One that is paused reads a later one,
/// where its own is gone when it goes on.
async fn oldest_read(work: &Assignment) -> Result<Option<Version>, TaskError> {
    let state = work.state().await?;
    let at_work = state.open_runs().filter(|run| run.state == RunState::Running && run.spec.source == work.run.source);
    let mut oldest = None;
    for run in at_work {
        for task in run.tasks.iter().filter(|task| task.kind == TaskKind::Choose) {
            let TaskState::Done { output, .. } = &task.state else { continue };
            let chosen: Chosen = read(&work.given(run, output).await?)?;
            let read = chosen.plans.iter().map(|plan| plan.master_version).min();
            oldest = [oldest, read].into_iter().flatten().min();
        }
    }
    Ok(oldest)
}

/// Each object is a request with a time limit of its own: what deletes many does not stand still.
pub(super) async fn told(
    cleaning: impl Future<Output = Result<Vacuumed, BatchError>>,
    work: &Assignment,
    progress: &Progress,
) -> Result<Vacuumed, TaskError> {
    told_meanwhile(cleaning, || progress.step()).await.map_err(|error| task_error(&error, work))
}

pub(super) fn output_of(deleted: Vacuumed) -> TaskOutput {
    let (objects, bytes) = (deleted.objects + deleted.log_objects, deleted.size_bytes);
    if objects > 0 {
        info!(objects, bytes, "old files removed");
    }
    let did = match objects {
        0 => "nothing to delete".to_owned(),
        _ => format!("{objects} objects of {} deleted", HumanBytes(bytes)),
    };
    TaskOutput { output: json!({ "did": did, "objects": objects, "bytes": bytes }), next: Vec::new() }
}

fn of_store(error: ServingError, work: &Assignment) -> TaskError {
    task_error(&error.into(), work)
}
