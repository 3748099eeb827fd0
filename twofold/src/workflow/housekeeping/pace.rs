//! `batch.housekeeping_interval`: the built-in schedule of housekeeping.
//!
//! In: the runs that the journal knows, an instant. Out: whether to look now, and which of the runs that would find
//! something to do are started.
//! Guarantee: pure. Nothing is started that is open already; what failed is started again after one interval, then
//! after twice as long, and so on up to a day, so that it does not fill the history; no folding is started while runs
//! compute its view, which would lose their race, or have them compute again.
//! Not here: the loop that asks (`interval/run.rs`), what is due (`due.rs`).

use std::collections::BTreeMap;
use std::ops::Bound;
use std::time::Duration;

use positions::Backoff;
use tokio::time::Instant;
use workflow::{Run, RunId, RunSpec, RunState, State};

/// The name of the schedule: that of the setting, which is no name that can be written.
const HOUSEKEEPING: &str = "batch.housekeeping_interval";

/// The longest wait behind what fails again and again, unless the interval is longer.
const LONGEST: Duration = Duration::from_secs(24 * 3_600);

/// When it is due.
#[derive(Debug)]
pub struct HousekeepingPace {
    interval: Duration,
    due: Instant,
    /// Runs up to this one are dealt with.
    seen: RunId,
    /// Since when runs are known here that failed, and were the last of their work.
    failed: BTreeMap<RunId, Instant>,
}

impl HousekeepingPace {
    /// One interval from `now`.
    pub fn new(interval: Duration, now: Instant) -> Self {
        Self { interval, due: now + interval, seen: RunId(0), failed: BTreeMap::new() }
    }

    /// Whether it is due: not where another process has just started it.
    pub fn is_due(&mut self, state: &State, now: Instant) -> bool {
        let mut new = state.runs.range((Bound::Excluded(self.seen), Bound::Unbounded)).map(|(_, run)| run);
        if self.seen > RunId(0) && new.any(|run| run.spec.schedule.as_deref() == Some(HOUSEKEEPING)) {
            self.begin(now);
        }
        self.seen = state.last_run;
        self.due <= now
    }

    /// It was looked what is due.
    pub fn begin(&mut self, now: Instant) {
        self.due = now + self.interval;
    }

    /// When it is due next.
    pub fn next(&self) -> Instant {
        self.due
    }

    /// The run as this schedule starts it; `None` where it does not now.
    pub fn start(&mut self, spec: RunSpec, state: &State, now: Instant) -> Option<RunSpec> {
        self.failed.retain(|run, _| state.runs.contains_key(run));
        let is_held_up = state.open_run_of(&spec).is_some() || is_computed(state, &spec);
        let may_start = !is_held_up && self.has_waited(state, &spec, now);
        may_start.then(|| RunSpec { schedule: Some(HOUSEKEEPING.to_owned()), ..spec })
    }

    fn has_waited(&mut self, state: &State, spec: &RunSpec, now: Instant) -> bool {
        let same = state.runs.values().rev().filter(|run| run.spec.is_same_work(spec));
        let failures: Vec<RunId> = same.take_while(|run| run.state == RunState::Failed).map(|run| run.id).collect();
        let Some(last) = failures.first() else { return true };
        let backoff = Backoff { first: self.interval, longest: LONGEST.max(self.interval) };
        let since = *self.failed.entry(*last).or_insert(now);
        now >= since + backoff.delay(u32::try_from(failures.len()).unwrap_or(u32::MAX))
    }
}

/// Whether runs compute a view of this one now.
fn is_computed(state: &State, spec: &RunSpec) -> bool {
    let computes = |run: &Run| {
        run.spec.kind.is_of_views()
            && run.state != RunState::Paused
            && run.spec.source == spec.source
            && run.spec.views.iter().any(|view| spec.views.contains(view))
    };
    state.open_runs().any(computes)
}
