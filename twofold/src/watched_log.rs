//! The event log as the collector of this process appends to it, with note taken of appends that it has no room for.
//!
//! Guarantee: changes nothing that is asked or answered.
//! Why so: a full log answers every question and refuses every event; only who sends would hear of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use event_log::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord};
use positions::{Offset, PartitionId};

use crate::health::Health;

/// See the module.
pub struct WatchedLog {
    inner: Arc<dyn EventLog>,
    health: Arc<Health>,
}

impl WatchedLog {
    /// The log, with its lack of room noted.
    pub fn new(inner: Arc<dyn EventLog>, health: Arc<Health>) -> Self {
        Self { inner, health }
    }
}

#[async_trait]
impl EventLog for WatchedLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        self.inner.ensure_topic(topic, partitions).await
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
        let outcomes = self.inner.append(topic, records).await;
        let full = outcomes.iter().find_map(|outcome| match outcome {
            Err(EventLogError::Full(reason)) => Some(reason.clone()),
            _ => None,
        });
        if full.is_some() || outcomes.iter().any(Result::is_ok) {
            self.health.note_full_log(full);
        }
        outcomes
    }

    fn release(&self, topic: &str, committed: &BTreeMap<PartitionId, Offset>) {
        self.inner.release(topic, committed);
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        self.inner.consumer(topic, group).await
    }
}
