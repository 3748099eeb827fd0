//! A chunk: what one turn takes of one partition, wherever it was read.

use std::ops::Range;

use arrow::record_batch::RecordBatch;
use positions::{PartitionId, Position, RecordMark};

/// Consecutive records of one partition, decoded.
pub(crate) struct Chunk {
    pub partition: PartitionId,
    /// The position that the records follow.
    pub from: Position,
    /// One per record.
    pub marks: Vec<RecordMark>,
    /// For each record, the index behind its last row: most have one.
    pub row_ends: Vec<usize>,
    /// The rows of the records, columns as in `records::decode::master_schema`.
    pub rows: RecordBatch,
}

impl Chunk {
    /// The rows of `records[first..last]`.
    pub fn rows_of(&self, first: usize, last: usize) -> Range<usize> {
        let end = |record: usize| record.checked_sub(1).map_or(0, |before| self.row_ends[before]);
        end(first)..end(last)
    }
}
