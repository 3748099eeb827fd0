//! Positions: where a partition has been read to, with what is needed to go on exactly there.
//!
//! Guarantee: `advance` is the only way a position moves, and it depends on the log alone, so both layers compute
//! the same position for the same offset.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::{Fingerprint, Incarnation, Offset, PartitionId, TimestampMicros};

/// A place in a partition together with the facts about the records before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next record to read.
    pub offset: Offset,
    /// The largest record timestamp before `offset`; [`TimestampMicros::MIN`] where there is none.
    pub max_timestamp: TimestampMicros,
    /// Hash of the record before `offset`: a topic that was created again does not match it.
    pub fingerprint: Fingerprint,
    /// The life of the topic that the offset belongs to.
    pub incarnation: Incarnation,
}

impl Position {
    /// The start of a partition.
    pub fn start(incarnation: Incarnation) -> Self {
        Self { offset: Offset(0), max_timestamp: TimestampMicros::MIN, fingerprint: Fingerprint(0), incarnation }
    }

    /// The position after one record that was read from here.
    pub fn advance(self, offset: Offset, timestamp: TimestampMicros, fingerprint: Fingerprint) -> Self {
        Self {
            offset: offset.next(),
            max_timestamp: self.max_timestamp.max(timestamp),
            fingerprint,
            incarnation: self.incarnation,
        }
    }

    /// The same place in the records, named by a later offset that no record lies before (offsets may have gaps).
    pub fn at_offset(self, offset: Offset) -> Self {
        Self { offset, ..self }
    }
}

/// The fingerprint of a record, over its timestamp and payload.
pub fn fingerprint(timestamp: TimestampMicros, payload: &[u8]) -> Fingerprint {
    let hash =
        xxh3_128(payload) ^ u128::from(timestamp.0 as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Fingerprint(hash.max(1))
}

/// A boundary through a whole source: one position per partition; a partition that is absent stands at its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cut(pub BTreeMap<PartitionId, Position>);

impl Cut {
    /// The offset of one partition: everything below it is covered.
    pub fn offset(&self, partition: PartitionId) -> Offset {
        self.0.get(&partition).map_or(Offset(0), |position| position.offset)
    }

    /// The position of one partition, at the start of `incarnation` where the cut does not name it.
    pub fn position(&self, partition: PartitionId, incarnation: Incarnation) -> Position {
        self.0.get(&partition).copied().unwrap_or_else(|| Position::start(incarnation))
    }

    /// Whether this cut covers at least what `other` covers, in every partition.
    pub fn is_at_or_above(&self, other: &Cut) -> bool {
        other.0.iter().all(|(partition, position)| self.offset(*partition) >= position.offset)
    }
}
