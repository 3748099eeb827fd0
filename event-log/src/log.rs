//! The event log as the layers see it: partitions of records, read from a position, appended with acknowledgement.
//!
//! Implementations: Kafka (`kafka.rs`), a folder of this process (`embedded.rs`), memory (`memory.rs`).
//! Guarantee: records of a partition come in offset order; what `append` acknowledged is read by every later reader.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{Fingerprint, Offset, PartitionId, RecordMark, TimestampMicros};

use crate::EventLogError;

/// One record as the log holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The partition.
    pub partition: PartitionId,
    /// The offset in the partition.
    pub offset: Offset,
    /// The record's timestamp (milliseconds in Kafka, kept here in microseconds).
    pub timestamp: TimestampMicros,
    /// The payload; empty for a tombstone.
    pub payload: Bytes,
    /// Header `twofold-event-id`.
    pub event_id: Option<Bytes>,
    /// Header `twofold-clock-shift`: by how much the clock is off that gave the event its time, microseconds.
    pub clock_shift: Option<i64>,
}

impl Record {
    /// What position arithmetic needs of the record.
    pub fn mark(&self) -> RecordMark {
        RecordMark { offset: self.offset, timestamp: self.timestamp, fingerprint: self.fingerprint() }
    }

    /// Hash of timestamp and payload.
    pub fn fingerprint(&self) -> Fingerprint {
        positions::fingerprint(self.timestamp, &self.payload)
    }
}

/// One record to append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The key that chooses the partition: the event id where the source names one; round robin without.
    pub key: Option<Bytes>,
    /// The payload.
    pub payload: Bytes,
    /// The record's timestamp.
    pub timestamp: TimestampMicros,
    /// What [`Record::clock_shift`] will be.
    pub clock_shift: Option<i64>,
}

impl NewRecord {
    /// Bytes of key and payload: what limits of a log count.
    pub fn size_bytes(&self) -> usize {
        self.payload.len() + self.key.as_ref().map_or(0, Bytes::len)
    }
}

/// Bounds of one poll.
#[derive(Clone, Copy, Debug)]
pub struct PollLimit {
    /// At most this many records.
    pub records: usize,
    /// Stop collecting after this many payload bytes.
    pub bytes: usize,
    /// Wait at most this long for the first record, and no longer for the last.
    pub wait: Duration,
}

/// What a consumer has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Poll {
    /// Records in the order of each partition; empty where nothing came within the wait.
    Records(Vec<Record>),
    /// The group has given this consumer these partitions, and only these: seek before reading on.
    Assigned(BTreeSet<PartitionId>),
}

/// The lowest offset that can still be read, and the end where the log knows it. For status and hole detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogBounds {
    /// The first offset that can be read.
    pub low: Offset,
    /// The next offset to be written.
    pub high: Offset,
}

/// A log of records, by topic and partition.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Creates the topic where it is missing, with so many partitions. One that is there keeps those that it has, be
    /// they more or fewer.
    ///
    /// # Errors
    /// Refused for a compacted topic, and for fewer partitions than one.
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError>;

    /// The partitions of a topic.
    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError>;

    /// What can be read of a partition.
    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError>;

    /// Where a reader of a partition ends, for status: the end of the log, less what stands before it that no reader is
    /// given, such as the markers of transactions and what was aborted, as far as that is known.
    async fn readable_end(&self, topic: &str, partition: PartitionId) -> Result<Offset, EventLogError> {
        Ok(self.bounds(topic, partition).await?.high)
    }

    /// Appends records; one answer each, in order: where it stands, or why it was not stored.
    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>>;

    /// Tells the log that the records below these offsets are kept elsewhere for good, so that its own retention may
    /// remove them. Does not wait. Logs with a retention of their own, such as Kafka, do not listen.
    fn release(&self, _topic: &str, _committed: &BTreeMap<PartitionId, Offset>) {}

    /// A consumer that reads the partitions it is told to (`group` = `None`) or those its group gives it.
    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError>;
}

/// Reads one topic.
#[async_trait]
pub trait LogConsumer: Send {
    /// Reads on from these offsets, and from these partitions only.
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError>;

    /// The next records, or news of the assignment.
    ///
    /// # Errors
    /// [`EventLogError::Expired`] where the offset asked for is no longer in the log; retryable ones otherwise.
    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError>;

    /// The partitions of which everything was delivered that the log held a moment ago, with how long ago that was.
    ///
    /// Positive evidence only: a log that is slow, silent or gone tells of no end, and the time since the last one
    /// grows. Ask after a poll; each finding is told once, and stays true whatever is read later. Does not wait.
    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration>;

    /// Tells the group how far this consumer is; for lag tools only, nothing reads it back.
    async fn report_progress(&mut self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError>;
}
