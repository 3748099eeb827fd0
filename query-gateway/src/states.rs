//! States in memory, sorted by dimensions, so that a look-up is a binary search.
//!
//! In: state batches, one row per distinct key. Out: the same rows in key order, and the rows that start with a key.
//! Guarantee: immutable after construction; readers share it without a lock.
//! Not here: merging states (`views::Compiled` over `merge_plan`), filters that no prefix answers (`filter.rs`), which
//! states who sees (`visible.rs`).
//! Why so: Arrow's row format makes the key of the leading dimensions a byte prefix of the whole key, so one order
//! serves point look-ups and look-ups by any number of leading dimensions.

use std::ops::Range;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, Rows, SortField};

use crate::row_sizes::largest_row;

const SLICE_ROWS: usize = 8_192;

/// State rows of one view in the order of their dimensions.
#[derive(Debug)]
pub(crate) struct SortedStates {
    batch: RecordBatch,
    keys: Rows,
    size_bytes: usize,
    largest_row: usize,
}

impl SortedStates {
    /// Sorts `batches` (columns of `schema`) by their first `dimensions` columns.
    pub(crate) fn new(schema: &SchemaRef, batches: &[RecordBatch], dimensions: usize) -> Result<Self, ArrowError> {
        let aligned: Vec<RecordBatch> = batches
            .iter()
            .map(|batch| RecordBatch::try_new(schema.clone(), batch.columns().to_vec()))
            .collect::<Result<_, _>>()?;
        let batch = concat_batches(schema, &aligned)?;
        let keys = encode_keys(&batch.columns()[..dimensions])?;
        let (batch, keys) = if is_sorted(&keys) {
            (batch, keys)
        } else {
            let mut order: Vec<u32> = (0..u32::try_from(batch.num_rows()).unwrap_or(u32::MAX)).collect();
            order.sort_unstable_by(|left, right| keys.row(*left as usize).cmp(&keys.row(*right as usize)));
            let batch = take_record_batch(&batch, &UInt32Array::from(order))?;
            let keys = encode_keys(&batch.columns()[..dimensions])?;
            (batch, keys)
        };
        let size_bytes = batch.get_array_memory_size() + keys.size();
        let largest_row = largest_row(&batch);
        Ok(Self { batch, keys, size_bytes, largest_row })
    }

    /// All rows.
    pub(crate) fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// How many rows.
    pub(crate) fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// Bytes in memory, keys included.
    pub(crate) fn size_bytes(&self) -> usize {
        self.size_bytes
    }

    /// Bytes of the largest row, about.
    pub(crate) fn largest_row(&self) -> usize {
        self.largest_row
    }

    /// The rows whose key starts with `prefix`, as made by [`encode_prefix`]. Cost: two binary searches.
    pub(crate) fn with_prefix(&self, prefix: &[u8]) -> RecordBatch {
        let range = self.range_of(prefix);
        self.batch.slice(range.start, range.len())
    }

    fn range_of(&self, prefix: &[u8]) -> Range<usize> {
        let lead = |index: usize| {
            let key = self.keys.row(index).data();
            key[..key.len().min(prefix.len())].cmp(prefix)
        };
        let start = partition_point(0, self.rows(), |index| lead(index).is_lt());
        let end = partition_point(start, self.rows(), |index| lead(index).is_le());
        start..end
    }
}

/// The rows in batches of the size that the engine works best with, and between which it lets others run.
pub(crate) fn in_slices(rows: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let starts = (0..rows.num_rows()).step_by(SLICE_ROWS);
    starts.map(|start| rows.slice(start, SLICE_ROWS.min(rows.num_rows() - start)))
}

/// The byte prefix of all keys that have these values in their leading dimensions; one row per array.
pub(crate) fn encode_prefix(values: &[ArrayRef]) -> Result<Vec<u8>, ArrowError> {
    Ok(encode_keys(values)?.row(0).data().to_vec())
}

fn encode_keys(columns: &[ArrayRef]) -> Result<Rows, ArrowError> {
    let fields = columns.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    RowConverter::new(fields)?.convert_columns(columns)
}

fn is_sorted(keys: &Rows) -> bool {
    (1..keys.num_rows()).all(|index| keys.row(index - 1) <= keys.row(index))
}

/// The first index in `[low, high)` for which `is_before` is false, given that it is true for a leading part only.
fn partition_point(mut low: usize, mut high: usize, is_before: impl Fn(usize) -> bool) -> usize {
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}
