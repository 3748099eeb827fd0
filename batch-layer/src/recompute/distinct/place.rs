//! Places of events, and sets of them.
//!
//! Guarantee: plain values; a set holds exactly the places put into it, whatever their order.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use positions::{Offset, PartitionId};

use crate::BatchError;

const OFFSET_BITS: u32 = 48;
/// Of the topic as many as of imported files.
const PARTITIONS: i32 = 1 << 15;
const CHUNK_BITS: u32 = 16;
const CHUNK_WORDS: usize = (1 << CHUNK_BITS) / 64;

/// The place of an event, ordered by (partition, offset, number in the record), in 12 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Place {
    record: u64,
    item: u32,
}

impl Place {
    /// Bytes of a place in a spill file.
    pub(crate) const BYTES: usize = 12;

    /// Packs a place.
    pub(crate) fn new(partition: i32, offset: i64, item: i32) -> Result<Self, BatchError> {
        match packed(partition).filter(|_| (0..1 << OFFSET_BITS).contains(&offset)) {
            Some(packed) => Ok(Self { record: packed << OFFSET_BITS | offset as u64, item: item.unsigned_abs() }),
            None => Err(BatchError::PlaceTooLarge { partition, offset }),
        }
    }

    /// The partition.
    pub(crate) fn partition(self) -> PartitionId {
        let packed = (self.record >> OFFSET_BITS) as i32;
        PartitionId(if packed < PARTITIONS { packed } else { PartitionId::FIRST_IMPORTED.0 + packed - PARTITIONS })
    }

    /// The offset.
    pub(crate) fn offset(self) -> Offset {
        Offset((self.record & ((1 << OFFSET_BITS) - 1)) as i64)
    }

    /// The form in a spill file.
    pub(crate) fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.record.to_le_bytes());
        bytes[8..].copy_from_slice(&self.item.to_le_bytes());
        bytes
    }

    /// Reads the form in a spill file.
    pub(crate) fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h, item @ ..] = bytes;
        Self { record: u64::from_le_bytes([a, b, c, d, e, f, g, h]), item: u32::from_le_bytes(item) }
    }

    /// Whether the event is the only one of its record, or the first: of a record one of the two.
    fn is_first(self) -> bool {
        self.item <= 1
    }

    fn chunk(self) -> u64 {
        self.record >> CHUNK_BITS
    }

    fn bit(self) -> (usize, u64) {
        let within = (self.record & ((1 << CHUNK_BITS) - 1)) as usize;
        (within / 64, 1 << (within % 64))
    }
}

/// A partition in 16 bits: those of the topic, and behind them those of imported files, so that of copies in both the
/// one of the log is the first. `None` where there is no room for it.
fn packed(partition: i32) -> Option<u64> {
    let imported = partition.checked_sub(PartitionId::FIRST_IMPORTED.0).filter(|number| *number >= 0);
    let (number, first) = imported.map_or((partition, 0), |number| (number, PARTITIONS));
    (0..PARTITIONS).contains(&number).then(|| (first + number) as u64)
}

/// Of so few places in a chunk, two bytes each are less than a bit for every offset.
const SPARSE: u32 = 1 << (CHUNK_BITS - 4);

/// The next bytes, taken away.
fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let whole = *bytes;
    let (taken, rest) = whole.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*taken)
}

type Chunk = Box<[u64; CHUNK_WORDS]>;

/// A set of places: one bit per offset for the first event of each record, in chunks of 65,536 offsets (8 KiB) that
/// exist where a place was put in; and the places of further events, which few records have.
#[derive(Clone, Debug, Default)]
pub(crate) struct PlaceSet {
    chunks: HashMap<u64, Chunk>,
    further: HashSet<Place>,
}

impl PlaceSet {
    /// Puts a place in.
    pub(crate) fn insert(&mut self, place: Place) {
        if !place.is_first() {
            self.further.insert(place);
            return;
        }
        let (word, bit) = place.bit();
        self.chunks.entry(place.chunk()).or_insert_with(|| Box::new([0; CHUNK_WORDS]))[word] |= bit;
    }

    /// Puts all places of another set in.
    pub(crate) fn absorb(&mut self, other: Self) {
        self.further.extend(other.further);
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
        self.chunks.is_empty() && self.further.is_empty()
    }

    /// The form in which another process gets it.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut chunks: Vec<(&u64, &Chunk)> = self.chunks.iter().collect();
        chunks.sort_unstable_by_key(|(number, _)| **number);
        let mut bytes = (chunks.len() as u64).to_le_bytes().to_vec();
        for (number, words) in chunks {
            let count: u32 = words.iter().map(|word| word.count_ones()).sum();
            bytes.extend(number.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            if count > SPARSE {
                words.iter().for_each(|word| bytes.extend(word.to_le_bytes()));
                continue;
            }
            let is_set = |bit: &u16| words[usize::from(*bit) / 64] >> (bit % 64) & 1 == 1;
            (0..=u16::MAX).filter(is_set).for_each(|bit| bytes.extend(bit.to_le_bytes()));
        }
        let mut further: Vec<&Place> = self.further.iter().collect();
        further.sort_unstable();
        bytes.extend((further.len() as u64).to_le_bytes());
        further.into_iter().for_each(|place| bytes.extend(place.to_bytes()));
        bytes
    }

    /// Reads that form; `None` where it is another one.
    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let mut places = Self::default();
        for _ in 0..u64::from_le_bytes(take(bytes)?) {
            let number = u64::from_le_bytes(take(bytes)?);
            let count = u32::from_le_bytes(take(bytes)?);
            let mut words: Chunk = Box::new([0; CHUNK_WORDS]);
            if count > SPARSE {
                for word in words.iter_mut() {
                    *word = u64::from_le_bytes(take(bytes)?);
                }
            } else {
                for _ in 0..count {
                    let bit = u16::from_le_bytes(take(bytes)?);
                    words[usize::from(bit) / 64] |= 1_u64 << (bit % 64);
                }
            }
            places.chunks.insert(number, words);
        }
        for _ in 0..u64::from_le_bytes(take(bytes)?) {
            places.further.insert(Place::from_bytes(take(bytes)?));
        }
        bytes.is_empty().then_some(places)
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
        if !place.is_first() {
            return self.set.further.contains(&place);
        }
        if place.chunk() != self.chunk {
            self.chunk = place.chunk();
            self.words = self.set.chunks.get(&self.chunk);
        }
        let (word, bit) = place.bit();
        self.words.is_some_and(|words| words[word] & bit != 0)
    }
}
