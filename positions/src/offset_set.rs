//! Sets of offsets of partitions, kept as stretches: what lies side by side takes the room of one.
//!
//! Guarantee: pure. Sets of the same offsets are equal, in whatever order and portions they were made.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use crate::{Offset, PartitionId};

/// A set of offsets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetSet {
    /// The end of each stretch, by its partition and first offset. No two of a partition meet or touch.
    ends: BTreeMap<(PartitionId, Offset), Offset>,
}

impl OffsetSet {
    /// Takes in `[from, to)`.
    pub fn insert(&mut self, partition: PartitionId, from: Offset, to: Offset) {
        if from >= to {
            return;
        }
        let (mut first, mut end) = (from, to);
        while let Some((start, of_start)) = self.last_begun(partition, end).filter(|(_, found)| *found >= first) {
            self.ends.remove(&(partition, start));
            first = first.min(start);
            end = end.max(of_start);
        }
        self.ends.insert((partition, first), end);
    }

    /// Whether an offset is in.
    pub fn contains(&self, partition: PartitionId, offset: Offset) -> bool {
        self.last_begun(partition, offset).is_some_and(|(_, end)| offset < end)
    }

    /// Whether any of `offsets` is in, of any of `partitions`.
    pub fn has_any_of(&self, partitions: RangeInclusive<PartitionId>, offsets: RangeInclusive<Offset>) -> bool {
        let mut next = Some(*partitions.start());
        while let Some(at_least) = next {
            let found = self.ends.range((at_least, Offset(i64::MIN))..).next();
            let Some(partition) = found.map(|((partition, _), _)| *partition).filter(|one| partitions.contains(one))
            else {
                return false;
            };
            if self.last_begun(partition, *offsets.end()).is_some_and(|(_, end)| end > *offsets.start()) {
                return true;
            }
            next = partition.0.checked_add(1).map(PartitionId);
        }
        false
    }

    /// The stretches `[from, to)`, in order.
    pub fn stretches(&self) -> impl Iterator<Item = (PartitionId, Offset, Offset)> {
        self.ends.iter().map(|((partition, from), to)| (*partition, *from, *to))
    }

    /// How many offsets are in.
    pub fn count(&self) -> u64 {
        self.stretches().map(|(_, from, to)| (to.0 - from.0).unsigned_abs()).sum()
    }

    /// Whether none is in.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The last stretch of a partition that begins at or below an offset: its start and its end.
    fn last_begun(&self, partition: PartitionId, at: Offset) -> Option<(Offset, Offset)> {
        let mut begun = self.ends.range((partition, Offset(i64::MIN))..=(partition, at));
        begun.next_back().map(|((_, from), to)| (*from, *to))
    }
}
