//! What a process has watched, each with when, by its own monotonic clock: signs of life, progress, waiting tasks,
//! runs.
//!
//! Guarantee: pure; whoever begins to watch begins at zero, so nothing is taken away from anybody who was not watched
//! for the whole of a patience. No instant of another process is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::Instant;

use crate::ids::{RunId, TaskId, Token, WorkerId};
use crate::progress::Reached;
use crate::state::State;

/// A failed attempt that waits.
pub type WaitingAttempt = (RunId, TaskId, u32);

/// What was watched.
#[derive(Debug, Default)]
pub struct Watched {
    /// The last sign of life, and since when it is the same; `None`: there is none.
    beats: BTreeMap<WorkerId, (Option<u64>, Instant)>,
    /// The same for the steps of whoever leads.
    steps: Option<(WorkerId, u64, Instant)>,
    progress: BTreeMap<Token, (Option<Reached>, Instant)>,
    /// When each may be tried again.
    waits: BTreeMap<WaitingAttempt, Instant>,
    runs: BTreeMap<RunId, Instant>,
    /// Keys of runs that have objects, and that the state does not know.
    strays: BTreeMap<String, Instant>,
}

impl Watched {
    /// The workers whose sign of life is the same for `patience`, and since when.
    pub fn silent(&self, patience: Duration, now: Instant) -> BTreeMap<WorkerId, Instant> {
        let since = self.beats.iter().map(|(worker, (_, since))| (worker, *since));
        let silent = since.filter(|(_, since)| now.duration_since(*since) >= patience);
        silent.map(|(worker, since)| (worker.clone(), since)).collect()
    }

    /// For how long the sign of life of a worker is the same.
    pub fn silence(&mut self, worker: &WorkerId, beat: Option<u64>, now: Instant) -> Duration {
        let seen = self.beats.entry(worker.clone()).or_insert((beat, now));
        if seen.0 != beat {
            *seen = (beat, now);
        }
        now.duration_since(seen.1)
    }

    /// For how long the leader has not taken a step.
    pub fn standstill_of_steps(&mut self, leader: &WorkerId, steps: u64, now: Instant) -> Duration {
        match &self.steps {
            Some((watched, before, since)) if watched == leader && *before == steps => now.duration_since(*since),
            _ => {
                self.steps = Some((leader.clone(), steps, now));
                Duration::ZERO
            }
        }
    }

    /// For how long the progress under a lease is the same.
    pub fn standstill(&mut self, token: Token, reached: Option<&Reached>, now: Instant) -> Duration {
        let seen = self.progress.entry(token).or_insert_with(|| (reached.cloned(), now));
        if seen.0.as_ref() != reached {
            *seen = (reached.cloned(), now);
        }
        now.duration_since(seen.1)
    }

    /// Whether a task has waited long enough; `delay` is asked when it is seen first.
    pub fn has_waited(&mut self, waiting: WaitingAttempt, delay: impl FnOnce() -> Duration, now: Instant) -> bool {
        now >= *self.waits.entry(waiting).or_insert_with(|| now + delay())
    }

    /// For how long a run is watched.
    pub fn age(&mut self, run: RunId, now: Instant) -> Duration {
        now.duration_since(*self.runs.entry(run).or_insert(now))
    }

    /// Those of `strays`, all that there are now, that have been there for `grace`.
    pub fn settled_strays(&mut self, strays: BTreeSet<String>, grace: Duration, now: Instant) -> Vec<String> {
        let before = std::mem::take(&mut self.strays);
        for key in strays {
            let since = before.get(&key).copied().unwrap_or(now);
            self.strays.insert(key, since);
        }
        let settled = self.strays.iter().filter(|(_, since)| now.duration_since(**since) >= grace);
        settled.map(|(key, _)| key.clone()).collect()
    }

    /// Forgets what is over. Returns the workers that were silent for `patience` and have no lease: they are forgotten,
    /// too.
    pub fn forget(&mut self, state: &State, patience: Duration, now: Instant) -> Vec<WorkerId> {
        self.progress.retain(|token, _| state.leases.iter().any(|lease| lease.token == *token));
        self.waits.retain(|(run, ..), _| state.run(*run).is_some_and(|run| run.counts.waiting > 0));
        self.runs.retain(|run, _| state.run(*run).is_some_and(|run| !run.state.is_ended()));
        let is_dead = |worker: &WorkerId, since: Instant| {
            now.duration_since(since) >= patience && state.leases_of(worker).next().is_none()
        };
        let found = self.beats.iter().filter(|(worker, (_, since))| is_dead(worker, *since));
        let dead: Vec<WorkerId> = found.map(|(worker, _)| worker.clone()).collect();
        self.beats.retain(|worker, _| !dead.contains(worker));
        dead
    }
}
