//! How long a run may take, by what runs before it took.
//!
//! Guarantee: pure. Where nothing was measured, nothing is said.

use std::time::Duration;

use positions::SourceName;
use serde::Serialize;
use workflow::{Beat, Overview, Run, State, TaskKind, TaskState};

/// The newest runs that are measured, of those that computed something.
const RUNS: usize = 10;

/// What tasks of past runs computed in a second, one beside none.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Rate {
    /// Bytes of files, as plans estimate them: with all of their columns.
    pub bytes_per_second: f64,
    /// How many tasks it was measured on.
    pub tasks: u64,
}

/// Measured on the newest runs of a source whose tasks are at hand; `None` where none computed anything.
pub fn measured_rate(state: &State, source: &SourceName) -> Option<Rate> {
    let of_source = state.runs.values().rev().filter(|run| run.spec.source == *source && !run.is_archived);
    // Runs of a schedule that found nothing new would hide those that did something.
    let measured = of_source.map(|run| computed(run)).filter(|computed| computed.tasks > 0);
    let (mut bytes, mut millis, mut tasks) = (0, 0, 0);
    for run in measured.take(RUNS) {
        bytes += run.bytes;
        millis += run.millis;
        tasks += run.tasks;
    }
    let is_measured = bytes > 0 && millis > 0;
    is_measured.then(|| Rate { bytes_per_second: bytes as f64 * 1_000.0 / millis as f64, tasks })
}

/// What the tasks of a run computed.
#[derive(Default)]
struct Computed {
    bytes: u64,
    millis: u64,
    tasks: u64,
}

fn computed(run: &Run) -> Computed {
    let mut computed = Computed::default();
    for task in run.tasks.iter().filter(|task| task.kind == TaskKind::Compute) {
        if let TaskState::Done { work, .. } = &task.state {
            computed.bytes += task.weight_bytes;
            computed.millis += work.took_millis;
            computed.tasks += 1;
        }
    }
    computed
}

/// How many tasks of a run are done side by side: as many as it may, as it has, and as there are slots with room for
/// tasks of full size.
pub fn side_by_side(overview: &Overview, max_concurrent: Option<u32>, tasks: usize) -> usize {
    let of_process = |beat: &Beat| if beat.full_size == 0 { beat.slots } else { beat.full_size };
    let slots: usize = overview.living().map(of_process).sum();
    let most = [max_concurrent, overview.state.max_concurrent].into_iter().flatten().min();
    let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
    slots.min(most).min(tasks).max(1)
}

/// How long so many bytes may take.
pub fn estimated_time(rate: Rate, bytes: u64, side_by_side: usize) -> Duration {
    // A century is longer than anybody waits.
    let longest = 100.0 * 365.0 * 86_400.0;
    let seconds = bytes as f64 / rate.bytes_per_second / side_by_side.max(1) as f64;
    Duration::from_secs_f64(if seconds.is_finite() { seconds.clamp(0.0, longest) } else { longest })
}
