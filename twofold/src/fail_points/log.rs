//! The event log with fail points about its writes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use event_log::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord};
use positions::{Offset, PartitionId};

use super::{about, reach};

/// See the module.
pub(super) struct FailingLog {
    pub(super) inner: Arc<dyn EventLog>,
}

#[async_trait]
impl EventLog for FailingLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        about("log.topic", self.inner.ensure_topic(topic, partitions)).await
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        self.inner.partitions(topic).await
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        self.inner.bounds(topic, partition).await
    }

    async fn readable_end(&self, topic: &str, partition: PartitionId) -> Result<Offset, EventLogError> {
        self.inner.readable_end(topic, partition).await
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        reach("log.append.before");
        let appended = self.inner.append(topic, records).await;
        if appended.iter().any(Result::is_ok) {
            reach("log.append.after");
        }
        appended
    }

    fn release(&self, topic: &str, committed: &BTreeMap<PartitionId, Offset>) {
        self.inner.release(topic, committed);
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        self.inner.consumer(topic, group).await
    }
}
