//! A chunk: what one turn takes of one partition, wherever it was read.

use arrow::record_batch::RecordBatch;
use positions::{PartitionId, Position, RecordMark};

/// Consecutive records of one partition, decoded.
pub(crate) struct Chunk {
    pub partition: PartitionId,
    /// The position that the records follow.
    pub from: Position,
    /// One per record.
    pub marks: Vec<RecordMark>,
    /// One row per record, columns as in `records::decode::master_schema`.
    pub rows: RecordBatch,
}
