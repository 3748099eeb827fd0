//! How far runs and tasks are, and how long they may still take.
//!
//! Guarantee: pure; made of what workers measured by their own monotonic clocks, so anybody can ask at any moment and
//! no clocks are compared. An estimate says nothing before there is something to go by.

use std::time::Duration;

use crate::beat::AtWork;
use crate::handle::Overview;
use crate::ids::{RunId, TaskId, Token};
use crate::runs::Run;
use crate::task::{Task, TaskState};

/// How far a task or a run is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Advance {
    /// Rows read so far.
    pub rows: u64,
    /// Bytes read so far.
    pub bytes: u64,
    /// From 0 to 1; of a run by the weights of its tasks.
    pub fraction: Option<f64>,
    /// Bytes in a second, at present.
    pub bytes_per_second: Option<f64>,
    /// How long it may still take.
    pub remaining: Option<Duration>,
}

impl Overview {
    /// What a process says of a lease that is in force.
    pub fn at_work(&self, token: &Token) -> Option<&AtWork> {
        let lease = self.state.leases.iter().find(|lease| lease.token == *token)?;
        self.processes.get(&lease.worker)?.at_work.iter().find(|at_work| at_work.token == *token)
    }

    /// How far a task is.
    pub fn task_advance(&self, run: RunId, task: TaskId) -> Advance {
        let Some(found) = self.state.task(run, task) else { return Advance::default() };
        match &found.state {
            TaskState::Done { work, .. } => Advance {
                rows: work.rows,
                bytes: work.bytes,
                fraction: Some(1.0),
                bytes_per_second: None,
                remaining: Some(Duration::ZERO),
            },
            TaskState::Leased { epoch, .. } => {
                let token = Token { run, task, attempt: found.attempt, epoch: *epoch };
                self.at_work(&token).map(|at_work| advance_of(found, at_work)).unwrap_or_default()
            }
            _ => Advance::default(),
        }
    }

    /// How far a run is. Its remaining time is that of its open tasks at the speed of those that are done, side by side
    /// as many as are at work now; where none that weighs something is done, at the speed of those at work.
    pub fn run_advance(&self, run: &Run) -> Advance {
        let (mut done, mut reached, mut all) = (0.0, 0.0, 0.0);
        // Choosing a cut weighs nothing: its time says nothing of tasks that read.
        let (mut measured, mut measured_millis) = (0, 0);
        let mut advance = Advance { rows: run.work.rows, bytes: run.work.bytes, ..Advance::default() };
        let mut speed = 0.0;
        for task in &run.tasks {
            match &task.state {
                TaskState::Split { .. } => continue,
                TaskState::Done { work, .. } => {
                    done += weight(task);
                    if task.weight_bytes > 0 {
                        measured += task.weight_bytes;
                        measured_millis += work.took_millis;
                    }
                }
                TaskState::Leased { .. } => {
                    let of_task = self.task_advance(run.id, task.id);
                    advance.rows += of_task.rows;
                    advance.bytes += of_task.bytes;
                    reached += weight(task) * of_task.fraction.unwrap_or(0.0);
                    speed += of_task.bytes_per_second.unwrap_or(0.0);
                }
                _ => {}
            }
            all += weight(task);
        }
        if all > 0.0 {
            advance.fraction = Some((done + reached) / all);
        }
        advance.bytes_per_second = (speed > 0.0).then_some(speed);
        let side_by_side = f64::from(run.counts.leased.max(1));
        let left = (all - done - reached).max(0.0);
        advance.remaining = if all > 0.0 && left <= 0.0 {
            Some(Duration::ZERO)
        } else if measured_millis > 0 {
            let millis_for_one = measured_millis as f64 / measured as f64;
            Some(seconds(millis_for_one * left / side_by_side / 1_000.0))
        } else {
            advance.bytes_per_second.map(|speed| seconds(left / speed))
        };
        advance
    }
}

/// A task that reads nothing weighs a little, so that a run of such tasks advances, too.
fn weight(task: &Task) -> f64 {
    task.weight_bytes.max(1) as f64
}

fn advance_of(task: &Task, at_work: &AtWork) -> Advance {
    let reached = &at_work.reached;
    let total = reached.total_bytes.unwrap_or(task.weight_bytes);
    let fraction = (total > 0).then(|| (reached.bytes as f64 / total as f64).min(1.0));
    let elapsed = at_work.elapsed_millis as f64 / 1_000.0;
    let has_begun = elapsed > 0.0 && reached.bytes > 0;
    Advance {
        rows: reached.rows,
        bytes: reached.bytes,
        fraction,
        bytes_per_second: has_begun.then(|| reached.bytes as f64 / elapsed),
        remaining: fraction.filter(|_| has_begun).map(|fraction| seconds(elapsed * (1.0 - fraction) / fraction)),
    }
}

/// As a span; what is no number, or longer than anybody waits, is a century.
fn seconds(seconds: f64) -> Duration {
    const CENTURY: f64 = 100.0 * 365.0 * 86_400.0;
    Duration::from_secs_f64(if seconds.is_finite() { seconds.clamp(0.0, CENTURY) } else { CENTURY })
}
