//! Positions: where a partition has been read to, with what is needed to go on exactly there.
//!
//! Guarantee: `advance` is the only way a position moves, and it depends on the log alone, so both layers compute
//! the same position for the same offset.
//! Why the running maximum is not simply the largest timestamp: producers set timestamps, and one of them a year ahead
//! would end the eviction of copies and every silence for a year. See [`running_max`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::erased::Stone;
use crate::{Fingerprint, Incarnation, Offset, PartitionId, TimestampMicros};

/// A place in a partition together with the facts about the records before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The next record to read.
    pub offset: Offset,
    /// The running maximum of the record timestamps before `offset`, by [`running_max`]; [`TimestampMicros::MIN`] where
    /// there is none.
    pub max_timestamp: TimestampMicros,
    /// Hash of the record before `offset`: a topic that was created again does not match it.
    pub fingerprint: Fingerprint,
    /// The life of the topic that the offset belongs to.
    pub incarnation: Incarnation,
    /// The last record before `offset` that was too far ahead to be believed whole: from there on the running maximum
    /// is simply the largest timestamp, so that it can be followed again without reading the log from its start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capped: Option<Capped>,
}

/// A record that raised the running maximum by [`MAX_RAISE`] instead of up to its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capped {
    /// The record.
    pub offset: Offset,
    /// The running maximum with it.
    pub max_timestamp: TimestampMicros,
}

/// One record raises the running maximum of its partition by at most this much.
///
/// A day: longer than silences that are common, so that records after one count at once, and short enough that a wrong
/// clock is forgotten the day after. A silence of a week is caught up with by seven records.
pub const MAX_RAISE: Duration = Duration::from_secs(24 * 3_600);

/// 1971-01-01: what lies before it is no clock's, but none at all (0, -1), a device that counts since it was switched
/// on, or seconds for milliseconds.
const EARLIEST: TimestampMicros = TimestampMicros(31_536_000_000_000);

/// 2200-01-01: what lies behind it cannot come from a clock, but milliseconds for microseconds, or a number for
/// "never".
const LATEST: TimestampMicros = TimestampMicros(7_258_118_400_000_000);

/// Whether a record's timestamp may be that of a clock: in the years 1971 to 2199.
pub fn is_plausible(timestamp: TimestampMicros) -> bool {
    (EARLIEST..LATEST).contains(&timestamp)
}

/// The running maximum after a record: the clock by which horizon, gaps and silence are measured.
///
/// It never falls. The first plausible timestamp sets it, for nothing else is known then; each further one raises it by
/// at most [`MAX_RAISE`]; others leave it alone. A function of the log alone: both layers must use this one.
pub fn running_max(before: TimestampMicros, timestamp: TimestampMicros) -> TimestampMicros {
    match before {
        _ if !is_plausible(timestamp) => before,
        TimestampMicros::MIN => timestamp,
        before => before.max(timestamp.min(before.plus(MAX_RAISE))),
    }
}

impl Position {
    /// The start of a partition.
    pub fn start(incarnation: Incarnation) -> Self {
        let max_timestamp = TimestampMicros::MIN;
        Self { offset: Offset(0), max_timestamp, fingerprint: Fingerprint(0), incarnation, capped: None }
    }

    /// The position after one record that was read from here.
    pub fn advance(self, offset: Offset, timestamp: TimestampMicros, fingerprint: Fingerprint) -> Self {
        let max_timestamp = running_max(self.max_timestamp, timestamp);
        let is_capped = is_plausible(timestamp) && max_timestamp < timestamp;
        let capped = if is_capped { Some(Capped { offset, max_timestamp }) } else { self.capped };
        Self { offset: offset.next(), max_timestamp, fingerprint, incarnation: self.incarnation, capped }
    }

    /// The same place in the records, named by a later offset that no record lies before (offsets may have gaps).
    pub fn at_offset(self, offset: Offset) -> Self {
        Self { offset, ..self }
    }
}

/// The fingerprint of a record, over its timestamp and payload; that of an erased one is what it was before.
pub fn fingerprint(timestamp: TimestampMicros, payload: &[u8]) -> Fingerprint {
    if let Some(stone) = Stone::of(payload) {
        return stone.fingerprint;
    }
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

    /// Whether this cut covers at least what `other` covers, in every partition, and in no former life of the topic.
    pub fn is_at_or_above(&self, other: &Cut) -> bool {
        let place = |position: &Position| (position.incarnation, position.offset);
        other.0.iter().all(|(partition, position)| {
            let own = self.0.get(partition).map_or((Incarnation(0), Offset(0)), place);
            own >= place(position)
        })
    }

    /// The life of the topic that the cut belongs to: the latest of its partitions.
    pub fn incarnation(&self) -> Incarnation {
        self.0.values().map(|position| position.incarnation).max().unwrap_or_default()
    }
}
