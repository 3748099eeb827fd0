//! Decoding: record bytes to columns, strictly, the same for both layers.
//!
//! Guarantee: one pure function of (payload, headers, record timestamp, schema). One bad row never costs its neighbours.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use views::SourceDefinition;

use crate::{EventLogError, Record};

/// Columns of the master dataset behind those of `SourceDefinition::events`.
pub mod column {
    /// The payload as received, BINARY.
    pub const PAYLOAD: &str = "_payload";
    /// Why the record was rejected, VARCHAR; null for a good one.
    pub const ERROR: &str = "_error";
    /// Correction of the client's clock in microseconds, BIGINT; null without.
    pub const CLOCK_SHIFT: &str = "_clock_shift";
    /// The version of schema and coercion rules that decoded the row, INT.
    pub const SCHEMA: &str = "_schema";
    /// Whether the event was late, BOOLEAN; null for a rejected record.
    pub const LATE: &str = "_late";
    /// The event's identity of 16 bytes (`views::EventKey`, big endian), BINARY; null without an id: never a copy.
    pub const EVENT_KEY: &str = "_event_key";
}

/// The schema of decoded batches and of the master dataset: `source.events`, then `_payload`, `_error`,
/// `_clock_shift`, `_schema`, `_late`, `_event_key`.
pub fn raw_schema(source: &SourceDefinition) -> SchemaRef {
    let _ = source;
    todo!()
}

/// Decodes records to one row each, in their order; a rejected record has its `_error` and null event columns.
///
/// # Errors
/// Only for a defect: a record never fails the call.
pub fn decode(source: &SourceDefinition, records: &[Record]) -> Result<RecordBatch, EventLogError> {
    let _ = (source, records);
    todo!()
}
