//! The schedules of a process: those of the configuration, held against the pipeline, and one for what they leave out.
//!
//! Guarantee: pure; every view has a schedule. A source or view that a schedule names and the pipeline does not have is
//! refused by `validate` and at a start; one that a later set of definitions dropped is passed over.
//! Not here: when they are due (`workflow::schedule`), how they are written (`config/schedules.rs`).

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use positions::{SourceName, ViewName};
use views::{Pipeline, PlannedView, did_you_mean};
use workflow::schedule::{Overlap, RunMode, Schedule, ScheduleName, Target, Timing};

use crate::config::{Config, WrittenSchedule};

/// Of what no schedule names: behind those that somebody wrote.
const PRIORITY: i32 = 0;

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

/// The schedules of a process with these definitions: those that are written, and one for each source of which they
/// leave out views.
pub fn schedules_of(config: &Config, pipeline: &Pipeline) -> Vec<Schedule> {
    let mut schedules = written_schedules(config, pipeline);
    let named = scheduled_views(config, pipeline);
    let left: Vec<Schedule> =
        pipeline.sources.iter().filter_map(|source| left_out(&source.name, &named, config, pipeline)).collect();
    schedules.extend(left);
    schedules
}

/// The views that a schedule computes.
pub fn views_of<'a>(target: &'a Target, pipeline: &'a Pipeline) -> impl Iterator<Item = &'a PlannedView> {
    pipeline.views.iter().filter(move |view| {
        target.source.as_ref().is_none_or(|source| *source == view.source.name)
            && (target.views.is_empty() || target.views.contains(&view.name))
    })
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

/// One each `batch.interval`; its name is none that a setting can have.
fn left_out(source: &SourceName, named: &BTreeSet<ViewName>, config: &Config, pipeline: &Pipeline) -> Option<Schedule> {
    let of_source = || pipeline.views.iter().filter(|view| view.source.name == *source).map(|view| &view.name);
    let left: Vec<ViewName> = of_source().filter(|view| !named.contains(*view)).cloned().collect();
    if left.is_empty() {
        return None;
    }
    let is_all = left.len() == of_source().count();
    let name = format!("interval.{source}");
    Some(Schedule {
        timing: Timing::every(config.batch.interval, &name),
        name: ScheduleName(name),
        target: Target { source: Some(source.clone()), views: if is_all { Vec::new() } else { left } },
        mode: RunMode::Incremental,
        jitter: Duration::ZERO,
        overlap: Overlap::Skip,
        catch_up: true,
        deadline: None,
        priority: PRIORITY,
    })
}
