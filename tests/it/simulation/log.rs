//! The event log of one role: the shared log in memory behind the dice.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use event_log::memory::MemoryLog;
use event_log::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord, Poll, PollLimit};
use positions::{Offset, PartitionId};
use tokio::time::{Instant, sleep};

use super::chance::{Gate, Part};

/// How soon a poll that found nothing looks again.
const AGAIN: Duration = Duration::from_millis(60);

/// See the module.
pub struct SimLog {
    pub inner: MemoryLog,
    pub gate: Gate,
    /// Whether consumers without a group see other ids than were sent, so that nothing can be remembered from them.
    pub hides_ids: bool,
}

fn failed(reason: &'static str) -> EventLogError {
    EventLogError::Unreachable(reason.to_owned())
}

#[async_trait]
impl EventLog for SimLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        self.inner.ensure_topic(topic, partitions).await
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        self.gate.call((Part::Log, "partitions"), self.inner.partitions(topic), failed).await
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        self.gate.call((Part::Log, "bounds"), self.inner.bounds(topic, partition), failed).await
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        self.inner.append(topic, records).await
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        let inner = self.gate.call((Part::Log, "consumer"), self.inner.consumer(topic, group), failed).await?;
        let hides_ids = self.hides_ids && group.is_none();
        Ok(Box::new(SimConsumer { inner, gate: self.gate.clone(), hides_ids, news: None }))
    }
}

struct SimConsumer {
    inner: Box<dyn LogConsumer>,
    gate: Gate,
    hides_ids: bool,
    // An assignment that the caller has not heard of. No log forgets it with a poll that fails: it is not asked for
    // again.
    news: Option<BTreeSet<PartitionId>>,
}

#[async_trait]
impl LogConsumer for SimConsumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.gate.call((Part::Log, "seek"), self.inner.seek(starts), failed).await
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        let (inner, news) = (self.inner.as_mut(), &mut self.news);
        let look = async {
            if news.is_none() {
                match look(inner, limit).await? {
                    Poll::Assigned(owned) => *news = Some(owned),
                    records => return Ok(records),
                }
            }
            Ok(Poll::Assigned(news.clone().unwrap_or_default()))
        };
        let mut polled = self.gate.call((Part::Log, "poll"), look, failed).await?;
        if matches!(polled, Poll::Assigned(_)) {
            self.news = None;
        }
        if let (Poll::Records(records), true) = (&mut polled, self.hides_ids) {
            for record in records {
                record.event_id = Some(Bytes::from(format!("hidden {}", record.offset)));
            }
        }
        Ok(polled)
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        self.inner.take_ends()
    }

    async fn report_progress(&mut self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.inner.report_progress(offsets).await
    }
}

/// A poll that waits by looking again: those who wait for a change of the log are woken in an order drawn by tokio.
async fn look(inner: &mut dyn LogConsumer, limit: PollLimit) -> Result<Poll, EventLogError> {
    let deadline = Instant::now() + limit.wait;
    loop {
        let polled = inner.poll(PollLimit { wait: Duration::ZERO, ..limit }).await?;
        let is_empty = matches!(&polled, Poll::Records(records) if records.is_empty());
        if !is_empty || Instant::now() >= deadline {
            return Ok(polled);
        }
        sleep(AGAIN.min(deadline - Instant::now())).await;
    }
}
