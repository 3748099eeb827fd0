//! The buckets of a backfill: what its first task chose, held against where the tasks behind it stand.
//!
//! Guarantee: reads what the run keeps, and nothing of tables; asked again, what was chosen is the same.

use std::collections::BTreeMap;

use batch_layer::recompute::RecomputePlan;
use serde::Deserialize;
use serde_json::Value;
use views::Pipeline;
use workflow::{Content, Run, RunMode, TaskKind, TaskState, Workflow, WorkflowError};

use super::grid::{BucketState, Grid, Stretch, coarsest};
use crate::workflow::specs::CHOOSE;

/// What the first task of a run gives.
#[derive(Deserialize)]
struct Chosen {
    plans: Vec<RecomputePlan>,
}

/// What a task behind it is about; `group`: of one that computes.
#[derive(Clone, Copy, Deserialize)]
struct Place {
    plan: usize,
    #[serde(default)]
    group: usize,
}

/// The grids of a backfill, one for the views that are computed together; none where nothing is chosen yet, or the run
/// is no backfill. Views that the pipeline does not have are drawn by the day.
///
/// # Errors
/// The store does not answer, or has lost what was chosen.
pub async fn grids_of(workflow: &Workflow, pipeline: &Pipeline, run: &Run) -> Result<Vec<Grid>, WorkflowError> {
    let RunMode::Buckets { from, to, .. } = run.spec.mode else { return Ok(Vec::new()) };
    let Some(TaskState::Done { output, .. }) = run.task(CHOOSE).map(|task| &task.state) else { return Ok(Vec::new()) };
    let chosen: Option<Chosen> = serde_json::from_value(workflow.output(run, output).await?).ok();
    let plans = chosen.map(|chosen| chosen.plans).unwrap_or_default();
    let mut standing = Standing::default();
    let mut read = BTreeMap::new();
    for task in &run.tasks {
        if !matches!(task.kind, TaskKind::Compute | TaskKind::Publish) || matches!(task.state, TaskState::Split { .. })
        {
            continue;
        }
        let parameters = match &task.parameters {
            Content::Inline(parameters) => Some(parameters.clone()),
            // An object holds those of many tasks, by their numbers.
            Content::Object(name) => {
                if !read.contains_key(name) {
                    read.insert(name.clone(), workflow.output(run, &task.parameters).await?);
                }
                read.get(name).and_then(|of_all| of_all.get(task.id.0.to_string())).cloned()
            }
        };
        standing.note(task.kind, parameters, &task.state);
    }
    let grid = |(number, plan): (usize, &RecomputePlan)| {
        let views: Vec<String> = plan.views.iter().map(|view| view.name.to_string()).collect();
        let grain = coarsest(views.iter().filter_map(|name| Some(pipeline.view(name)?.bucket)));
        Grid::new((views, grain), (from, to), plan.touched.as_ref(), &standing.stretches(number, plan))
    };
    Ok(plans.iter().enumerate().map(grid).collect())
}

/// Where groups and plans stand.
#[derive(Default)]
struct Standing {
    /// Of a plan and a group: that of its task; of several, that of the one that is least far.
    groups: BTreeMap<(usize, usize), BucketState>,
    published: BTreeMap<usize, bool>,
}

impl Standing {
    fn note(&mut self, kind: TaskKind, parameters: Option<Value>, state: &TaskState) {
        let Some(place) = parameters.and_then(|parameters| serde_json::from_value::<Place>(parameters).ok()) else {
            return;
        };
        if kind == TaskKind::Publish {
            self.published.insert(place.plan, matches!(state, TaskState::Done { .. }));
            return;
        }
        let state = bucket_state(state);
        let known = self.groups.entry((place.plan, place.group)).or_insert(state);
        let has_failed = [*known, state].into_iter().find(|state| *state == BucketState::Failed);
        *known = has_failed.unwrap_or((*known).min(state));
    }

    fn stretches(&self, number: usize, plan: &RecomputePlan) -> Vec<Stretch> {
        let is_published = self.published.get(&number).copied().unwrap_or(false);
        let groups = plan.groups.iter().enumerate();
        let stretch = groups.map(|(at, group)| {
            let state = self.groups.get(&(number, at)).copied().unwrap_or(BucketState::Pending);
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
