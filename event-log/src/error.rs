//! What can go wrong with the log and the master dataset, by what the caller should do.

use positions::{Offset, PartitionId};

/// An error of the event log or the master dataset.
#[derive(Debug, thiserror::Error)]
pub enum EventLogError {
    /// The log cannot be reached or did not answer in time: try again with backoff.
    #[error("event log is unreachable: {0}")]
    Unreachable(String),
    /// More records wait for their acknowledgement than the client holds: slow down, then try again.
    #[error("event log is overloaded: {0}")]
    Overloaded(String),
    /// The broker is there and has no room: free some, then try again.
    #[error("event log is full: {0}")]
    Full(String),
    /// The record is larger than this client sends: it will never be stored.
    #[error("record of {bytes} bytes exceeds the limit of {limit_bytes} bytes")]
    TooLarge {
        /// Key and payload.
        bytes: usize,
        /// What is allowed.
        limit_bytes: usize,
    },
    /// The brokers refuse this record for what it is: it is not stored, and sending it again does not change that.
    #[error("record can never be stored: {0}")]
    Refused(String),
    /// The offset is no longer in the log: read the master dataset, or (archive alone) declare a hole.
    #[error("topic {topic} partition {partition}: offset {asked} has expired, the log starts at {low}")]
    Expired {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// What was asked for.
        asked: Offset,
        /// What can be read.
        low: Offset,
    },
    /// The record before a stored position is not the one that was read: another topic under the same name.
    #[error(
        "topic {topic} partition {partition}: the record before offset {offset} is not the one that was read; \
         the topic was deleted and created again, or lost records; run `twofold source reset` to start its next incarnation"
    )]
    AnotherTopic {
        /// The topic.
        topic: String,
        /// The partition.
        partition: PartitionId,
        /// The stored offset.
        offset: Offset,
    },
    /// Wrong configuration or a topic that cannot be used: fix it and start again.
    #[error("event log cannot be used: {0}")]
    Unusable(String),
    /// Somebody else committed first, an archiver or a compaction: read the table again.
    #[error("master dataset of {table} was changed by somebody else")]
    Conflict {
        /// The table.
        table: String,
    },
    /// This version can no longer be opened: it was too old to be kept. Take a newer one.
    #[error("master dataset of {table}: version {version} is gone, or was never there; the newest is {newest}")]
    VersionGone {
        /// The table.
        table: String,
        /// What was asked for.
        version: i64,
        /// What there is.
        newest: i64,
    },
    /// The files of a compaction do not hold what those hold that they would replace: a defect; nothing was replaced.
    #[error("compaction of {table}: the new files differ from the old ones in column {column}")]
    RowsDiffer {
        /// The table.
        table: String,
        /// The first column that differs.
        column: String,
    },
    /// The counts of live files and of commits differ: rows were doubled or lost; nothing may be published.
    #[error("ledger of {table}: files hold {files} rows, commits say {commits}")]
    LedgerMismatch {
        /// The table.
        table: String,
        /// Rows in live files.
        files: u64,
        /// Rows according to the commits.
        commits: u64,
    },
    /// The object store failed.
    #[error(transparent)]
    Lake(#[from] lake::LakeError),
    /// Arrow refused a batch: a defect.
    #[error("batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// DataFusion refused or failed while the master dataset was read.
    #[error("query engine: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
}
