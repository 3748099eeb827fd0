//! Places of records, and sets of them.
//!
//! Guarantee: plain values; a set holds exactly the places put into it, whatever their order.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use positions::{Offset, PartitionId};

use crate::BatchError;

const OFFSET_BITS: u32 = 48;
const CHUNK_BITS: u32 = 16;
const CHUNK_WORDS: usize = (1 << CHUNK_BITS) / 64;

/// The place of a record, ordered by (partition, offset), in 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place(pub(crate) u64);

impl Place {
    /// Packs a place.
    pub(crate) fn new(partition: i32, offset: i64) -> Result<Self, BatchError> {
        if (0..1 << 16).contains(&partition) && (0..1 << OFFSET_BITS).contains(&offset) {
            Ok(Self((partition as u64) << OFFSET_BITS | offset as u64))
        } else {
            Err(BatchError::PlaceTooLarge { partition, offset })
        }
    }

    /// The partition.
    pub(crate) fn partition(self) -> PartitionId {
        PartitionId((self.0 >> OFFSET_BITS) as i32)
    }

    /// The offset.
    pub(crate) fn offset(self) -> Offset {
        Offset((self.0 & ((1 << OFFSET_BITS) - 1)) as i64)
    }

    fn chunk(self) -> u64 {
        self.0 >> CHUNK_BITS
    }

    fn bit(self) -> (usize, u64) {
        let within = (self.0 & ((1 << CHUNK_BITS) - 1)) as usize;
        (within / 64, 1 << (within % 64))
    }
}

type Chunk = Box<[u64; CHUNK_WORDS]>;

/// A set of places: one bit per offset, in chunks of 65,536 offsets (8 KiB) that exist where a place was put in.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlaceSet {
    chunks: HashMap<u64, Chunk>,
}

impl PlaceSet {
    /// Puts a place in.
    pub(crate) fn insert(&mut self, place: Place) {
        let (word, bit) = place.bit();
        self.chunks.entry(place.chunk()).or_insert_with(|| Box::new([0; CHUNK_WORDS]))[word] |= bit;
    }

    /// Puts all places of another set in.
    pub(crate) fn absorb(&mut self, other: Self) {
        for (chunk, words) in other.chunks {
            match self.chunks.entry(chunk) {
                Entry::Vacant(entry) => {
                    entry.insert(words);
                }
                Entry::Occupied(mut entry) => {
                    entry.get_mut().iter_mut().zip(words.iter()).for_each(|(mine, theirs)| *mine |= theirs);
                }
            }
        }
    }

    /// Whether no place is in.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// A reader that is fast for neighbouring places.
    pub(crate) fn reader(&self) -> PlaceReader<'_> {
        PlaceReader { set: self, chunk: u64::MAX, words: None }
    }
}

/// Looks places up, remembering the chunk of the last one.
pub(crate) struct PlaceReader<'a> {
    set: &'a PlaceSet,
    chunk: u64,
    words: Option<&'a Chunk>,
}

impl PlaceReader<'_> {
    /// Whether a place is in the set.
    pub(crate) fn contains(&mut self, place: Place) -> bool {
        if place.chunk() != self.chunk {
            self.chunk = place.chunk();
            self.words = self.set.chunks.get(&self.chunk);
        }
        let (word, bit) = place.bit();
        self.words.is_some_and(|words| words[word] & bit != 0)
    }
}
