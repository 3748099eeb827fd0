//! Rows of a master dataset without what was erased.
//!
//! In: rows as they are stored, in the columns of the table. Out: the same rows, those of erased events replaced by a
//! rejected one that has their place, their time and a stone for its payload.
//! Guarantee: pure. The rows of other records stay as they are; those of a record of which something was erased are
//! what decoding makes of the rest of it, as it would if the record came from the log today.
//! Not here: which files, and writing them (`batch-layer`, erase).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, new_null_array};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::datatypes::{FieldRef, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use datafusion::scalar::ScalarValue;
use event_log::Record;
use lake::DataFile;
use positions::{Erased, Offset, PartitionId, TimestampMicros};
use views::column;

use super::MasterSnapshot;
use crate::RecordsError;
use crate::decode::{Decoder, ERASED, column as master_column, erase, first_event, is_first};

/// Erases rows of one version.
pub struct Eraser {
    on: MasterSnapshot,
    decoder: Decoder,
    erased: Arc<Erased>,
}

/// The columns of rows that say which record they are of, and what it was.
struct Stored<'a> {
    partitions: &'a [i32],
    offsets: &'a [i64],
    batch: &'a RecordBatch,
}

impl MasterSnapshot {
    /// The text of the first event of a record with this payload, where its events can be told apart.
    pub fn first_event(&self, payload: &[u8]) -> Option<String> {
        first_event(&self.source, &self.schemas, payload)
    }
}

impl Eraser {
    /// For rows of a version and its files.
    pub fn new(on: MasterSnapshot, erased: Arc<Erased>) -> Self {
        let decoder = Decoder::new(on.source.clone());
        Self { on, decoder, erased }
    }

    /// Whether the bounds of a file allow rows of which something is still to be erased.
    pub fn may_touch(&self, file: &DataFile) -> bool {
        if is_all_erased(file) {
            return false;
        }
        let bounds = |name: &str| file.bounds.get(name).map(|(least, most, _)| (least, most));
        match (bounds(column::PARTITION), bounds(column::OFFSET)) {
            (
                Some((ScalarValue::Int32(Some(first)), ScalarValue::Int32(Some(last)))),
                Some((ScalarValue::Int64(Some(from)), ScalarValue::Int64(Some(to)))),
            ) => self.erased.is_within((PartitionId(*first), PartitionId(*last)), (Offset(*from), Offset(*to))),
            _ => true,
        }
    }

    /// Whether anything of these rows is still to be erased.
    ///
    /// # Errors
    /// If a column is missing: a defect of the caller.
    pub fn touches(&self, batch: &RecordBatch) -> Result<bool, RecordsError> {
        let stored = Stored::of(batch)?;
        for row in 0..batch.num_rows() {
            let Some(items) = self.erased.of(stored.partition(row), stored.offset(row)) else { continue };
            if stored.is_first(row) {
                let record = stored.record(row)?;
                if erase(&self.decoder, &self.on.schemas, &record, items) != record {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// The rows without what was erased, in the columns of the table.
    ///
    /// # Errors
    /// If a column is missing: a defect of the caller.
    pub fn erase(&self, batch: &RecordBatch) -> Result<RecordBatch, RecordsError> {
        let stored = Stored::of(batch)?;
        let (mut kept, mut left) = (Vec::with_capacity(batch.num_rows()), Vec::new());
        for row in 0..batch.num_rows() {
            let items = self.erased.of(stored.partition(row), stored.offset(row));
            kept.push(items.is_none());
            if let Some(items) = items.filter(|_| stored.is_first(row)) {
                left.push(erase(&self.decoder, &self.on.schemas, &stored.record(row)?, items));
            }
        }
        if !kept.contains(&false) {
            return Ok(batch.clone());
        }
        let others = filter_record_batch(batch, &BooleanArray::from(kept))?;
        let (rows, _) = self.decoder.decode_with(&self.on.schemas, &left)?;
        let column = |field: &FieldRef| {
            let decoded = rows.column_by_name(self.on.names.other(field.name()));
            decoded.cloned().unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()))
        };
        let columns: Vec<ArrayRef> = batch.schema().fields().iter().map(column).collect();
        let rows = RecordBatch::try_new(batch.schema(), columns)?;
        Ok(concat_batches(&batch.schema(), [&others, &rows])?)
    }
}

/// Whether nothing is left of any record of a file: no other reason begins with this word, so a bound that was cut is
/// another text.
fn is_all_erased(file: &DataFile) -> bool {
    let is_erased = |bound: &ScalarValue| matches!(bound, ScalarValue::Utf8(Some(reason)) if reason == ERASED);
    let bounds = file.bounds.get(master_column::ERROR);
    bounds.is_some_and(|(least, largest, nulls)| *nulls == 0 && is_erased(least) && is_erased(largest))
}

impl<'a> Stored<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, RecordsError> {
        let partitions = found(batch, column::PARTITION)?.as_primitive_opt::<Int32Type>();
        let offsets = found(batch, column::OFFSET)?.as_primitive_opt::<Int64Type>();
        let partitions = partitions.ok_or_else(|| missing(column::PARTITION))?.values();
        let offsets = offsets.ok_or_else(|| missing(column::OFFSET))?.values();
        Ok(Self { partitions, offsets, batch })
    }

    fn partition(&self, row: usize) -> PartitionId {
        PartitionId(self.partitions[row])
    }

    fn offset(&self, row: usize) -> Offset {
        Offset(self.offsets[row])
    }

    /// Whether a row has the payload of its record. Those of old files have no number, and are alone.
    fn is_first(&self, row: usize) -> bool {
        let items = self.batch.column_by_name(master_column::ITEM);
        let items: Option<&Int32Array> = items.and_then(|items| items.as_primitive_opt());
        items.is_none_or(|items| items.is_null(row) || is_first(items.value(row)))
    }

    /// The record of a row that has its payload.
    fn record(&self, row: usize) -> Result<Record, RecordsError> {
        let timestamps = found(self.batch, column::TIMESTAMP)?.as_primitive_opt::<TimestampMicrosecondType>();
        let payloads: Option<&BinaryArray> = found(self.batch, master_column::PAYLOAD)?.as_binary_opt();
        let payloads = payloads.ok_or_else(|| missing(master_column::PAYLOAD))?;
        let shifts = self.batch.column_by_name(master_column::CLOCK_SHIFT);
        let shifts = shifts.and_then(|shifts| shifts.as_primitive_opt::<Int64Type>());
        let ids = self.batch.column_by_name(master_column::HEADER_ID);
        let ids: Option<&BinaryArray> = ids.and_then(|ids| ids.as_binary_opt());
        Ok(Record {
            partition: self.partition(row),
            offset: self.offset(row),
            timestamp: TimestampMicros(timestamps.ok_or_else(|| missing(column::TIMESTAMP))?.value(row)),
            payload: Bytes::copy_from_slice(payloads.value(row)),
            event_id: ids.filter(|ids| ids.is_valid(row)).map(|ids| Bytes::copy_from_slice(ids.value(row))),
            clock_shift: shifts.filter(|shifts| shifts.is_valid(row)).map(|shifts| shifts.value(row)),
        })
    }
}

fn found<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, ArrowError> {
    batch.column_by_name(name).ok_or_else(|| missing(name))
}

fn missing(name: &str) -> ArrowError {
    ArrowError::SchemaError(format!("column {name} is missing or of another type"))
}
