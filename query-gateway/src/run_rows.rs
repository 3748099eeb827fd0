//! Runs as the process around the gateway reads them, for the table that SQL has of them.
//!
//! Why so: they are in a journal that the gateway never reads; who reads it is passed in, like everything that the
//! gateway cannot know (`status.rs`).
//! Not here: the table itself (`runs_table.rs`).

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

/// Runs cannot be read now: ask again later.
#[derive(Clone, Debug, thiserror::Error)]
#[error("runs cannot be read: {reason}")]
pub struct RunsUnread {
    /// What the object store said.
    pub reason: String,
}

/// Reads runs.
#[async_trait]
pub trait RunsReader: Send + Sync + 'static {
    /// All that are known, by their numbers. Bounded by how many are kept.
    ///
    /// # Errors
    /// [`RunsUnread`]: the object store failed.
    async fn read(&self) -> Result<Vec<RunRow>, RunsUnread>;
}
