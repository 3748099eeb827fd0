//! Runs and their tasks as the process around the gateway reads them, for the tables that SQL has of them.
//!
//! Why so: they are in a journal that the gateway never reads; who reads it is passed in, like everything that the
//! gateway cannot know (`status.rs`).
//! Not here: the tables themselves (`runs_table.rs`).

use async_trait::async_trait;
use positions::TimestampMicros;

/// A run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// Its number.
    pub run: u64,
    /// Where it stands, in one word.
    pub state: &'static str,
    /// What it is for.
    pub kind: String,
    /// Which buckets it computes.
    pub mode: &'static str,
    /// The source.
    pub source: String,
    /// The views, with commas between them.
    pub views: String,
    /// The schedule that started it.
    pub schedule: Option<String>,
    /// When it was asked for.
    pub created_at: TimestampMicros,
    /// When its first task was taken.
    pub started_at: Option<TimestampMicros>,
    /// When it ended.
    pub ended_at: Option<TimestampMicros>,
    /// Its tasks.
    pub tasks: u64,
    /// Those that are done.
    pub tasks_done: u64,
    /// Rows that they read.
    pub rows_read: u64,
    /// Bytes that they read.
    pub bytes_read: u64,
    /// How long they took, one after the other, in milliseconds.
    pub worked_millis: u64,
    /// Whether it took longer than its deadline.
    pub missed_deadline: bool,
    /// Why it failed.
    pub reason: Option<String>,
}

/// A task of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunTaskRow {
    /// The number of its run.
    pub run: u64,
    /// Its number within the run.
    pub task: u32,
    /// What it does.
    pub kind: String,
    /// Where it stands, in one word.
    pub state: &'static str,
    /// The tasks that must be done before, with commas between them.
    pub after: String,
    /// How many of them are not done.
    pub waits_for: u32,
    /// Leases so far.
    pub attempt: u32,
    /// Failures so far that might have passed.
    pub failures: u32,
    /// When it came to stand so.
    pub since: TimestampMicros,
    /// Bytes that it is thought to read.
    pub weight_bytes: u64,
    /// Rows that it has read.
    pub rows_read: u64,
    /// Bytes that it has read.
    pub bytes_read: u64,
    /// How long it has been at work, or took, in milliseconds; `None`: neither is known.
    pub worked_millis: Option<u64>,
    /// What it does at the moment.
    pub phase: Option<String>,
    /// The process that works at it.
    pub process: Option<String>,
    /// Why it failed last.
    pub reason: Option<String>,
}

/// Runs cannot be read now: ask again later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("runs cannot be read: {reason}")]
pub struct RunsUnread {
    /// What the object store said.
    pub reason: String,
}

/// Reads runs and their tasks.
#[async_trait]
pub trait RunsReader: Send + Sync + 'static {
    /// All that are known, by their numbers. Bounded by how many are kept.
    ///
    /// # Errors
    /// [`RunsUnread`]: the object store failed.
    async fn read(&self) -> Result<Vec<RunRow>, RunsUnread>;

    /// The tasks of these runs, those of one run by their numbers; none of a run that is not known any more.
    ///
    /// # Errors
    /// As [`Self::read`].
    async fn tasks(&self, runs: &[u64]) -> Result<Vec<RunTaskRow>, RunsUnread>;
}
