//! Names of the metrics of runs, and the one way to raise them.

use std::time::Duration;

use metrics::{counter, gauge, histogram};
use workflow::{RunState, State, TaskCounts, TaskError, TaskKind, Workflow};

/// Runs that are kept, by `state`.
const RUNS: &str = "twofold_workflow_runs";
/// Tasks of runs that have not ended, by `state`.
const TASKS: &str = "twofold_workflow_tasks";
/// Tasks that this process works at.
const LEASED_HERE: &str = "twofold_workflow_leased_here";
/// Whether this process leads.
const LEADS: &str = "twofold_workflow_leads";
/// Entries of the journal, as this process read it last.
const ENTRIES: &str = "twofold_workflow_journal_entries";
/// Tasks that failed in this process, by `kind` and `outcome`.
const FAILURES: &str = "twofold_workflow_task_failures_total";
/// How long tasks took in this process, by `kind`.
const SECONDS: &str = "twofold_workflow_task_seconds";

/// The values of `kind`.
const KINDS: [TaskKind; 7] = [
    TaskKind::Choose,
    TaskKind::Compute,
    TaskKind::Publish,
    TaskKind::Compact,
    TaskKind::Fold,
    TaskKind::Vacuum,
    TaskKind::Trim,
];
/// The values of `outcome`.
const OUTCOMES: [&str; 2] = ["transient", "permanent"];

/// Tells the metrics once, before anything has happened.
pub(super) fn announce(workflow: &Workflow) {
    for kind in KINDS {
        for outcome in OUTCOMES {
            counter!(FAILURES, "kind" => kind_name(kind), "outcome" => outcome).increment(0);
        }
    }
    tell(workflow);
}

/// Notes how a task ended here.
pub(super) fn note_task(kind: TaskKind, took: Duration, error: Option<&TaskError>) {
    histogram!(SECONDS, "kind" => kind_name(kind)).record(took.as_secs_f64());
    let Some(error) = error else { return };
    let outcome = match error {
        TaskError::Transient { .. } => OUTCOMES[0],
        TaskError::Permanent { .. } => OUTCOMES[1],
        // Nothing is wrong.
        TaskError::Superseded { .. } => return,
    };
    counter!(FAILURES, "kind" => kind_name(kind), "outcome" => outcome).increment(1);
}

/// Sets the gauges to what this process read last.
pub(super) fn tell(workflow: &Workflow) {
    let state = workflow.state();
    let states =
        [RunState::Queued, RunState::Running, RunState::Paused, RunState::Done, RunState::Failed, RunState::Cancelled];
    for one in states {
        let runs = state.runs.values().filter(|run| run.state == one).count();
        gauge!(RUNS, "state" => one.name()).set(runs as f64);
    }
    for (name, tasks) in task_counts(&state) {
        gauge!(TASKS, "state" => name).set(f64::from(tasks));
    }
    gauge!(LEASED_HERE).set(state.leases_of(workflow.id()).count() as f64);
    gauge!(LEADS).set(if state.leader.as_ref() == Some(workflow.id()) { 1.0 } else { 0.0 });
    if let Some(entries) = workflow.entries_read() {
        gauge!(ENTRIES).set(entries as f64);
    }
}

fn task_counts(state: &State) -> [(&'static str, u32); 4] {
    let sum = |count: fn(&TaskCounts) -> u32| state.open_runs().map(|run| count(&run.counts)).sum::<u32>();
    [
        ("pending", sum(|counts| counts.pending)),
        ("leased", sum(|counts| counts.leased)),
        ("waiting", sum(|counts| counts.waiting)),
        ("done", sum(|counts| counts.done)),
    ]
}

fn kind_name(kind: TaskKind) -> &'static str {
    match kind {
        TaskKind::Choose => "choose",
        TaskKind::Compute => "compute",
        TaskKind::Publish => "publish",
        TaskKind::Exactness => "exactness",
        TaskKind::Expire => "expire",
        TaskKind::Compact => "compact",
        TaskKind::Vacuum => "vacuum",
        TaskKind::Fold => "fold",
        TaskKind::Trim => "trim",
        TaskKind::Erase => "erase",
        TaskKind::Import => "import",
    }
}
