//! The task that folds one view: old buckets into coarser ones, in one commit.
//!
//! Guarantee: committed on exactly the version that was read. Where a publication was first, the folding is chosen anew
//! on that, a few times at most; then it waits like any failure that may pass.

use batch_layer::fold::{self as folding, FoldOutcome, report_folding};
use batch_layer::recompute::GroupProgress;
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::json;
use workflow::{Assignment, Progress, TaskError, TaskOutput};

use super::super::compute::{Told, told_meanwhile};
use super::super::tasks::RecomputeTasks;
use super::super::values::task_error;

/// How often a folding is chosen behind others that publish.
const ATTEMPTS: u32 = 4;

pub(in crate::workflow) async fn fold(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let context = match tasks.context(work).await {
        // Of a definition that answers no more, nothing is left to fold.
        Err(TaskError::Permanent { .. }) => return Ok(output_of("its definition answers no more", None)),
        context => context?.0,
    };
    let (Some(view), Some(age)) = (tasks.folded(work), tasks.config.batch.fold_after) else {
        return Ok(output_of("this process folds nothing: `batch.fold_after`", None));
    };
    let settings = &tasks.config.batch.recompute;
    let lease = &work.lease;
    let may_commit = move || -> BoxFuture<'_, bool> { lease.is_current().boxed() };
    for attempt in 0..ATTEMPTS {
        let name = format!("{}-{attempt}", work.file_prefix());
        let (read_so_far, began) = (GroupProgress::default(), context.clock.now());
        let mut told = Told::new("folding", work.task.weight_bytes, 0, progress);
        let step = folding::fold(&context, &view, (age, settings, &name), &may_commit, &read_so_far);
        let folded = told_meanwhile(step, || told.tell(&read_so_far)).await;
        report_folding(&view, &folded, began, context.clock.now());
        let did = match folded.map_err(|error| task_error(&error, work))? {
            FoldOutcome::LostRace => continue,
            FoldOutcome::NoVersion => "no version to fold".to_owned(),
            FoldOutcome::NothingDue => "nothing to fold".to_owned(),
            FoldOutcome::Folded(done) => {
                told.tell_all(&read_so_far);
                let rows = format!("{} rows into {}", done.rows_before, done.rows);
                let text = format!("{rows}, {} files into {}", done.files_before, done.files);
                return Ok(output_of(&text, Some(json!(done))));
            }
        };
        return Ok(output_of(&did, None));
    }
    let reason = format!("view {}: others published first {ATTEMPTS} times", view.name);
    Err(TaskError::Transient { reason })
}

fn output_of(did: &str, folded: Option<serde_json::Value>) -> TaskOutput {
    TaskOutput { output: json!({ "did": did, "folded": folded }), next: Vec::new() }
}
