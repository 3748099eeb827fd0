//! Records to rows, one by one: what is checked of a record and of each of its events, in which order, and what a
//! rejected one leaves behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use positions::{EventKey, Stone, TimestampMicros, event_key, is_plausible, micros};
use views::{SourceDefinition, Unreadable};

use super::batch::is_first;
use super::cells::Cells;
use super::envelope;
use super::json::Cursor;
use super::object::Object;
use super::reject::{Read, Rejection};
use super::schema::MAX_DEPTH;
use super::text::text_of;
use super::wire::Schemas;
use crate::RecordsError;
use event_log::Record;

/// A record with this text panics the decoder, in builds for tests: what becomes of it, and of its neighbours?
#[cfg(feature = "failpoints")]
const PANIC: &str = "panic in the decoder";

/// The most events of one record. Not a setting: what a record decodes to must not depend on one.
const MAX_EVENTS: usize = 10_000;

/// Of the events of one record that are rejected, so many are rows of their own. More of them are one mistake many
/// times, in a payload that the first row has.
pub(super) const MAX_REJECTED: usize = 100;

/// What stands in a stone for an event that was erased, and for one that had been rejected.
pub(super) const ERASED_EVENT: &str = "null";
pub(super) const ERASED_REJECTED: &str = "false";

/// A batch under construction.
pub(super) struct Rows<'a> {
    source: &'a SourceDefinition,
    schemas: &'a Schemas,
    records: &'a [Record],
    event: Object,
    rows: Vec<Row>,
    /// Events of the present record so far.
    events: usize,
    /// Of these, how many were rejected.
    rejected: usize,
    /// Something of it was erased: [`ERASED_EVENT`] or [`ERASED_REJECTED`] stands for each event that was.
    is_stone: bool,
    id: Vec<u8>,
}

/// One row beside the columns of its event.
struct Row {
    /// Its record, by its place among all.
    record: usize,
    verdict: Verdict,
}

enum Verdict {
    Accepted(Accepted),
    Rejected {
        /// Why.
        reason: String,
        /// What was rejected, where that is not the whole record.
        part: Option<Bytes>,
    },
}

/// What an accepted event adds to its columns.
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
        let (declared, stored) = (source.declared.fields(), source.events.fields());
        let mut event = Object::mapped(declared, stored, source.unreadable, &source.mapping)?;
        check_definition(source, &event)?;
        // Without it there is no event; the reason says more than that it is missing.
        if let Some(time) = event.columns.get_mut(source.event_time) {
            time.unreadable = Unreadable::Reject;
        }
        let rows = Vec::with_capacity(records.len());
        Ok(Self { source, schemas, records, event, rows, events: 0, rejected: 0, is_stone: false, id: Vec::new() })
    }

    /// Appends the rows of all records: at least one each, whatever a record holds.
    pub fn push_all(&mut self) {
        for at in 0..self.records.len() {
            let before = self.rows.len();
            (self.events, self.rejected) = (0, 0);
            if let Err(rejection) = guarded(|| self.read(at)) {
                self.rows.truncate(before);
                self.event.truncate(before);
                self.reject(at, &rejection, None);
            }
        }
    }

    /// The batch, and for each declared column how many values of its accepted rows are null because they did not fit.
    /// `reading` and `schema` (the master schema) are those of the source.
    pub fn finish(self, reading: i32, schema: &SchemaRef) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
        let misfits = self.event.columns.iter().map(|column| column.misfits()).collect();
        let (rows, records) = (&self.rows, self.records);
        let of_row = || rows.iter().map(|row| &records[row.record]);
        let DataType::Timestamp(_, zone) = self.source.events.field(self.event.columns.len() + 2).data_type() else {
            return Err(RecordsError::Unusable(format!("source {} has no _timestamp column", self.source.name)));
        };
        let timestamps = TimestampMicrosecondArray::from_iter_values(of_row().map(|record| record.timestamp.0));
        let accepted = || {
            rows.iter().map(|row| match &row.verdict {
                Verdict::Accepted(accepted) => Some(accepted),
                Verdict::Rejected { .. } => None,
            })
        };
        let reasons = rows.iter().map(|row| match &row.verdict {
            Verdict::Accepted(_) => None,
            Verdict::Rejected { reason, .. } => Some(reason.as_str()),
        });
        let items = items(rows);
        let keys = accepted().map(|accepted| accepted?.key.map(|key| key.0.to_be_bytes()));
        let tail: [ArrayRef; 11] = [
            Arc::new(Int32Array::from_iter_values(of_row().map(|record| record.partition.0))),
            Arc::new(Int64Array::from_iter_values(of_row().map(|record| record.offset.0))),
            Arc::new(timestamps.with_timezone_opt(zone.clone())),
            Arc::new(rows.iter().zip(&items).map(|(row, item)| row.payload(*item, records)).collect::<BinaryArray>()),
            Arc::new(reasons.collect::<StringArray>()),
            Arc::new(of_row().map(|record| record.clock_shift).collect::<Int64Array>()),
            Arc::new(Int32Array::from_value(reading, rows.len())),
            Arc::new(accepted().map(|accepted| Some(accepted?.is_late)).collect::<BooleanArray>()),
            Arc::new(keys.collect::<BinaryArray>()),
            Arc::new(of_row().map(|record| record.event_id.as_deref()).collect::<BinaryArray>()),
            Arc::new(Int32Array::from(items.clone())),
        ];
        let mut columns = self.event.finish()?;
        columns.extend(tail);
        Ok((RecordBatch::try_new(schema.clone(), columns)?, misfits))
    }

    /// Appends the rows of one record. On an error those of its events that were read before are to be taken back.
    fn read(&mut self, at: usize) -> Read<()> {
        let (source, schemas, records) = (self.source, self.schemas, self.records);
        let text = text_of(source, schemas, &records[at].payload)?;
        self.is_stone = Stone::of(&records[at].payload).is_some();
        #[cfg(feature = "failpoints")]
        assert!(!text.contains(PANIC), "a record asked for this");
        let mut cursor = Cursor::new(&text, MAX_DEPTH);
        // What is left of a record stands without the envelope.
        let is_checked = !self.is_stone && envelope::enter(&self.source.envelope, &mut cursor)?;
        let is_array = cursor.peek()? == b'[';
        if is_array {
            self.read_array(at, &mut cursor)?;
        } else {
            self.read_event(at, &mut cursor)?;
        }
        if is_checked {
            return Ok(());
        }
        loop {
            let end = cursor.at();
            if cursor.is_at_end() {
                return Ok(());
            }
            // Several events, each on a line of its own.
            if is_array || cursor.peek()? != b'{' || !cursor.since(end).contains('\n') {
                return Err(cursor.bad("expected nothing after the object or array"));
            }
            self.read_event(at, &mut cursor)?;
        }
    }

    fn read_array(&mut self, at: usize, cursor: &mut Cursor<'_>) -> Read<()> {
        cursor.enter(b'[')?;
        while cursor.next_element(self.events == 0)? {
            self.read_event(at, cursor)?;
        }
        if self.events == 0 { Err(cursor.bad("expected an event in the array")) } else { Ok(()) }
    }

    /// Appends the row of one event, and goes on behind it. One that cannot be read is a row too, unless its text is no
    /// JSON: then nobody knows where the next one begins.
    fn read_event(&mut self, at: usize, cursor: &mut Cursor<'_>) -> Read<()> {
        self.events += 1;
        if self.events > MAX_EVENTS {
            return Err(Rejection::TooMany { limit: MAX_EVENTS }.into());
        }
        if self.is_stone
            && let Some(was_rejected) = read_erased(cursor)?
        {
            // Events behind it keep their numbers: of the rejected ones, only so many have one.
            self.rejected += usize::from(was_rejected);
            self.reject(at, &Rejection::Erased, None);
            return Ok(());
        }
        let start = cursor.place();
        let rejection = match self.read_columns(&self.records[at], cursor) {
            Ok(accepted) => {
                self.push(at, Verdict::Accepted(accepted));
                return Ok(());
            }
            Err(rejection) => rejection,
        };
        self.event.truncate(self.rows.len());
        cursor.go_back(start);
        cursor.peek()?;
        let from = cursor.at();
        if cursor.skip().is_err() {
            return Err(rejection);
        }
        self.rejected += 1;
        if self.rejected <= MAX_REJECTED {
            self.reject(at, &rejection, Some(cursor.since(from)));
        }
        Ok(())
    }

    fn read_columns(&mut self, record: &Record, cursor: &mut Cursor<'_>) -> Read<Accepted> {
        self.event.read(cursor).map_err(|rejection| self.with_hint(rejection))?;
        let sent = self.time_as_sent(record)?;
        let time = self.correct_time(sent, record.clock_shift)?;
        self.check_future(time, record.timestamp)?;
        let key = self.key(record, sent);
        let is_late = record.timestamp.micros_since(time) > micros(self.source.late_after);
        Ok(Accepted { is_late, key })
    }

    /// Appends the row of a record, or a part of one, that is no event.
    fn reject(&mut self, at: usize, rejection: &Rejection, part: Option<&str>) {
        self.event.push_null();
        let is_first = self.rows.last().is_none_or(|last| last.record != at);
        let part = part.filter(|_| !is_first).map(|part| Bytes::copy_from_slice(part.as_bytes()));
        self.push(at, Verdict::Rejected { reason: rejection.to_string(), part });
    }

    fn push(&mut self, at: usize, verdict: Verdict) {
        self.rows.push(Row { record: at, verdict });
    }

    /// An event of which nothing is found is mostly one that stands elsewhere in the record.
    fn with_hint(&self, mut rejection: Box<Rejection>) -> Box<Rejection> {
        if let Rejection::NoValue { is_strange, .. } = rejection.as_mut() {
            *is_strange = self.event.is_strange();
        }
        rejection
    }

    fn time_as_sent(&self, record: &Record) -> Read<TimestampMicros> {
        let missing = |column: &str| {
            let is_strange = self.event.is_strange();
            Err(Rejection::NoEventTime { column: column.to_owned(), is_strange }.into())
        };
        match self.event.columns.get(self.source.event_time) {
            // What no clock gave is no time of an event either.
            None if is_plausible(record.timestamp) => Ok(record.timestamp),
            None => missing(views::column::TIMESTAMP),
            Some(column) => match &column.cells {
                Cells::Timestamp { values, .. } if !column.is_last_null() => {
                    Ok(TimestampMicros(values.last().copied().unwrap_or_default()))
                }
                _ => missing(&column.name),
            },
        }
    }

    /// Views see the corrected time; what was sent can be had back by subtracting `_clock_shift`. A record's own
    /// timestamp is none of the client's clock.
    fn correct_time(&mut self, sent: TimestampMicros, shift: Option<i64>) -> Read<TimestampMicros> {
        let Some(shift) = shift else { return Ok(sent) };
        let Some(column) = self.event.columns.get_mut(self.source.event_time) else { return Ok(sent) };
        let corrected = sent.0.checked_add(shift).filter(|time| INSTANTS.contains(time));
        match (&mut column.cells, corrected) {
            (Cells::Timestamp { values, .. }, Some(corrected)) => {
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
        let column = self.source.event_time_name().to_owned();
        Err(Rejection::InFuture { column, ahead, limit }.into())
    }

    fn key(&mut self, record: &Record, sent: TimestampMicros) -> Option<EventKey> {
        if let Some(key) = event_key(record.event_id.as_deref(), sent) {
            return Some(key);
        }
        self.id.clear();
        for at in &self.source.event_id {
            let column = &self.event.columns[*at];
            let before = self.id.len();
            if !column.is_last_null() {
                column.cells.append_last_id(&mut self.id);
            }
            let bytes = self.id.len() - before;
            if bytes == 0 {
                return None;
            }
            // Of several, each ends where its length stands: no two lists of ids are the same bytes.
            if self.source.event_id.len() > 1 {
                self.id.extend_from_slice(&(bytes as u64).to_le_bytes());
            }
        }
        event_key(Some(&self.id), sent)
    }
}

impl Row {
    /// The payload of its record in the first row of one, and in others the part that was rejected.
    fn payload<'r>(&'r self, item: i32, records: &'r [Record]) -> Option<&'r [u8]> {
        match &self.verdict {
            _ if is_first(item) => Some(&records[self.record].payload),
            Verdict::Rejected { part, .. } => part.as_deref(),
            Verdict::Accepted(_) => None,
        }
    }
}

/// Passes over what stands for an erased event: whether that had been rejected; `None` before any other event.
fn read_erased(cursor: &mut Cursor<'_>) -> Read<Option<bool>> {
    let (text, was_rejected) = match cursor.peek()? {
        b'n' => (ERASED_EVENT, false),
        b'f' => (ERASED_REJECTED, true),
        _ => return Ok(None),
    };
    cursor.literal(text)?;
    Ok(Some(was_rejected))
}

/// The numbers of rows among those of their records: 0 for the only one, else from 1.
fn items(rows: &[Row]) -> Vec<i32> {
    let of_records = rows.chunk_by(|row, next| row.record == next.record);
    of_records.flat_map(|rows| if rows.len() == 1 { 0..=0 } else { 1..=rows.len() as i32 }).collect()
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
pub(super) const INSTANTS: std::ops::Range<i64> = -62_167_219_200_000_000..253_402_300_800_000_000;

fn check_payload_bytes(records: &[Record]) -> Result<(), RecordsError> {
    let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
    // Twice: a rejected part of a record is kept beside the whole.
    if i32::try_from(2 * bytes).is_ok() {
        return Ok(());
    }
    Err(RecordsError::Unusable(format!("{bytes} payload bytes in one batch, at most {} fit: poll less", i32::MAX / 2)))
}

fn check_definition(source: &SourceDefinition, event: &Object) -> Result<(), RecordsError> {
    let has = |at: usize, fits: fn(&Cells) -> bool| event.columns.get(at).is_some_and(|column| fits(&column.cells));
    let is_id: fn(&Cells) -> bool = |cells| matches!(cells, Cells::Text { .. } | Cells::Integer { .. });
    let is_time: fn(&Cells) -> bool = |cells| matches!(cells, Cells::Timestamp { .. });
    let problem = if !source.is_timed_by_record() && !has(source.event_time, is_time) {
        "its event_time is not a TIMESTAMP column"
    } else if !source.event_id.iter().all(|at| has(*at, is_id)) {
        "its event_id is neither a VARCHAR nor an integer column"
    } else {
        return Ok(());
    };
    Err(RecordsError::Unusable(format!("source {}: {problem}", source.name)))
}
