//! The buckets of a backfill: what its tasks chose, held against where the tasks behind it stand.
//!
//! Guarantee: reads what the run keeps, and nothing of tables; asked again, what was chosen is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use batch_layer::recompute::RecomputePlan;
use lake::LakeError;
use serde::Deserialize;
use serde_json::Value;
use views::Pipeline;
use workflow::{Content, Run, RunMode, Task, TaskId, TaskKind, TaskState, Workflow, WorkflowError};

use super::grid::{BucketState, Grid, Stretch, coarsest};

/// What a task that chooses gives.
#[derive(Deserialize)]
struct Chosen {
    plans: Vec<RecomputePlan>,
}

/// What a task behind it is about. One that computes names a group, or has a part of one.
#[derive(Clone, Copy, Deserialize)]
struct Place {
    choose: TaskId,
    plan: usize,
    #[serde(default)]
    group: Option<usize>,
    #[serde(default)]
    part: Option<Part>,
}

#[derive(Clone, Copy, Deserialize)]
struct Part {
    group: usize,
}

/// The grids of a backfill, one for the views that are computed together; none where nothing is chosen yet, or the run
/// is no backfill, or one of old whose choice is not kept. Of views that were chosen for again, the last one.
///
/// # Errors
/// The store does not answer.
pub async fn grids_of(workflow: &Workflow, pipeline: &Pipeline, run: &Run) -> Result<Vec<Grid>, WorkflowError> {
    let RunMode::Buckets { from, to, .. } = run.spec.mode else { return Ok(Vec::new()) };
    let standing = Standing::of(workflow, run).await?;
    let mut grids: Vec<Grid> = Vec::new();
    for task in run.tasks.iter().filter(|task| task.kind == TaskKind::Choose) {
        let TaskState::Done { output, .. } = &task.state else { continue };
        let output = kept(workflow, run, output).await?;
        let chosen: Option<Chosen> = output.and_then(|output| serde_json::from_value(output).ok());
        for (number, plan) in chosen.iter().flat_map(|chosen| &chosen.plans).enumerate() {
            let views: Vec<String> = plan.views.iter().map(|view| view.name.to_string()).collect();
            grids.retain(|grid| !grid.views.iter().any(|view| views.contains(view)));
            let grains = coarsest(views.iter().filter_map(|name| Some(pipeline.view(name)?.bucket)), plan.folded);
            let groups = standing.stretches((task.id, number), plan);
            grids.push(Grid::new((views, grains), (from, to), plan.touched.as_ref(), &groups));
        }
    }
    Ok(grids)
}

/// What a run holds there; `None` where it is gone: what was too large for the journal goes with the archived run.
async fn kept(workflow: &Workflow, run: &Run, content: &Content) -> Result<Option<Value>, WorkflowError> {
    match workflow.output(run, content).await {
        Err(WorkflowError::Lake(LakeError::Corrupt { .. })) => Ok(None),
        found => found.map(Some),
    }
}

/// A plan: the task that chose it, and its place there.
type PlanName = (TaskId, usize);

/// Where groups and plans stand.
#[derive(Default)]
struct Standing {
    /// Of a plan and a group: that of its task; of several, that of the one that is least far.
    groups: BTreeMap<(PlanName, usize), BucketState>,
    published: BTreeSet<PlanName>,
}

impl Standing {
    async fn of(workflow: &Workflow, run: &Run) -> Result<Self, WorkflowError> {
        let mut standing = Self::default();
        let mut read: BTreeMap<Arc<str>, Value> = BTreeMap::new();
        let is_meant = |task: &&Arc<Task>| {
            let is_of_plan = matches!(task.kind, TaskKind::Compute | TaskKind::Publish);
            is_of_plan && !matches!(task.state, TaskState::Split { .. })
        };
        for task in run.tasks.iter().filter(is_meant) {
            let parameters = match &task.parameters {
                Content::Inline(parameters) => Some(parameters.clone()),
                // An object holds those of many tasks, by their numbers.
                Content::Object(name) => {
                    if !read.contains_key(name) {
                        let all = kept(workflow, run, &task.parameters).await?.unwrap_or_default();
                        read.insert(Arc::clone(name), all);
                    }
                    read.get(name).and_then(|of_all| of_all.get(task.id.0.to_string())).cloned()
                }
            };
            let place = parameters.and_then(|parameters| serde_json::from_value(parameters).ok());
            if let Some(place) = place {
                standing.note(task, place);
            }
        }
        Ok(standing)
    }

    fn note(&mut self, task: &Task, Place { choose, plan, group, part }: Place) {
        let name = (choose, plan);
        if task.kind == TaskKind::Publish {
            if matches!(task.state, TaskState::Done { .. }) {
                self.published.insert(name);
            }
            return;
        }
        let group = group.or(part.map(|part| part.group)).unwrap_or_default();
        let state = bucket_state(&task.state);
        let known = self.groups.entry((name, group)).or_insert(state);
        let has_failed = [*known, state].contains(&BucketState::Failed);
        *known = if has_failed { BucketState::Failed } else { (*known).min(state) };
    }

    fn stretches(&self, name: PlanName, plan: &RecomputePlan) -> Vec<Stretch> {
        let is_published = self.published.contains(&name);
        let groups = plan.groups.iter().enumerate();
        let stretch = groups.map(|(at, group)| {
            let state = self.groups.get(&(name, at)).copied().unwrap_or(BucketState::Pending);
            let state = if is_published { BucketState::Published } else { state };
            Stretch { from: group.from, to: group.to, state }
        });
        stretch.collect()
    }
}

fn bucket_state(state: &TaskState) -> BucketState {
    match state {
        TaskState::Pending | TaskState::Waiting { .. } => BucketState::Pending,
        TaskState::Leased { .. } => BucketState::AtWork,
        TaskState::Done { .. } => BucketState::Computed,
        TaskState::Failed { .. } => BucketState::Failed,
        TaskState::Skipped | TaskState::Cancelled | TaskState::Split { .. } => BucketState::LeftOut,
    }
}
