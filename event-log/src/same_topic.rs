//! Checks that a stored position still belongs to the topic that bears the name.
//!
//! In: a position with the fingerprint of the record before it. Out: agreement, or `AnotherTopic`.
//! Guarantee: bounded; a log that does not answer is `Unreachable`, never a hang.
//! Why so: the Kafka protocol shows a client no topic id. A topic that was deleted and created again, or that lost
//! records in an unclean election, differs in the very record that the position continues.

use std::collections::BTreeMap;
use std::time::Duration;

use positions::{Fingerprint, Offset, PartitionId, Position};
use tracing::warn;

use crate::{EventLog, EventLogError, LogBounds, LogConsumer, Poll, PollLimit, Record};

/// How long one poll of a look waits.
const WAIT: Duration = Duration::from_millis(200);
/// Polls in a row without a record or the end of the log, before the log counts as not answering.
const PATIENCE: usize = 50;
/// A look back that found nothing goes this many times farther back the next time.
const STRIDE: i64 = 16;
/// Records of one poll; what lies before a position is mostly one record.
const RECORDS: usize = 1_000;

/// Reads the last record before `position` and compares it with the stored fingerprint.
///
/// Agrees without reading where there is nothing to compare: at the start of a partition, and where the record has
/// expired. Decides by what was read alone: the end that the log names is only where looking back begins.
///
/// # Errors
/// [`EventLogError::AnotherTopic`] where the record differs or is not there: stop the source.
/// [`EventLogError::Unreachable`] where the log did not answer: try again.
pub async fn check_fingerprint(
    log: &dyn EventLog,
    topic: &str,
    partition: PartitionId,
    position: &Position,
) -> Result<(), EventLogError> {
    if position.offset == Offset(0) || position.fingerprint == Fingerprint(0) {
        return Ok(());
    }
    let bounds = log.bounds(topic, partition).await?;
    if position.offset <= bounds.low {
        return Ok(());
    }
    let differs = || EventLogError::AnotherTopic { topic: topic.to_owned(), partition, offset: position.offset };
    let mut consumer = log.consumer(topic, None).await?;
    let look_back = LookBack { topic, partition, end: position.offset, bounds };
    match look_back.last_record(consumer.as_mut()).await {
        Ok(Some(record)) if record.fingerprint() == position.fingerprint => Ok(()),
        Ok(Some(_)) | Err(EventLogError::AnotherTopic { .. }) => Err(differs()),
        // It expired while we looked.
        Err(EventLogError::Expired { .. }) => Ok(()),
        // Nothing has ever expired, so the record that was read would be there.
        Ok(None) if bounds.low == Offset(0) => Err(differs()),
        Ok(None) => {
            warn!(topic, %partition, offset = %position.offset, "no record before a stored position, nothing compared");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

struct LookBack<'a> {
    topic: &'a str,
    partition: PartitionId,
    end: Offset,
    bounds: LogBounds,
}

impl LookBack<'_> {
    /// The last record in `[low, end)`; offsets may have gaps, so it need not be the one directly before `end`.
    async fn last_record(&self, consumer: &mut dyn LogConsumer) -> Result<Option<Record>, EventLogError> {
        let near = self.end.min(self.bounds.high).0;
        let mut back = 1;
        loop {
            let start = Offset(near.saturating_sub(back).max(self.bounds.low.0));
            consumer.seek(&BTreeMap::from([(self.partition, start)])).await?;
            let found = self.last_after(consumer).await?;
            if found.is_some() || start == self.bounds.low {
                return Ok(found);
            }
            back = back.saturating_mul(STRIDE);
        }
    }

    /// The last record before `end` among those that follow the consumer's place.
    async fn last_after(&self, consumer: &mut dyn LogConsumer) -> Result<Option<Record>, EventLogError> {
        let limit = PollLimit { records: RECORDS, bytes: usize::MAX, wait: WAIT };
        let mut last: Option<Record> = None;
        let mut empty_polls = 0;
        while empty_polls < PATIENCE {
            let Poll::Records(records) = consumer.poll(limit).await? else { continue };
            empty_polls = if records.is_empty() { empty_polls + 1 } else { 0 };
            let is_at_end = consumer.take_ends().contains_key(&self.partition);
            let is_passed = records.last().is_some_and(|record| record.offset.next() >= self.end);
            last = records.into_iter().rfind(|record| record.offset < self.end).or(last);
            if is_passed || is_at_end {
                return Ok(last);
            }
        }
        let Self { topic, partition, end, .. } = self;
        Err(EventLogError::Unreachable(format!(
            "topic {topic} partition {partition}: no record and no end of the log before offset {end} in time"
        )))
    }
}
