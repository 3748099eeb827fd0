//! What can go wrong with the log, by what the caller should do.

use positions::{Offset, PartitionId};

/// An error of the event log.
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
         the topic was deleted and created again, or lost records; `twofold source reset` begins its next life"
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
}

impl EventLogError {
    /// A topic that is not there.
    pub(crate) fn no_topic(topic: &str) -> Self {
        Self::Unusable(format!("topic {topic} does not exist"))
    }

    /// A partition that the topic does not have.
    pub(crate) fn no_partition(topic: &str, partition: PartitionId) -> Self {
        Self::Unusable(format!("topic {topic} has no partition {partition}"))
    }

    /// A topic that was to have fewer partitions than one.
    pub(crate) fn no_partitions_asked(topic: &str, asked: i32) -> Self {
        Self::Unusable(format!("topic {topic}: {asked} partitions asked for, at least 1 is needed"))
    }
}
