//! What runs would compute, and what that costs, before any of them is started.
//!
//! In: runs as they would be started. Out: for views that stand at one cut the buckets, rows, bytes, tasks, estimated
//! time and cost; for each other view why nothing would be computed of it.
//! Guarantee: plans as the first task of a run does, and writes nothing. Estimates of time are what tasks of past runs
//! took; of reading, what statistics of files say. Where nothing was measured, nothing is said.
//! Why so: the command and the route of HTTP show one thing, and refuse the same.

use std::sync::Arc;

use batch_layer::BatchError;
use batch_layer::recompute::{
    BucketGroup, Chosen, Estimate, OpenPlan, Outcome, RecomputeComponents, check_range_now, plan_recompute,
};
use lake::Lake;
use positions::{Clock, IdSource, SourceName};
use records::master::MasterDataset;
use serde::Serialize;
use views::{Pipeline, PlannedView};
use workflow::{Overview, RunMode, RunSpec, TaskSpec};

use super::grid::{BucketState, Grid, Stretch, coarsest};
use super::rate::{Rate, estimated_time, measured_rate, side_by_side};
use crate::config::Config;
use crate::workflow::specs::mode_of;

/// Entries of the journal that a task leads to: it is taken, and it is done.
const ENTRIES_OF_A_TASK: u64 = 2;
/// Requests that reading a file takes at least: for what it holds, and for its rows.
const REQUESTS_OF_A_FILE: u64 = 2;

/// What planning works on.
#[derive(Clone)]
pub struct Planning {
    /// All settings.
    pub config: Arc<Config>,
    /// Where tables are.
    pub lake: Lake,
    /// Tells how long the end of the log has been silent.
    pub clock: Arc<dyn Clock>,
    /// Names what would be written.
    pub ids: Arc<dyn IdSource>,
}

/// What would be computed.
#[derive(Clone, Debug, Serialize)]
pub struct DryRun {
    /// Of views that stand at one cut, each.
    pub plans: Vec<DryPlan>,
    /// Views of which nothing would be computed.
    pub nothing_to_do: Vec<Undone>,
}

/// What would be computed of views that stand at one cut.
#[derive(Clone, Debug, Serialize)]
pub struct DryPlan {
    /// The source.
    pub source: SourceName,
    /// The views.
    pub views: Vec<String>,
    /// Buckets, rows and bytes.
    #[serde(flatten)]
    pub estimate: Estimate,
    /// Tasks that compute.
    pub tasks: usize,
    /// Those that are done at one time.
    pub side_by_side: usize,
    /// How long it may take; `None`: no rate is known yet.
    pub estimated_seconds: Option<f64>,
    /// By what that is estimated.
    pub rate: Option<Rate>,
    /// What it takes.
    pub cost: Cost,
    /// The buckets, where a stretch of event time is computed.
    pub grid: Option<Grid>,
}

/// What computing takes, whoever does it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Cost {
    /// Seconds of tasks, one after the other; `None`: no rate is known yet.
    pub task_seconds: Option<f64>,
    /// How often rows are read: once to find copies, and once for each view.
    pub readings: u64,
    /// Rows read, in all readings, about.
    pub rows_read: u64,
    /// Bytes read, in all readings, at most: columns that a reading does not need are passed over.
    pub bytes_read: u64,
    /// Requests of the store that read, at least: two for each file in each reading.
    pub store_reads: u64,
    /// Requests of the store that write, at least: files of states, a commit for each view, the entries of the journal.
    pub store_writes: u64,
}

/// A view of which nothing would be computed.
#[derive(Clone, Debug, Serialize)]
pub struct Undone {
    /// The view.
    pub view: String,
    /// Why not.
    pub reason: String,
    /// Where that is a refusal, or a failure.
    #[serde(skip)]
    pub error: Option<Arc<BatchError>>,
}

/// The views of a source cannot be planned.
#[derive(Debug, thiserror::Error)]
#[error("source {source_name} cannot be planned: {error}")]
pub struct Unplanned {
    /// The source.
    pub source_name: SourceName,
    /// Why not.
    pub error: Box<BatchError>,
}

/// What these runs would compute, as planning sees it now.
///
/// # Errors
/// [`Unplanned`]: of a source nothing can be said at all, for example because the store does not answer.
pub async fn dry_run(
    planning: &Planning,
    pipeline: &Pipeline,
    runs: &[(RunSpec, Vec<TaskSpec>)],
    overview: &Overview,
) -> Result<DryRun, Unplanned> {
    let mut dry = DryRun { plans: Vec::new(), nothing_to_do: Vec::new() };
    for (spec, _) in runs {
        let Some(components) = planning.components(pipeline, spec) else { continue };
        let chosen = plan_recompute(&components, mode_of(spec.mode), &planning.config.batch.recompute).await;
        let unplanned = |error| Unplanned { source_name: spec.source.clone(), error: Box::new(error) };
        let Chosen { plans, round } = chosen.map_err(unplanned)?;
        dry.nothing_to_do.extend(round.into_iter().map(|(view, outcome)| match outcome {
            Ok(outcome) => Undone { view: view.to_string(), reason: reason_of(&outcome, spec.mode), error: None },
            Err(error) => Undone { view: view.to_string(), reason: error.to_string(), error: Some(error) },
        }));
        dry.plans.extend(plans.iter().map(|plan| dry_plan(plan, &components.views, spec, overview)));
    }
    Ok(dry)
}

/// Refuses runs of a range that cannot be computed of their views as these are now. Reads their newest versions alone.
///
/// # Errors
/// [`BatchError::RangeRefused`]: why not. Others: the store does not answer.
pub async fn check_ranges(
    planning: &Planning,
    pipeline: &Pipeline,
    runs: &[(RunSpec, Vec<TaskSpec>)],
) -> Result<(), BatchError> {
    for (spec, _) in runs {
        let RunMode::Buckets { from, to, .. } = spec.mode else { continue };
        if let Some(components) = planning.components(pipeline, spec) {
            check_range_now(&components, from, to).await?;
        }
    }
    Ok(())
}

impl Planning {
    /// What the views of a run are planned with; `None` where the pipeline has none of them.
    fn components(&self, pipeline: &Pipeline, spec: &RunSpec) -> Option<RecomputeComponents> {
        let found = spec.views.iter().filter_map(|(name, _)| pipeline.view(name.as_str()).cloned());
        let views: Vec<PlannedView> = found.collect();
        let source = Arc::clone(&views.first()?.source);
        Some(RecomputeComponents {
            lake: self.lake.clone(),
            master: MasterDataset::new(&self.lake, source),
            views,
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
        })
    }
}

fn dry_plan(open: &OpenPlan, views: &[PlannedView], spec: &RunSpec, overview: &Overview) -> DryPlan {
    let (plan, estimate) = (open.plan(), open.plan().estimate());
    let named: Vec<String> = plan.views.iter().map(|view| view.name.to_string()).collect();
    let rate = measured_rate(&overview.state, &spec.source);
    let together = side_by_side(overview, spec.max_concurrent, plan.groups.len());
    let seconds = |together| rate.map(|rate| estimated_time(rate, estimate.bytes, together).as_secs_f64());
    let grid = match spec.mode {
        RunMode::Full | RunMode::Incremental => None,
        RunMode::Buckets { from, to, .. } => {
            let of_plan = |view: &&PlannedView| plan.views.iter().any(|planned| planned.name == view.name);
            let grains = coarsest(views.iter().filter(of_plan).map(|view| view.bucket), plan.folded);
            let pending = |group: &BucketGroup| Stretch { from: group.from, to: group.to, state: BucketState::Pending };
            let groups: Vec<Stretch> = plan.groups.iter().map(pending).collect();
            Some(Grid::new((named.clone(), grains), (from, to), plan.touched.as_ref(), &groups))
        }
    };
    DryPlan {
        source: spec.source.clone(),
        cost: cost_of(open, estimate, seconds(1)),
        views: named,
        estimate,
        tasks: plan.groups.len(),
        side_by_side: together,
        estimated_seconds: seconds(together),
        rate,
        grid,
    }
}

fn cost_of(open: &OpenPlan, estimate: Estimate, task_seconds: Option<f64>) -> Cost {
    let (tasks, views) = (open.plan().groups.len() as u64, open.plan().views.len() as u64);
    let readings = views + 1;
    // Beside those that compute, one chooses, and one publishes.
    let entries = (tasks + 2).saturating_mul(ENTRIES_OF_A_TASK);
    Cost {
        task_seconds,
        readings,
        rows_read: estimate.rows.saturating_mul(readings),
        bytes_read: estimate.bytes.saturating_mul(readings),
        store_reads: open.files_to_open().saturating_mul(readings).saturating_mul(REQUESTS_OF_A_FILE),
        store_writes: tasks.saturating_mul(views).saturating_add(views).saturating_add(entries),
    }
}

fn reason_of(outcome: &Outcome, mode: RunMode) -> String {
    match (outcome, mode) {
        (Outcome::NothingNew, RunMode::Buckets { .. }) => {
            "nothing to compute: all buckets that may hold events are there".to_owned()
        }
        (Outcome::NothingNew, _) => "nothing to compute: nothing was archived since its version".to_owned(),
        (Outcome::NoData, _) => "nothing to compute: nothing of its source is archived".to_owned(),
        (Outcome::AwaitsSilence { records }, _) => {
            format!("nothing to compute yet: {records} archived records wait for a silence")
        }
        (Outcome::LostRace | Outcome::Published(_), _) => "nothing to compute".to_owned(),
    }
}
