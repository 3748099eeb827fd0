//! A schedule as its author wrote it: when, what, and what becomes of an occurrence that cannot start now.
//!
//! Guarantee: plain data. Jitter is drawn from the name and the occurrence alone, so that every process knows the same
//! moment; it never reaches the next occurrence.

use std::fmt;
use std::time::Duration;

use positions::{SourceName, TimestampMicros, ViewName};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::timing::Timing;
use crate::spec::RunMode;

/// The name of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ScheduleName(pub String);

impl fmt::Display for ScheduleName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a schedule computes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// `None`: of every source, unless views are named.
    pub source: Option<SourceName>,
    /// Empty: all views of the source, or of the pipeline.
    pub views: Vec<ViewName>,
}

/// What becomes of an occurrence while a run of the same schedule is not done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It is left out.
    #[default]
    Skip,
    /// It starts when that run ends; all that come meanwhile are one.
    Queue,
    /// That run is cancelled, and it starts.
    Replace,
}

/// One schedule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// Unique among the schedules.
    pub name: ScheduleName,
    /// When it is due.
    pub timing: Timing,
    /// What it computes.
    pub target: Target,
    /// Which buckets of it.
    pub mode: RunMode,
    /// Each occurrence starts later by a draw of at most this.
    pub jitter: Duration,
    /// Against a run of its own.
    pub overlap: Overlap,
    /// Whether what was due while nothing ran is made up for, by one run.
    pub catch_up: bool,
    /// How long after an occurrence its run must be done; `None`: whenever.
    pub deadline: Option<Duration>,
    /// The higher one starts first.
    pub priority: i32,
}

impl Schedule {
    /// When an occurrence is to start, jitter included: before the next one.
    pub fn start_of(&self, occurrence: TimestampMicros) -> TimestampMicros {
        let room = self.timing.next_after(occurrence).map_or(i64::MAX, |next| next.micros_since(occurrence));
        let jitter = i64::try_from(self.jitter.as_micros()).unwrap_or(i64::MAX).min(room - 1);
        if jitter <= 0 {
            return occurrence;
        }
        let drawn = xxh3_64_with_seed(self.name.0.as_bytes(), occurrence.0.cast_unsigned());
        let drawn = drawn % (jitter.unsigned_abs() + 1);
        TimestampMicros(occurrence.0.saturating_add(drawn.cast_signed()))
    }

    /// The newest occurrence in `(after, now]` whose start has come.
    pub(super) fn newest_due(&self, after: TimestampMicros, now: TimestampMicros) -> Option<TimestampMicros> {
        // The one before the newest starts before the newest occurs.
        self.timing.last_two(after, now).into_iter().flatten().find(|occurrence| self.start_of(*occurrence) <= now)
    }
}

/// What holds for all schedules together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The least time between the starts of two schedules: those that meet start one after the other. It counts as no
    /// more than lets each of them have its turn.
    pub least_distance: Duration,
    /// The most runs of schedules at one time.
    pub max_runs: usize,
    /// An occurrence that is found due later than this after its start was missed: nothing ran then.
    pub missed_after: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { least_distance: Duration::from_secs(1), max_runs: 4, missed_after: Duration::from_secs(60) }
    }
}
