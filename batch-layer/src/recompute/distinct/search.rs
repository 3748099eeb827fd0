//! Which of many sightings of events are copies.
//!
//! Guarantee: pure; the same sightings give the same copies in any order and in any division into shards by key.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use positions::{Cut, PartitionId};

use super::place::{Place, PlaceSet};

/// An event as the search sees it; the order is (key, place).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Sighting {
    // Two halves: a `u128` would be padded to 32 bytes with the place.
    key: (u64, u64),
    place: Place,
}

impl Sighting {
    /// Bytes of one sighting in a spill file.
    pub(crate) const BYTES: usize = 16 + Place::BYTES;

    /// A sighting of the event with `key`.
    pub(crate) fn new(key: [u8; 16], place: Place) -> Self {
        let key = u128::from_be_bytes(key);
        Self { key: ((key >> 64) as u64, key as u64), place }
    }

    /// In which of `2^bits` shards all sightings of the event meet. Each level looks at the next bits of the key.
    pub(crate) fn shard(&self, bits: u32, level: u32) -> usize {
        (self.key.0 << (bits * level) >> (64 - bits)) as usize
    }

    /// The form in a spill file.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.key.0.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.key.1.to_le_bytes());
        bytes[16..].copy_from_slice(&self.place.to_bytes());
        bytes
    }

    /// Reads the form in a spill file.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes of a sighting's 28"));
        let place = bytes[16..Self::BYTES].try_into().expect("12 bytes of a sighting's 28");
        Self { key: (word(0), word(8)), place: Place::from_bytes(place) }
    }
}

/// The first place of each event among the sightings met so far, and the first below the cut of the version before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Firsts {
    by_key: HashMap<(u64, u64), (Place, Option<Place>)>,
}

impl Firsts {
    /// About the bytes of one event.
    pub(crate) const BYTES: usize = 128;

    /// Whether the event has been met.
    pub(crate) fn knows(&self, sighting: &Sighting) -> bool {
        self.by_key.contains_key(&sighting.key)
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

    /// The same as [`Self::search`], one sighting at a time, in any order: memory for events, not for their copies.
    pub(crate) fn meet(&mut self, sighting: Sighting, firsts: &mut Firsts, before: Option<&Cut>) {
        let place = sighting.place;
        let is_earlier = before.is_some_and(|before| place.offset() < before.offset(place.partition()));
        let known = match firsts.by_key.entry(sighting.key) {
            Entry::Vacant(entry) => {
                entry.insert((place, is_earlier.then_some(place)));
                return;
            }
            Entry::Occupied(entry) => entry.into_mut(),
        };
        let copy = known.0.max(place);
        known.0 = known.0.min(place);
        self.places.insert(copy);
        *self.left_out.entry(copy.partition()).or_default() += 1;
        if is_earlier {
            if let Some(first) = known.1 {
                *self.left_out_before.entry(first.max(place).partition()).or_default() += 1;
            }
            known.1 = Some(known.1.map_or(place, |first| first.min(place)));
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
