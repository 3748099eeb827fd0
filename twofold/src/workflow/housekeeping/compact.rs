//! The tasks that compact: one looks which files of a master dataset are to be merged, each other one merges some.
//!
//! Guarantee: a merge whose files somebody else has merged, or that others overtook too often, is left: what is due
//! then is found when it is looked for next, on the files as they are then.
//! Why a task for each merge: one that is killed loses one merge, and between two of them others have their turn.

use batch_layer::BatchError;
use batch_layer::compact::{NamedMerge, due_merges, merge_files, report_compaction_failure};
use batch_layer::recompute::GroupProgress;
use futures::FutureExt;
use futures::future::BoxFuture;
use indicatif::HumanBytes;
use serde_json::json;
use views::SourceDefinition;
use workflow::{Assignment, Progress, TaskError, TaskOutput};

use super::super::compute::{Told, told_meanwhile};
use super::super::tasks::RecomputeTasks;
use super::super::values::{read, task_error};
use super::specs::{CompactParameters, merge_tasks};

pub(in crate::workflow) async fn compact(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let CompactParameters { merge } = read(&work.task.parameters)?;
    match merge {
        Some(wanted) => merge_some(tasks, work, &wanted, progress).await,
        None => look(tasks, work, progress).await,
    }
}

async fn look(tasks: &RecomputeTasks, work: &Assignment, progress: &Progress) -> Result<TaskOutput, TaskError> {
    progress.set_phase("looking for files to merge");
    let (context, source) = tasks.context(work).await?;
    let merges = due_merges(&context, &source, &tasks.config.batch.compact).await;
    let merges = merges.map_err(|error| failed(&error, work, &source))?;
    let files: usize = merges.iter().map(|merge| merge.files.len()).sum();
    let did = match merges.len() {
        0 => "no files to merge".to_owned(),
        tasks => format!("{files} files to merge, by {tasks} tasks"),
    };
    Ok(TaskOutput { output: json!({ "did": did }), next: merge_tasks(merges) })
}

async fn merge_some(
    tasks: &RecomputeTasks,
    work: &Assignment,
    wanted: &NamedMerge,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let (context, source) = tasks.context(work).await?;
    let read_so_far = GroupProgress::default();
    let mut told = Told::new("merging", wanted.size_bytes, wanted.rows, progress);
    let lease = &work.lease;
    let may_commit = move || -> BoxFuture<'_, bool> { lease.is_current().boxed() };
    let name = work.file_prefix();
    let engine = (&tasks.config.batch.recompute, &read_so_far, name.as_str());
    let merging = merge_files(&context, &source, wanted, engine, &may_commit);
    let merged = told_meanwhile(merging, || told.tell(&read_so_far)).await;
    let merged = merged.map_err(|error| failed(&error, work, &source))?;
    told.tell_all(&read_so_far);
    let did = match merged {
        None => "left: others changed these files first".to_owned(),
        Some(merged) => format!(
            "{} files of {} into {} of {}",
            merged.files_before,
            HumanBytes(merged.bytes_before),
            merged.files,
            HumanBytes(merged.bytes)
        ),
    };
    Ok(TaskOutput { output: json!({ "did": did, "merged": merged }), next: Vec::new() })
}

fn failed(error: &BatchError, work: &Assignment, source: &SourceDefinition) -> TaskError {
    report_compaction_failure(source, error);
    task_error(error, work)
}
