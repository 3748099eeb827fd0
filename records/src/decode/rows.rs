//! Records to rows, one by one: what is checked of a record, in which order, and what a rejected one leaves behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, Int32Array, Int64Array, StringBuilder,
    TimestampMicrosecondArray,
};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use positions::{EventKey, TimestampMicros, event_key, is_plausible, micros};
use views::{SourceDefinition, Unreadable};

use super::cells::Cells;
use super::json::Cursor;
use super::object::Object;
use super::reject::{Read, Rejection};
use super::schema::{MAX_DEPTH, master_schema, reading_of};
use super::text::text_of;
use super::wire::Schemas;
use crate::RecordsError;
use event_log::Record;

/// A record with this text panics the decoder, in builds for tests: what becomes of it, and of its neighbours?
#[cfg(feature = "failpoints")]
const PANIC: &str = "panic in the decoder";

/// A batch under construction.
pub(super) struct Rows<'a> {
    source: &'a SourceDefinition,
    schemas: &'a Schemas,
    records: &'a [Record],
    event: Object,
    rows: usize,
    late: BooleanBuilder,
    keys: BinaryBuilder,
    errors: StringBuilder,
    id: Vec<u8>,
}

/// What an accepted record adds to its columns.
struct Accepted {
    is_late: bool,
    key: Option<EventKey>,
}

impl<'a> Rows<'a> {
    /// No rows yet of these records.
    pub fn new(
        source: &'a SourceDefinition,
        schemas: &'a Schemas,
        records: &'a [Record],
    ) -> Result<Self, RecordsError> {
        check_payload_bytes(records)?;
        let mut event = Object::new(source.declared.fields(), source.events.fields(), source.unreadable)?;
        check_definition(source, &event)?;
        // Without it there is no event; the reason says more than that it is missing.
        event.columns[source.event_time].unreadable = Unreadable::Reject;
        Ok(Self {
            source,
            schemas,
            records,
            event,
            rows: 0,
            late: BooleanBuilder::with_capacity(records.len()),
            keys: BinaryBuilder::with_capacity(records.len(), 0),
            errors: StringBuilder::new(),
            id: Vec::new(),
        })
    }

    /// Appends the row of one record, whatever the record holds.
    pub fn push(&mut self, record: &Record) {
        match guarded(|| self.read(record)) {
            Ok(accepted) => {
                self.late.append_value(accepted.is_late);
                self.keys.append_option(accepted.key.map(|key| key.0.to_be_bytes()));
                self.errors.append_null();
            }
            Err(rejection) => {
                self.event.truncate(self.rows);
                self.event.push_null();
                self.late.append_null();
                self.keys.append_null();
                self.errors.append_value(rejection.to_string());
            }
        }
        self.rows += 1;
    }

    /// The batch, and for each declared column how many values of its accepted rows are null because they did not fit.
    pub fn finish(mut self) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
        let misfits = self.event.columns.iter().map(|column| column.misfits()).collect();
        let timestamps = self.records.iter().map(|record| record.timestamp.0);
        let timestamps = TimestampMicrosecondArray::from_iter_values(timestamps);
        let DataType::Timestamp(_, zone) = self.source.events.field(self.event.columns.len() + 2).data_type() else {
            return Err(RecordsError::Unusable(format!("source {} has no _timestamp column", self.source.name)));
        };
        let tail: [ArrayRef; 10] = [
            Arc::new(Int32Array::from_iter_values(self.records.iter().map(|record| record.partition.0))),
            Arc::new(Int64Array::from_iter_values(self.records.iter().map(|record| record.offset.0))),
            Arc::new(timestamps.with_timezone_opt(zone.clone())),
            Arc::new(payloads(self.records).finish()),
            Arc::new(self.errors.finish()),
            Arc::new(self.records.iter().map(|record| record.clock_shift).collect::<Int64Array>()),
            Arc::new(Int32Array::from_value(reading_of(self.source), self.rows)),
            Arc::new(self.late.finish()),
            Arc::new(self.keys.finish()),
            Arc::new(self.records.iter().map(|record| record.event_id.as_deref()).collect::<BinaryArray>()),
        ];
        let mut columns = self.event.finish()?;
        columns.extend(tail);
        Ok((RecordBatch::try_new(master_schema(self.source), columns)?, misfits))
    }

    fn read(&mut self, record: &Record) -> Read<Accepted> {
        let text = text_of(self.source, self.schemas, &record.payload)?;
        #[cfg(feature = "failpoints")]
        assert!(!text.contains(PANIC), "a record asked for this");
        let mut cursor = Cursor::new(&text, MAX_DEPTH);
        self.event.read(&mut cursor)?;
        if !cursor.is_at_end() {
            return Err(cursor.bad("expected nothing after the object"));
        }
        let sent = self.time_as_sent()?;
        let time = self.correct_time(sent, record.clock_shift)?;
        self.check_future(time, record.timestamp)?;
        let key = self.key(record, sent);
        let is_late = record.timestamp.micros_since(time) > micros(self.source.late_after);
        Ok(Accepted { is_late, key })
    }

    fn time_as_sent(&self) -> Read<TimestampMicros> {
        let column = &self.event.columns[self.source.event_time];
        match &column.cells {
            Cells::Timestamp(values) if !column.is_last_null() => {
                Ok(TimestampMicros(values.last().copied().unwrap_or_default()))
            }
            _ => Err(Rejection::NoEventTime { column: column.name.clone() }.into()),
        }
    }

    /// Views see the corrected time; what was sent can be had back by subtracting `_clock_shift`.
    fn correct_time(&mut self, sent: TimestampMicros, shift: Option<i64>) -> Read<TimestampMicros> {
        let Some(shift) = shift else { return Ok(sent) };
        let column = &mut self.event.columns[self.source.event_time];
        let corrected = sent.0.checked_add(shift).filter(|time| INSTANTS.contains(time));
        match (&mut column.cells, corrected) {
            (Cells::Timestamp(values), Some(corrected)) => {
                values.pop();
                values.push(corrected);
                Ok(TimestampMicros(corrected))
            }
            _ => Err(Rejection::ShiftOutOfRange { column: column.name.clone(), shift_micros: shift }.into()),
        }
    }

    /// A timestamp that no clock gave says nothing about the event's own time.
    fn check_future(&self, time: TimestampMicros, recorded: TimestampMicros) -> Read<()> {
        if !is_plausible(recorded) {
            return Ok(());
        }
        let limit = self.source.future_limit;
        let ahead_micros = time.micros_since(recorded);
        if ahead_micros <= micros(limit) {
            return Ok(());
        }
        let ahead = Duration::from_micros(ahead_micros.unsigned_abs());
        let column = self.event.columns[self.source.event_time].name.clone();
        Err(Rejection::InFuture { column, ahead, limit }.into())
    }

    fn key(&mut self, record: &Record, sent: TimestampMicros) -> Option<EventKey> {
        if let Some(id) = &record.event_id {
            return event_key(Some(id), sent);
        }
        let column = &self.event.columns[self.source.event_id?];
        if column.is_last_null() {
            return None;
        }
        self.id.clear();
        column.cells.append_last_id(&mut self.id);
        event_key(Some(&self.id), sent)
    }
}

/// Runs the decoding of one record; a panic in it is a defect, and becomes a rejection of this record alone.
pub fn guarded<T>(read: impl FnOnce() -> Result<T, Box<Rejection>>) -> Result<T, Box<Rejection>> {
    // Unwind safe: whoever reads into columns truncates them after an error, and needs nothing of what is beyond.
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().copied();
        let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
        Err(Rejection::DecoderFailed { message: super::reject::shorten(text.unwrap_or("a panic without text")) }.into())
    })
}

// Years 0000 to 9999, what RFC 3339 can name: every instant in a column can be written down again.
const INSTANTS: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

fn payloads(records: &[Record]) -> BinaryBuilder {
    let bytes = records.iter().map(|record| record.payload.len()).sum();
    let mut payloads = BinaryBuilder::with_capacity(records.len(), bytes);
    records.iter().for_each(|record| payloads.append_value(&record.payload));
    payloads
}

fn check_payload_bytes(records: &[Record]) -> Result<(), RecordsError> {
    let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
    if i32::try_from(bytes).is_ok() {
        return Ok(());
    }
    Err(RecordsError::Unusable(format!("{bytes} payload bytes in one batch, at most {} fit: poll less", i32::MAX)))
}

fn check_definition(source: &SourceDefinition, event: &Object) -> Result<(), RecordsError> {
    let has = |at: usize, fits: fn(&Cells) -> bool| event.columns.get(at).is_some_and(|column| fits(&column.cells));
    let problem = if !has(source.event_time, |cells| matches!(cells, Cells::Timestamp(_))) {
        "its event_time is not a TIMESTAMP column"
    } else if source
        .event_id
        .is_some_and(|at| !has(at, |cells| matches!(cells, Cells::Text { .. } | Cells::Integer { .. })))
    {
        "its event_id is neither a VARCHAR nor an integer column"
    } else {
        return Ok(());
    };
    Err(RecordsError::Unusable(format!("source {}: {problem}", source.name)))
}
