//! Settings of the machines that compute together. Values only: the binary reads files and environment.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a worker uses the machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterSettings {
    /// The host of the scheduler.
    pub scheduler_host: String,
    /// Its port.
    pub scheduler_port: u16,
    /// Groups that read files of fewer bytes are computed by the worker itself.
    pub from_bytes: u64,
    /// Into how many parts the rows of a plan are divided: about as many as all executors have slots.
    pub partitions: usize,
    /// The largest plan, as it is sent; copies of events that are left out are part of it.
    pub max_plan_bytes: usize,
    /// The largest message between the machines.
    pub max_message_bytes: u32,
    /// A plan that has not ended after this long is given up, and tried again.
    pub deadline: Duration,
}

impl ClusterSettings {
    /// The address of the scheduler, as its clients want it.
    pub fn scheduler_url(&self) -> String {
        format!("http://{}:{}", self.scheduler_host, self.scheduler_port)
    }
}

/// How a scheduler runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SchedulerSettings {
    /// The largest message between the machines.
    pub max_message_bytes: u32,
    /// An executor that has been silent for so long is lost: its tasks go to others.
    pub lost_after: Duration,
    /// How long the outcome of a plan is kept for whoever fetches it.
    pub keep: Duration,
}

/// How an executor runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorSettings {
    /// Where it gives away what it computed, to other executors and to workers.
    pub listen: SocketAddr,
    /// The name or address under which these reach it; `None`: that of `listen`.
    pub advertised_host: Option<String>,
    /// The host of the scheduler.
    pub scheduler_host: String,
    /// Its port.
    pub scheduler_port: u16,
    /// Tasks at the same time.
    pub slots: usize,
    /// Memory of all tasks together; what needs more goes to `folder`.
    pub memory_bytes: u64,
    /// For what is handed from stage to stage, and for what does not fit into memory.
    pub folder: PathBuf,
    /// Most bytes that do not fit into memory, in `folder`.
    pub spill_limit_bytes: u64,
    /// The largest message between the machines.
    pub max_message_bytes: u32,
    /// What was computed and not fetched, or not needed any more, is removed after this long.
    pub keep: Duration,
    /// How long tasks in progress are waited for at a stop.
    pub stop_deadline: Duration,
}
