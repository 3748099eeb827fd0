//! The task that deletes sets of definitions which no process and no answer needs any more, and the tables of those
//! that no set names.

use batch_layer::cleanup::clean_definitions;
use batch_layer::unnamed::remove_unnamed;
use views::PlannedView;
use workflow::{Assignment, Progress, TaskError, TaskOutput};

use super::super::compute::told_meanwhile;
use super::super::tasks::RecomputeTasks;
use super::super::values::task_error;
use super::vacuum::{kept, output_of, told};

pub(in crate::workflow) async fn trim(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    progress.set_phase("cleaning the sets of definitions");
    let (context, _) = tasks.context(work).await?;
    let kept = kept(tasks, work, None).await?;
    let mut output = output_of(told(clean_definitions(&context, kept), work, progress).await?);
    progress.set_phase("removing tables of definitions that no set names");
    let sources = &context.pipeline.sources;
    let former: Vec<PlannedView> = sources.iter().flat_map(|source| tasks.former(&source.name)).collect();
    let removing = remove_unnamed(&context, &former, kept.grace);
    let removed = told_meanwhile(removing, || progress.step()).await.map_err(|error| task_error(&error, work))?;
    if !removed.is_empty() {
        output.output["did"] = format!("tables removed: {}", removed.join(", ")).into();
    }
    Ok(output)
}
