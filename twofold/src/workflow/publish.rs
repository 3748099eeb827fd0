//! The task that publishes a plan: one commit per view, each under the lease and on exactly the version before that the
//! plan names.
//!
//! Guarantee: published once, whoever does the task how often. Where another publisher was first, the task brings one
//! that chooses anew for the views that lost, a few times at most.
//! Not here: what a commit is (`serving-layer`).

use std::collections::BTreeMap;
use std::pin::pin;

use batch_layer::recompute::{
    GroupOutput, OpenPlan, Outcome, Round, report_failed_rows, report_recompute, report_round,
};
use futures::future::BoxFuture;
use futures::{FutureExt, TryStreamExt};
use positions::ViewName;
use serving_layer::Publisher;
use workflow::{Assignment, Progress, TaskError, TaskKind, TaskOutput, TaskSpec};

use super::numbers::choose_id;
use super::specs::is_of_former;
use super::tasks::RecomputeTasks;
use super::values::{
    ChooseParameters, Chosen, ComputedGroup, Fault, Faults, PublishParameters, Published, describe, former_over,
    is_obsolete, is_transient, read, stored, task_error, views_error,
};

/// What was given for a plan.
#[derive(Default)]
struct Given {
    groups: Vec<GroupOutput>,
    failed: Faults,
}

pub(super) async fn publish(
    tasks: &RecomputeTasks,
    work: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let parameters: PublishParameters = read(&work.task.parameters)?;
    progress.set_phase("reading what was computed");
    let chosen = tasks.chosen(work, parameters.choose).await?;
    let Given { groups, mut failed } = given(work, parameters, &chosen).await?;
    progress.set_phase("publishing");
    let opened = match tasks.open_plan(work, parameters.choose, parameters.plan).await {
        // It answers no more, and nobody waits for it.
        Err(TaskError::Superseded { .. }) if is_of_former(&work.run) => {
            let published = Published { views: former_over(work), failed: Faults::new() };
            return Ok(TaskOutput { output: stored(&published), next: Vec::new() });
        }
        opened => opened?,
    };
    let round = match opened {
        Ok(plan) => commit(&plan, work, &groups).await,
        // What it was made on is gone: somebody published again and again meanwhile.
        Err(error) if is_obsolete(&error) => all_lost(&chosen, parameters.plan),
        Err(error) => return Err(task_error(&error, work)),
    };
    tasks.forget_plans();
    let seconds = tasks.clock.now().micros_since(chosen.at) as f64 / 1e6;
    report_failed_rows(&GroupOutput::all_failed_rows(&groups));
    let mut views = BTreeMap::new();
    let mut lost = Vec::new();
    // Of what failed before, nothing is there to be published.
    let round: Round = round.into_iter().filter(|(view, _)| !failed.contains_key(view)).collect();
    report_round(&round, seconds);
    if parameters.is_last {
        report_recompute(&work.run.source, seconds);
    }
    for (view, outcome) in round {
        match outcome {
            Ok(Outcome::LostRace) => lost.push(view),
            Ok(outcome) => drop(views.insert(view, describe(&outcome))),
            Err(error) if is_transient(&error) => return Err(task_error(&error, work)),
            Err(error) => drop(failed.insert(view, Fault::of(&error))),
        }
    }
    let published = Published { views, failed };
    conclude(work, parameters, chosen.round, (published, lost))
}

/// The outputs of the groups and of their parts, and what failed: in choosing, in computing, in the publication before.
async fn given(work: &Assignment, parameters: PublishParameters, chosen: &Chosen) -> Result<Given, TaskError> {
    let mut given = Given::default();
    if parameters.before.is_none() {
        given.failed.clone_from(&chosen.failed);
    }
    // What was chosen is read already.
    let mut outputs = pin!(work.outputs(|task| task != parameters.choose));
    while let Some((task, value)) = outputs.try_next().await? {
        if Some(task) == parameters.before {
            given.failed.extend(read::<Published>(&value)?.failed);
        } else {
            let computed: ComputedGroup = read(&value)?;
            given.failed.extend(computed.failed);
            given.groups.extend(computed.output.into_iter().chain(computed.parts));
        }
    }
    Ok(given)
}

async fn commit(plan: &OpenPlan, work: &Assignment, groups: &[GroupOutput]) -> Round {
    let lease = &work.lease;
    let may_commit = move || -> BoxFuture<'_, bool> { lease.is_current().boxed() };
    let token = work.token;
    let publisher = Publisher { run: token.run.to_string(), task: token.task.to_string(), attempt: token.attempt };
    plan.publish(groups, Some(&publisher), &may_commit).await
}

fn all_lost(chosen: &Chosen, plan: usize) -> Round {
    let views = chosen.plans.get(plan).into_iter().flat_map(|plan| &plan.views);
    views.map(|view| (view.name.clone(), Ok(Outcome::LostRace))).collect()
}

/// What the task gives: its outcome, and a task that chooses anew where a view lost. The last one of a round fails
/// where a view did; tried again, it chooses anew for those as well.
fn conclude(
    work: &Assignment,
    parameters: PublishParameters,
    round: u32,
    (mut published, mut lost): (Published, Vec<ViewName>),
) -> Result<TaskOutput, TaskError> {
    let is_told_here = parameters.is_last && !published.failed.is_empty();
    let is_again = work.token.attempt > 1;
    let mut carried = Faults::new();
    if is_told_here && is_again {
        lost.extend(std::mem::take(&mut published.failed).into_keys());
    } else if is_told_here && !lost.is_empty() {
        carried = std::mem::take(&mut published.failed);
    } else if is_told_here {
        return Err(views_error(&published.failed, work));
    }
    let Some(first) = lost.first() else { return Ok(TaskOutput { output: stored(&published), next: Vec::new() }) };
    let ordinal = work.run.views.iter().position(|(view, _)| view == first);
    let Some(id) = ordinal.and_then(|ordinal| choose_id(round + 1, ordinal)) else {
        let reason = format!("view {first}: it was chosen anew {round} times, and not published");
        return Err(TaskError::Transient { reason });
    };
    let parameters = stored(&ChooseParameters { round: round + 1, views: lost, failed: carried });
    let next = TaskSpec { id, kind: TaskKind::Choose, after: vec![work.task.id], parameters, weight_bytes: 0 };
    Ok(TaskOutput { output: stored(&published), next: vec![next] })
}
