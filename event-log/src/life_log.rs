//! The log of one topic in one of its lives: the offsets that the log counts anew, in the line that goes on.
//!
//! In: the log, and where its partitions begin in this life. Out: the same log, whose offsets are those of all lives.
//! Guarantee: no offset of the log itself leaves this wrapper, in records, bounds, answers or errors. What lies below
//! the start of a life has expired.
//! Not here: the arithmetic (`positions::Life`), which life it is (whoever read the master dataset).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use positions::{Life, Offset, PartitionId, Position};

use crate::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord, Poll, PollLimit, check_fingerprint};

/// See the module. For one topic: that whose life it is.
#[derive(Clone)]
pub struct LifeLog {
    inner: Arc<dyn EventLog>,
    life: Arc<Life>,
}

impl LifeLog {
    /// The log in a life of the topic.
    pub fn new(inner: Arc<dyn EventLog>, life: Life) -> Self {
        Self { inner, life: Arc::new(life) }
    }

    /// Which life it is.
    pub fn life(&self) -> &Life {
        &self.life
    }

    /// [`check_fingerprint`] of a position of this life; one of a former life agrees, there is nothing to compare it
    /// with.
    ///
    /// # Errors
    /// As there.
    pub async fn check_fingerprint(
        &self,
        topic: &str,
        partition: PartitionId,
        position: &Position,
    ) -> Result<(), EventLogError> {
        let is_present = position.incarnation == self.life.incarnation;
        let Some(at) = self.life.log_offset(partition, position.offset).filter(|_| is_present) else { return Ok(()) };
        let checked = check_fingerprint(self.inner.as_ref(), topic, partition, &position.at_offset(at)).await;
        checked.map_err(|error| translate(&self.life, error))
    }
}

/// An error of the log with the offsets of a life.
fn translate(life: &Life, error: EventLogError) -> EventLogError {
    match error {
        EventLogError::Expired { topic, partition, asked, low } => {
            let (asked, low) = (life.offset(partition, asked), life.offset(partition, low));
            EventLogError::Expired { topic, partition, asked, low }
        }
        EventLogError::AnotherTopic { topic, partition, offset } => {
            EventLogError::AnotherTopic { topic, partition, offset: life.offset(partition, offset) }
        }
        error => error,
    }
}

/// What the log calls these offsets; those of former lives are left out.
fn log_offsets(life: &Life, offsets: &BTreeMap<PartitionId, Offset>) -> BTreeMap<PartitionId, Offset> {
    let own = offsets.iter().map(|(partition, offset)| Some((*partition, life.log_offset(*partition, *offset)?)));
    own.flatten().collect()
}

#[async_trait]
impl EventLog for LifeLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        self.inner.ensure_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        self.inner.partitions(topic).await
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        let bounds = self.inner.bounds(topic, partition).await.map_err(|error| translate(&self.life, error))?;
        let (low, high) = (self.life.offset(partition, bounds.low), self.life.offset(partition, bounds.high));
        let start = self.life.start(partition).offset;
        Ok(LogBounds { low: low.max(start), high: high.max(start) })
    }

    async fn readable_end(&self, topic: &str, partition: PartitionId) -> Result<Offset, EventLogError> {
        let end = self.inner.readable_end(topic, partition).await.map_err(|error| translate(&self.life, error))?;
        Ok(self.life.offset(partition, end).max(self.life.start(partition).offset))
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        let stored = self.inner.append(topic, records).await.into_iter();
        let place = |(partition, offset)| (partition, self.life.offset(partition, offset));
        stored.map(|stored| stored.map(place).map_err(|error| translate(&self.life, error))).collect()
    }

    fn release(&self, topic: &str, committed: &BTreeMap<PartitionId, Offset>) {
        self.inner.release(topic, &log_offsets(&self.life, committed));
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        let inner = self.inner.consumer(topic, group).await?;
        Ok(Box::new(LifeConsumer { inner, life: Arc::clone(&self.life), topic: topic.to_owned() }))
    }
}

struct LifeConsumer {
    inner: Box<dyn LogConsumer>,
    life: Arc<Life>,
    topic: String,
}

impl LifeConsumer {
    fn log_offset(&self, partition: PartitionId, asked: Offset) -> Result<Offset, EventLogError> {
        self.life.log_offset(partition, asked).ok_or_else(|| {
            let low = self.life.start(partition).offset;
            EventLogError::Expired { topic: self.topic.clone(), partition, asked, low }
        })
    }
}

#[async_trait]
impl LogConsumer for LifeConsumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        let own = starts.iter().map(|(partition, offset)| Ok((*partition, self.log_offset(*partition, *offset)?)));
        let own = own.collect::<Result<_, EventLogError>>()?;
        self.inner.seek(&own).await.map_err(|error| translate(&self.life, error))
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        let mut polled = self.inner.poll(limit).await.map_err(|error| translate(&self.life, error))?;
        if let Poll::Records(records) = &mut polled {
            records.iter_mut().for_each(|record| record.offset = self.life.offset(record.partition, record.offset));
        }
        Ok(polled)
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        self.inner.take_ends()
    }

    async fn report_progress(&mut self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.inner.report_progress(&log_offsets(&self.life, offsets)).await
    }
}
