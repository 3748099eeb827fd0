//! What an archive tells about itself.

use lake::Version;
use positions::TimestampMicros;
use records::master::MasterFacts;

/// Whether the archive makes progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ArchiveState {
    /// The table has not been opened yet.
    #[default]
    Starting,
    /// Records are read and committed.
    Running,
    /// Log or object store fails: the same step is tried again, nothing is dropped, nothing more is read. Or partitions
    /// wait for a schema: they are tried again, the others go on.
    Retrying {
        /// What failed, for people to read.
        error: String,
    },
    /// The archive has stopped: on shutdown, or for an error that an operator must look at.
    Stopped {
        /// The error; `None` after a shutdown.
        error: Option<String>,
    },
}

/// What the archive of one source has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArchiveStatus {
    /// Whether it makes progress.
    pub state: ArchiveState,
    /// Version of the table; `None` before it was opened.
    pub version: Option<Version>,
    /// The facts of that version: positions, counters, holes.
    pub facts: MasterFacts,
    /// Rows read and not yet committed, those of the commit in flight included.
    pub pending_rows: u64,
    /// Their payload bytes.
    pub pending_bytes: usize,
    /// When this archive committed last.
    pub committed_at: Option<TimestampMicros>,
}
