//! What is known of topics and partitions without asking the store. Pure.
//!
//! Guarantee: `next` of a partition covers what is durable and nothing else; it moves before a writer is answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use positions::{Offset, PartitionId};

use super::key::{ChunkKey, TopicPartition};
use crate::group::partition;
use crate::local::Chooser;
use crate::{EventLogError, LogBounds};

/// All topics by name.
pub(super) type Topics = BTreeMap<String, Topic>;

#[derive(Debug)]
pub(super) struct Topic {
    /// What the keys of its records begin with.
    pub(super) number: u32,
    /// Drawn when the topic was made: another topic under the same name has another.
    pub(super) topic_id: u128,
    pub(super) partitions: Vec<Partition>,
    chooser: Chooser,
}

/// One partition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Partition {
    pub(super) low: i64,
    pub(super) next: i64,
    /// Bytes ever appended below `low`.
    pub(super) removed: u64,
    /// Bytes ever appended.
    pub(super) total: u64,
    /// What lies below is kept elsewhere.
    pub(super) released: i64,
}

impl Topic {
    pub(super) fn new(number: u32, topic_id: u128, partitions: usize) -> Self {
        Self { number, topic_id, partitions: vec![Partition::default(); partitions], chooser: Chooser::default() }
    }

    pub(super) fn place(&self, index: usize) -> TopicPartition {
        TopicPartition { topic: self.number, partition: partition(index) }
    }

    /// Where a record with this key belongs.
    pub(super) fn choose(&mut self, key: Option<&Bytes>) -> usize {
        self.chooser.choose(key, self.partitions.len())
    }

    pub(super) fn partition(&self, name: &str, id: PartitionId) -> Result<&Partition, EventLogError> {
        usize::try_from(id.0)
            .ok()
            .and_then(|index| self.partitions.get(index))
            .ok_or_else(|| EventLogError::no_partition(name, id))
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(id.0).ok()?)
    }

    /// Takes over what only memory knows of the same topic before it was read again.
    pub(super) fn inherit(&mut self, before: &Self) {
        if before.topic_id == self.topic_id {
            self.chooser = before.chooser;
            for (now, before) in std::iter::zip(&mut self.partitions, &before.partitions) {
                now.released = before.released;
            }
        }
    }
}

impl Partition {
    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds { low: Offset(self.low), high: Offset(self.next) }
    }

    /// Bytes that are kept.
    pub(super) fn kept(&self) -> u64 {
        self.total.saturating_sub(self.removed)
    }

    /// Notes a chunk that is durable.
    pub(super) fn note_appended(&mut self, chunk: &ChunkKey) {
        self.next = chunk.last + 1;
        self.total = chunk.total;
    }

    /// Notes that everything up to and with a chunk was removed.
    pub(super) fn note_removed(&mut self, chunk: &ChunkKey) {
        self.low = chunk.last + 1;
        self.removed = chunk.total;
    }
}

/// The topic of a name.
pub(super) fn find<'a>(topics: &'a Topics, topic: &str) -> Result<&'a Topic, EventLogError> {
    topics.get(topic).ok_or_else(|| EventLogError::no_topic(topic))
}
