//! What the layers ask of a decoded batch, column-wise: classes of rows, marks, keys.
//!
//! In: batches of [`master_schema`](super::master_schema), from [`decode`](super::decode) or read back from the master
//! dataset.
//! Guarantee: pure; the same rows give the same result however they are batched.

use std::collections::BTreeMap;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{and, cast, filter_record_batch, not, prep_null_mask_filter};
use arrow::datatypes::{DataType, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use positions::{Counters, EventKey, Offset, RecordMark, TimestampMicros, fingerprint};
use views::SourceDefinition;

use super::reason::Reason;
use super::schema::column;
use crate::RecordsError;

/// What decoding made of a record. Whether an event is a copy, no row tells alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowClass {
    /// No event: payload and reason are kept, the columns of the event are null.
    Rejected,
    /// An event.
    Event {
        /// Whether it is older than its record by more than the source's `late_after`.
        is_late: bool,
    },
}

impl RowClass {
    /// Whether the record holds an event.
    pub fn is_event(self) -> bool {
        self != Self::Rejected
    }

    /// What one row of the class counts for; without copies and holes, which are not seen here.
    pub fn counters(self) -> Counters {
        let (rejected, late) = match self {
            Self::Rejected => (1, 0),
            Self::Event { is_late } => (0, u64::from(is_late)),
        };
        Counters { rows: 1, rejected, late, ..Counters::default() }
    }
}

/// The class of each row.
///
/// # Errors
/// If a column is missing: a defect of the caller.
pub fn classes(batch: &RecordBatch) -> Result<Vec<RowClass>, RecordsError> {
    let errors = by_name(batch, column::ERROR)?;
    let late = late_events(batch)?;
    let class = |row| match errors.is_null(row) {
        true => RowClass::Event { is_late: late.value(row) },
        false => RowClass::Rejected,
    };
    Ok((0..batch.num_rows()).map(class).collect())
}

/// How many rows are rejected, by the kind of their reason ([`REASON_KINDS`](super::REASON_KINDS)). Free of cost where
/// none is.
///
/// # Errors
/// If the column is missing: a defect of the caller.
pub fn rejections(batch: &RecordBatch) -> Result<BTreeMap<&'static str, u64>, RecordsError> {
    let errors = by_name(batch, column::ERROR)?;
    let errors: &StringArray = errors.as_string_opt::<i32>().ok_or_else(|| wrong_column(column::ERROR))?;
    let mut kinds = BTreeMap::new();
    if errors.null_count() < errors.len() {
        for sentence in errors.iter().flatten() {
            *kinds.entry(Reason::of(sentence).kind).or_default() += 1;
        }
    }
    Ok(kinds)
}

/// The rows that are rejected, in their order. Free of cost where none is.
///
/// # Errors
/// If the column is missing: a defect of the caller.
pub fn rejected_rows(batch: &RecordBatch) -> Result<Vec<usize>, RecordsError> {
    let errors = by_name(batch, column::ERROR)?;
    if errors.null_count() == errors.len() {
        return Ok(Vec::new());
    }
    Ok((0..errors.len()).filter(|row| errors.is_valid(*row)).collect())
}

/// Why rows were rejected, by their place in the batch.
///
/// # Errors
/// If the column is missing: a defect of the caller.
pub fn reasons(batch: &RecordBatch) -> Result<BTreeMap<usize, String>, RecordsError> {
    let errors = by_name(batch, column::ERROR)?;
    let errors: &StringArray = errors.as_string_opt::<i32>().ok_or_else(|| wrong_column(column::ERROR))?;
    let reasons = errors.iter().enumerate().filter_map(|(row, reason)| Some((row, reason?.to_owned())));
    Ok(reasons.collect())
}

/// The payload of each row, as it was received.
///
/// # Errors
/// If the column is missing: a defect of the caller.
pub fn payloads(batch: &RecordBatch) -> Result<&BinaryArray, RecordsError> {
    binary(by_name(batch, column::PAYLOAD)?, column::PAYLOAD)
}

/// Which rows are late events, without nulls: a rejected record is none. Free of cost where none was rejected.
///
/// # Errors
/// If the column is missing: a defect of the caller.
pub fn late_events(batch: &RecordBatch) -> Result<BooleanArray, RecordsError> {
    let late = by_name(batch, column::LATE)?;
    let late = late.as_boolean_opt().ok_or_else(|| wrong_column(column::LATE))?;
    Ok(if late.null_count() == 0 { late.clone() } else { prep_null_mask_filter(late) })
}

/// For each record of a batch that begins with a whole one, the index behind its last row.
///
/// # Errors
/// If the column is missing: a defect of the caller.
pub fn record_ends(batch: &RecordBatch) -> Result<Vec<usize>, RecordsError> {
    let items = items(batch)?;
    let ends = (1..=items.len()).filter(|end| items.get(*end).is_none_or(|item| is_first(*item)));
    Ok(ends.collect())
}

/// The rows on time, with the rejected ones among them and all those of records with several, and the late ones: so all
/// rows of one record stay together. Free of cost where all are of one kind.
///
/// # Errors
/// If a column is missing: a defect of the caller.
pub fn split_late(batch: &RecordBatch) -> Result<(RecordBatch, RecordBatch), RecordsError> {
    let is_alone = items(batch)?.iter().map(|item| *item == 0).collect::<Vec<_>>();
    let is_late = and(&late_events(batch)?, &BooleanArray::from(is_alone))?;
    Ok(match is_late.true_count() {
        0 => (batch.clone(), batch.slice(0, 0)),
        count if count == batch.num_rows() => (batch.slice(0, 0), batch.clone()),
        _ => (filter_record_batch(batch, &not(&is_late)?)?, filter_record_batch(batch, &is_late)?),
    })
}

/// What position arithmetic needs of each record: equal to its [`Record::mark`](event_log::Record::mark).
///
/// # Errors
/// If a column is missing: a defect of the caller.
pub fn marks(batch: &RecordBatch) -> Result<Vec<RecordMark>, RecordsError> {
    let offsets: &Int64Array = by_name(batch, views::column::OFFSET)?
        .as_primitive_opt::<Int64Type>()
        .ok_or_else(|| wrong_column(views::column::OFFSET))?;
    let timestamps = instants(by_name(batch, views::column::TIMESTAMP)?, views::column::TIMESTAMP)?;
    let payloads = binary(by_name(batch, column::PAYLOAD)?, column::PAYLOAD)?;
    let rows = offsets.values().iter().zip(timestamps.values()).enumerate();
    // The first row of a record has its payload.
    let items = items(batch)?;
    let rows = rows.filter(|(row, _)| is_first(items[*row]));
    let mark = |(row, (offset, timestamp)): (usize, (&i64, &i64))| {
        let timestamp = TimestampMicros(*timestamp);
        RecordMark { offset: Offset(*offset), timestamp, fingerprint: fingerprint(timestamp, payloads.value(row)) }
    };
    Ok(rows.map(mark).collect())
}

/// The identity of each row's event; `None` for a row without an id and for a rejected one: never a copy.
///
/// # Errors
/// If the column is missing: a defect of the caller.
pub fn event_keys(batch: &RecordBatch) -> Result<Vec<Option<EventKey>>, RecordsError> {
    let keys = binary(by_name(batch, column::EVENT_KEY)?, column::EVENT_KEY)?;
    let to_key = |bytes: &[u8]| {
        let bytes = <[u8; 16]>::try_from(bytes).map_err(|_| wrong_column(column::EVENT_KEY))?;
        Ok(EventKey(u128::from_be_bytes(bytes)))
    };
    keys.iter().map(|key| key.map(to_key).transpose()).collect()
}

/// The event id of each row as text, by which records are keyed; `None` where the source names no id column. The parts
/// of one that has several are joined by a character that no text holds by accident. What a header says is not seen
/// here.
///
/// # Errors
/// If a column is missing: a defect of the caller.
pub fn event_ids(source: &SourceDefinition, batch: &RecordBatch) -> Result<Option<StringArray>, RecordsError> {
    let mut ids: Option<StringArray> = None;
    for name in source.event_id_names() {
        let part = cast(by_name(batch, name)?, &DataType::Utf8)?.as_string::<i32>().clone();
        ids = Some(match ids {
            None => part,
            Some(before) => {
                let joined = before.iter().zip(&part).map(|(before, part)| Some(format!("{}\u{1f}{}", before?, part?)));
                joined.collect()
            }
        });
    }
    Ok(ids)
}

/// Whether a row with this [`column::ITEM`] is the first of its record.
pub(crate) fn is_first(item: i32) -> bool {
    item <= 1
}

fn items(batch: &RecordBatch) -> Result<&[i32], RecordsError> {
    let items = by_name(batch, column::ITEM)?.as_primitive_opt::<Int32Type>();
    Ok(items.ok_or_else(|| wrong_column(column::ITEM))?.values())
}

fn by_name<'a>(batch: &'a RecordBatch, name: &str) -> Result<&'a ArrayRef, RecordsError> {
    batch.column_by_name(name).ok_or_else(|| wrong_column(name))
}

fn instants<'a>(array: &'a ArrayRef, name: &str) -> Result<&'a TimestampMicrosecondArray, RecordsError> {
    array.as_primitive_opt::<TimestampMicrosecondType>().ok_or_else(|| wrong_column(name))
}

fn binary<'a>(array: &'a ArrayRef, name: &str) -> Result<&'a BinaryArray, RecordsError> {
    array.as_binary_opt::<i32>().ok_or_else(|| wrong_column(name))
}

fn wrong_column(name: &str) -> RecordsError {
    ArrowError::SchemaError(format!("column {name} is missing or of another type than decoding gives it")).into()
}
