//! Sources: what is declared of an event stream, and the columns that the log adds to it.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use positions::{BorderRule, SchemaId, SourceName};

/// Key columns that both layers add to a source's declared columns; every name that starts with `_` is ours.
pub mod column {
    /// The partition of the record, INT.
    pub const PARTITION: &str = "_partition";
    /// The offset of the record, BIGINT.
    pub const OFFSET: &str = "_offset";
    /// The record's timestamp in the log, TIMESTAMP (microseconds, UTC).
    pub const TIMESTAMP: &str = "_timestamp";
    /// The unit of recompute that the event falls into, TIMESTAMP (microseconds, UTC).
    pub const BUCKET: &str = "_bucket";
}

/// What becomes of a value that its column cannot take, such as text in a BIGINT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unreadable {
    /// The record is rejected, and no value is lost unnoticed.
    #[default]
    Reject,
    /// The value is NULL where the column may be, and the rest of the record counts; values lost so are counted.
    Null,
}

impl Unreadable {
    /// As a pipeline file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reject => "reject",
            Self::Null => "null",
        }
    }
}

/// How the payloads of a source's records are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceFormat {
    /// JSON text, also behind the five bytes by which a schema registry's JSON Schema serializer names a schema.
    #[default]
    Json,
    /// Avro behind the id of its schema in a schema registry; or a JSON object.
    Avro,
    /// Protobuf behind the id of its schema in a schema registry; or a JSON object.
    Protobuf,
}

impl SourceFormat {
    /// As a pipeline file writes it behind STORED AS.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "JSON",
            Self::Avro => "AVRO",
            Self::Protobuf => "PROTOBUF",
        }
    }

    /// Whether payloads can be read only with schemas of a registry.
    pub fn has_schemas(self) -> bool {
        self != Self::Json
    }
}

/// An event stream.
#[derive(Clone, Debug, PartialEq)]
pub struct SourceDefinition {
    /// The name in SQL.
    pub name: SourceName,
    /// The topic of the log that holds the events.
    pub topic: String,
    /// The columns as declared, NOT NULL (also inside STRUCT) as declared: what decoding checks against.
    pub declared: SchemaRef,
    /// The declared columns, all nullable, then `_partition` INT, `_offset` BIGINT, `_timestamp` TIMESTAMP: what plans
    /// read. NOT NULL is enforced by decoding alone, because the master dataset also keeps rejected rows.
    pub events: SchemaRef,
    /// Index of the event-time column.
    pub event_time: usize,
    /// Index of the event-id column, where events have one.
    pub event_id: Option<usize>,
    /// How long an earlier copy is remembered by the speed layer, in log time.
    pub horizon: Duration,
    /// An event older than its record's timestamp by more than this is late.
    pub late_after: Duration,
    /// An event further in the future of its record's timestamp than this is rejected.
    pub future_limit: Duration,
    /// Where runs must end.
    pub border: BorderRule,
    /// Partitions that the topic is created with.
    pub partitions: i32,
    /// What becomes of a value that its column cannot take. The event-time column never is NULL for it.
    pub unreadable: Unreadable,
    /// How payloads are written.
    pub format: SourceFormat,
    /// Records that name one of these schemas are rejected, whether a registry has it or not. Empty where payloads have
    /// no schemas.
    pub reject_schemas: BTreeSet<SchemaId>,
}
