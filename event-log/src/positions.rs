//! Checks that a stored position still belongs to the topic that bears the name.
//!
//! In: a position with the fingerprint of the record before it. Out: agreement, or `AnotherTopic`.
//! Guarantee: bounded; a log that does not answer is `Unreachable`, never a hang.
//! Why so: the Kafka protocol shows a client no topic id. A topic that was deleted and created again, or that lost
//! records in an unclean election, differs in the very record that the position continues.

use std::collections::BTreeMap;
use std::time::Duration;

use tracing::warn;
use views::{Fingerprint, Offset, PartitionId, Position};

use crate::{EventLog, EventLogError, LogConsumer, Poll, PollLimit, Record};

/// How long one look waits for a record that should be there.
const WAIT: Duration = Duration::from_secs(2);
/// A look back that found nothing goes this many times farther back the next time.
const STRIDE: i64 = 16;
/// Looks in all, so at most `STRIDE ^ (LOOKS - 1)` offsets without a record are bridged, in `LOOKS * WAIT`.
const LOOKS: u32 = 4;
/// Records of one look; what lies before a position is mostly one record.
const RECORDS: usize = 1_000;

/// Reads the last record before `position` and compares it with the stored fingerprint.
///
/// Agrees without reading where there is nothing to compare: at the start of a partition, and where the record has
/// expired.
///
/// # Errors
/// [`EventLogError::AnotherTopic`] where the record differs or the log ends before the position: stop the source.
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
    let differs = || EventLogError::AnotherTopic { topic: topic.to_owned(), partition, offset: position.offset };
    if position.offset > bounds.high {
        return Err(differs());
    }
    if position.offset <= bounds.low {
        return Ok(());
    }
    let mut consumer = log.consumer(topic, None).await?;
    let look_back = LookBack { partition, end: position.offset, low: bounds.low };
    match look_back.last_record(consumer.as_mut()).await {
        Ok(Some(record)) if record.fingerprint() == position.fingerprint => Ok(()),
        Ok(Some(_)) => Err(differs()),
        // It expired while we looked.
        Err(EventLogError::Expired { .. }) => Ok(()),
        Ok(None) => {
            warn!(topic, %partition, offset = %position.offset, "no record before a stored position, nothing compared");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

struct LookBack {
    partition: PartitionId,
    end: Offset,
    low: Offset,
}

impl LookBack {
    /// The last record in `[low, end)`; offsets may have gaps, so it need not be the one directly before `end`.
    async fn last_record(&self, consumer: &mut dyn LogConsumer) -> Result<Option<Record>, EventLogError> {
        for look in 0..LOOKS {
            let start = Offset((self.end.0 - STRIDE.pow(look)).max(self.low.0));
            consumer.seek(&BTreeMap::from([(self.partition, start)])).await?;
            let found = self.last_after(consumer).await?;
            if found.is_some() || start == self.low {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The last record before `end` among those that follow the consumer's place.
    async fn last_after(&self, consumer: &mut dyn LogConsumer) -> Result<Option<Record>, EventLogError> {
        let limit = PollLimit { records: RECORDS, bytes: usize::MAX, wait: WAIT };
        let mut last: Option<Record> = None;
        // Each turn reads at least one record before `end` or is the last.
        loop {
            let Poll::Records(records) = consumer.poll(limit).await? else { continue };
            let passed = records.last().is_none_or(|record| record.offset.next() >= self.end);
            last = records.into_iter().rfind(|record| record.offset < self.end).or(last);
            if passed {
                return Ok(last);
            }
        }
    }
}
