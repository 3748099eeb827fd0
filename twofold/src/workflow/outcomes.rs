//! How runs ended for each of their views, from the journal.
//!
//! Guarantee: pure. A view counts as failed where the reason of a run that failed names it; where that names none,
//! nothing of the run was published, and all of them do.
//! Why from the reason: what a task gives that fails is kept nowhere else, and each view that fails is named there
//! (`values.rs`).

use std::collections::BTreeMap;

use positions::ViewName;
use workflow::{Run, RunId, RunKind, RunMode, RunSpec, RunState, State, TaskState};

use super::specs::cause_key;
use crate::config::Config;
use crate::definitions::RunningDefinitions;
use crate::schedules::{views_of, written_schedules};

/// The views that failed in a run, as far as is known of it, and why.
pub fn failures(run: &Run) -> BTreeMap<ViewName, String> {
    // A run has up to thousands of tasks: they are not gone through for nothing.
    let waiting = || {
        let tasks = if run.counts.waiting > 0 { run.tasks.iter() } else { [].iter() };
        tasks.filter_map(|task| match &task.state {
            TaskState::Waiting { failure } => Some(failure),
            _ => None,
        })
    };
    let failed = run.failure.as_ref().map(|failed| &failed.failure);
    let Some(failure) = failed.or_else(|| waiting().next()) else { return BTreeMap::new() };
    let views = run.spec.views.iter().map(|(view, _)| view);
    let failed = meant_by(&failure.reason, views);
    failed.into_iter().map(|view| (view.clone(), failure.reason.clone())).collect()
}

/// Those of these views that a reason names, or all of them where it names none.
pub fn meant_by<'a>(reason: &str, views: impl Iterator<Item = &'a ViewName>) -> Vec<&'a ViewName> {
    let all: Vec<&ViewName> = views.collect();
    let is_named = |view: &ViewName| reason.contains(&format!("view {view}: "));
    let named: Vec<&ViewName> = all.iter().copied().filter(|view| is_named(view)).collect();
    if named.is_empty() { all } else { named }
}

/// The views whose last recompute failed, or waits to be tried again, in which run and why. Ranges of buckets do not
/// count: they may be none of the view's.
pub fn failing_views(state: &State, set: &RunningDefinitions) -> BTreeMap<ViewName, (RunId, String)> {
    let mut failing = BTreeMap::new();
    let is_meant =
        |run: &&Run| run.spec.kind == RunKind::Recompute && !matches!(run.spec.mode, RunMode::Buckets { .. });
    for run in state.runs.values().map(|run| &**run).filter(is_meant) {
        let mut failed = failures(run);
        for (view, hash) in &run.spec.views {
            let is_present = set.pipeline.view(view.as_str()).is_some_and(|present| present.hash == *hash);
            match failed.remove(view) {
                _ if !is_present => {}
                Some(reason) => drop(failing.insert(view.clone(), (run.id, reason))),
                None if matches!(run.state, RunState::Done | RunState::Failed) => drop(failing.remove(view)),
                None => {}
            }
        }
    }
    failing
}

/// Of the views that [`failing_views`] names those that nothing computes again by itself, and the run that failed:
/// they are of schedules alone, whose next run would fail the same way, as long as definitions and limits stay.
pub fn given_up_views(state: &State, set: &RunningDefinitions, config: &Config) -> BTreeMap<ViewName, RunId> {
    let schedules = written_schedules(config, &set.pipeline);
    let is_given_up = |(view, run): &(ViewName, RunId)| {
        let Some(run) = state.run(*run) else { return false };
        let of_view = schedules.iter().filter(|schedule| {
            let mut views = views_of(&schedule.target, &set.pipeline);
            views.any(|named| named.name == *view)
        });
        let modes: Vec<RunMode> = of_view.map(|schedule| schedule.mode).collect();
        // Failed under other limits than those of now, it is no reason against another run.
        let again = RunSpec { cause_key: Some(cause_key(&run.spec.views, config)), ..(*run.spec).clone() };
        let is_refused = state.failure_of(&again).is_some_and(|failed| failed.id == run.id);
        !modes.is_empty() && modes.iter().all(|mode| *mode == run.spec.mode) && is_refused
    };
    let failing = failing_views(state, set).into_iter().map(|(view, (run, _))| (view, run));
    failing.filter(is_given_up).collect()
}

/// Whether views are being computed now.
pub fn is_computing(state: &State) -> bool {
    let computes = |run: &Run| run.spec.kind.is_of_views();
    state.leases.iter().any(|lease| state.run(lease.token.run).is_some_and(computes))
}
