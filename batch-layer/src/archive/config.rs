//! Settings of the archive.

use std::time::Duration;

use event_log::PollLimit;
use positions::Backoff;

/// Settings of the archive of one source.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveSettings {
    /// A commit is due this long after its first record was read.
    pub commit_interval: Duration,
    /// A commit is due at this many payload bytes. While one is written, the next is read: memory for two.
    pub commit_bytes: usize,
    /// A commit is due at this many rows; together with `commit_bytes` it bounds the archive's memory.
    pub commit_rows: usize,
    /// Bounds of one poll; a due commit can be late by its wait.
    pub poll: PollLimit,
    /// How often to look for new partitions.
    pub partitions_interval: Duration,
    /// Whether rejected records are appended to the topic `<topic>.dead`: at least once, before they are committed.
    pub dead_topics: bool,
    /// Wait between attempts while log or object store fails, and after another archiver committed first.
    pub backoff: Backoff,
}

impl Default for ArchiveSettings {
    fn default() -> Self {
        Self {
            commit_interval: Duration::from_secs(5),
            commit_bytes: 64 << 20,
            commit_rows: 1_000_000,
            poll: PollLimit { records: 10_000, bytes: 4 << 20, wait: Duration::from_millis(200) },
            partitions_interval: Duration::from_secs(30),
            dead_topics: false,
            backoff: Backoff::default(),
        }
    }
}
