//! What records are decoded to: the columns, the version of the rules, and the limits that are part of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use positions::{TimestampMicros, fingerprint};
use views::{SourceDefinition, declared_extras};

/// The version of the rules by which records are read.
///
/// 2: values in other forms than the type's own are taken where they can mean nothing else, and a column from the only
/// key that differs in case.
///
/// 3: a record may hold several events, an empty id is no id; JSON behind the five bytes by which a serializer names
/// its schema.
///
/// 4: a zone's abbreviation may stand behind an offset; a record's timestamp before 1971 is none of a clock.
const RULES: u32 = 4;

/// What the rows of a source are read by, as a number that is stored with every row: the rules, and what the source's
/// definition says of columns (DEFAULT among it, and that text is JSON), event time, identity, limits, unreadable
/// values and format. Rows of another reading are read again from their payload (`master::reading`), so that a change
/// changes both layers at once. The order of columns has no say.
pub fn reading_of(source: &SourceDefinition) -> i32 {
    let column = |field: &Arc<Field>| {
        format!("{} {} {}{}", field.name(), field.data_type(), field.is_nullable(), declared_extras(field))
    };
    let mut columns: Vec<String> = source.declared.fields().iter().map(column).collect();
    columns.sort_unstable();
    number_of(&format!("{RULES}\n{}\n{}", source.reading(), columns.join("\n")))
}

/// What says which schemas the records of a source name, as a number: where it stays as it is, a changed source names
/// the same ones.
pub fn naming_of(source: &SourceDefinition) -> i32 {
    number_of(&format!("{:?} {:?}", source.format.has_schemas(), source.reject_schemas))
}

/// A text as a number that can be stored. Any stable hash would do; that of records is at hand.
fn number_of(text: &str) -> i32 {
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
    /// Which of the events of its record the row is, INT: 0 for the only one, else 1 and so on. The first row of a
    /// record has its payload, and another one that was rejected its own part of it.
    pub const ITEM: &str = "_item";
}

/// The schema of decoded batches and of the master dataset: `source.events`, then `_payload`, `_error`,
/// `_clock_shift`, `_schema`, `_late`, `_event_key`, `_header_id`, `_item`. All columns are nullable.
pub fn master_schema(source: &SourceDefinition) -> SchemaRef {
    let own = [
        (column::PAYLOAD, DataType::Binary),
        (column::ERROR, DataType::Utf8),
        (column::CLOCK_SHIFT, DataType::Int64),
        (column::SCHEMA, DataType::Int32),
        (column::LATE, DataType::Boolean),
        (column::EVENT_KEY, DataType::Binary),
        (column::HEADER_ID, DataType::Binary),
        (column::ITEM, DataType::Int32),
    ];
    let own = own.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
    let fields: Vec<_> = source.events.fields().iter().cloned().chain(own).collect();
    Arc::new(Schema::new(fields))
}
