//! What the logs inside one process, embedded and in memory, do alike, as Kafka does it for its own.
//!
//! Guarantee: records with equal keys meet in one partition; what a consumer may not read is an error, not a jump.
//! Not here: how a log keeps its records (`embedded.rs`, `memory.rs`), groups (`group.rs`).

use std::collections::BTreeMap;

use bytes::Bytes;
use positions::{Offset, PartitionId};
use xxhash_rust::xxh3::xxh3_64;

use crate::{EventLogError, LogBounds};

/// Chooses partitions of one topic; counts the records without a key.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Chooser {
    turn: usize,
}

impl Chooser {
    /// Which of `count` partitions a record with this key belongs to: those with equal keys meet, those without take
    /// turns.
    pub(crate) fn choose(&mut self, key: Option<&Bytes>, count: usize) -> usize {
        match key {
            Some(key) => (xxh3_64(key) % count as u64) as usize,
            None => {
                self.turn = (self.turn + 1) % count;
                self.turn
            }
        }
    }
}

/// Refuses an offset that is not there any more, or was never there.
pub(crate) fn check_readable(
    topic: &str,
    partition: PartitionId,
    at: Offset,
    bounds: LogBounds,
) -> Result<(), EventLogError> {
    let topic = topic.to_owned();
    if at < bounds.low {
        return Err(EventLogError::Expired { topic, partition, asked: at, low: bounds.low });
    }
    if at > bounds.high {
        return Err(EventLogError::AnotherTopic { topic, partition, offset: at });
    }
    Ok(())
}

/// Refuses to read on where the topic of the name is another one by now: its records are nobody's, except from its
/// start.
pub(crate) fn check_same_topic(
    topic: &str,
    positions: &BTreeMap<PartitionId, Offset>,
    is_another: bool,
) -> Result<(), EventLogError> {
    let begun = positions.iter().find(|(_, next)| **next > Offset(0));
    match begun.filter(|_| is_another) {
        Some((partition, offset)) => {
            Err(EventLogError::AnotherTopic { topic: topic.to_owned(), partition: *partition, offset: *offset })
        }
        None => Ok(()),
    }
}
