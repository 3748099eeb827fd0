//! What one poll collects, up to its limit.

use std::collections::BTreeMap;

use positions::{Offset, PartitionId};

use super::ends::Ends;
use crate::{PollLimit, Record};

/// Records being collected by one poll.
pub(super) struct Batch {
    records: Vec<Record>,
    bytes: usize,
    limit: PollLimit,
}

impl Batch {
    pub(super) fn new(limit: PollLimit) -> Self {
        Self { records: Vec::new(), bytes: 0, limit }
    }

    pub(super) fn is_full(&self) -> bool {
        self.records.len() >= self.limit.records || self.bytes >= self.limit.bytes
    }

    /// Keeps the record if it is at or after its partition's place; whatever lies before was asked for by nobody.
    pub(super) fn add(&mut self, record: Record, positions: &mut BTreeMap<PartitionId, Offset>, ends: &mut Ends) {
        let Some(next) = positions.get_mut(&record.partition).filter(|next| record.offset >= **next) else { return };
        *next = record.offset.next();
        ends.note_record(record.partition);
        self.bytes += record.payload.len();
        self.records.push(record);
    }

    pub(super) fn into_records(self) -> Vec<Record> {
        self.records
    }
}
