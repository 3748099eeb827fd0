//! What the embedded log knows of its topics without asking the store: how far each partition reaches, and where the
//! next record goes. Pure data, changed by the writer alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use positions::{Offset, PartitionId};
use xxhash_rust::xxh3::xxh3_64;

use super::chunk::Extent;
use super::store::{Place, TopicNote};
use crate::group::partition;
use crate::{EventLogError, LogBounds};

/// One topic.
#[derive(Clone, Debug)]
pub(super) struct Topic {
    /// What is stored about it.
    pub note: TopicNote,
    /// Its partitions, by number.
    pub partitions: Vec<Extent>,
    turn: usize,
}

/// All topics by name.
pub(super) type Topics = BTreeMap<String, Topic>;

impl Topic {
    pub fn new(note: TopicNote, partitions: Vec<Extent>) -> Self {
        Self { note, partitions, turn: 0 }
    }

    /// An empty topic.
    pub fn empty(note: TopicNote) -> Self {
        let partitions = vec![Extent::default(); note.partitions as usize];
        Self::new(note, partitions)
    }

    /// The place of a partition in the store.
    pub fn place(&self, partition: PartitionId) -> Place {
        Place { topic: self.note.id, partition }
    }

    /// The partitions with their extents.
    pub fn extents(&self) -> impl Iterator<Item = (PartitionId, Extent)> {
        self.partitions.iter().enumerate().map(|(index, extent)| (partition(index), *extent))
    }

    /// The extent of a partition.
    pub fn extent(&self, topic: &str, id: PartitionId) -> Result<Extent, EventLogError> {
        let found = usize::try_from(id.0).ok().and_then(|index| self.partitions.get(index));
        found.copied().ok_or_else(|| EventLogError::Unusable(format!("topic {topic} has no partition {id}")))
    }

    /// The partition of a record: records of one key share it, those without take turns.
    pub fn choose(&mut self, key: Option<&Bytes>) -> usize {
        match key {
            Some(key) => (xxh3_64(key) % self.partitions.len() as u64) as usize,
            None => {
                self.turn = (self.turn + 1) % self.partitions.len();
                self.turn
            }
        }
    }
}

impl Extent {
    /// What can be read.
    pub fn bounds(&self) -> LogBounds {
        LogBounds { low: Offset(self.low), high: Offset(self.next) }
    }

    /// Whether reading can go on at `at`.
    pub fn check_readable(&self, topic: &str, id: PartitionId, at: Offset) -> Result<(), EventLogError> {
        let topic = topic.to_owned();
        if at.0 < self.low {
            return Err(EventLogError::Expired { topic, partition: id, asked: at, low: Offset(self.low) });
        }
        if at.0 > self.next {
            return Err(EventLogError::AnotherTopic { topic, partition: id, offset: at });
        }
        Ok(())
    }
}

/// The topic of a name.
pub(super) fn find<'a>(topics: &'a Topics, name: &str) -> Result<&'a Topic, EventLogError> {
    topics.get(name).ok_or_else(|| missing(name))
}

/// A topic that nobody made.
pub(super) fn missing(name: &str) -> EventLogError {
    EventLogError::Unusable(format!("topic {name} does not exist"))
}
