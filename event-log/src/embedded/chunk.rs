//! Many records of one partition in one value. Pure.
//!
//! ```text
//!  chunk   version (1 byte), then its records one after the other
//!  record  flags (1), timestamp in ms (8), length of the payload (4), [length of the key (4)],
//!          [clock shift in µs (8)], [key], payload
//! ```
//!
//! Guarantee: a chunk that was written by a newer version, or that is damaged, is an error and never records. Those of
//! older versions lack parts, and the flags of those, and are read as they are.
//! Why many in one value: an entry of the store costs about a microsecond, and a write to its journal more. A request
//! of a thousand records is one entry per partition; requests of one record each become one entry by group commit.

use bytes::{Buf, Bytes};
use positions::{Offset, PartitionId, TimestampMicros};

use super::key::ChunkKey;
use crate::{NewRecord, Record};

const VERSION: u8 = 1;
/// The record has a key.
const HAS_KEY: u8 = 1;
/// The record has a clock shift. Any other flag was set by a newer version.
const HAS_SHIFT: u8 = 2;

/// A chunk that is being filled.
#[derive(Debug)]
pub(super) struct ChunkBuilder {
    body: Vec<u8>,
    count: u32,
}

impl ChunkBuilder {
    pub(super) fn new() -> Self {
        Self { body: vec![VERSION], count: 0 }
    }

    pub(super) fn push(&mut self, record: &NewRecord) {
        self.count += 1;
        let key_flag = if record.key.is_some() { HAS_KEY } else { 0 };
        let shift_flag = if record.clock_shift.is_some() { HAS_SHIFT } else { 0 };
        self.body.push(key_flag | shift_flag);
        self.body.extend(record.timestamp.0.div_euclid(1_000).to_le_bytes());
        self.body.extend(length(&record.payload).to_le_bytes());
        if let Some(key) = &record.key {
            self.body.extend(length(key).to_le_bytes());
        }
        if let Some(shift) = record.clock_shift {
            self.body.extend(shift.to_le_bytes());
        }
        if let Some(key) = &record.key {
            self.body.extend_from_slice(key);
        }
        self.body.extend_from_slice(&record.payload);
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn size(&self) -> usize {
        self.body.len()
    }

    pub(super) fn into_body(self) -> Vec<u8> {
        self.body
    }
}

/// Records are refused long before 4 GiB.
fn length(bytes: &Bytes) -> u32 {
    u32::try_from(bytes.len()).expect("records are limited to far less than 4 GiB")
}

/// What is left to read of a chunk. Records share its memory.
#[derive(Debug)]
pub(super) struct ChunkReader {
    partition: PartitionId,
    rest: Bytes,
    next: i64,
    end: i64,
}

/// The bytes are not a chunk of this version.
#[derive(Debug)]
pub(super) struct Damaged;

impl ChunkReader {
    pub(super) fn new(key: &ChunkKey, mut body: Bytes) -> Result<Self, Damaged> {
        if body.try_get_u8() != Ok(VERSION) {
            return Err(Damaged);
        }
        Ok(Self { partition: key.place.partition, rest: body, next: key.first(), end: key.last + 1 })
    }

    /// The offset of the next record.
    pub(super) fn next_offset(&self) -> i64 {
        self.next
    }

    pub(super) fn is_done(&self) -> bool {
        self.next >= self.end
    }

    /// The next record; `None` at the end.
    pub(super) fn read(&mut self) -> Result<Option<Record>, Damaged> {
        if self.is_done() {
            return Ok(None);
        }
        let record = self.take().ok_or(Damaged)?;
        self.next += 1;
        Ok(Some(record))
    }

    fn take(&mut self) -> Option<Record> {
        let flags = self.rest.try_get_u8().ok()?;
        let millis = self.rest.try_get_i64_le().ok()?;
        let payload = self.rest.try_get_u32_le().ok()? as usize;
        if flags & !(HAS_KEY | HAS_SHIFT) != 0 {
            return None;
        }
        let has = |flag: u8| flags & flag != 0;
        let key = if has(HAS_KEY) { self.rest.try_get_u32_le().ok()? as usize } else { 0 };
        let clock_shift = if has(HAS_SHIFT) { Some(self.rest.try_get_i64_le().ok()?) } else { None };
        if self.rest.remaining() < key.checked_add(payload)? {
            return None;
        }
        self.rest.advance(key);
        Some(Record {
            partition: self.partition,
            offset: Offset(self.next),
            timestamp: TimestampMicros(millis.saturating_mul(1_000)),
            payload: self.rest.split_to(payload),
            event_id: None,
            clock_shift,
        })
    }
}
