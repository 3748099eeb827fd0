//! Rows of files to rows of the master dataset: decoded as records of a partition that no log has.
//!
//! ```text
//!  lines of JSON ------------------------------> Decoder --------> time of the event becomes the record's --+--> rows
//!  Arrow batch --> lines of JSON (payloads) --+     ^                                                        |
//!                                             +-----+ no                                                     |
//!                                             +-- same types? columns as they are (`same_types.rs`) ---------+
//! ```
//!
//! Guarantee: what comes out is what [`decode`](super::decode) makes of the same payloads with the timestamps that
//! stand in the rows: whoever reads them again finds the same. Columns are taken as they are only where that is
//! certain.
//! **The timestamp of an imported record** is the time of its event (of several, the latest), but never later than
//! `now`, which is when it is imported; `now` itself where an event of it was rejected. So old events are not late, the
//! future limit is that of an event sent now, and retention by age takes rejected rows as old as their import.
//! Not here: which files, and in which partition (`batch-layer`, import).
//! Why the payload is written although the columns are there: it alone is what a changed source reads again.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, Int32Array, Int64Array,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, SchemaRef, TimestampMicrosecondType};
use arrow::json::writer::LineDelimitedWriter;
use arrow::record_batch::RecordBatch;
use event_log::Record;
use positions::{EventKey, Offset, PartitionId, TimestampMicros, event_key, is_plausible, micros};
use views::SourceDefinition;

use super::batch::record_ends;
use super::decoder::Decoder;
use super::same_types::same_columns;
use super::schema::{MAX_PAYLOAD_BYTES, column, master_schema, reading_of};
use super::wire::Schemas;
use crate::RecordsError;

/// So many bytes of JSON are made of one batch at a time; a larger one is halved.
const LINES_BYTES: usize = 256 << 20;

/// Where the rows of one portion of a file go.
#[derive(Clone, Copy, Debug)]
pub struct ImportPlace {
    /// The partition.
    pub partition: PartitionId,
    /// The offset of the first record; the others follow without gaps.
    pub first: Offset,
    /// When the file is imported.
    pub now: TimestampMicros,
}

impl ImportPlace {
    fn behind(self, records: usize) -> Self {
        Self { first: Offset(self.first.0 + records as i64), ..self }
    }
}

/// Decodes rows of files of one source.
#[derive(Clone, Debug)]
pub struct ImportDecoder {
    decoder: Decoder,
    reading: i32,
    schema: SchemaRef,
}

impl ImportDecoder {
    /// A decoder for files of `source`, whose event time must be a column of the event.
    pub fn new(source: Arc<SourceDefinition>) -> Self {
        Self { reading: reading_of(&source), schema: master_schema(&source), decoder: Decoder::new(source) }
    }

    /// One record for each payload, in their order.
    ///
    /// # Errors
    /// As [`Decoder::decode`]: a defect, or more than 1 GiB of payloads at once.
    pub fn decode_events(&self, at: ImportPlace, payloads: Vec<Vec<u8>>) -> Result<RecordBatch, RecordsError> {
        let records: Vec<Record> = payloads
            .into_iter()
            .enumerate()
            .map(|(number, payload)| Record {
                partition: at.partition,
                offset: at.behind(number).first,
                timestamp: at.now,
                payload: payload.into(),
                event_id: None,
                clock_shift: None,
            })
            .collect();
        let (rows, _) = self.decoder.decode_with(&Schemas::none(), &records)?;
        self.timed_by_event(&rows, at.now)
    }

    /// One record for each row of a file of columns, in their order; timestamps of all zones are to be in UTC.
    ///
    /// # Errors
    /// As [`Self::decode_events`], and for a column of a type that JSON has no form for.
    pub fn decode_rows(&self, at: ImportPlace, rows: &RecordBatch) -> Result<Vec<RecordBatch>, RecordsError> {
        if rows.num_rows() == 0 {
            return Ok(Vec::new());
        }
        let lines = write_lines(rows)?;
        if lines.len() > LINES_BYTES && rows.num_rows() > 1 {
            let half = rows.num_rows() / 2;
            let mut all = self.decode_rows(at, &rows.slice(0, half))?;
            all.extend(self.decode_rows(at.behind(half), &rows.slice(half, rows.num_rows() - half))?);
            return Ok(all);
        }
        // JSON text has no line ends of its own.
        let payloads: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').take(rows.num_rows()).collect();
        if payloads.len() != rows.num_rows() {
            return Err(RecordsError::Unusable("rows of columns were not written one a line".to_owned()));
        }
        if let Some(decoded) = self.take_columns(at, rows, &payloads)? {
            return Ok(vec![decoded]);
        }
        Ok(vec![self.decode_events(at, payloads.into_iter().map(<[u8]>::to_vec).collect())?])
    }

    /// The rows with their columns as they are; `None` where only decoding tells what becomes of them.
    fn take_columns(
        &self,
        at: ImportPlace,
        rows: &RecordBatch,
        payloads: &[&[u8]],
    ) -> Result<Option<RecordBatch>, RecordsError> {
        let source = self.decoder.source();
        let Some(mut columns) = same_columns(source, &self.schema, rows)? else { return Ok(None) };
        let times = columns[source.event_time].as_primitive::<TimestampMicrosecondType>().clone();
        let latest = at.now.plus(source.future_limit);
        let is_judged = times.null_count() > 0 || times.values().iter().any(|time| *time > latest.0);
        if is_judged || !is_plausible(at.now) || payloads.iter().any(|payload| payload.len() > MAX_PAYLOAD_BYTES) {
            return Ok(None);
        }
        let count = rows.num_rows();
        let stamps = TimestampMicrosecondArray::from_iter_values(times.values().iter().map(|time| at.now.0.min(*time)));
        let keys = event_keys(source, &columns, &times)?;
        let offsets = at.first.0..at.behind(count).first.0;
        let tail: [ArrayRef; 11] = [
            Arc::new(Int32Array::from_value(at.partition.0, count)),
            Arc::new(Int64Array::from_iter_values(offsets)),
            Arc::new(stamps.with_timezone_opt(self.zone()?)),
            Arc::new(BinaryArray::from_iter_values(payloads)),
            new_null_array(&DataType::Utf8, count),
            new_null_array(&DataType::Int64, count),
            Arc::new(Int32Array::from_value(self.reading, count)),
            Arc::new(BooleanArray::from(vec![false; count])),
            Arc::new(keys),
            new_null_array(&DataType::Binary, count),
            Arc::new(Int32Array::from_value(0, count)),
        ];
        columns.extend(tail);
        Ok(Some(RecordBatch::try_new(self.schema.clone(), columns)?))
    }

    /// The rows with the timestamps that the module describes, and lateness by these.
    fn timed_by_event(&self, rows: &RecordBatch, now: TimestampMicros) -> Result<RecordBatch, RecordsError> {
        let source = self.decoder.source();
        let errors = rows.column(self.schema.index_of(column::ERROR)?);
        let times = rows.column(source.event_time).as_primitive::<TimestampMicrosecondType>();
        let (mut stamps, mut late) = (Vec::with_capacity(rows.num_rows()), Vec::with_capacity(rows.num_rows()));
        let mut start = 0;
        for end in record_ends(rows)? {
            let is_whole = (start..end).all(|row| errors.is_null(row));
            let latest = times.values()[start..end].iter().max().copied();
            let stamp = latest.filter(|_| is_whole).map_or(now.0, |time| time.min(now.0));
            for row in start..end {
                stamps.push(stamp);
                let behind = stamp.saturating_sub(times.value(row));
                late.push(errors.is_null(row).then_some(behind > micros(source.late_after)));
            }
            start = end;
        }
        let stamps = TimestampMicrosecondArray::from(stamps).with_timezone_opt(self.zone()?);
        let mut columns = rows.columns().to_vec();
        columns[self.schema.index_of(views::column::TIMESTAMP)?] = Arc::new(stamps);
        columns[self.schema.index_of(column::LATE)?] = Arc::new(BooleanArray::from(late));
        Ok(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn zone(&self) -> Result<Option<Arc<str>>, RecordsError> {
        match self.schema.field_with_name(views::column::TIMESTAMP)?.data_type() {
            DataType::Timestamp(_, zone) => Ok(zone.clone()),
            other => Err(RecordsError::Unusable(format!("column {} is {other}", views::column::TIMESTAMP))),
        }
    }
}

fn write_lines(rows: &RecordBatch) -> Result<Vec<u8>, RecordsError> {
    let mut lines = Vec::new();
    LineDelimitedWriter::new(&mut lines).write(rows)?;
    Ok(lines)
}

/// As decoding finds them: of the bytes of a text, or of the digits of an integer.
fn event_keys(
    source: &SourceDefinition,
    columns: &[ArrayRef],
    times: &TimestampMicrosecondArray,
) -> Result<BinaryArray, RecordsError> {
    let as_text = |at: &usize| cast(&columns[*at], &DataType::Utf8);
    let ids: Vec<ArrayRef> = source.event_id.iter().map(as_text).collect::<Result<_, _>>()?;
    let mut keys = BinaryBuilder::with_capacity(times.len(), times.len() * size_of::<EventKey>());
    let mut id = Vec::new();
    for (row, time) in times.values().iter().enumerate() {
        let key = write_id(&ids, row, &mut id).then(|| event_key(Some(&id), TimestampMicros(*time))).flatten();
        match key {
            Some(key) => keys.append_value(key.0.to_be_bytes()),
            None => keys.append_null(),
        }
    }
    Ok(keys.finish())
}

/// Writes the id of a row; false where it has none.
fn write_id(parts: &[ArrayRef], row: usize, id: &mut Vec<u8>) -> bool {
    id.clear();
    for part in parts {
        let text = part.as_string::<i32>();
        if text.is_null(row) || text.value(row).is_empty() {
            return false;
        }
        id.extend_from_slice(text.value(row).as_bytes());
        // Of several, each ends where its length stands.
        if parts.len() > 1 {
            id.extend_from_slice(&(text.value(row).len() as u64).to_le_bytes());
        }
    }
    true
}
