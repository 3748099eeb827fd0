//! Decoding loses nothing unnoticed, takes each record for itself, and cannot be stopped by any bytes.

mod defaults;
mod erased;
mod faults;
mod grammar;
mod imported;
mod in_place;
mod mapping;
mod near_keys;
mod reasons;
mod records;
mod several;
mod types;
mod unreadable;
pub mod wire;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ::records::RecordsError;
use ::records::decode::wire::Schemas;
use ::records::decode::{Decoder, column, decode};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Schema, TimeUnit};
use bytes::Bytes;
use event_log::Record;
use positions::{BorderRule, Offset, PartitionId, SourceName, TimestampMicros};
use views::{ColumnMapping, Envelope, SourceDefinition, SourceFormat, SourceMode, Unreadable};

/// 2026-01-31T12:00:00Z: the record timestamp of all tests here.
pub const NOW: i64 = 1_769_860_800_000_000;

/// A TIMESTAMP as pipelines declare it.
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// A source with the column `time` as event time, and these columns after it; `id` is the event id where there is one.
/// It is strict, so that a value which its column cannot take is told by its reason.
pub fn source_with(columns: Vec<Field>) -> SourceDefinition {
    let mut declared = vec![Field::new("time", timestamp(), true)];
    declared.extend(columns);
    let event_id = declared.iter().position(|field| field.name() == "id").into_iter().collect();
    let keys = [
        Field::new(views::column::PARTITION, DataType::Int32, true),
        Field::new(views::column::OFFSET, DataType::Int64, true),
        Field::new(views::column::TIMESTAMP, timestamp(), true),
    ];
    let stored: Fields = declared.iter().map(|field| field.clone().with_nullable(true)).chain(keys).collect();
    SourceDefinition {
        name: SourceName::new("clicks"),
        topic: "clicks".to_owned(),
        mapping: vec![ColumnMapping::default(); declared.len()],
        envelope: Envelope::None,
        declared: Arc::new(Schema::new(declared)),
        events: Arc::new(Schema::new(stored)),
        event_time: 0,
        event_id,
        horizon: Duration::from_secs(3_600),
        late_after: Duration::from_secs(60),
        future_limit: Duration::from_secs(600),
        border: BorderRule { grid: 4_096, gap: Duration::from_secs(30) },
        partitions: None,
        unreadable: Unreadable::Reject,
        format: SourceFormat::Json,
        reject_schemas: BTreeSet::new(),
        mode: SourceMode::Lambda,
    }
}

/// A source of web clicks: text, number, struct, list, id.
pub fn clicks() -> SourceDefinition {
    let geo =
        Fields::from(vec![Field::new("country", DataType::Utf8, false), Field::new("zip", DataType::Int32, true)]);
    source_with(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("page", DataType::Utf8, false),
        Field::new("bytes", DataType::Int64, true),
        Field::new("geo", DataType::Struct(geo), true),
        Field::new("tags", DataType::List(Arc::new(Field::new("element", DataType::Utf8, true))), true),
    ])
}

/// Record number `offset` of partition 0.
pub fn record(offset: i64, payload: impl Into<Bytes>) -> Record {
    Record {
        partition: PartitionId(0),
        offset: Offset(offset),
        timestamp: TimestampMicros(NOW),
        payload: payload.into(),
        event_id: None,
        clock_shift: None,
    }
}

/// The rows of records that name no schemas, and how many values of each declared column are NULL as unreadable.
pub fn decode_counting(source: &SourceDefinition, records: &[Record]) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
    decode_with(source, &Schemas::none(), records)
}

/// The same of records that may name schemas.
pub fn decode_with(
    source: &SourceDefinition,
    schemas: &Schemas,
    records: &[Record],
) -> Result<(RecordBatch, Vec<u64>), RecordsError> {
    Decoder::new(Arc::new(source.clone())).decode_with(schemas, records)
}

/// The row of one payload.
pub fn decode_one(source: &SourceDefinition, payload: impl Into<Bytes>) -> RecordBatch {
    decode(source, &[record(0, payload)]).unwrap()
}

/// Why a row was rejected.
pub fn error(rows: &RecordBatch, row: usize) -> Option<String> {
    let errors = rows.column_by_name(column::ERROR).unwrap().as_string::<i32>();
    errors.is_valid(row).then(|| errors.value(row).to_owned())
}

/// Fails unless the payload is rejected with a reason that holds all of `parts`.
#[track_caller]
pub fn check_rejected(source: &SourceDefinition, payload: impl Into<Bytes>, parts: &[&str]) {
    let payload = payload.into();
    let shown = String::from_utf8_lossy(&payload).chars().take(200).collect::<String>();
    let rows = decode_one(source, payload);
    let Some(error) = error(&rows, 0) else { panic!("accepted: {shown}") };
    for part in parts {
        assert!(error.contains(part), "{shown}\n  was rejected with: {error}\n  which lacks: {part}");
    }
    let event = &rows.columns()[..source.declared.fields().len()];
    assert!(event.iter().all(|column| column.is_null(0)), "a rejected row has null event columns: {rows:?}");
}
