//! A layer around a log in memory: what a test changes about some calls, every other one passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;

use async_trait::async_trait;
use event_log::memory::MemoryLog;
use event_log::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord};
use positions::{Offset, PartitionId};

/// What a test changes.
#[async_trait]
pub trait LogLayer: Send + Sync + 'static {
    /// The log below.
    fn inner(&self) -> &MemoryLog;

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        self.inner().partitions(topic).await
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        self.inner().bounds(topic, partition).await
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        self.inner().append(topic, records).await
    }

    fn release(&self, topic: &str, committed: &BTreeMap<PartitionId, Offset>) {
        self.inner().release(topic, committed);
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        self.inner().consumer(topic, group).await
    }
}

/// A log with a layer around it.
pub struct Layered<L>(pub L);

impl<L> Deref for Layered<L> {
    type Target = L;

    fn deref(&self) -> &L {
        &self.0
    }
}

#[async_trait]
impl<L: LogLayer> EventLog for Layered<L> {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        self.0.inner().ensure_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        self.0.partitions(topic).await
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        self.0.bounds(topic, partition).await
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        self.0.append(topic, records).await
    }

    fn release(&self, topic: &str, committed: &BTreeMap<PartitionId, Offset>) {
        self.0.release(topic, committed);
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        self.0.consumer(topic, group).await
    }
}
