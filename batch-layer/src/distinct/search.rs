//! Which of many sightings of events are copies.
//!
//! Guarantee: pure; the same sightings give the same copies in any order and in any division into shards by key.

use std::collections::BTreeMap;

use views::{Cut, PartitionId};

use super::place::{Place, PlaceSet};

/// An event as the search sees it; the order is (key, place).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sighting {
    // Two halves: a `u128` would be padded to 32 bytes with the place.
    key: (u64, u64),
    place: Place,
}

impl Sighting {
    /// Bytes of one sighting in memory and in a spill file.
    pub(crate) const BYTES: usize = 24;

    /// A sighting of the event with `key`.
    pub(crate) fn new(key: [u8; 16], place: Place) -> Self {
        let key = u128::from_be_bytes(key);
        Self { key: ((key >> 64) as u64, key as u64), place }
    }

    /// In which of `2^bits` shards all sightings of the event meet.
    pub(crate) fn shard(&self, bits: u32) -> usize {
        (self.key.0 >> (64 - bits)) as usize
    }

    /// The form in a spill file.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.key.1.to_le_bytes());
        bytes[16..].copy_from_slice(&self.place.0.to_le_bytes());
        bytes
    }

    /// Reads the form in a spill file.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes of a sighting's 24"));
        Self { key: (word(0), word(8)), place: Place(word(16)) }
    }
}

/// What the removal of copies found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Copies {
    /// The places left out.
    pub(crate) places: PlaceSet,
    /// How many, by the partition of the place that is left out.
    pub(crate) left_out: BTreeMap<PartitionId, u64>,
    /// How many of the same events were left out below the cut of the version before.
    pub(crate) left_out_before: BTreeMap<PartitionId, u64>,
}

impl Copies {
    /// Adds the copies among the sightings of one shard. `before` is the cut of the version before, if there is one.
    pub(crate) fn search(&mut self, shard: &mut [Sighting], before: Option<&Cut>) {
        shard.sort_unstable();
        for same in shard.chunk_by(|one, next| one.key == next.key).filter(|same| same.len() > 1) {
            for copy in &same[1..] {
                self.places.insert(copy.place);
                *self.left_out.entry(copy.place.partition()).or_default() += 1;
            }
            let Some(before) = before else { continue };
            let earlier = same.iter().filter(|one| one.place.offset() < before.offset(one.place.partition()));
            for copy in earlier.skip(1) {
                *self.left_out_before.entry(copy.place.partition()).or_default() += 1;
            }
        }
    }

    /// Together with what was found in other shards.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.places.absorb(other.places);
        add(&mut self.left_out, other.left_out);
        add(&mut self.left_out_before, other.left_out_before);
        self
    }
}

fn add(counts: &mut BTreeMap<PartitionId, u64>, more: BTreeMap<PartitionId, u64>) {
    for (partition, count) in more {
        *counts.entry(partition).or_default() += count;
    }
}
