//! A chunk: the records of one partition that one commit wrote, as one value of the store.
//!
//! ```text
//!  form u8 | records u32 | newest timestamp i64 | bytes before i64 | record, record, ...
//!  record: timestamp i64 | payload length u32 | payload
//! ```
//!
//! Numbers are little endian, timestamps milliseconds since 1970 UTC. "Bytes before" counts the payload bytes of all
//! earlier chunks of the partition, so that the first chunk and the last one tell how much the partition holds.
//! Guarantee: pure; a value that was not written by [`Chunk::encode`] is named as damaged, never read as something else.
//! Why chunks: a record by itself costs a key, a look-up and a place in the index of the store; a thousand in one value
//! cost one of each, and their payloads are read as slices of it without a copy.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use positions::{Offset, PartitionId, TimestampMicros};

use crate::{NewRecord, Record};

const FORM: u8 = 1;
const HEAD_BYTES: usize = 1 + 4 + 8 + 8;
const RECORD_HEAD_BYTES: usize = 8 + 4;

/// What stands in front of the records of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// How many records follow; their offsets are contiguous.
    pub records: u32,
    /// The largest timestamp among them.
    pub newest: TimestampMicros,
    /// Payload bytes of all earlier chunks of the partition, expired ones included.
    pub bytes_before: i64,
}

/// A chunk that is being read, record by record.
#[derive(Clone, Debug)]
pub(super) struct Chunk {
    rest: Bytes,
    next: Offset,
    left: u32,
}

/// A value that is no chunk.
#[derive(Debug)]
pub(super) struct Damaged;

/// What a record keeps of its timestamp: whole milliseconds, as in Kafka.
fn to_millis(timestamp: TimestampMicros) -> i64 {
    timestamp.0.div_euclid(1_000)
}

/// The payload bytes of records.
pub(super) fn payload_bytes(records: &[NewRecord]) -> usize {
    records.iter().map(|record| record.payload.len()).sum()
}

/// The value of records that follow `bytes_before` payload bytes.
pub(super) fn encode(records: &[NewRecord], bytes_before: i64) -> Bytes {
    let bytes = HEAD_BYTES + records.len() * RECORD_HEAD_BYTES + payload_bytes(records);
    let mut value = BytesMut::with_capacity(bytes);
    let newest = records.iter().map(|record| to_millis(record.timestamp)).max().unwrap_or(0);
    value.put_u8(FORM);
    value.put_u32_le(u32::try_from(records.len()).expect("a commit is bounded far below 2^32 records"));
    value.put_i64_le(newest);
    value.put_i64_le(bytes_before);
    for record in records {
        value.put_i64_le(to_millis(record.timestamp));
        value.put_u32_le(u32::try_from(record.payload.len()).expect("a record is bounded far below 4 GiB"));
        value.put_slice(&record.payload);
    }
    value.freeze()
}

/// The head of a value.
pub(super) fn head(mut value: &[u8]) -> Result<Head, Damaged> {
    if value.len() < HEAD_BYTES || value.get_u8() != FORM {
        return Err(Damaged);
    }
    let records = value.get_u32_le();
    let newest = TimestampMicros(value.get_i64_le().saturating_mul(1_000));
    Ok(Head { records, newest, bytes_before: value.get_i64_le() })
}

impl Chunk {
    /// The records of a value whose first one stands at `first`.
    pub fn open(value: Bytes, first: Offset) -> Result<Self, Damaged> {
        let left = head(&value)?.records;
        Ok(Self { rest: value.slice(HEAD_BYTES..), next: first, left })
    }

    /// The offset of the next record.
    pub fn next_offset(&self) -> Offset {
        self.next
    }

    /// The offset behind the last record.
    pub fn end(&self) -> Offset {
        Offset(self.next.0 + i64::from(self.left))
    }

    /// Goes on at `offset`, which is not before the next record.
    pub fn skip_to(&mut self, offset: Offset) -> Result<(), Damaged> {
        while self.next < offset && self.left > 0 {
            self.take(PartitionId(0))?;
        }
        Ok(())
    }

    /// The next record, its payload a slice of the chunk; `None` at the end.
    pub fn take(&mut self, partition: PartitionId) -> Result<Option<Record>, Damaged> {
        if self.left == 0 {
            return Ok(None);
        }
        if self.rest.len() < RECORD_HEAD_BYTES {
            return Err(Damaged);
        }
        let millis = self.rest.get_i64_le();
        let bytes = self.rest.get_u32_le() as usize;
        if self.rest.len() < bytes {
            return Err(Damaged);
        }
        let record = Record {
            partition,
            offset: self.next,
            timestamp: TimestampMicros(millis.saturating_mul(1_000)),
            payload: self.rest.split_to(bytes),
            event_id: None,
            clock_shift: None,
        };
        self.next = self.next.next();
        self.left -= 1;
        Ok(Some(record))
    }
}

/// How much of a partition is there: what its first and its last chunk say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first offset that can be read.
    pub low: i64,
    /// The next offset to be written.
    pub next: i64,
    /// Payload bytes ever appended.
    pub bytes: i64,
    /// Payload bytes below `low`.
    pub expired_bytes: i64,
}

impl Extent {
    /// Payload bytes that can be read.
    pub fn live_bytes(&self) -> i64 {
        self.bytes - self.expired_bytes
    }
}
