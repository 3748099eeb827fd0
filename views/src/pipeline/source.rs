//! CREATE UNBOUNDED EXTERNAL TABLE: an event stream and its options.
//!
//! | option | default | meaning |
//! |---|---|---|
//! | `event_time` | required | the TIMESTAMP that says when an event happened: a column, a field of a STRUCT, or `_timestamp` |
//! | `event_id` | none | the VARCHAR or integer column, or several, that identify an event |
//! | `events_at` | none | the path to the event, or the array of events, in a record |
//! | `envelope` | none | `debezium`: records are changes as Debezium writes them |
//! | `horizon` | `10 minutes` | how long the speed layer remembers an event, to drop copies |
//! | `late_after` | `1 minute` | older than its record by more than this, an event is late |
//! | `future_limit` | `1 hour` | further in the future of its record than this, an event is rejected |
//! | `grid` | `4096` | every multiple of this many offsets is a border between runs |
//! | `gap` | `30s` | a silence of this length is a border too |
//! | `partitions` | as many as the topic has; made with `4` | the least number of partitions that the topic is to have |
//! | `strict` | `false` | `true`: a value that its column cannot take rejects the record, also where it may be NULL |
//! | `reject_schemas` | none | ids of schemas, with commas between: records that name one are rejected |
//! | `mode` | `lambda` | `kappa`: the speed layer alone computes the views of the source |

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::sql::parser::CreateExternalTable;

use super::columns::{Columns, check_declared_name, read_columns};
use super::findings::{Findings, known_names};
use super::options::{OptionValue, table_options};
use super::path::read_path;
use super::statements::Located;
use crate::declared::{default_of, is_json};
use crate::source::{ColumnMapping, Envelope, SourceDefinition, SourceFormat, SourceMode, Unreadable, column};
use crate::storable::{nullable_type, utc_micros};
use positions::{BorderRule, SourceName};

const OPTIONS: &[&str] = &[
    "event_time",
    "event_id",
    "events_at",
    "envelope",
    "horizon",
    "late_after",
    "future_limit",
    "grid",
    "gap",
    "partitions",
    "strict",
    "reject_schemas",
    "mode",
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
    let mut columns = read_columns(&table.columns, statement, findings)?;
    let event_time = event_time(&mut columns, &settings, statement, findings);
    let event_id = event_id(&mut columns, &settings, findings);
    let declared: SchemaRef = Arc::new(columns.schema);
    let mut source = SourceDefinition {
        name: SourceName::new(name),
        topic: topic.unwrap_or_default(),
        events: events_schema(&declared),
        // Behind the declared columns, those of the log begin.
        event_time: event_time.index(declared.fields().len()),
        event_id,
        declared,
        mapping: columns.mapping,
        envelope: Envelope::None,
        horizon: Duration::from_secs(600),
        late_after: Duration::from_secs(60),
        future_limit: Duration::from_secs(3600),
        border: BorderRule { grid: 4096, gap: Duration::from_secs(30) },
        partitions: None,
        unreadable: Unreadable::default(),
        format,
        reject_schemas: BTreeSet::new(),
        mode: SourceMode::default(),
    };
    for setting in &settings {
        apply(setting, &mut source, findings);
    }
    if source.is_timed_by_record() && !source.event_id.is_empty() {
        let line = statement.line_of("event_id");
        let hint = "name an event_time that the event carries, or leave event_id out";
        let problem = "a copy has another record timestamp: by id and that time it is never recognised";
        findings.add(line, "event_id", problem, hint);
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
            source.partitions = partitions.or(source.partitions);
        }
        "events_at" => match read_path(&setting.value) {
            Ok(_) if source.envelope != Envelope::None => refuse_two_envelopes(setting, findings),
            Ok(path) => source.envelope = Envelope::At(path),
            Err(problem) => setting.refuse(&format!("keys with dots between them: {problem}"), findings),
        },
        "envelope" if !setting.value.eq_ignore_ascii_case("debezium") => {
            setting.refuse("'debezium', or say with events_at where the events stand", findings);
        }
        "envelope" if source.envelope != Envelope::None => refuse_two_envelopes(setting, findings),
        "envelope" => source.envelope = Envelope::Debezium,
        "strict" => match setting.truth(findings) {
            Some(true) => source.unreadable = Unreadable::Reject,
            Some(false) => source.unreadable = Unreadable::Null,
            None => {}
        },
        "reject_schemas" if !source.format.has_schemas() => {
            let hint = "leave it out, or write STORED AS AVRO or STORED AS PROTOBUF";
            findings.add(setting.line, &setting.name, "payloads of a JSON source need no schemas", hint);
        }
        "reject_schemas" => source.reject_schemas = setting.schema_ids(findings).unwrap_or_default(),
        "mode" => {
            let mut known = [SourceMode::Lambda, SourceMode::Kappa].into_iter();
            match known.find(|mode| setting.value.eq_ignore_ascii_case(mode.as_str())) {
                Some(mode) => source.mode = mode,
                None => setting.refuse("'lambda' or 'kappa'", findings),
            }
        }
        _ => {}
    }
}

/// The columns that the log adds behind the declared ones, in their order.
const KEYS: [&str; 3] = [column::PARTITION, column::OFFSET, column::TIMESTAMP];

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
    let keys = KEYS.into_iter().zip([DataType::Int32, DataType::Int64, utc_micros()]);
    let keys = keys.map(|(name, data_type)| Field::new(name, data_type, true));
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

fn refuse_two_envelopes(setting: &OptionValue, findings: &mut Findings) {
    let hint = "keep one of them: envelope says by itself where the event stands";
    findings.add(setting.line, &setting.name, "events_at and envelope exclude each other", hint);
}

/// What says when an event happened.
#[derive(Clone, Copy)]
enum EventTime {
    /// A declared column, by its index.
    Column(usize),
    /// The record's own timestamp.
    Record,
}

impl EventTime {
    /// The index among the declared columns and those that the log adds.
    fn index(self, declared: usize) -> usize {
        match self {
            Self::Column(at) => at,
            Self::Record => declared + KEYS.iter().position(|key| *key == column::TIMESTAMP).unwrap_or_default(),
        }
    }
}

fn event_time(
    columns: &mut Columns,
    settings: &[OptionValue],
    statement: &Located,
    findings: &mut Findings,
) -> EventTime {
    let Some(setting) = settings.iter().find(|setting| setting.name == "event_time") else {
        let hint = "add OPTIONS (event_time 'column') and name a TIMESTAMP column";
        findings.add(statement.line, &statement.head(), "the source has no event_time", hint);
        return EventTime::Record;
    };
    if setting.value == column::TIMESTAMP {
        return EventTime::Record;
    }
    let Some(index) = named_column(columns, &setting.value, setting, findings) else { return EventTime::Record };
    let field = columns.schema.field(index);
    if default_of(field).is_some() {
        let hint = "leave DEFAULT out: an event without a time of its own is rejected";
        findings.add(setting.line, &setting.value, "the event_time has a DEFAULT", hint);
    }
    if field.data_type() != &utc_micros() {
        let hint = "declare the column TIMESTAMP: it reads numbers since 1970 as well as text";
        findings.add(setting.line, &setting.value, "the event_time is not a TIMESTAMP", hint);
    }
    EventTime::Column(index)
}

/// The columns that identify an event, in the order in which they are named.
fn event_id(columns: &mut Columns, settings: &[OptionValue], findings: &mut Findings) -> Vec<usize> {
    let Some(setting) = settings.iter().find(|setting| setting.name == "event_id") else { return Vec::new() };
    let mut named = Vec::new();
    for name in setting.value.split(',').map(str::trim) {
        if name.is_empty() {
            findings.add(
                setting.line,
                &setting.value,
                "event_id names nothing",
                "write columns with commas between them",
            );
            continue;
        }
        let Some(index) = named_column(columns, name, setting, findings) else { continue };
        let field = columns.schema.field(index);
        if default_of(field).is_some() {
            let hint = "leave DEFAULT out: all events without an id would be copies of one";
            findings.add(setting.line, name, "the event_id has a DEFAULT", hint);
        }
        if is_json(field) || (field.data_type() != &DataType::Utf8 && !field.data_type().is_integer()) {
            let hint = "declare the column VARCHAR or BIGINT";
            findings.add(setting.line, name, "the event_id is neither text nor a whole number", hint);
        }
        if named.contains(&index) {
            findings.add(setting.line, name, "event_id names this column twice", "name it once");
        }
        named.push(index);
    }
    named
}

/// The index of a column that an option names. A field of a declared STRUCT becomes a column of its own, called by the
/// path that leads to it.
fn named_column(columns: &mut Columns, name: &str, setting: &OptionValue, findings: &mut Findings) -> Option<usize> {
    if let Ok(index) = columns.schema.index_of(name) {
        return Some(index);
    }
    if let Some((path, field)) = read_path(name).ok().and_then(|path| field_at(columns, &path)) {
        let name = path.join(".");
        let same = columns.schema.fields().iter().position(|known| known.name().eq_ignore_ascii_case(&name));
        if let Some(at) = same {
            if columns.schema.field(at).name() == &name && columns.mapping[at].path == path {
                return Some(at);
            }
            let hint = "give one of the two another name, or name the column itself";
            findings.add(setting.line, &name, "a column of this name is declared, which is read from elsewhere", hint);
            return None;
        }
        check_declared_name(&name, setting.line, findings);
        let field = Arc::new(Field::clone(&field).with_name(name).with_nullable(true));
        let fields = columns.schema.fields().iter().cloned().chain([field]);
        columns.schema = Schema::new(fields.collect::<Vec<_>>());
        columns.mapping.push(ColumnMapping { path, format: None });
        return columns.schema.fields().len().checked_sub(1);
    }
    let known = columns.schema.fields().iter().map(|field| field.name().as_str());
    let hint = format!("{}; a field of a STRUCT is named by its path", known_names(name, known));
    findings.add(setting.line, name, format!("{} names no column", setting.name), hint);
    None
}

/// A field inside a declared STRUCT, and its path in the event.
fn field_at(columns: &Columns, path: &[String]) -> Option<(Vec<String>, FieldRef)> {
    let (first, inner) = path.split_first()?;
    let index = columns.schema.index_of(first).ok().filter(|_| !inner.is_empty())?;
    let mut field = &columns.schema.fields()[index];
    for key in inner {
        let DataType::Struct(fields) = field.data_type() else { return None };
        field = fields.find(key)?.1;
    }
    let mapped = &columns.mapping[index].path;
    let outer = if mapped.is_empty() { std::slice::from_ref(first) } else { mapped };
    Some((outer.iter().chain(inner).cloned().collect(), field.clone()))
}
