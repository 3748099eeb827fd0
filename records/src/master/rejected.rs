//! The newest rejected records of a version, with their reasons and the start of their payloads.
//!
//! ```text
//!  files, newest first --sentences and places--> counts, the newest places --payloads of these alone--> records
//! ```
//!
//! In: a snapshot, and how much may be read. Out: [`RejectedRecords`], newest first by the records' timestamps.
//! Guarantee: a file without rejected records is not read, nor one that is older than all that is wanted. Memory is
//! bounded by the records asked for, a batch of sentences, and a few payloads at a time, whatever their size.
//! Why in two steps: payloads are most of a file, and nearly all of them are not wanted.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{ArrowPrimitiveType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::{Expr, SessionConfig, SessionContext, ident, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use lake::DataFile;
use positions::{Offset, PartitionId, TimestampMicros};
use views::column;

use super::MasterSnapshot;
use crate::RecordsError;
use crate::decode::{Reason, column as master_column, rejections};

/// Rows of one batch of sentences.
const SENTENCES_AT_A_TIME: usize = 8_192;
/// Payloads in memory at a time: the log may hold records far beyond what is decoded.
const PAYLOADS_AT_A_TIME: usize = 16;

/// Which rejected records are wanted, and how much may be read for them.
#[derive(Clone, Copy, Debug)]
pub struct RejectedSearch {
    /// Records at most.
    pub limit: usize,
    /// Records of this kind of reason alone, one of `decode::REASON_KINDS`.
    pub kind: Option<&'static str>,
    /// Bytes of each payload that are kept; 0: payloads are not read.
    pub payload_bytes: usize,
    /// Files that are read at most.
    pub max_files: usize,
    /// No further file is begun once those before it have so many rows.
    pub max_rows: u64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedRecords {
    /// Newest first, by timestamp, partition and offset; as many as were asked for, or all within the bounds.
    pub records: Vec<RejectedRecord>,
    /// How many records were rejected for each kind of reason, of all that were looked at.
    pub reasons: BTreeMap<&'static str, u64>,
    /// Whether `records` are all that there are of what was asked for: no bound left any out.
    pub is_whole: bool,
}

/// One record that no event could be read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectedRecord {
    /// Its partition.
    pub partition: PartitionId,
    /// Its offset.
    pub offset: Offset,
    /// Its own timestamp.
    pub timestamp: TimestampMicros,
    /// The sentence that says why; `decode::Reason` tells its kind.
    pub error: String,
    /// How its payload begins.
    pub payload: PayloadStart,
    /// Bytes of the whole payload; 0 where payloads were not asked for.
    pub payload_bytes: usize,
}

/// How a payload begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PayloadStart {
    /// The payload as a whole is UTF-8; cut between two characters.
    Text(String),
    /// It is not.
    Bytes(Vec<u8>),
}

impl PayloadStart {
    /// That of a payload, `most` bytes of it.
    pub fn of(payload: &[u8], most: usize) -> Self {
        match std::str::from_utf8(payload) {
            Ok(text) => Self::Text(text[..text.floor_char_boundary(most)].to_owned()),
            Err(_) => Self::Bytes(payload[..payload.len().min(most)].to_vec()),
        }
    }

    /// Bytes that are kept.
    pub fn size_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        }
    }
}

impl RejectedRecords {
    /// How many rejected records were looked at.
    pub fn looked_at(&self) -> u64 {
        self.reasons.values().sum()
    }
}

impl MasterSnapshot {
    /// The newest rejected records, and how many there are for each reason in the files that were read for them. Cost:
    /// of the newest files with rejected records, as many as are needed or allowed, a few small columns; of those that
    /// hold a record found, its payload.
    ///
    /// # Errors
    /// [`RecordsError::Engine`], [`RecordsError::Lake`]: the object store failed.
    pub async fn rejected(&self, search: &RejectedSearch) -> Result<RejectedRecords, RecordsError> {
        let mut files: Vec<&DataFile> =
            self.snapshot.files().iter().filter(|file| self.may_hold_rejected(file)).collect();
        files.sort_by_key(|file| Reverse(newest_in(file)));
        let mut found = Found::default();
        let mut rows = 0;
        for (at, file) in files.iter().enumerate() {
            let is_at_bound = at >= search.max_files || rows >= search.max_rows;
            if is_at_bound || found.is_settled(search.limit, newest_in(file).0) {
                found.left_out = true;
                break;
            }
            rows += file.rows;
            let columns =
                [column::PARTITION, column::OFFSET, column::TIMESTAMP, master_column::ITEM, master_column::ERROR];
            let is_rejected = ident(master_column::ERROR).is_not_null();
            let mut sentences = self.read_some(file, is_rejected, &columns, SENTENCES_AT_A_TIME).await?;
            while let Some(batch) = sentences.try_next().await? {
                found.take(at, &batch, search)?;
            }
        }
        let mut payloads = BTreeMap::new();
        for (at, file) in files.iter().enumerate() {
            let places = found.places_in(at);
            if !places.is_empty() && search.payload_bytes > 0 {
                payloads.extend(self.read_payloads(file, &places, search.payload_bytes).await?);
            }
        }
        Ok(found.finish(payloads))
    }

    /// How many records are rejected as the source is read now; the facts count those that were when they were
    /// archived. Cost: none where all rows are of the present reading; else those that are not are decoded again, and
    /// of the other files with rejected records one column is read.
    ///
    /// # Errors
    /// [`RecordsError::Engine`], [`RecordsError::Lake`]: the object store failed.
    pub async fn count_rejected(&self) -> Result<u64, RecordsError> {
        if !self.has_rows_read_again() {
            return Ok(self.facts.rejected());
        }
        let files: Vec<&DataFile> = self.snapshot.files().iter().filter(|file| self.may_hold_rejected(file)).collect();
        let mut count = 0;
        for file in files {
            let is_rejected = ident(master_column::ERROR).is_not_null();
            let mut rows = self.read_some(file, is_rejected, &[master_column::ERROR], SENTENCES_AT_A_TIME).await?;
            while let Some(batch) = rows.try_next().await? {
                count += batch.num_rows() as u64;
            }
        }
        Ok(count)
    }

    /// Payloads of one file, by their places: how each begins, and its size.
    async fn read_payloads(
        &self,
        file: &DataFile,
        places: &BTreeMap<i32, Vec<i64>>,
        most: usize,
    ) -> Result<BTreeMap<(i32, i64, i32), (PayloadStart, usize)>, RecordsError> {
        let of_partition = |(partition, offsets): (&i32, &Vec<i64>)| {
            let offsets = offsets.iter().map(|offset| lit(*offset)).collect();
            ident(column::PARTITION).eq(lit(*partition)).and(ident(column::OFFSET).in_list(offsets, false))
        };
        let mut found = BTreeMap::new();
        let Some(is_wanted) = places.iter().map(of_partition).reduce(Expr::or) else { return Ok(found) };
        let columns = [column::PARTITION, column::OFFSET, master_column::ITEM, master_column::PAYLOAD];
        let mut rows = self.read_some(file, is_wanted, &columns, PAYLOADS_AT_A_TIME).await?;
        while let Some(batch) = rows.try_next().await? {
            let partitions = numbers::<Int32Type>(&batch, column::PARTITION)?;
            let offsets = numbers::<Int64Type>(&batch, column::OFFSET)?;
            let items = numbers::<Int32Type>(&batch, master_column::ITEM)?;
            let payloads = batch.column_by_name(master_column::PAYLOAD).and_then(|array| array.as_binary_opt::<i32>());
            let payloads = payloads.ok_or_else(|| wrong_column(master_column::PAYLOAD))?;
            for (row, (partition, offset)) in partitions.iter().zip(offsets).enumerate() {
                let payload = payloads.value(row);
                found.insert((*partition, *offset, items[row]), (PayloadStart::of(payload, most), payload.len()));
            }
        }
        Ok(found)
    }

    /// Whether a file may hold rejected records: nearly always known without reading it. What the present rules reject
    /// of rows that are read again, no bound says.
    fn may_hold_rejected(&self, file: &DataFile) -> bool {
        self.is_read_again(file) || file.bounds.get(master_column::ERROR).is_none_or(|(_, _, nulls)| *nulls < file.rows)
    }

    /// Some columns of the rows of one file that fit.
    async fn read_some(
        &self,
        file: &DataFile,
        is_wanted: Expr,
        columns: &[&str],
        rows_at_a_time: usize,
    ) -> Result<SendableRecordBatchStream, RecordsError> {
        let mut config = SessionConfig::new().with_target_partitions(1).with_batch_size(rows_at_a_time);
        // Columns are decoded only of the rows that fit.
        config.options_mut().execution.parquet.pushdown_filters = true;
        let context = SessionContext::new_with_config(config);
        let rows = context.read_table(self.scan_files(std::slice::from_ref(file))?)?.filter(is_wanted)?;
        Ok(rows.select_columns(columns)?.execute_stream().await?)
    }
}

/// Timestamp, partition and offset of a record, and the number of the row in it: larger is newer.
type Place = (i64, i32, i64, i32);

/// A record that may be among the newest, and the file that holds it.
struct Candidate {
    place: Place,
    file: usize,
    error: String,
}

/// What was found so far.
#[derive(Default)]
struct Found {
    /// Newest first.
    newest: Vec<Candidate>,
    reasons: BTreeMap<&'static str, u64>,
    /// Whether there are, or may be, others of what is asked for.
    left_out: bool,
}

impl Found {
    /// Whether no file whose newest record has this timestamp can hold a newer one than those found.
    fn is_settled(&self, limit: usize, timestamp: i64) -> bool {
        self.newest.len() >= limit && self.newest.last().is_none_or(|oldest| oldest.place.0 >= timestamp)
    }

    /// Counts the rejected records of a batch, and keeps the newest.
    fn take(&mut self, file: usize, batch: &RecordBatch, search: &RejectedSearch) -> Result<(), RecordsError> {
        for (kind, count) in rejections(batch)? {
            *self.reasons.entry(kind).or_default() += count;
        }
        let partitions = numbers::<Int32Type>(batch, column::PARTITION)?;
        let offsets = numbers::<Int64Type>(batch, column::OFFSET)?;
        let timestamps = numbers::<TimestampMicrosecondType>(batch, column::TIMESTAMP)?;
        let items = numbers::<Int32Type>(batch, master_column::ITEM)?;
        let errors = batch.column_by_name(master_column::ERROR).and_then(|array| array.as_string_opt::<i32>());
        let errors = errors.ok_or_else(|| wrong_column(master_column::ERROR))?;
        let oldest = self.newest.last().map(|oldest| oldest.place).filter(|_| self.newest.len() >= search.limit);
        for (row, error) in errors.iter().enumerate() {
            let Some(error) = error else { continue };
            let place = (timestamps[row], partitions[row], offsets[row], items[row]);
            let is_wanted = search.kind.is_none_or(|kind| Reason::of(error).kind == kind);
            if is_wanted && oldest.is_none_or(|oldest| place > oldest) {
                self.newest.push(Candidate { place, file, error: error.to_owned() });
            } else if is_wanted {
                self.left_out = true;
            }
        }
        self.newest.sort_by_key(|candidate| Reverse(candidate.place));
        self.left_out |= self.newest.len() > search.limit;
        self.newest.truncate(search.limit);
        Ok(())
    }

    /// Partitions and offsets of the records found in a file.
    fn places_in(&self, file: usize) -> BTreeMap<i32, Vec<i64>> {
        let mut places: BTreeMap<i32, Vec<i64>> = BTreeMap::new();
        for candidate in self.newest.iter().filter(|candidate| candidate.file == file) {
            let (_, partition, offset, _) = candidate.place;
            places.entry(partition).or_default().push(offset);
        }
        places
    }

    fn finish(self, mut payloads: BTreeMap<(i32, i64, i32), (PayloadStart, usize)>) -> RejectedRecords {
        let to_record = |Candidate { place: (timestamp, partition, offset, item), error, .. }| {
            let unread = || (PayloadStart::Text(String::new()), 0);
            let (payload, payload_bytes) = payloads.remove(&(partition, offset, item)).unwrap_or_else(unread);
            RejectedRecord {
                partition: PartitionId(partition),
                offset: Offset(offset),
                timestamp: TimestampMicros(timestamp),
                error,
                payload,
                payload_bytes,
            }
        };
        let records = self.newest.into_iter().map(to_record).collect();
        RejectedRecords { records, reasons: self.reasons, is_whole: !self.left_out }
    }
}

/// The largest timestamp of a file, and its largest offset to tell apart those of one instant.
fn newest_in(file: &DataFile) -> (i64, i64) {
    let largest = |name: &str| match file.bounds.get(name) {
        Some((_, ScalarValue::TimestampMicrosecond(Some(largest), _), _)) => *largest,
        Some((_, ScalarValue::Int64(Some(largest)), _)) => *largest,
        _ => i64::MAX,
    };
    (largest(column::TIMESTAMP), largest(column::OFFSET))
}

/// A column of numbers or instants; the master dataset has no nulls in those of a record's place.
fn numbers<'a, T: ArrowPrimitiveType>(batch: &'a RecordBatch, name: &str) -> Result<&'a [T::Native], RecordsError> {
    let numbers = batch.column_by_name(name).and_then(|array| array.as_primitive_opt::<T>());
    numbers.map(|numbers| &numbers.values()[..]).ok_or_else(|| wrong_column(name))
}

fn wrong_column(name: &str) -> RecordsError {
    ArrowError::SchemaError(format!("column {name} of the master dataset is missing or of another type")).into()
}
