//! Decoding: record bytes to columns, without loss or not at all, the same for both layers.
//!
//! ```text
//!  Record --> text_of --> Cursor --> Object (a Column per declared column) --> checks of time --> row
//!               |           |           |                                          |
//!               +-----------+-----------+------------------------------------------+--> Rejection --> `_error`
//! ```
//!
//! In: records of the log, and the schemas that they name. Out: one batch with exactly one row per record, in their
//! order, of [`master_schema`].
//!
//! Guarantee: one pure function of (payload, headers, record timestamp, source definition, the schema of the payload's
//! id, which never changes): no clock, no setting, and no neighbour in the batch has a say. One bad row never costs its
//! neighbours; no payload stops the decoder.
//!
//! A payload of a source STORED AS AVRO or PROTOBUF that begins with byte 0 names its schema, and is first made JSON
//! text by it ([`wire`]); in a source STORED AS JSON the five bytes of a JSON Schema's id are passed over.
//!
//! A payload is one JSON object (RFC 8259, UTF-8, a byte order mark before it is skipped) of at most
//! [`MAX_PAYLOAD_BYTES`] with at most [`MAX_DEPTH`] levels of nesting. A key belongs to the column of that very name;
//! a column that no key names takes the only key that differs from its name in the case of ASCII letters. Other keys
//! are ignored, but must be valid JSON; a declared column that is given twice in one object is rejected, as nobody can
//! know which value was meant.
//!
//! | declared | accepted | everything else is rejected, for example |
//! |---|---|---|
//! | any | `null` and a missing key are null | either of them where NOT NULL is declared, also inside STRUCT and ARRAY |
//! | `BOOLEAN` | `true`, `false`, `1`, `0`, and their text | `2`, `"yes"`, `""` |
//! | `SMALLINT` .. `BIGINT` | a number that is whole, in range, or its text: `12`, `12.0`, `1.2e1`, `"12"` | `12.5`, `""`, `9223372036854775808` |
//! | `FLOAT`, `DOUBLE` | any number or its text, rounded to the nearest value | `1e400` (would be infinite), `"NaN"`, `"1,5"` |
//! | `DECIMAL(p,s)` | a number or its text, exactly representable: `12.50`, `"12.5"`, `125e-1` | more digits than p or s hold |
//! | `VARCHAR` | a string; a number or truth value as it is written; half a surrogate pair becomes U+FFFD | objects, arrays |
//! | `DATE` | `"2026-01-31"`, `"20260131"`, an instant at midnight UTC, a number of days since 1970 | `"2026-1-31"`, `"2026-02-30"`, `20260131` |
//! | `TIMESTAMP` | the forms of `instant.rs`: ISO 8601, dates of HTTP, seconds to nanoseconds since 1970 | `"31.01.2026"`, `20260131`, a zone by name |
//! | `STRUCT` | an object, by these same rules | an array, a string |
//! | `ARRAY` | an array, every item by these same rules | an object, a lone value |
//!
//! A source may say that unreadable values are NULL (`views::Unreadable`). Then the innermost column, field or item
//! that may be NULL is NULL where its value is of the rejected kinds above, or is a STRUCT in which something that is
//! NOT NULL is null, missing or unreadable. What is not JSON is rejected all the same, and so are a column given
//! twice, no value for a column that is NOT NULL, and an event time that cannot be read. An event whose id is NULL so
//! has none.
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
//! text, or the decimal digits of its integer (`12` and `"12"` are the same id). A null id is never a copy.
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
mod instant;
mod json;
mod object;
mod reason;
mod reject;
mod rows;
mod scalar;
mod schema;
mod text;
pub mod wire;

use arrow::record_batch::RecordBatch;
use views::SourceDefinition;

pub use batch::{RowClass, classes, event_ids, event_keys, late_events, marks, rejections};
pub use json::Cursor;
pub use reason::{REASON_KINDS, Reason};
pub use reject::Rejection;
pub use rows::guarded;
pub use schema::{MAX_DEPTH, MAX_PAYLOAD_BYTES, column, master_schema, reading_of};

use self::wire::{Schemas, first_missing};
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
    decode_counting(source, records).map(|(rows, _)| rows)
}

/// As [`decode`], and tells what was lost: for each declared column, in their order, how many values are NULL because
/// they could not be read. Values inside STRUCT and ARRAY count for their column; those of rejected records do not.
/// Zeros where the source rejects such records.
///
/// # Errors
/// As [`decode`].
pub fn decode_counting(source: &SourceDefinition, records: &[Record]) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
    decode_with(source, &Schemas::none(), records)
}

/// As [`decode_counting`], of records that may name schemas.
///
/// # Errors
/// [`RecordsError::SchemaMissing`]: a record names a schema that is not among `schemas`: learn it and call again.
/// Others as [`decode`].
pub fn decode_with(
    source: &SourceDefinition,
    schemas: &Schemas,
    records: &[Record],
) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
    if let Some(missing) = first_missing(source, schemas, records) {
        return Err(missing.because("it is not known here yet"));
    }
    let mut rows = rows::Rows::new(source, schemas, records)?;
    records.iter().for_each(|record| rows.push(record));
    rows.finish()
}
