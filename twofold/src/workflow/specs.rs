//! Runs as they are asked for: of a pipeline, by hand or by a schedule, to what the journal holds.
//!
//! Guarantee: pure. The same request, pipeline and settings give the same runs.

use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use batch_layer::recompute::Mode;
use positions::{DefinitionHash, SourceName, ViewName};
use serde_json::{Value, json};
use views::{Pipeline, PlannedView, did_you_mean};
use workflow::{Priority, RunKind, RunMode, RunSpec, TaskId, TaskKind, TaskSpec};

use crate::config::{Config, Engine};
use crate::schedules::is_meant;

/// The first task of each run, which chooses all others.
pub const CHOOSE: TaskId = TaskId(1);

/// In the parameters of a run that computes a former definition.
const FORMER: &str = "former";
/// In the parameters of a run of housekeeping: what it does, in one word.
const PART: &str = "part";

/// Which views are to be computed, and how.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRequest {
    /// Views of this source alone; `None`: of any.
    pub source: Option<SourceName>,
    /// These views; empty: all.
    pub views: Vec<ViewName>,
    /// Which buckets.
    pub mode: RunMode,
    /// What for.
    pub kind: RunKind,
    /// Whose tasks are taken first.
    pub priority: Priority,
    /// How often a task is tried again after a transient failure; `None`: as the settings say, and not at all in a
    /// backfill.
    pub retries: Option<u32>,
    /// The most tasks of each run at one time; `None`: as many as there are slots.
    pub max_concurrent: Option<u32>,
    /// A second request with the same key is the same runs. Of several sources, each run has `KEY/SOURCE`.
    pub idempotency_key: Option<String>,
    /// How long each run may take before somebody is told.
    pub deadline: Option<Duration>,
    /// The schedule that asks.
    pub schedule: Option<String>,
}

/// One run per source that has such views, in the order of the pipeline, with its first task.
///
/// # Errors
/// A source or view that the pipeline does not have, or no view at all.
pub fn runs_of(pipeline: &Pipeline, request: &RunRequest, settings: &Config) -> Result<Vec<(RunSpec, Vec<TaskSpec>)>> {
    check_names(pipeline, request)?;
    let mut runs = Vec::new();
    for source in &pipeline.sources {
        let of_source = pipeline.views.iter().filter(|view| view.source.name == source.name);
        let meant = |view: &&PlannedView| is_meant(view, request.source.as_ref(), &request.views);
        let views: Vec<&PlannedView> = of_source.filter(meant).collect();
        if !views.is_empty() {
            runs.push((spec_of(&source.name, &views, request, settings), vec![first_task()]));
        }
    }
    ensure!(!runs.is_empty(), "there are no views to compute");
    if runs.len() > 1 {
        for (spec, _) in &mut runs {
            spec.idempotency_key = spec.idempotency_key.take().map(|key| format!("{key}/{}", spec.source));
        }
    }
    Ok(runs)
}

/// The mode of the recompute that a run is.
pub fn mode_of(mode: RunMode) -> Mode {
    match mode {
        RunMode::Full => Mode::Full,
        RunMode::Incremental => Mode::Incremental,
        RunMode::Buckets { from, to, only_missing } => Mode::Range { from, to, only_missing },
    }
}

/// The run of a former definition that still answers, by the schedule that asks: it is no work of the present one.
pub fn run_of_former(view: &PlannedView, request: &RunRequest, settings: &Config) -> (RunSpec, Vec<TaskSpec>) {
    let spec = spec_of(&view.source.name, &[view], request, settings);
    (RunSpec { parameters: json!({ FORMER: true }), ..spec }, vec![first_task()])
}

/// Whether a run computes a former definition.
pub fn is_of_former(run: &RunSpec) -> bool {
    run.parameters[FORMER] == true
}

/// The parameters of a run of housekeeping that does this.
pub fn of_part(part: &str) -> Value {
    json!({ PART: part })
}

/// What a run of housekeeping does, in one word; `None` for any other run.
pub fn part_of(run: &RunSpec) -> Option<&str> {
    run.parameters[PART].as_str()
}

/// What the outcome depends on, beside the data: views that failed for good under it fail again.
pub fn cause_key(views: &[(ViewName, DefinitionHash)], settings: &Config) -> String {
    let recompute = &settings.batch.recompute;
    let views: Vec<String> = views.iter().map(|(view, hash)| format!("{view}={hash}")).collect();
    let (memory, spill) = (recompute.memory_bytes, recompute.spill_limit_bytes);
    let task = recompute.task_bytes;
    let machines = match settings.ballista.engine {
        Engine::Local => String::new(),
        Engine::Ballista => {
            format!(" ballista={:?} from={}", settings.ballista.scheduler, settings.ballista.from_bytes)
        }
    };
    format!("{} memory={memory} spill={spill} task={task}{machines}", views.join(","))
}

fn spec_of(source: &SourceName, views: &[&PlannedView], request: &RunRequest, settings: &Config) -> RunSpec {
    let views: Vec<(ViewName, DefinitionHash)> = views.iter().map(|view| (view.name.clone(), view.hash)).collect();
    let retries = match request.kind {
        RunKind::Backfill => 0,
        RunKind::Recompute | RunKind::Housekeeping | RunKind::Import => settings.workflow.retries,
    };
    RunSpec {
        kind: request.kind,
        source: source.clone(),
        cause_key: Some(cause_key(&views, settings)),
        views,
        mode: request.mode,
        parameters: json!({}),
        priority: request.priority,
        retries: request.retries.unwrap_or(retries),
        max_concurrent: request.max_concurrent,
        idempotency_key: request.idempotency_key.clone(),
        deadline: request.deadline,
        schedule: request.schedule.clone(),
    }
}

fn first_task() -> TaskSpec {
    TaskSpec { id: CHOOSE, kind: TaskKind::Choose, after: Vec::new(), parameters: json!({}), weight_bytes: 0 }
}

fn check_names(pipeline: &Pipeline, request: &RunRequest) -> Result<()> {
    if let Some(source) = &request.source {
        let known: Vec<&str> = pipeline.sources.iter().map(|source| source.name.as_str()).collect();
        ensure!(known.contains(&source.as_str()), unknown("source", source.as_str(), &known));
    }
    let known: Vec<&str> = pipeline.views.iter().map(|view| view.name.as_str()).collect();
    for view in &request.views {
        let found = pipeline.views.iter().find(|found| found.name == *view);
        let found = found.ok_or_else(|| anyhow!(unknown("view", view.as_str(), &known)))?;
        if let Some(source) = &request.source {
            let own = &found.source.name;
            ensure!(own == source, "view `{view}` is one of `{own}`, and none of `{source}`: leave one of them out");
        }
    }
    Ok(())
}

fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let hint = did_you_mean(name, known).unwrap_or_else(|| format!("there are: {}", known.join(", ")));
    format!("there is no {what} `{name}`; {hint}")
}
