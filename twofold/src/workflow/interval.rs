//! `batch.interval`: the built-in schedule of views that no written schedule names, and of former definitions.
//!
//! In: the views of a source, the runs that the journal knows, what a look at the tables found. Out: which views are
//! due.
//! Guarantee: pure. A view is due at once where it or its definition is new, then an interval after its last run or
//! look ended, sooner after a failure, and while its former definition answers; a view that fails puts off no other. A
//! view waits for a run of others that computes all of it, or that lost to another publisher before: it would lose
//! again to each version of the interval, for as long as it takes longer than that. Nothing of it is in the journal but
//! its runs: a look that finds nothing new writes nothing.
//! Not here: what is looked at, and the loop (`interval/run.rs`).
//! Why by the monotonic clock, and by every process with the batch role, whoever leads: an interval has no moment that
//! must not be missed. A second process that has the same view due sees the run of the first one, and joins it.

pub mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

use positions::{Backoff, DefinitionHash, SourceName, ViewName};
use tokio::time::Instant;
use workflow::{Run, RunId, RunMode, RunState, State};

use super::numbers::is_chosen_anew;
use super::outcomes::failures;

/// The name of the schedule: that of the setting, which is no name that can be written.
pub const INTERVAL: &str = "batch.interval";

/// When views that are computed together are due: those of one source, or one former definition.
#[derive(Debug)]
pub struct Pace {
    interval: Duration,
    backoff: Backoff,
    views: BTreeMap<ViewName, ViewPace>,
    /// Those that wait for a run of others.
    waiting: BTreeSet<ViewName>,
    /// The run that has not ended, as far as it is known.
    run: Option<RunId>,
    /// Runs up to this one are dealt with.
    seen: RunId,
}

#[derive(Debug)]
struct ViewPace {
    definition: DefinitionHash,
    due: Instant,
    /// In a row.
    failures: u32,
    /// Whether a run of it was done since this process follows them.
    is_computed: bool,
}

impl Pace {
    /// Of a source whose runs up to `seen` are of no concern.
    pub fn new(interval: Duration, backoff: Backoff, seen: RunId) -> Self {
        Self { interval, backoff, views: BTreeMap::new(), waiting: BTreeSet::new(), run: None, seen }
    }

    /// These are the views: those that are new, or defined otherwise, are due at `now`.
    pub fn keep(&mut self, views: &[(ViewName, DefinitionHash)], now: Instant) {
        let is_kept = |name: &ViewName, definition: DefinitionHash| {
            views.iter().any(|(kept, hash)| kept == name && *hash == definition)
        };
        self.views.retain(|name, view| is_kept(name, view.definition));
        for (name, definition) in views {
            let new = ViewPace { definition: *definition, due: now, failures: 0, is_computed: false };
            self.views.entry(name.clone()).or_insert(new);
        }
    }

    /// Finds the run that has not ended, which another process started, or this one before it was started again.
    pub fn adopt(&mut self, state: &State, source: &SourceName) {
        let found = state.open_runs().find(|run| self.is_meant(run, source)).map(|run| run.id);
        self.run = found;
    }

    /// Takes note of the runs of the source by this schedule, whichever process started them: of those that ended, and
    /// of one that has not. And of runs of others that views wait for.
    pub fn follow(&mut self, state: &State, source: &SourceName, now: Instant) {
        let waited_for = state.open_runs().filter(|run| goes_first(run)).flat_map(|run| &run.spec.views);
        let waiting = waited_for.filter(|(view, definition)| self.has(view, *definition));
        self.waiting = waiting.map(|(view, _)| view.clone()).collect();
        if let Some(id) = self.run {
            match state.run(id) {
                Some(run) if run.state.is_ended() => self.end(run, now),
                Some(run) if self.has_all_of(run) => return,
                // One of former definitions ends by itself; nobody waits for it.
                _ => {}
            }
            self.run = None;
        }
        for run in state.runs.range((Bound::Excluded(self.seen), Bound::Unbounded)).map(|(_, run)| &**run) {
            self.seen = run.id;
            if !self.is_meant(run, source) {
                continue;
            }
            match run.state.is_ended() {
                true => self.end(run, now),
                false => {
                    self.run = Some(run.id);
                    return;
                }
            }
        }
    }

    /// The views that are due; none while a run has not ended.
    pub fn due(&self, now: Instant) -> Vec<ViewName> {
        self.free_views().filter(|(_, view)| view.due <= now).map(|(name, _)| name.clone()).collect()
    }

    /// When the next one is due; `None` while a run has not ended, whose end the journal tells.
    pub fn next(&self) -> Option<Instant> {
        self.free_views().map(|(_, view)| view.due).min()
    }

    /// Those that wait for no run.
    fn free_views(&self) -> impl Iterator<Item = (&ViewName, &ViewPace)> {
        self.views.iter().filter(|(name, _)| self.run.is_none() && !self.waiting.contains(*name))
    }

    /// A run was started, or joined.
    pub fn begin(&mut self, run: RunId) {
        self.run = Some(run);
        self.seen = self.seen.max(run);
    }

    /// All that there is of a view is published.
    pub fn rest(&mut self, view: &ViewName, now: Instant) {
        if let Some(view) = self.views.get_mut(view) {
            (view.failures, view.due) = (0, now + self.interval);
        }
    }

    /// A view is due after `span` already, unless it failed the last time.
    pub fn hasten(&mut self, view: &ViewName, span: Duration, now: Instant) {
        if let Some(view) = self.views.get_mut(view).filter(|view| view.failures == 0) {
            view.due = view.due.min(now + span);
        }
    }

    /// Whether a run of the view was done.
    pub fn is_computed(&self, view: &ViewName) -> bool {
        self.views.get(view).is_some_and(|view| view.is_computed)
    }

    /// A view could not be looked at, computed or published.
    pub fn fail(&mut self, view: &ViewName, now: Instant) {
        if let Some(view) = self.views.get_mut(view) {
            view.failures = view.failures.saturating_add(1);
            view.due = now + self.backoff.delay(view.failures).min(self.interval);
        }
    }

    fn end(&mut self, run: &Run, now: Instant) {
        let failed = if run.state == RunState::Failed { failures(run) } else { BTreeMap::new() };
        for (view, definition) in &run.spec.views {
            match failed.contains_key(view) {
                _ if !self.has(view, *definition) => {}
                true => self.fail(view, now),
                false => {
                    self.rest(view, now);
                    self.views.get_mut(view).into_iter().for_each(|view| view.is_computed = true);
                }
            }
        }
    }

    /// Whether a run is one of the source by this schedule, of definitions that there still are.
    fn is_meant(&self, run: &Run, source: &SourceName) -> bool {
        run.spec.schedule.as_deref() == Some(INTERVAL) && run.spec.source == *source && self.has_all_of(run)
    }

    fn has_all_of(&self, run: &Run) -> bool {
        run.spec.views.iter().all(|(view, definition)| self.has(view, *definition))
    }

    fn has(&self, view: &ViewName, definition: DefinitionHash) -> bool {
        self.views.get(view).is_some_and(|kept| kept.definition == definition)
    }
}

/// Whether the views of a run wait for it before they are computed by the interval, or by a schedule of what is new:
/// rather that than a long run that is computed for nothing. One that is paused is waited for by nobody.
pub(super) fn goes_first(run: &Run) -> bool {
    let computes = run.spec.kind.is_of_views();
    let is_of_others = run.spec.schedule.as_deref() != Some(INTERVAL);
    let is_long = run.spec.mode == RunMode::Full || is_chosen_anew(run);
    computes && is_of_others && is_long && run.state != RunState::Paused
}
