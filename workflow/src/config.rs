//! Settings of the workflow; values only.

use std::time::Duration;

use positions::Backoff;

/// How a process takes part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkflowSettings {
    /// Tasks that this process works at at the same time; 0: it only may lead.
    pub slots: usize,
    /// Whether this process may lead.
    pub may_lead: bool,
    /// Between two looks at the journal by a process with free slots.
    pub poll: Duration,
    /// Between two signs of life. Several must fit into either patience.
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
    /// Entries that a snapshot stands for are deleted once it is so old. No process may sleep longer within one
    /// request.
    pub trim_grace: Duration,
    /// Ended runs that keep their tasks at hand; those of older ones are in the history.
    pub recent_runs: usize,
    /// Ended runs that are listed at all.
    pub history_runs: usize,
}

impl Default for WorkflowSettings {
    fn default() -> Self {
        Self {
            slots: 1,
            may_lead: true,
            poll: Duration::from_millis(500),
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
