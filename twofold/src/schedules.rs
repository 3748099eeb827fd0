//! The schedules of a process: those of the configuration, held against the pipeline.
//!
//! Guarantee: pure; every view has a schedule, or is one of those that the interval of the batch layer computes. A
//! source or view that a schedule names and the pipeline does not have is refused by `validate` and at a start; one
//! that a later set of definitions dropped is passed over.
//! Not here: when they are due (`workflow::schedule`), how they are written (`config/schedules.rs`).

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use positions::{SourceName, ViewName};
use views::{Pipeline, PlannedView, did_you_mean};
use workflow::schedule::{Schedule, Target};

use crate::config::{Config, WrittenSchedule};
use crate::kappa::not_recomputed;

/// Refuses schedules of sources and views that the pipeline does not have.
///
/// # Errors
/// All of them, by setting and place.
pub fn check_schedules(config: &Config, pipeline: &Pipeline) -> Result<()> {
    let problems: Vec<String> =
        config.schedules.written.iter().flat_map(|written| problems_of(written, pipeline)).collect();
    ensure!(problems.is_empty(), "schedules do not fit the pipeline\n  {}", problems.join("\n  "));
    Ok(())
}

fn problems_of(written: &WrittenSchedule, pipeline: &Pipeline) -> Vec<String> {
    let WrittenSchedule { schedule, origin } = written;
    let (name, target) = (&schedule.name, &schedule.target);
    let problem = |key: &str, what: String| format!("`schedules.{name}.{key}` ({origin}): {what}");
    let mut problems = Vec::new();
    if let Some(source) = &target.source {
        let known: Vec<&str> = pipeline.sources.iter().map(|source| source.name.as_str()).collect();
        if !known.contains(&source.as_str()) {
            problems
                .push(problem("source", format!("there is no source `{source}`; {}", hint(source.as_str(), &known))));
            return problems;
        }
        if pipeline.source(source.as_str()).is_some_and(|source| !source.is_recomputed()) {
            let what = format!("source `{source}` is mode 'kappa', and nothing recomputes its views: leave it out");
            problems.push(problem("source", what));
            return problems;
        }
    }
    let known: Vec<&str> = pipeline.views.iter().map(|view| view.name.as_str()).collect();
    for view in &target.views {
        let Some(found) = pipeline.views.iter().find(|found| found.name == *view) else {
            problems.push(problem("views", format!("there is no view `{view}`; {}", hint(view.as_str(), &known))));
            continue;
        };
        if let Some(source) = target.source.as_ref().filter(|source| **source != found.source.name) {
            let what = format!(
                "view `{view}` is one of `{}`, and none of `{source}`: leave one of them out",
                found.source.name
            );
            problems.push(problem("views", what));
        } else if !found.source.is_recomputed() {
            problems.push(problem("views", not_recomputed(found)));
        }
    }
    problems
}

fn hint(unknown: &str, known: &[&str]) -> String {
    did_you_mean(unknown, known).unwrap_or_else(|| format!("there are: {}", known.join(", ")))
}

/// The schedules that are written, as far as the pipeline has their views.
pub fn written_schedules(config: &Config, pipeline: &Pipeline) -> Vec<Schedule> {
    let written = config.schedules.written.iter().map(|written| &written.schedule);
    written.filter_map(|schedule| still_there(schedule, pipeline)).collect()
}

/// The views that written schedules name: no interval computes them.
pub fn scheduled_views(config: &Config, pipeline: &Pipeline) -> BTreeSet<ViewName> {
    let written = config.schedules.written.iter();
    let views = written.flat_map(|written| views_of(&written.schedule.target, pipeline));
    views.map(|view| view.name.clone()).collect()
}

/// The views that no written schedule names: `batch.interval` computes them; none of sources in kappa mode.
pub fn unscheduled_views<'a>(config: &Config, pipeline: &'a Pipeline) -> Vec<&'a PlannedView> {
    let scheduled = scheduled_views(config, pipeline);
    let views = pipeline.views.iter().filter(|view| view.source.is_recomputed());
    views.filter(|view| !scheduled.contains(&view.name)).collect()
}

/// The views that a schedule computes: none of sources in kappa mode.
pub fn views_of<'a>(target: &'a Target, pipeline: &'a Pipeline) -> impl Iterator<Item = &'a PlannedView> {
    pipeline.views.iter().filter(move |view| is_meant(view, target.source.as_ref(), &target.views))
}

/// Whether a view is meant: of this source and one of these, where any is named; none of sources in kappa mode.
pub fn is_meant(view: &PlannedView, source: Option<&SourceName>, views: &[ViewName]) -> bool {
    view.source.is_recomputed()
        && source.is_none_or(|source| *source == view.source.name)
        && (views.is_empty() || views.contains(&view.name))
}

fn still_there(schedule: &Schedule, pipeline: &Pipeline) -> Option<Schedule> {
    let views: Vec<ViewName> = views_of(&schedule.target, pipeline).map(|view| view.name.clone()).collect();
    if views.is_empty() {
        return None;
    }
    let mut schedule = schedule.clone();
    schedule.target.views.retain(|view| views.contains(view));
    Some(schedule)
}
