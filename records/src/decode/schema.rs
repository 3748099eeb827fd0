//! What records are decoded to: the columns, the version of the rules, and the limits that are part of them.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use views::{SourceDefinition, Unreadable};

/// The version of the rules by which records are read, stored with every row. Rows of another version are read again
/// from their payload (`master::reading`), so that a change of the rules changes both layers at once.
///
/// 2: values in other forms than the type's own are taken where they can mean nothing else, and a column from the only
/// key that differs in case.
pub const SCHEMA_VERSION: i32 = 2;

/// What stands in `_schema` of the rows of a source: [`SCHEMA_VERSION`], and whether values that cannot be read are
/// NULL. So rows are read again, too, when a source changes its mind about that.
pub fn rules_of(source: &SourceDefinition) -> i32 {
    match source.unreadable {
        Unreadable::Reject => SCHEMA_VERSION,
        Unreadable::Null => SCHEMA_VERSION + NULL_RULES,
    }
}

/// Above every version there will be.
const NULL_RULES: i32 = 1_000_000;

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
    /// The rules that decoded the row ([`rules_of`](super::rules_of) its source), INT.
    pub const SCHEMA: &str = "_schema";
    /// Whether the event was late, BOOLEAN; null for a rejected record.
    pub const LATE: &str = "_late";
    /// The event's identity of 16 bytes (`positions::EventKey`, big endian), BINARY; null without an id: never a copy.
    pub const EVENT_KEY: &str = "_event_key";
}

/// The schema of decoded batches and of the master dataset: `source.events`, then `_payload`, `_error`,
/// `_clock_shift`, `_schema`, `_late`, `_event_key`. All columns are nullable.
pub fn master_schema(source: &SourceDefinition) -> SchemaRef {
    let own = [
        (column::PAYLOAD, DataType::Binary),
        (column::ERROR, DataType::Utf8),
        (column::CLOCK_SHIFT, DataType::Int64),
        (column::SCHEMA, DataType::Int32),
        (column::LATE, DataType::Boolean),
        (column::EVENT_KEY, DataType::Binary),
    ];
    let own = own.map(|(name, data_type)| Arc::new(Field::new(name, data_type, true)));
    let fields: Vec<_> = source.events.fields().iter().cloned().chain(own).collect();
    Arc::new(Schema::new(fields))
}
