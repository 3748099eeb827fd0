//! The task that chooses: plans for the views of a run, and the tasks that compute and publish them.
//!
//! Guarantee: nothing is written but what the task gives. Plans are published one after the other, and the last
//! publication tells what failed, so that a view which fails keeps no other from its next version.

use std::collections::BTreeMap;

use batch_layer::recompute::{GroupPart, Outcome, RecomputePlan, plan_recompute, report_round};
use workflow::{Assignment, Progress, TaskError, TaskId, TaskKind, TaskOutput, TaskSpec};

use super::specs::{is_of_former, mode_of};
use super::tasks::RecomputeTasks;
use super::values::{
    ChooseParameters, Chosen, ComputeParameters, Fault, Faults, PublishParameters, describe, former_over, is_transient,
    read, stored, task_error, views_error,
};

pub(super) async fn choose(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let ChooseParameters { round, views, failed } = read(&work.task.parameters)?;
    progress.set_phase("choosing what to compute");
    let mut components = match tasks.components(work).await {
        // It answers no more, and nobody waits for it.
        Err(TaskError::Superseded { .. }) if is_of_former(&work.run) => return Ok(nothing(tasks, work, round)),
        components => components?,
    };
    components.views.retain(|view| views.is_empty() || views.contains(&view.name));
    let found = plan_recompute(&components, mode_of(work.run.mode), &tasks.config.batch.recompute).await;
    let found = found.map_err(|error| task_error(&error, work))?;
    let (plans, parts): (Vec<RecomputePlan>, Vec<Vec<GroupPart>>) =
        found.plans.iter().map(|plan| (plan.plan().clone(), plan.parts())).unzip();
    let mut chosen = Chosen { at: tasks.clock.now(), round, plans, skipped: BTreeMap::new(), failed };
    report_round(&found.round, 0.0);
    for (view, outcome) in found.round {
        match outcome {
            Ok(Outcome::LostRace) => {
                let reason = format!("view {view}: another publisher was first, from newer rows than are seen here");
                return Err(TaskError::Transient { reason });
            }
            Ok(outcome) => drop(chosen.skipped.insert(view, describe(&outcome))),
            Err(error) if is_transient(&error) => return Err(task_error(&error, work)),
            Err(error) => drop(chosen.failed.insert(view, Fault::of(&error))),
        }
    }
    if chosen.plans.is_empty() && !chosen.failed.is_empty() {
        return Err(views_error(&chosen.failed, work));
    }
    Ok(TaskOutput { output: stored(&chosen), next: tasks_of(parts, work.task.id) })
}

/// There is nothing to compute of a former definition that is over.
fn nothing(tasks: &RecomputeTasks, work: &Assignment, round: u32) -> TaskOutput {
    let (skipped, failed) = (former_over(work), Faults::new());
    let chosen = Chosen { at: tasks.clock.now(), round, plans: Vec::new(), skipped, failed };
    TaskOutput { output: stored(&chosen), next: Vec::new() }
}

/// One task for each group of each plan, and one that publishes each plan.
fn tasks_of(plans: Vec<Vec<GroupPart>>, choose: TaskId) -> Vec<TaskSpec> {
    let plan_count = plans.len();
    let mut tasks = Vec::new();
    let mut last = choose;
    let mut before = None;
    for (number, groups) in plans.into_iter().enumerate() {
        let mut after = vec![choose];
        for part in groups {
            last = TaskId(last.0 + 1);
            after.push(last);
            let (group, weight_bytes) = (Some(part.group), part.bytes);
            let parameters = stored(&ComputeParameters { choose, plan: number, group, part: Some(part) });
            tasks.push(TaskSpec { id: last, kind: TaskKind::Compute, after: vec![choose], parameters, weight_bytes });
        }
        last = TaskId(last.0 + 1);
        after.extend(before);
        let is_last = number + 1 == plan_count;
        let parameters = stored(&PublishParameters { choose, plan: number, before, is_last });
        tasks.push(TaskSpec { id: last, kind: TaskKind::Publish, after, parameters, weight_bytes: 0 });
        before = Some(last);
    }
    tasks
}
