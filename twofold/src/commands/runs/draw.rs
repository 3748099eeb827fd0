//! Runs as text: tables, bars, lines. Pure.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{FormattedDuration, HumanBytes, HumanCount};
use serde::Serialize;
use workflow::RunKind;

use crate::commands::drawing::{align_right, cell, new_table};
use crate::runs::dry_housekeeping::DryTask;
use crate::runs::dry_run::DryPlan;
use crate::runs::grid::Grid;
use crate::runs::view::{ProgressView, RunDetails, RunView, RunsView, TaskView};
use crate::runs::word::word_of;

/// Letters of a bar.
const BAR: usize = 20;
/// The narrowest terminal that is reckoned with: a line that is longer would be drawn as two, and never taken away.
const WIDTH: usize = 79;

/// Letters of what is said of a task in a table. The reason for which a run failed stands above it, whole.
const WHAT: usize = 50;

/// One line of JSON.
pub fn json_line(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).expect("what is shown is plain data with text keys");
    format!("{text}\n")
}

/// Runs as a table, with what is to be said of all of them.
pub fn draw_runs(view: &RunsView) -> String {
    let mut text = String::new();
    if view.paused {
        text.push_str("all runs are paused: `twofold runs resume` ends that\n");
    }
    if view.processes.is_empty() {
        text.push_str("no process that takes part is known\n");
    }
    for process in &view.processes {
        let leads = if view.leader.as_ref() == Some(&process.name) { ", leads" } else { "" };
        let (name, at_work, slots) = (&process.name, process.at_work, process.slots);
        let _ = match process.silent_seconds {
            None => writeln!(text, "process {name}: {at_work} of {slots} slots at work{leads}"),
            Some(seconds) => writeln!(text, "process {name}: silent for {seconds} s, its tasks are taken away"),
        };
    }
    if view.known == 0 {
        text.push_str("no run was started yet\n");
        return text;
    }
    if view.runs.is_empty() {
        let _ = writeln!(text, "none of the {} runs that are known is asked for", HumanCount(view.known as u64));
        return text;
    }
    let mut table = new_table(&["run", "state", "kind", "views", "tasks", "done", "rows", "bytes", "created", "left"]);
    for run in &view.runs {
        table.add_row(row_of(run));
    }
    align_right(&mut table, [0, 4, 5, 6, 7, 9]);
    let _ = writeln!(text, "{table}");
    if let Some(last) = view.runs.last().filter(|_| view.left_out > 0) {
        let _ = writeln!(text, "{} older runs are not shown: --limit, or --before {}", view.left_out, last.run);
    }
    text
}

fn row_of(run: &RunView) -> Vec<String> {
    let counts = &run.task_counts;
    vec![
        run.run.to_string(),
        run.state.to_owned(),
        kind_of(run),
        what_of(run),
        format!("{}/{}", counts.done, counts.done + counts.open() + counts.failed),
        percent(run.progress.fraction),
        HumanCount(run.progress.rows).to_string(),
        HumanBytes(run.progress.bytes).to_string(),
        run.created_at.as_ref().map(|at| cell(&at.as_str().into())).unwrap_or_default(),
        if run.ended_at.is_some() { String::new() } else { left(&run.progress) },
    ]
}

/// A run with its tasks, and its buckets.
pub fn draw_run(details: &RunDetails) -> String {
    let run = &details.run;
    let mut text = format!("run {}: {}, {} of {}\n", run.run, run.state, kind_of(run), what_of(run));
    if let Some(range) = &run.range {
        let shown = |at: &Option<String>| cell(&at.as_deref().unwrap_or("?").into());
        let (from, to) = (shown(&range.from), shown(&range.to));
        let missing = if range.only_missing { ", only missing buckets" } else { "" };
        let _ = writeln!(text, "  event time {from} to {to}{missing}");
    }
    let instants = [("created", &run.created_at), ("started", &run.started_at), ("ended", &run.ended_at)];
    let told: Vec<String> = instants
        .into_iter()
        .filter_map(|(word, at)| Some(format!("{word} {}", cell(&at.as_deref()?.into()))))
        .collect();
    let _ = writeln!(text, "  {}", told.join(", "));
    if let Some(schedule) = &run.schedule {
        let _ = writeln!(text, "  by schedule {schedule}");
    }
    if run.missed_deadline {
        let _ = writeln!(text, "  it took longer than its deadline");
    }
    if details.all_paused {
        let _ = writeln!(text, "  all runs are paused: `twofold runs resume` ends that");
    }
    if let Some(failure) = &run.failure {
        let _ = writeln!(text, "  task {} failed: {}", failure.task, failure.reason);
        let _ = writeln!(text, "  `twofold runs retry {}` does what failed, and nothing that is done", run.run);
    }
    let _ = writeln!(text, "  {}", bar_line(&run.progress));
    for grid in &details.grids {
        text.push_str(&grid.draw());
    }
    if details.tasks.is_empty() {
        return text;
    }
    let mut table = new_table(&["task", "kind", "state", "attempt", "done", "rows", "bytes", "process", "what"]);
    for task in &details.tasks {
        table.add_row(task_row(task));
    }
    align_right(&mut table, [0, 3, 4, 5, 6]);
    let _ = writeln!(text, "{table}");
    if details.tasks_left_out > 0 {
        let _ = writeln!(text, "{} more tasks are not shown: --tasks", details.tasks_left_out);
    }
    text
}

fn task_row(task: &TaskView) -> Vec<String> {
    let what = task.reason.clone().or_else(|| task.phase.clone()).or_else(|| task.did.clone());
    let waits =
        || (task.state == "pending" && task.waits_for > 0).then(|| format!("waits for {} tasks", task.waits_for));
    vec![
        task.task.to_string(),
        word_of(&task.kind),
        task.state.to_owned(),
        task.attempt.to_string(),
        percent(task.progress.fraction),
        HumanCount(task.progress.rows).to_string(),
        HumanBytes(task.progress.bytes).to_string(),
        task.process.clone().unwrap_or_default(),
        what.or_else(waits).map(|what| clipped(&what)).unwrap_or_default(),
    ]
}

fn clipped(what: &str) -> String {
    match what.char_indices().nth(WHAT) {
        Some((end, _)) => format!("{}…", &what[..end]),
        None => what.to_owned(),
    }
}

/// Runs and what is at work in them, as bars.
pub fn draw_bars(runs: &[RunDetails]) -> String {
    let mut lines = Vec::new();
    for details in runs {
        let run = &details.run;
        let state = if details.all_paused && run.ended_at.is_none() { "all paused" } else { run.state };
        lines.push(format!("run {}  {state}  {} of {}", run.run, kind_of(run), what_of(run)));
        lines.push(narrow_bar_line(&run.progress));
        for task in &details.tasks {
            let phase = task.phase.as_deref().unwrap_or_default();
            lines.push(format!("  {} {}  {}  {phase}", word_of(&task.kind), task.task, bar(task.progress.fraction)));
        }
    }
    lines.iter().map(|line| line.chars().take(WIDTH).collect::<String>() + "\n").collect()
}

/// A run in one line, for where nothing can be drawn over.
pub fn plain_line(details: &RunDetails) -> String {
    let run = &details.run;
    let counts = &run.task_counts;
    let tasks = format!("{} of {} tasks done", counts.done, counts.done + counts.open() + counts.failed);
    let why = run.failure.as_ref().map(|failure| format!(": {}", failure.reason)).unwrap_or_default();
    let pause = if details.all_paused && run.ended_at.is_none() { ", all runs are paused" } else { "" };
    let what = format!("run {} {}{pause}, {} of {}", run.run, run.state, kind_of(run), what_of(run));
    format!("{what}: {tasks}, {}{why}\n", numbers(&run.progress))
}

fn bar_line(progress: &ProgressView) -> String {
    format!("{}  {}", bar(progress.fraction), numbers(progress))
}

/// A number that is cut off would be another number: what has no room is left out, from the first on.
fn narrow_bar_line(progress: &ProgressView) -> String {
    let parts = parts(progress);
    let mut lines = (0..=parts.len()).map(|from| format!("  {}  {}", bar(progress.fraction), parts[from..].join(", ")));
    lines.find(|line| line.chars().count() <= WIDTH).unwrap_or_default()
}

fn bar(fraction: Option<f64>) -> String {
    let full = (fraction.unwrap_or(0.0).clamp(0.0, 1.0) * BAR as f64).floor() as usize;
    format!("[{}{}] {:>5}", "#".repeat(full), "-".repeat(BAR - full), percent(fraction))
}

fn numbers(progress: &ProgressView) -> String {
    parts(progress).join(", ")
}

/// The most telling one last.
fn parts(progress: &ProgressView) -> Vec<String> {
    let mut parts = vec![format!("{} rows", HumanCount(progress.rows)), HumanBytes(progress.bytes).to_string()];
    if let Some(speed) = progress.bytes_per_second {
        parts.push(format!("{}/s", HumanBytes(speed as u64)));
    }
    let left = left(progress);
    if !left.is_empty() && progress.fraction.is_some_and(|fraction| fraction < 1.0) {
        parts.push(format!("{left} left"));
    }
    parts
}

fn left(progress: &ProgressView) -> String {
    let seconds = progress.remaining_seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0).ceil()));
    seconds.map(|left| FormattedDuration(left).to_string()).unwrap_or_default()
}

/// Rounded down: what is not done is never 100 %.
fn percent(fraction: Option<f64>) -> String {
    fraction.map(|fraction| format!("{:.0} %", (fraction * 100.0).floor())).unwrap_or_default()
}

fn kind_of(run: &RunView) -> String {
    let kind = match run.kind {
        RunKind::Recompute | RunKind::Backfill => format!("{} {}", run.mode, word_of(&run.kind)),
        // Which buckets is nothing that is asked of these.
        RunKind::Housekeeping | RunKind::Import => word_of(&run.kind),
    };
    match &run.schedule {
        Some(schedule) => format!("{kind} ({schedule})"),
        None => kind,
    }
}

fn what_of(run: &RunView) -> String {
    match run.views.as_slice() {
        [] => run.source.clone(),
        [one] => one.clone(),
        [first, rest @ ..] => format!("{first} and {} more", rest.len()),
    }
}

/// A plan in words: its buckets, how much that is, how long it may take, and what it costs.
pub fn draw_plan(plan: &DryPlan) -> String {
    let (estimate, cost) = (plan.estimate, plan.cost);
    let kind = if plan.grid.is_some() { "backfill" } else { "recompute" };
    let mut text = format!("{kind} of {}, source {}\n", plan.views.join(", "), plan.source);
    let bucket = plan.grid.as_ref().map(|grid| format!(" ({})", grid.bucket)).unwrap_or_default();
    text.push_str(&plan.grid.as_ref().map(Grid::draw).unwrap_or_default());
    let _ = writeln!(
        text,
        "  to compute: {} buckets{bucket} at most, of about {} rows in {}, by {} tasks",
        HumanCount(estimate.buckets),
        HumanCount(estimate.rows),
        HumanBytes(estimate.bytes),
        plan.tasks,
    );
    let _ = match (plan.estimated_seconds, plan.rate) {
        (Some(seconds), Some(rate)) => writeln!(
            text,
            "  estimated time: {}, {} at one time; {} tasks of past runs did {} in a second each",
            span(seconds),
            plan.side_by_side,
            rate.tasks,
            HumanBytes(rate.bytes_per_second as u64),
        ),
        _ => {
            writeln!(text, "  estimated time: unknown, since no run of this source at hand computed anything")
        }
    };
    let work = cost.task_seconds.map(|seconds| format!("{} of tasks, ", span(seconds))).unwrap_or_default();
    let _ = writeln!(
        text,
        "  estimated cost: {work}about {} rows read in {} at most, in {} readings",
        HumanCount(cost.rows_read),
        HumanBytes(cost.bytes_read),
        cost.readings,
    );
    let _ = writeln!(
        text,
        "  requests of the store: {} that read and {} that write, at least",
        HumanCount(cost.store_reads),
        HumanCount(cost.store_writes),
    );
    text
}

/// What housekeeping would find, a line for each task.
pub fn draw_housekeeping(tasks: &[DryTask]) -> String {
    let mut table = new_table(&["source", "task", "view", "due", "what"]);
    for task in tasks {
        table.add_row(vec![
            task.source.to_string(),
            word_of(&task.task),
            task.view.as_ref().map(ToString::to_string).unwrap_or_default(),
            if task.due { "yes" } else { "no" }.to_owned(),
            found_by(task),
        ]);
    }
    format!("{table}\n")
}

fn found_by(task: &DryTask) -> String {
    match (task.merges, task.files, task.bytes) {
        _ if !task.due => String::new(),
        (Some(merges), Some(files), Some(bytes)) => {
            format!("{} files of {} become {merges}", HumanCount(files as u64), HumanBytes(bytes))
        }
        (_, _, Some(bytes)) => format!("{} are read", HumanBytes(bytes)),
        _ => "looks which objects nobody needs".to_owned(),
    }
}

fn span(seconds: f64) -> FormattedDuration {
    FormattedDuration(Duration::from_secs_f64(seconds.ceil()))
}
