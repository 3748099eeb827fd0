//! Which partitions a source has, as far as a gateway knows. Pure.
//!
//! In: the number that the pipeline file writes, what the status tells of the topic, of which partitions an index or a
//! cut was seen. Out: the partitions that an answer speaks of, and those that are looked for.
//! Guarantee: a partition that was seen stays. One that is named before anybody has read it makes answers stale; so
//! once the log has listed all, none is named only because it is written.
//! Not here: reading indexes (`refresh.rs`). Partitions of imported files: they have no index, and their cut names
//! them.
//! Why so: the gateway never reads the log. In a process that does, the status tells of the topic; elsewhere there are
//! the written number and the indexes, of which a worker writes one for each partition that it reads.

use std::collections::BTreeSet;

use positions::PartitionId;
use views::SourceDefinition;

/// See the module.
#[derive(Debug)]
pub(crate) struct KnownPartitions {
    written: Option<i32>,
    /// What the topic is made with.
    likely: i32,
    told: BTreeSet<PartitionId>,
    /// Whether `told` is all that the topic has: the log said so.
    is_all: bool,
    seen: BTreeSet<PartitionId>,
}

impl KnownPartitions {
    /// What the definition says.
    pub(crate) fn new(source: &SourceDefinition) -> Self {
        Self {
            written: source.partitions,
            likely: source.partitions_at_creation(),
            told: BTreeSet::new(),
            is_all: false,
            seen: BTreeSet::new(),
        }
    }

    /// Takes in partitions that exist. `is_all`: as the log lists them, so that there are no others.
    pub(crate) fn note_told(&mut self, mut partitions: BTreeSet<PartitionId>, is_all: bool) {
        partitions.retain(|partition| !partition.is_imported());
        if is_all {
            (self.told, self.is_all) = (partitions, true);
        } else {
            self.told.extend(partitions);
        }
    }

    /// Takes in partitions of which there is an index, or that a cut covers.
    pub(crate) fn note_seen(&mut self, partitions: impl IntoIterator<Item = PartitionId>) {
        self.seen.extend(partitions.into_iter().filter(|partition| !partition.is_imported()));
    }

    /// The partitions that an answer speaks of, whether or not there is an index of them.
    pub(crate) fn named(&self) -> BTreeSet<PartitionId> {
        let least = if self.is_all { 0 } else { self.written.unwrap_or(1) };
        first(least).chain(self.told.iter().copied()).chain(self.seen.iter().copied()).collect()
    }

    /// The partitions whose index is read: those that are named, and others that are answered from where there is one.
    pub(crate) fn wanted(&self) -> BTreeSet<PartitionId> {
        let mut wanted = self.named();
        wanted.extend(first(self.likely));
        wanted
    }

    /// The next partition to look for, where nobody tells of the topic.
    pub(crate) fn next_unseen(&self) -> Option<PartitionId> {
        if !self.told.is_empty() {
            return None;
        }
        self.wanted().last().map(|last| PartitionId(last.0 + 1))
    }
}

/// The first partitions of a topic.
fn first(count: i32) -> impl Iterator<Item = PartitionId> {
    (0..count).map(PartitionId)
}
