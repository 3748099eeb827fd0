//! Settings of the workflow; values only.

use std::time::Duration;

use positions::Backoff;

use crate::room::MemoryLimit;

/// How a process takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowSettings {
    /// Tasks that this process works at at the same time; 0: it only may lead.
    pub slots: usize,
    /// How much memory those may take; what is beyond it waits, whatever slots are free. Housekeeping waits for room
    /// beside all others, which do not wait for it.
    pub memory: MemoryLimit,
    /// Whether this process may lead.
    pub may_lead: bool,
    /// Between two looks at the journal by a process with free slots; while nothing is queued or running they are one
    /// small request each, and whole ones are seldom ([`Self::idle`]).
    pub poll: Duration,
    /// Between two signs of life, and between two steps of leading; see [`Self::idle`]. Several must fit into either
    /// patience.
    pub beat: Duration,
    /// A leader whose sign of life does not change for so long is replaced.
    pub leader_patience: Duration,
    /// A worker whose sign of life does not change for so long loses its leases.
    pub lease_patience: Duration,
    /// A task whose progress does not change for so long is taken away, and split if it can be.
    pub stall_limit: Duration,
    /// How long a task waits after transient failures; half to all of it, by chance.
    pub retry: Backoff,
    /// The most tasks at the same time in all runs and processes; `None`: as many as there are slots.
    pub max_concurrent: Option<u32>,
    /// Entries of the journal between two snapshots of the state.
    pub snapshot_entries: u64,
    /// Entries that a snapshot stands for are deleted once it is so old, and objects of a run that no entry names. No
    /// process may sleep longer within one request, or between putting a run's objects and the entry of its start.
    pub trim_grace: Duration,
    /// Ended runs that keep their tasks at hand, so many that failed and so many others; those of older ones are in the
    /// history.
    pub recent_runs: usize,
    /// Ended runs that are listed at all, so many that failed and so many others.
    pub history_runs: usize,
}

impl WorkflowSettings {
    /// While nothing is queued or running ([`State::is_idle`](crate::State::is_idle)), everything takes so long, but
    /// for the leader's signs of life and for looks whether the next entry is there: two beats.
    pub fn idle(&self) -> Duration {
        self.beat * 2
    }

    /// A leader that lives, but whose steps do not succeed for so long, is replaced: four times the patience with
    /// workers.
    pub fn step_patience(&self) -> Duration {
        self.lease_patience * 4
    }
}

impl Default for WorkflowSettings {
    fn default() -> Self {
        Self {
            slots: 2,
            memory: MemoryLimit::default(),
            may_lead: true,
            poll: Duration::from_millis(250),
            beat: Duration::from_secs(1),
            leader_patience: Duration::from_secs(5),
            lease_patience: Duration::from_secs(15),
            stall_limit: Duration::from_secs(600),
            retry: Backoff { first: Duration::from_secs(10), longest: Duration::from_secs(600) },
            max_concurrent: None,
            snapshot_entries: 500,
            trim_grace: Duration::from_secs(3_600),
            recent_runs: 20,
            history_runs: 1_000,
        }
    }
}
