//! A stream of rows in bucket order, of which only those are seen that a publication takes from it.
//!
//! Guarantee: a row out of order, or of a bucket that was not to be replaced, is an error and never passes.

use arrow::array::{Array, AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use futures::TryStreamExt;
use lake::LakeError;
use positions::TimestampMicros;
use views::column;

use crate::{BucketRanges, ServingError};

/// Which rows of an input count.
#[derive(Clone, Copy)]
pub(crate) enum Rows<'a> {
    /// All; each must lie in one of these buckets.
    New(&'a BucketRanges),
    /// Those of the stretch `[from, to)` of event time that lie in none of these buckets.
    Carried(&'a BucketRanges, TimestampMicros, TimestampMicros),
}

/// A sorted stream, read one bucket at a time. The word is that of merge joins: it stands before the next row.
pub(crate) struct BucketCursor<'a> {
    stream: SendableRecordBatchStream,
    rows: Rows<'a>,
    batch: Option<RecordBatch>,
    /// Rows of `batch` that were taken.
    taken: usize,
    last_bucket: i64,
}

impl<'a> BucketCursor<'a> {
    /// Stands before the first row.
    pub(crate) fn new(stream: SendableRecordBatchStream, rows: Rows<'a>) -> Self {
        Self { stream, rows, batch: None, taken: 0, last_bucket: i64::MIN }
    }

    /// The bucket of the next row.
    pub(crate) async fn peek(&mut self) -> Result<Option<i64>, ServingError> {
        loop {
            if let Some(batch) = &self.batch
                && self.taken < batch.num_rows()
            {
                return Ok(Some(buckets_of(batch)?[self.taken]));
            }
            let Some(batch) = self.stream.try_next().await? else { return Ok(None) };
            self.batch = Some(self.checked(batch)?);
            self.taken = 0;
        }
    }

    /// The rows of the next bucket, as far as they lie in one batch.
    pub(crate) fn take_bucket(&mut self) -> Option<RecordBatch> {
        let batch = self.batch.as_ref()?;
        let buckets = buckets_of(batch).ok()?;
        let bucket = *buckets.get(self.taken)?;
        let rows = buckets[self.taken..].partition_point(|other| *other <= bucket);
        let slice = batch.slice(self.taken, rows);
        self.taken += rows;
        Some(slice)
    }

    /// All rows of the batch that are left.
    pub(crate) fn take_rest(&mut self) -> Option<RecordBatch> {
        let batch = self.batch.take()?;
        let rest = batch.slice(self.taken, batch.num_rows() - self.taken);
        self.taken = 0;
        Some(rest)
    }

    /// A batch in which only rows are left that count, in bucket order.
    fn checked(&mut self, batch: RecordBatch) -> Result<RecordBatch, ServingError> {
        let buckets = buckets_of(&batch)?;
        for bucket in buckets {
            if *bucket < self.last_bucket {
                return Err(refused(format!("rows are not sorted by {}: {bucket} comes too late", column::BUCKET)));
            }
            self.last_bucket = *bucket;
        }
        let mut buckets = buckets.iter().map(|bucket| TimestampMicros(*bucket));
        match self.rows {
            Rows::New(replaced) => match buckets.find(|bucket| !replaced.contains(*bucket)) {
                Some(bucket) => Err(refused(format!("bucket {} has rows, but is not to be replaced", bucket.0))),
                None => Ok(batch),
            },
            Rows::Carried(replaced, from, to) => {
                let is_carried = |bucket: TimestampMicros| from <= bucket && bucket < to && !replaced.contains(bucket);
                let carried: BooleanArray = buckets.map(|bucket| Some(is_carried(bucket))).collect();
                Ok(filter_record_batch(&batch, &carried)?)
            }
        }
    }
}

/// The values of the bucket column.
pub(crate) fn buckets_of(batch: &RecordBatch) -> Result<&[i64], ServingError> {
    let column = batch.column_by_name(column::BUCKET);
    let buckets = column.and_then(|column| column.as_primitive_opt::<TimestampMicrosecondType>());
    match buckets {
        Some(buckets) if buckets.null_count() == 0 => Ok(buckets.values()),
        _ => Err(refused(format!("rows have no column {} of TIMESTAMP without nulls", column::BUCKET))),
    }
}

fn refused(reason: String) -> ServingError {
    LakeError::Refused { table: "batch view".to_owned(), reason }.into()
}
