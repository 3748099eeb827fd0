//! Runs and tasks as they are shown.
//!
//! In: the state of the workflow, and what its processes say of themselves. Out: plain values for JSON.
//! Guarantee: pure, and made without a clock: what is shown depends on what was read alone.

use serde::Serialize;
use workflow::{
    Advance, AtWork, Content, Failure, Overview, Priority, Run, RunId, RunKind, RunMode, RunState, Task, TaskCounts,
    TaskKind, TaskState, Token, WorkerId,
};

use super::filter::RunsFilter;
use super::grid::Grid;
use super::instant::instant_text;

/// All runs that are known.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunsView {
    /// Whether no task of any run is taken.
    pub paused: bool,
    /// The process that leads.
    pub leader: Option<String>,
    /// Processes that take part; also some that died lately.
    pub processes: Vec<ProcessView>,
    /// The newest first.
    pub runs: Vec<RunView>,
    /// Older runs that were asked for, and are not among them.
    pub left_out: usize,
    /// All runs that are known, whichever were asked for.
    pub known: usize,
}

/// A process that takes part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProcessView {
    /// Host and process.
    pub name: String,
    /// Tasks that it can work at at the same time.
    pub slots: usize,
    /// Tasks that it works at.
    pub at_work: usize,
    /// For how long whoever leads has heard nothing of it, once its tasks are taken away for that; `None`: it lives, as
    /// far as is known.
    pub silent_seconds: Option<u64>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunView {
    /// Its number.
    pub run: u64,
    /// `queued`, `running`, `paused`, `done`, `failed` or `cancelled`.
    pub state: &'static str,
    /// What it is for.
    pub kind: RunKind,
    /// The source.
    pub source: String,
    /// The views.
    pub views: Vec<String>,
    /// `full`, `incremental` or `buckets`.
    pub mode: &'static str,
    /// The stretch of event time, where it computes one.
    pub range: Option<RangeView>,
    /// Whose tasks are taken first.
    pub priority: Priority,
    /// The schedule that started it.
    pub schedule: Option<String>,
    /// The key that it was started with.
    pub idempotency_key: Option<String>,
    /// Keys of later starts that found it.
    pub joined_keys: Vec<String>,
    /// How often a task is tried again after a failure that may pass.
    pub retries: u32,
    /// The most tasks at one time; `None`: as many as there are slots.
    pub max_concurrent: Option<u32>,
    /// When it was asked for.
    pub created_at: Option<String>,
    /// When its first task was taken.
    pub started_at: Option<String>,
    /// When it ended.
    pub ended_at: Option<String>,
    /// How long it may take before somebody is told.
    pub deadline_seconds: Option<u64>,
    /// Whether it took longer.
    pub missed_deadline: bool,
    /// How many tasks stand where.
    pub task_counts: TaskCounts,
    /// How far it is.
    pub progress: ProgressView,
    /// Seconds that tasks which are done took, one after the other.
    pub worked_seconds: f64,
    /// Why it failed.
    pub failure: Option<FailureView>,
}

/// A stretch of event time, `[from, to)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RangeView {
    /// The first instant.
    pub from: Option<String>,
    /// The first one behind it.
    pub to: Option<String>,
    /// Whether buckets that are there already are left out.
    pub only_missing: bool,
}

/// How far a run or a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct ProgressView {
    /// Rows read.
    pub rows: u64,
    /// Bytes read.
    pub bytes: u64,
    /// From 0 to 1; of a run by the weights of its tasks.
    pub fraction: Option<f64>,
    /// At present.
    pub bytes_per_second: Option<f64>,
    /// How long it may still take.
    pub remaining_seconds: Option<f64>,
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureView {
    /// The task.
    pub task: u32,
    /// In words, with the way out.
    pub reason: String,
    /// Whether the same may succeed without anybody doing anything.
    pub transient: bool,
}

/// A task.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TaskView {
    /// Its number within its run.
    pub task: u32,
    /// What it does.
    pub kind: TaskKind,
    /// `pending`, `leased`, `waiting`, `done`, `failed`, `skipped`, `split` or `cancelled`.
    pub state: &'static str,
    /// Tasks before it that are not done.
    pub waits_for: u32,
    /// Leases so far.
    pub attempt: u32,
    /// Failures so far.
    pub failures: u32,
    /// When it came to stand so.
    pub since: Option<String>,
    /// Bytes that it is thought to read.
    pub weight_bytes: u64,
    /// How far it is.
    pub progress: ProgressView,
    /// What it does at the moment.
    pub phase: Option<String>,
    /// The process that works at it.
    pub process: Option<String>,
    /// Why it failed last.
    pub reason: Option<String>,
    /// What it did, where a task of its kind says so.
    pub did: Option<String>,
}

/// A run with its tasks.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RunDetails {
    /// The run.
    #[serde(flatten)]
    pub run: RunView,
    /// Whether no task of any run is taken.
    pub all_paused: bool,
    /// Its tasks: first those that are at work, failed, or wait after a failure; of one kind by their numbers.
    pub tasks: Vec<TaskView>,
    /// Further tasks.
    pub tasks_left_out: usize,
    /// The buckets of a backfill, once they are chosen: one grid for the views that are computed together.
    pub grids: Vec<Grid>,
}

impl RunDetails {
    /// A run with `limit` of its tasks at most.
    pub fn new(overview: &Overview, run: &Run, limit: usize, grids: Vec<Grid>) -> Self {
        Self {
            run: run_view(overview, run),
            all_paused: overview.state.is_paused,
            tasks: task_views(overview, run, limit),
            tasks_left_out: run.tasks.len().saturating_sub(limit),
            grids,
        }
    }

    /// A run with the tasks that are at work, as far as there are not more than `limit`.
    pub fn at_work(overview: &Overview, run: &Run, limit: usize) -> Self {
        let leased = usize::try_from(run.counts.leased).unwrap_or(usize::MAX);
        Self::new(overview, run, limit.min(leased), Vec::new())
    }
}

/// The newest `limit` of the runs that are asked for.
pub fn runs_view(overview: &Overview, limit: usize, filter: &RunsFilter) -> RunsView {
    let state = &overview.state;
    let meant = || state.runs.values().filter(move |run| filter.passes(run));
    RunsView {
        paused: state.is_paused,
        leader: state.leader.as_ref().map(|leader| name_of(overview, leader)),
        processes: overview.processes.keys().filter_map(|worker| process_view(overview, worker)).collect(),
        runs: meant().rev().take(limit).map(|run| run_view(overview, run)).collect(),
        left_out: meant().count().saturating_sub(limit),
        known: state.runs.len(),
    }
}

/// Of a run that there was: where it went.
pub fn gone(run: RunId) -> String {
    format!(
        "run {run} ended, and is not kept any more: `workflow.history_runs` says how many are; what it published is in \
         the versions of its views"
    )
}

fn process_view(overview: &Overview, worker: &WorkerId) -> Option<ProcessView> {
    let beat = overview.processes.get(worker)?;
    let silence = overview.silence(worker);
    Some(ProcessView {
        name: beat.name.clone(),
        slots: beat.slots,
        // What it said last is over.
        at_work: if silence.is_none() { beat.at_work.len() } else { 0 },
        silent_seconds: silence.map(|silence| silence.as_secs()),
    })
}

/// A run. Of one whose tasks are archived, `run` is the one of the history.
pub fn run_view(overview: &Overview, run: &Run) -> RunView {
    let spec = &run.spec;
    RunView {
        run: run.id.0,
        state: run.state.name(),
        kind: spec.kind,
        source: spec.source.to_string(),
        views: spec.views.iter().map(|(view, _)| view.to_string()).collect(),
        mode: spec.mode.name(),
        range: range_view(spec.mode),
        priority: spec.priority,
        schedule: spec.schedule.clone(),
        idempotency_key: spec.idempotency_key.clone(),
        joined_keys: run.joined_keys.iter().map(ToString::to_string).collect(),
        retries: spec.retries,
        max_concurrent: spec.max_concurrent,
        created_at: instant_text(run.created_at),
        started_at: run.started_at.and_then(instant_text),
        ended_at: run.ended_at.and_then(instant_text),
        deadline_seconds: spec.deadline.map(|deadline| deadline.as_secs()),
        missed_deadline: run.has_missed_deadline,
        task_counts: run.counts,
        progress: progress_of_run(overview, run),
        worked_seconds: run.work.took_millis as f64 / 1_000.0,
        failure: run.failure.as_ref().map(|failed| FailureView {
            task: failed.task.0,
            reason: failed.failure.reason.clone(),
            transient: failed.failure.is_transient,
        }),
    }
}

/// The stretch of event time that a run computes, where it computes one.
pub fn range_view(mode: RunMode) -> Option<RangeView> {
    match mode {
        RunMode::Full | RunMode::Incremental => None,
        RunMode::Buckets { from, to, only_missing } => {
            Some(RangeView { from: instant_text(from), to: instant_text(to), only_missing })
        }
    }
}

/// Where nothing goes on, nothing is said of when it ends.
fn progress_of_run(overview: &Overview, run: &Run) -> ProgressView {
    let progress = ProgressView::from(overview.run_advance(run));
    match run.state {
        RunState::Running if !overview.state.is_paused => progress,
        RunState::Done => ProgressView { fraction: Some(1.0), remaining_seconds: Some(0.0), ..progress },
        _ => ProgressView { bytes_per_second: None, remaining_seconds: None, ..progress },
    }
}

impl From<Advance> for ProgressView {
    fn from(advance: Advance) -> Self {
        Self {
            rows: advance.rows,
            bytes: advance.bytes,
            fraction: advance.fraction,
            bytes_per_second: advance.bytes_per_second,
            remaining_seconds: advance.remaining.map(|remaining| remaining.as_secs_f64()),
        }
    }
}

fn task_views(overview: &Overview, run: &Run, limit: usize) -> Vec<TaskView> {
    let mut tasks: Vec<&Task> = run.tasks.iter().map(|task| &**task).collect();
    tasks.sort_by_key(|task| (rank(&task.state), task.id));
    tasks.into_iter().take(limit).map(|task| task_view(overview, run, task)).collect()
}

fn rank(state: &TaskState) -> u8 {
    match state {
        TaskState::Leased { .. } => 0,
        TaskState::Failed { .. } => 1,
        TaskState::Waiting { .. } => 2,
        TaskState::Pending => 3,
        TaskState::Done { .. } => 4,
        TaskState::Skipped | TaskState::Split { .. } | TaskState::Cancelled => 5,
    }
}

/// A task of a run.
pub fn task_view(overview: &Overview, run: &Run, task: &Task) -> TaskView {
    let (at_work, process) = worker_of(overview, run, task);
    TaskView {
        task: task.id.0,
        kind: task.kind,
        state: task.state.name(),
        waits_for: task.blocked_by,
        attempt: task.attempt,
        failures: task.failures,
        since: instant_text(task.since),
        weight_bytes: task.weight_bytes,
        progress: progress_of_task(overview, run, task),
        phase: at_work.map(|at_work| at_work.reached.phase.clone()).filter(|phase| !phase.is_empty()),
        process,
        reason: failure_of(&task.state).map(|failure| failure.reason.clone()),
        did: did(&task.state),
    }
}

/// What a task that is done says of itself, in words, in the `did` of what it gave.
fn did(state: &TaskState) -> Option<String> {
    match state {
        TaskState::Done { output: Content::Inline(output), .. } => output.get("did")?.as_str().map(str::to_owned),
        _ => None,
    }
}

/// How long a task has been at work, or took if it is done, in milliseconds.
pub fn worked_millis(overview: &Overview, run: &Run, task: &Task) -> Option<u64> {
    match &task.state {
        TaskState::Done { work, .. } => Some(work.took_millis),
        _ => worker_of(overview, run, task).0.map(|at_work| at_work.elapsed_millis),
    }
}

/// Tasks of archived runs are in the history alone, which the overview does not know.
fn progress_of_task(overview: &Overview, run: &Run, task: &Task) -> ProgressView {
    match &task.state {
        TaskState::Done { work, .. } => ProgressView {
            rows: work.rows,
            bytes: work.bytes,
            fraction: Some(1.0),
            bytes_per_second: None,
            remaining_seconds: Some(0.0),
        },
        _ => ProgressView::from(overview.task_advance(run.id, task.id)),
    }
}

fn failure_of(state: &TaskState) -> Option<&Failure> {
    match state {
        TaskState::Waiting { failure } | TaskState::Failed { failure } => Some(failure),
        _ => None,
    }
}

/// What is said of the work at a task, and by whom.
fn worker_of<'a>(overview: &'a Overview, run: &Run, task: &Task) -> (Option<&'a AtWork>, Option<String>) {
    let TaskState::Leased { worker, epoch } = &task.state else { return (None, None) };
    let token = Token { run: run.id, task: task.id, attempt: task.attempt, epoch: *epoch };
    (overview.at_work(&token), Some(name_of(overview, worker)))
}

/// A process as it calls itself; one that says nothing any more by its id.
pub fn name_of(overview: &Overview, worker: &WorkerId) -> String {
    overview.processes.get(worker).map_or_else(|| worker.to_string(), |beat| beat.name.clone())
}
