//! CREATE UNBOUNDED EXTERNAL TABLE: an event stream and its options.
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `event_time` | required | the TIMESTAMP column that says when an event happened |
//! | `event_id` | none | the VARCHAR or integer column that identifies an event |
//! | `horizon` | `10 minutes` | how long the speed layer remembers an event, to drop copies |
//! | `late_after` | `1 minute` | older than its record by more than this, an event is late |
//! | `future_limit` | `1 hour` | further in the future of its record than this, an event is rejected |
//! | `grid` | `4096` | every multiple of this many offsets is a border between runs |
//! | `gap` | `30s` | a silence of this length is a border too |
//! | `partitions` | `4` | partitions that the topic is created with |
//! | `unreadable` | `reject` | what becomes of a value that its column cannot take: `reject` or `null` |
//! | `reject_schemas` | none | ids of schemas, with commas between: records that name one are rejected |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::sql::parser::CreateExternalTable;

use super::columns::read_columns;
use super::findings::{Findings, known_names};
use super::options::{OptionValue, table_options};
use super::statements::Located;
use crate::source::{SourceDefinition, SourceFormat, Unreadable, column};
use crate::storable::{nullable_type, utc_micros};
use positions::{BorderRule, SourceName};

const OPTIONS: &[&str] = &[
    "event_time",
    "event_id",
    "horizon",
    "late_after",
    "future_limit",
    "grid",
    "gap",
    "partitions",
    "unreadable",
    "reject_schemas",
];

/// Reads a source; `None` if anything is wrong with it.
pub(super) fn read_source(
    name: &str,
    table: &CreateExternalTable,
    statement: &Located,
    findings: &mut Findings,
) -> Option<SourceDefinition> {
    let before = findings.len();
    super::tables::refuse_clauses(table, statement, findings);
    let format = format(table, statement, findings);
    let topic = topic(table, statement, findings);
    let settings = table_options(table, OPTIONS, statement, findings);
    let schema = read_columns(&table.columns, statement, findings)?;
    let declared: SchemaRef = Arc::new(schema);
    let mut source = SourceDefinition {
        name: SourceName::new(name),
        topic: topic.unwrap_or_default(),
        events: events_schema(&declared),
        event_time: event_time(&declared, &settings, statement, findings).unwrap_or_default(),
        event_id: event_id(&declared, &settings, findings),
        declared,
        horizon: Duration::from_secs(600),
        late_after: Duration::from_secs(60),
        future_limit: Duration::from_secs(3600),
        border: BorderRule { grid: 4096, gap: Duration::from_secs(30) },
        partitions: 4,
        unreadable: Unreadable::Reject,
        format,
        reject_schemas: BTreeSet::new(),
    };
    for setting in &settings {
        apply(setting, &mut source, findings);
    }
    (findings.len() == before).then_some(source)
}

fn apply(setting: &OptionValue, source: &mut SourceDefinition, findings: &mut Findings) {
    match setting.name.as_str() {
        "horizon" => source.horizon = setting.span(findings).unwrap_or(source.horizon),
        "late_after" => source.late_after = setting.span(findings).unwrap_or(source.late_after),
        "future_limit" => source.future_limit = setting.span(findings).unwrap_or(source.future_limit),
        "gap" => match setting.span(findings) {
            Some(Duration::ZERO) => setting.refuse("a span above zero", findings),
            Some(gap) => source.border.gap = gap,
            None => {}
        },
        "grid" => source.border.grid = setting.number(1, 1 << 40, findings).unwrap_or(source.border.grid),
        "partitions" => {
            let partitions = setting.number(1, 1024, findings).and_then(|number| i32::try_from(number).ok());
            source.partitions = partitions.unwrap_or(source.partitions);
        }
        "unreadable" => source.unreadable = setting.unreadable(findings).unwrap_or(source.unreadable),
        "reject_schemas" if !source.format.has_schemas() => {
            let hint = "leave it out, or write STORED AS AVRO or STORED AS PROTOBUF";
            findings.add(setting.line, &setting.name, "payloads of a JSON source need no schemas", hint);
        }
        "reject_schemas" => source.reject_schemas = setting.schema_ids(findings).unwrap_or_default(),
        _ => {}
    }
}

/// How payloads are written; JSON where that is not said in a way that is known.
fn format(table: &CreateExternalTable, statement: &Located, findings: &mut Findings) -> SourceFormat {
    let mut known = [SourceFormat::Json, SourceFormat::Avro, SourceFormat::Protobuf].into_iter();
    let known = known.find(|known| known.as_str().eq_ignore_ascii_case(&table.file_type));
    known.unwrap_or_else(|| {
        let line = statement.line_of(&table.file_type);
        let hint = "write STORED AS JSON, STORED AS AVRO or STORED AS PROTOBUF";
        findings.add(line, &table.file_type, "events are JSON, or Avro or Protobuf of a schema registry", hint);
        SourceFormat::Json
    })
}

/// What plans read: everything nullable, then what the log adds.
fn events_schema(declared: &Schema) -> SchemaRef {
    let columns =
        declared.fields().iter().map(|field| Field::new(field.name(), nullable_type(field.data_type()), true));
    let keys = [
        Field::new(column::PARTITION, DataType::Int32, true),
        Field::new(column::OFFSET, DataType::Int64, true),
        Field::new(column::TIMESTAMP, utc_micros(), true),
    ];
    Arc::new(Schema::new(columns.chain(keys).collect::<Vec<_>>()))
}

fn topic(table: &CreateExternalTable, statement: &Located, findings: &mut Findings) -> Option<String> {
    const HINT: &str = "write LOCATION 'kafka://topic' with letters, digits, `.`, `_` and `-` in the topic; the \
                        brokers are configuration";
    let location = table.locations.first()?;
    let line = statement.line_of(location);
    let topic = location.strip_prefix("kafka://").filter(|_| table.locations.len() == 1);
    let is_plain = |topic: &&str| {
        let is_safe = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        (1..=249).contains(&topic.len()) && topic.chars().all(is_safe) && *topic != "." && *topic != ".."
    };
    let topic = topic.filter(is_plain);
    if topic.is_none() {
        findings.add(line, location, "this location names no topic", HINT);
    }
    topic.map(str::to_owned)
}

fn event_time(
    schema: &Schema,
    settings: &[OptionValue],
    statement: &Located,
    findings: &mut Findings,
) -> Option<usize> {
    let Some(setting) = settings.iter().find(|setting| setting.name == "event_time") else {
        let hint = "add OPTIONS (event_time 'column') and name a TIMESTAMP column";
        findings.add(statement.line, &statement.head(), "the source has no event_time", hint);
        return None;
    };
    let index = named_column(schema, setting, findings)?;
    if schema.field(index).data_type() == &utc_micros() {
        return Some(index);
    }
    let hint = "declare the column TIMESTAMP: it reads numbers since 1970 as well as text";
    findings.add(setting.line, &setting.value, "the event_time is not a TIMESTAMP", hint);
    None
}

fn event_id(schema: &Schema, settings: &[OptionValue], findings: &mut Findings) -> Option<usize> {
    let setting = settings.iter().find(|setting| setting.name == "event_id")?;
    let index = named_column(schema, setting, findings)?;
    let data_type = schema.field(index).data_type();
    if data_type == &DataType::Utf8 || data_type.is_integer() {
        return Some(index);
    }
    let hint = "declare the column VARCHAR or BIGINT";
    findings.add(setting.line, &setting.value, "the event_id is neither text nor a whole number", hint);
    None
}

fn named_column(schema: &Schema, setting: &OptionValue, findings: &mut Findings) -> Option<usize> {
    let index = schema.index_of(&setting.value).ok();
    if index.is_none() {
        let hint = known_names(&setting.value, schema.fields().iter().map(|field| field.name().as_str()));
        findings.add(setting.line, &setting.value, format!("{} names no column", setting.name), hint);
    }
    index
}
