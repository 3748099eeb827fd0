//! Sources: what is declared of an event stream, and the columns that the log adds to it.

use std::collections::BTreeSet;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
use positions::{BorderRule, SchemaId, SourceName};

use crate::time_pattern::TimePattern;

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
    /// The value is NULL where the column may be, and the rest of the record counts; values lost so are counted.
    #[default]
    Null,
    /// The record is rejected: the source is strict.
    Reject,
}

/// How the instants of a column are written, where their form does not tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeFormat {
    /// A number of this unit since 1970, in JSON or as text; other text by the usual forms.
    Epoch(EpochUnit),
    /// Text by a pattern and nothing else.
    Pattern(TimePattern),
}

/// The unit of a number since 1970-01-01T00:00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochUnit {
    /// 1769860800
    Seconds,
    /// 1769860800000
    Millis,
    /// 1769860800000000
    Micros,
    /// 1769860800000000000
    Nanos,
}

impl TimeFormat {
    const EPOCHS: [(&str, EpochUnit); 4] = [
        ("epoch_s", EpochUnit::Seconds),
        ("epoch_ms", EpochUnit::Millis),
        ("epoch_us", EpochUnit::Micros),
        ("epoch_ns", EpochUnit::Nanos),
    ];

    /// The format that a pipeline file names: a unit, or a pattern.
    ///
    /// # Errors
    /// What is wrong with the pattern.
    pub fn of(text: &str) -> Result<Self, String> {
        let unit = Self::EPOCHS.iter().find(|(name, _)| *name == text);
        unit.map_or_else(|| TimePattern::new(text).map(Self::Pattern), |(_, unit)| Ok(Self::Epoch(*unit)))
    }

    /// As a pipeline file writes it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Epoch(unit) => Self::EPOCHS.iter().find(|(_, known)| known == unit).map_or("", |(name, _)| *name),
            Self::Pattern(pattern) => pattern.as_str(),
        }
    }
}

/// Where a column stands in an event, and how it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ColumnMapping {
    /// The keys that lead to the value, from the event inwards; empty: the key of the column's own name.
    pub path: Vec<String>,
    /// How an instant is written.
    pub format: Option<TimeFormat>,
}

/// What a record holds around its events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Envelope {
    /// Nothing: a record is an event, an array of events, or several events one after the other.
    #[default]
    None,
    /// The event, or the array of events, stands behind these keys. A record without the first of them is an event
    /// itself.
    At(Vec<String>),
    /// A change as Debezium writes it: what was inserted is the event.
    Debezium,
}

/// Which layers compute the views of a source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SourceMode {
    /// Both: the speed layer what is new, the batch layer everything again.
    #[default]
    Lambda,
    /// The speed layer alone: views are never recomputed, and what changes them is another replay of the log.
    Kappa,
}

impl SourceMode {
    /// As a pipeline file writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lambda => "lambda",
            Self::Kappa => "kappa",
        }
    }
}

/// Partitions of a topic that is made for a source which says nothing of them.
const DEFAULT_PARTITIONS: i32 = 4;

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
    /// Where each declared column stands in an event: as many as are declared, in their order.
    pub mapping: Vec<ColumnMapping>,
    /// What a record holds around its events.
    pub envelope: Envelope,
    /// Index of the event-time column in `events`: a declared one, or `_timestamp`, the record's own.
    pub event_time: usize,
    /// Indexes of the columns that identify an event together; empty where events have no id.
    pub event_id: Vec<usize>,
    /// How long an earlier copy is remembered by the speed layer, in log time.
    pub horizon: Duration,
    /// An event older than its record's timestamp by more than this is late.
    pub late_after: Duration,
    /// An event further in the future of its record's timestamp than this is rejected.
    pub future_limit: Duration,
    /// Where runs must end.
    pub border: BorderRule,
    /// The least number of partitions that the topic is to have, where the pipeline file writes one; `None`: as many as
    /// it has.
    pub partitions: Option<i32>,
    /// What becomes of a value that its column cannot take. The event-time column never is NULL for it.
    pub unreadable: Unreadable,
    /// How payloads are written.
    pub format: SourceFormat,
    /// Records that name one of these schemas are rejected, whether a registry has it or not. Empty where payloads have
    /// no schemas.
    pub reject_schemas: BTreeSet<SchemaId>,
    /// Which layers compute its views.
    pub mode: SourceMode,
}

impl SourceDefinition {
    /// Whether the batch layer computes its views.
    pub fn is_recomputed(&self) -> bool {
        self.mode == SourceMode::Lambda
    }

    /// The name of the event-time column.
    pub fn event_time_name(&self) -> &str {
        self.events.field(self.event_time).name()
    }

    /// The keys, from the outermost in, under which a payload holds its event or an array of events; empty: the payload
    /// is the event, or it stands in an envelope of another kind.
    pub fn events_at(&self) -> &[String] {
        match &self.envelope {
            Envelope::At(path) => path,
            Envelope::None | Envelope::Debezium => &[],
        }
    }

    /// Whether an event happened when its record says, so that no column of the event has a say.
    pub fn is_timed_by_record(&self) -> bool {
        self.event_time >= self.declared.fields().len()
    }

    /// The names of the columns that identify an event.
    pub fn event_id_names(&self) -> impl Iterator<Item = &str> {
        self.event_id.iter().map(|at| self.declared.field(*at).name().as_str())
    }

    /// All that decides what a record is read as, beside the names and types of columns: one text, in which equal
    /// definitions are equal and others differ.
    pub fn reading(&self) -> String {
        let names: Vec<&str> = self.event_id_names().collect();
        let columns = self.declared.fields().iter().zip(&self.mapping);
        let mapped = columns.filter(|(_, mapping)| **mapping != ColumnMapping::default());
        let mut mapped: Vec<String> = mapped
            .map(|(field, ColumnMapping { path, format })| format!("{} {path:?} {format:?}", field.name()))
            .collect();
        // The order of columns has no say.
        mapped.sort_unstable();
        format!(
            "{}\n{names:?}\n{}\n{}\n{:?}\n{:?}\n{:?} {:?}\n{}",
            self.event_time_name(),
            self.late_after.as_micros(),
            self.future_limit.as_micros(),
            self.unreadable,
            self.envelope,
            self.format,
            self.reject_schemas,
            mapped.join("\n"),
        )
    }

    /// Partitions that the topic is made with where it is missing.
    pub fn partitions_at_creation(&self) -> i32 {
        self.partitions.unwrap_or(DEFAULT_PARTITIONS)
    }
}
