//! Decoding: record bytes to columns, strictly, the same for both layers.
//!
//! ```text
//!  Record --> text_of --> Cursor --> Object (a Column per declared column) --> checks of time --> row
//!               |           |           |                                          |
//!               +-----------+-----------+------------------------------------------+--> Rejection --> `_error`
//! ```
//!
//! In: records of the log. Out: one batch with exactly one row per record, in their order, of [`master_schema`].
//!
//! Guarantee: one pure function of (payload, headers, record timestamp, source definition): no clock, no setting, and
//! no neighbour in the batch has a say. One bad row never costs its neighbours; no payload stops the decoder.
//!
//! A payload is one JSON object (RFC 8259, UTF-8) of at most [`MAX_PAYLOAD_BYTES`] with at most [`MAX_DEPTH`] levels of
//! nesting. Keys are matched with column names exactly (case matters). Unknown keys are ignored, but must be valid
//! JSON; a declared column that is given twice in one object is rejected, as nobody can know which value was meant.
//!
//! | declared | accepted | everything else is rejected, for example |
//! |---|---|---|
//! | any | `null` and a missing key are null | either of them where NOT NULL is declared, also inside STRUCT and ARRAY |
//! | `BOOLEAN` | `true`, `false` | `1`, `"true"` |
//! | `SMALLINT` .. `BIGINT` | a number without fraction and exponent, in range | `1.0`, `1e3`, `"12"`, `9223372036854775808` |
//! | `FLOAT`, `DOUBLE` | any number, rounded to the nearest value | `1e400` (would be infinite), `"1.5"`, `NaN` |
//! | `DECIMAL(p,s)` | a number, or a string that holds one, exactly representable: `12.50`, `"12.5"`, `125e-1` | more digits than p or s hold, `"1,5"` |
//! | `VARCHAR` | a string | numbers, `\u0000`, half a surrogate pair |
//! | `DATE` | `"2026-01-31"` | `"2026-1-31"`, `"2026-02-30"`, a date with a time |
//! | `TIMESTAMP` | RFC 3339, also with a space for the `T`, `+0100` for `+01:00`, or no offset, which means UTC; digits beyond the microsecond are cut off; second 60 is the next minute's first | epoch numbers (seconds, milliseconds? nobody can know), a date alone |
//! | `STRUCT` | an object, by these same rules | an array, a string |
//! | `ARRAY` | an array, every item by these same rules | an object, a lone value |
//!
//! The table is part of the state-format version: a change of it raises [`SCHEMA_VERSION`], which stands in `_schema`.
//!
//! After its columns a record is rejected if its event time is null, or later than the record's own timestamp by more
//! than `source.future_limit`. It is *late* if the timestamp is later than the event time by more than
//! `source.late_after`; late events are counted, never dropped.
//!
//! **Identity**: the id is the header `twofold-event-id` where there is one, else the event-id column: the bytes of its
//! text, or the decimal digits of its integer (`12` and `"12"` are the same id). A null id is never a copy.
//! **Clock shift**: a record may carry a correction of its client's clock. The event-time column then holds the
//! corrected time, and lateness and the future limit are judged by it; identity and bucket use the time as sent, which
//! is the corrected one minus `_clock_shift`. So the copies of an event meet in one bucket, however each of them was
//! corrected.
//!
//! Not here: removing copies (`positions::CopyWindow`), storing (`master/`), refusing at the door (`collector`).
//! Why so: Arrow's JSON reader takes `1.9` for a BIGINT and one bad row fails its batch; this reader is strict, takes
//! back the half-read row alone, and writes straight into columns.

mod arrays;
mod batch;
mod cells;
mod column_builder;
mod json;
mod object;
mod reason;
mod reject;
mod rows;
mod scalar;
mod schema;

use arrow::record_batch::RecordBatch;
use views::SourceDefinition;

pub use batch::{RowClass, classes, event_ids, event_keys, late_events, marks, rejections};
pub use json::Cursor;
pub use reason::{REASON_KINDS, Reason};
pub use reject::Rejection;
pub use rows::guarded;
pub use schema::{MAX_DEPTH, MAX_PAYLOAD_BYTES, SCHEMA_VERSION, column, master_schema};

use crate::RecordsError;
use event_log::Record;

/// Decodes records to one row each, in their order; a rejected record has its `_error` and null event columns.
///
/// Pure. Cost: one pass over the payloads; the payloads are copied once, into `_payload`.
///
/// # Errors
/// Only for a defect: a definition that cannot be decoded to, or more than 2 GiB of payloads at once. A record never
/// fails the call.
pub fn decode(source: &SourceDefinition, records: &[Record]) -> Result<RecordBatch, RecordsError> {
    let mut rows = rows::Rows::new(source, records)?;
    records.iter().for_each(|record| rows.push(record));
    rows.finish()
}
