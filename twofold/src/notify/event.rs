//! What is known of a run when its state changes.

use positions::{SourceName, TimestampMicros, ViewName};
use workflow::schedule::ScheduleName;
use workflow::{RunMode, RunState};

use crate::runs::instant::instant_text;

/// The kind of runs that merge files, as notices have it: housekeeping of its own.
pub(crate) const COMPACT: &str = "compact";

/// A run that has come into another state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunEvent {
    /// Its id.
    pub run: String,
    /// What it does: `recompute`, `backfill`, `compact`, ...
    pub kind: String,
    /// What started it; `None`: somebody did.
    pub schedule: Option<ScheduleName>,
    /// What it computes.
    pub source: SourceName,
    /// What it computes.
    pub views: Vec<ViewName>,
    /// Which buckets.
    pub mode: RunMode,
    /// The state that it has come into.
    pub state: RunState,
    /// Why it failed or was cancelled.
    pub reason: Option<String>,
    /// When its first task was leased.
    pub started_at: Option<TimestampMicros>,
    /// When it was done, failed or cancelled.
    pub ended_at: Option<TimestampMicros>,
    /// When it came into this state.
    pub at: TimestampMicros,
}

impl RunEvent {
    /// The same for whoever tells of it again, and no other's.
    pub fn id(&self) -> String {
        format!("{}-{}-{}", self.run, self.state.name(), self.at.0)
    }
}

/// A run of a schedule that is not done in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissedDeadline {
    /// The schedule.
    pub schedule: ScheduleName,
    /// When it was due.
    pub occurrence: TimestampMicros,
    /// Its run; `None`: it has not started.
    pub run: Option<String>,
}

/// An instant as notices write it; of one outside of the calendar, its microseconds.
pub(super) fn rfc3339(at: TimestampMicros) -> String {
    instant_text(at).unwrap_or_else(|| at.0.to_string())
}
