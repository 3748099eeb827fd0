//! Decoding: record bytes to columns, without loss or not at all, the same for both layers.
//!
//! ```text
//!  Record --> text_of --> Cursor --> envelope --> Object (a Column per column) --> checks of time --> row
//!               |           |           |            |                                 |
//!               +-----------+-----------+------------+---------------------------------+--> Rejection --> `_error`
//! ```
//!
//! In: records of the log, and the schemas that they name. Out: one batch, in their order, of [`master_schema`]: one
//! row for each event of a record, and at least one row per record. [`record_ends`] tells which rows are of one record.
//!
//! Guarantee: one pure function of (payload, headers, record timestamp, source definition, the schema of the payload's
//! id, which never changes): no clock, no setting, and no neighbour in the batch has a say. One bad row never costs its
//! neighbours; no payload stops the decoder.
//!
//! A payload of a source STORED AS AVRO or PROTOBUF that begins with byte 0 names its schema, and is first made JSON
//! text by it ([`wire`]); in a source STORED AS JSON the five bytes of a JSON Schema's id are passed over.
//!
//! A payload that says that something of the record was erased (`positions::Stone`) is read as what is left of it.
//!
//! A payload is JSON (RFC 8259, UTF-8, a byte order mark before it is skipped) of at most [`MAX_PAYLOAD_BYTES`] with at
//! most [`MAX_DEPTH`] levels of nesting: one object, an array of objects, or objects on lines of their own. Each object
//! is an event, or it is the envelope that the source declares (`views::Envelope`). Each event is a row, and judged by
//! itself; a payload that is not JSON is one rejected row, as nobody knows where its next event begins. A key belongs
//! to the column of that very name, or of the path that a column declares; a column that no key leads to takes the only
//! key that differs in the case of ASCII letters. Other keys are ignored, but must be valid JSON; a column that is
//! given twice in one event is rejected, as nobody can know which value was meant.
//!
//! | declared | accepted | everything else is unreadable, for example |
//! |---|---|---|
//! | any | `null` and a missing key are null; with a DEFAULT a missing key is that | either of them where NOT NULL is declared, also inside STRUCT and ARRAY |
//! | `BOOLEAN` | `true`, `false`, `1`, `0`, and their text | `2`, `"yes"`, `""` |
//! | `SMALLINT` .. `BIGINT` | a number that is whole, in range, or its text: `12`, `12.0`, `1.2e1`, `"12"` | `12.5`, `""`, `9223372036854775808` |
//! | `FLOAT`, `DOUBLE` | any number or its text, rounded to the nearest value | `1e400` (would be infinite), `"NaN"`, `"1,5"` |
//! | `DECIMAL(p,s)` | a number or its text, exactly representable: `12.50`, `"12.5"`, `125e-1` | more digits than p or s hold |
//! | `VARCHAR` | a string; a number or truth value as it is written; half a surrogate pair becomes U+FFFD | objects, arrays |
//! | `JSON` | any value, kept as it is written | nothing |
//! | `DATE` | `"2026-01-31"`, `"20260131"`, an instant at midnight UTC, a number of days since 1970 | `"2026-1-31"`, `"2026-02-30"`, `20260131` |
//! | `TIMESTAMP` | the forms of `instant.rs`: ISO 8601, dates of HTTP, seconds to nanoseconds since 1970 | `"31.01.2026"`, `20260131`, a zone by name |
//! | `STRUCT` | an object, by these same rules | an array, a string |
//! | `ARRAY` | an array, every item by these same rules | an object, a lone value |
//! | `MAP` | an object with any keys, every value by these same rules | an array; an object that gives a key twice |
//!
//! The innermost column, field, item or map value that may be NULL is NULL where its value is of the unreadable kinds
//! above, or is a STRUCT in which something that is NOT NULL is null, missing or unreadable; values lost so are counted
//! by column. A record is rejected for what is not JSON, a column given twice, no value or an unreadable one for a
//! column that is NOT NULL, and an event time that cannot be read. An event whose id is NULL so has none. A source that
//! is strict rejects every record with an unreadable value (`views::Unreadable`).
//!
//! A change of these rules raises their version, which is part of what stands in `_schema` ([`reading_of`]), and the
//! state format of views.
//!
//! After its columns a record is rejected if its event time is null, or later than the record's own timestamp (where
//! that may be a clock's: `positions::is_plausible`) by more
//! than `source.future_limit`. It is *late* if the timestamp is later than the event time by more than
//! `source.late_after`; late events are counted, never dropped.
//!
//! **Identity**: the id is the header `twofold-event-id` where there is one, else the event-id column: the bytes of its
//! text, or the decimal digits of its integer (`12` and `"12"` are the same id); of several columns all of them, each
//! with its length. Where one of them is null or empty there is no id, and an event without an id is never a copy.
//! **Clock shift**: a record may carry a correction of its client's clock. The event-time column then holds the
//! corrected time, and lateness and the future limit are judged by it; identity and bucket use the time as sent, which
//! is the corrected one minus `_clock_shift`. So the copies of an event meet in one bucket, however each of them was
//! corrected.
//!
//! Not here: removing copies (`positions::CopyWindow`), storing (`master/`), refusing at the door (`collector`).
//! Why so: Arrow's JSON reader takes `1.9` for a BIGINT and one bad row fails its batch; this reader loses nothing,
//! takes back the half-read row alone, and writes straight into columns.

mod arrays;
mod batch;
mod cells;
mod column_builder;
mod decoder;
mod envelope;
mod erase;
mod imported;
mod instant;
mod json;
mod keys;
mod near_keys;
mod object;
mod reason;
mod reject;
mod rows;
mod same_types;
mod scalar;
mod schema;
mod text;
pub mod wire;

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use views::SourceDefinition;

pub(crate) use batch::is_first;
pub use batch::{
    RowClass, classes, event_ids, event_keys, late_events, marks, payloads, reasons, record_ends, rejected_rows,
    rejections, split_late,
};
pub use decoder::Decoder;
pub(crate) use erase::first_event;
pub use erase::{erase, leave_out};
pub use imported::{ImportDecoder, ImportPlace};
pub use instant::{instant_of_number, instant_of_text};
pub use json::{Cursor, Place};
pub use near_keys::near_keys;
pub use reason::{REASON_KINDS, Reason};
pub use reject::{ERASED, Rejection};
pub use rows::guarded;
pub use schema::{MAX_DEPTH, MAX_PAYLOAD_BYTES, column, master_schema, naming_of, reading_of};

use crate::RecordsError;
use event_log::Record;

/// Decodes records to one row for each of their events, in their order; a record without any is one row with its
/// `_error` and null event columns, and so is each event that cannot be read.
///
/// Pure. Cost: one pass over the payloads; the payloads are copied once, into `_payload`. For many small batches take a
/// [`Decoder`].
///
/// # Errors
/// Only for a defect: a definition that cannot be decoded to, or more than 2 GiB of payloads at once. A record never
/// fails the call.
pub fn decode(source: &SourceDefinition, records: &[Record]) -> Result<RecordBatch, RecordsError> {
    Decoder::new(Arc::new(source.clone())).decode(records)
}
