//! The event log on anything that speaks the Kafka protocol: Apache Kafka and compatible brokers.
//!
//! ```text
//!  append --> producer (idempotent, acks=all) --> broker --> consumer (positions from our stores) --> poll
//! ```
//!
//! Guarantee: an acknowledged record is on all in-sync replicas; a consumer never starts anywhere but where `seek`
//! put it, and a place that the broker no longer has is an error, not a jump.
//! Not here: decoding (`records`), the identity of a topic across re-creation (`same_topic.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use positions::{Offset, PartitionId};
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord};

mod admin;
mod assignment;
mod batch;
mod check;
mod config;
mod connection;
mod consumer;
mod context;
mod ends;
mod error;
mod producer;
mod record;
mod reserved;
mod run;
mod tails;
mod told;

pub use check::TopicCheck;
pub use config::{Compression, KafkaSettings};
use connection::Connection;
use consumer::KafkaConsumer;
use producer::KafkaProducer;

/// A connection to Kafka. Clones share it.
#[derive(Clone)]
pub struct KafkaLog {
    connection: Connection,
}

impl std::fmt::Debug for KafkaLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaLog").field("settings", &self.connection.settings).finish_non_exhaustive()
    }
}

impl KafkaLog {
    /// Connects, and waits until a broker has answered.
    ///
    /// # Errors
    /// [`EventLogError::Unreachable`] where none answered within `connect_timeout`; [`EventLogError::Unusable`] for
    /// settings that librdkafka refuses.
    pub async fn connect(settings: KafkaSettings) -> Result<Self, EventLogError> {
        settings.validate()?;
        let settings = Arc::new(settings);
        let producer = Arc::new(KafkaProducer::new(Arc::clone(&settings))?);
        admin::wait_for_broker(&producer, &settings).await?;
        info!(brokers = settings.bootstrap_servers, "connected to the event log");
        Ok(Self { connection: Connection { settings, producer, closing: TaskTracker::new(), tails: Arc::default() } })
    }

    /// How long a topic keeps records, by its `retention.ms`; `None` where it keeps them for ever, or does not tell.
    ///
    /// # Errors
    /// [`EventLogError::Unreachable`]: try again.
    pub async fn retention(&self, topic: &str) -> Result<Option<Duration>, EventLogError> {
        admin::retention(&self.connection.settings, topic).await
    }

    /// Finds out before a start whether a topic can be used: asks for it, reads it, tries whether it can be written,
    /// and stores nothing. `asked` partitions are to be made where it is not there; `group` is whoever shares it.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for a topic that is compacted, or with the right that is missing, by its name.
    pub async fn check_topic(&self, topic: &str, asked: i32, group: Option<&str>) -> Result<TopicCheck, EventLogError> {
        check::check_topic(&self.connection, topic, asked, group).await
    }

    /// Returns when all consumers that were dropped have left their groups.
    pub async fn closed(&self) {
        self.connection.closing.close();
        self.connection.closing.wait().await;
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        admin::ensure_topic(&self.connection.producer, &self.connection.settings, topic, partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        admin::partitions(&self.connection.producer, &self.connection.settings, topic)
            .await?
            .ok_or_else(|| EventLogError::no_topic(topic))
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        self.connection.producer.bounds(topic, partition).await
    }

    async fn readable_end(&self, topic: &str, partition: PartitionId) -> Result<Offset, EventLogError> {
        let end = self.bounds(topic, partition).await?.high;
        Ok(self.connection.tails.readable(topic, partition, end))
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        self.connection.producer.append(topic, records).await
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        // A topic that is missing is told now, not by a poll that waits for it.
        self.partitions(topic).await?;
        Ok(Box::new(KafkaConsumer::open(&self.connection, topic, group)?))
    }
}
