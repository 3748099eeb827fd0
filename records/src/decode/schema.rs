//! What records are decoded to: the columns, the version of the rules, and the limits that are part of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use positions::{TimestampMicros, fingerprint};
use views::SourceDefinition;

/// The version of the rules by which records are read.
///
/// 2: values in other forms than the type's own are taken where they can mean nothing else, and a column from the only
/// key that differs in case.
/// 3: JSON behind the five bytes by which a serializer names its schema.
const RULES: u32 = 3;

/// What the rows of a source are read by, as a number that is stored with every row: the rules, and what the source's
/// definition says of columns, event time, identity, limits, unreadable values and format. Rows of another reading are
/// read again from their payload (`master::reading`), so that a change changes both layers at once. The order of
/// columns has no say.
pub fn reading_of(source: &SourceDefinition) -> i32 {
    let name = |at: usize| source.declared.field(at).name().as_str();
    let column = |field: &Arc<Field>| format!("{} {} {}", field.name(), field.data_type(), field.is_nullable());
    let mut columns: Vec<String> = source.declared.fields().iter().map(column).collect();
    columns.sort_unstable();
    let text = format!(
        "{RULES}\n{}\n{}\n{}\n{}\n{:?}\n{:?} {:?}\n{}",
        name(source.event_time),
        source.event_id.map_or("", name),
        source.late_after.as_micros(),
        source.future_limit.as_micros(),
        source.unreadable,
        source.format,
        source.reject_schemas,
        columns.join("\n"),
    );
    // Any stable hash would do; that of records is at hand.
    let hash = fingerprint(TimestampMicros(0), text.as_bytes()).0;
    i32::try_from(hash & 0x7fff_ffff).expect("31 bits are a positive i32")
}

/// The largest payload that can be an event. Not a setting: what a record decodes to must not depend on one.
pub const MAX_PAYLOAD_BYTES: usize = 1024 * 1024;

/// How deep objects and arrays may be nested in a payload, the event's own object included. Not a setting either.
pub const MAX_DEPTH: usize = 64;

/// Columns of the master dataset behind those of `SourceDefinition::events`.
pub mod column {
    /// The payload as received, BINARY.
    pub const PAYLOAD: &str = "_payload";
    /// Why the record was rejected, VARCHAR; null for a good one.
    pub const ERROR: &str = "_error";
    /// Correction of the client's clock in microseconds, BIGINT; null without.
    pub const CLOCK_SHIFT: &str = "_clock_shift";
    /// What the row was read by ([`reading_of`](super::reading_of)), INT.
    pub const SCHEMA: &str = "_schema";
    /// Whether the event was late, BOOLEAN; null for a rejected record.
    pub const LATE: &str = "_late";
    /// The event's identity of 16 bytes (`positions::EventKey`, big endian), BINARY; null without an id: never a copy.
    pub const EVENT_KEY: &str = "_event_key";
    /// The id that a header of the record gave, BINARY; null without. Those in a column are in the payload.
    pub const HEADER_ID: &str = "_header_id";
}

/// The schema of decoded batches and of the master dataset: `source.events`, then `_payload`, `_error`,
/// `_clock_shift`, `_schema`, `_late`, `_event_key`, `_header_id`. All columns are nullable.
pub fn master_schema(source: &SourceDefinition) -> SchemaRef {
    let own = [
        (column::PAYLOAD, DataType::Binary),
        (column::ERROR, DataType::Utf8),
        (column::CLOCK_SHIFT, DataType::Int64),
        (column::SCHEMA, DataType::Int32),
        (column::LATE, DataType::Boolean),
        (column::EVENT_KEY, DataType::Binary),
        (column::HEADER_ID, DataType::Binary),
    ];
    let own = own.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
    let fields: Vec<_> = source.events.fields().iter().cloned().chain(own).collect();
    Arc::new(Schema::new(fields))
}
