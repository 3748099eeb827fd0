//! Generated events of a source: what its views are tried on before anything is started.
//!
//! In: a source. Out: a few rows as decoding makes them: ordinary ones, one that holds nothing but what NOT NULL asks
//! for, one with empty values, and one each with the largest and the least that JSON can say.
//! Guarantee: the same rows for the same columns, whatever the machine; values are short, and the number of nested ones
//! grows with the depth of a type, not faster.
//! Not here: the plans that they go through (`speed-layer` and `batch-layer` each try their own).

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int32Array,
    Int64Array, ListArray, MapArray, StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::common::{Result, internal_err};

use crate::declared::is_json;
use crate::error::DefinitionError;
use crate::source::SourceDefinition;
use crate::storable::{map_value, nullable_type};

/// What a value is like.
#[derive(Clone, Copy, Debug)]
enum Kind {
    /// One of a few that repeat, by its number.
    Ordinary(i16),
    /// Zero, nothing, no item.
    Empty,
    Largest,
    Least,
}

use Kind::{Empty, Largest, Least, Ordinary};

/// One entry per row; `None`: NULL wherever that is allowed.
const ROWS: [Option<Kind>; 8] = [
    Some(Ordinary(1)),
    Some(Ordinary(2)),
    None,
    Some(Empty),
    Some(Largest),
    Some(Least),
    Some(Ordinary(2)),
    Some(Ordinary(1)),
];

/// 2024-10-04, in microseconds; the record's timestamps are a minute later.
const START: i64 = 1_728_000_000_000_000;
const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
/// The years 1 and 9999: the first and the last that RFC 3339 can say, but for the year 0.
const LEAST_TIME: i64 = -62_135_596_800_000_000;
const LARGEST_TIME: i64 = 253_402_300_799_999_999;
const LEAST_DAY: i32 = -719_162;
const LARGEST_DAY: i32 = 2_932_896;

/// Eight events in the columns of `source.events`, of partition 0, offsets 0 to 7.
///
/// # Errors
/// [`DefinitionError`] for a type that no pipeline file can declare: a defect of the caller.
pub fn sample_events(source: &SourceDefinition) -> Result<RecordBatch, DefinitionError> {
    let mut columns = Vec::with_capacity(source.events.fields().len());
    for (at, field) in source.declared.fields().iter().enumerate() {
        let rows = rows_for(field, &ROWS);
        // An event has a time, and none that lies far ahead of its record.
        let time = |row: Option<Kind>| match row {
            None | Some(Largest) => Some(Ordinary(1)),
            row => row,
        };
        let rows = if at == source.event_time { rows.into_iter().map(time).collect() } else { rows };
        columns.push(values(field, &rows)?);
    }
    let places = 0..ROWS.len() as i64;
    let timestamps = places.clone().map(|place| START + MINUTE + place * SECOND);
    columns.push(Arc::new(Int32Array::from_value(0, ROWS.len())));
    columns.push(Arc::new(Int64Array::from_iter_values(places)));
    columns.push(Arc::new(TimestampMicrosecondArray::from_iter_values(timestamps).with_timezone("UTC")));
    let events = RecordBatch::try_new(Arc::clone(&source.events), columns);
    events.map_err(|error| DefinitionError::from(datafusion::error::DataFusionError::from(error)))
}

/// The rows of a column or of a field of a STRUCT: with a value where it must not be NULL.
fn rows_for(field: &Field, rows: &[Option<Kind>]) -> Vec<Option<Kind>> {
    rows.iter().map(|row| row.or((!field.is_nullable()).then_some(Ordinary(0)))).collect()
}

impl Kind {
    fn pick<T>(self, ordinary: impl Fn(i16) -> T, empty: T, largest: T, least: T) -> T {
        match self {
            Ordinary(number) => ordinary(number),
            Empty => empty,
            Largest => largest,
            Least => least,
        }
    }
}

fn values(field: &Field, rows: &[Option<Kind>]) -> Result<ArrayRef> {
    Ok(match field.data_type() {
        DataType::Boolean => {
            let value = |kind: Kind| kind.pick(|number| number == 1, false, true, false);
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<BooleanArray>())
        }
        DataType::Int16 => {
            let value = |kind: Kind| kind.pick(|number| number, 0, i16::MAX, i16::MIN);
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<Int16Array>())
        }
        DataType::Int32 => {
            let value = |kind: Kind| kind.pick(i32::from, 0, i32::MAX, i32::MIN);
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<Int32Array>())
        }
        DataType::Int64 => {
            let value = |kind: Kind| kind.pick(i64::from, 0, i64::MAX, i64::MIN);
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<Int64Array>())
        }
        DataType::Float32 => {
            let value = |kind: Kind| kind.pick(|number| f32::from(number) + 0.5, 0.0, f32::MAX, f32::MIN);
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<Float32Array>())
        }
        DataType::Float64 => {
            let value = |kind: Kind| kind.pick(|number| f64::from(number) + 0.5, 0.0, f64::MAX, f64::MIN);
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<Float64Array>())
        }
        DataType::Decimal128(precision, scale) => {
            let largest = 10_i128.pow(u32::from(*precision)) - 1;
            let value = |kind: Kind| kind.pick(i128::from, 0, largest, -largest);
            let unscaled = rows.iter().map(|row| row.map(value)).collect::<Decimal128Array>();
            Arc::new(unscaled.with_precision_and_scale(*precision, *scale)?)
        }
        DataType::Utf8 if is_json(field) => Arc::new(rows.iter().map(|row| row.map(json)).collect::<StringArray>()),
        DataType::Utf8 => {
            let text = |text: &str| text.to_owned();
            let value =
                |kind: Kind| kind.pick(|number| format!("v{number}"), text(""), text("\u{10ffff}z"), text("-1"));
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<StringArray>())
        }
        DataType::Date32 => {
            let value = |kind: Kind| kind.pick(|number| 20_000 + i32::from(number), 0, LARGEST_DAY, LEAST_DAY);
            Arc::new(rows.iter().map(|row| row.map(value)).collect::<Date32Array>())
        }
        DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => {
            let ordinary = |number: i16| START + i64::from(number) * SECOND;
            let value = |kind: Kind| kind.pick(ordinary, 0, LARGEST_TIME, LEAST_TIME);
            let micros = rows.iter().map(|row| row.map(value)).collect::<TimestampMicrosecondArray>();
            Arc::new(micros.with_timezone("UTC"))
        }
        DataType::List(item) => list(item, rows)?,
        data_type @ DataType::Map(..) => map(data_type, rows)?,
        data_type @ DataType::Struct(_) => structs(data_type, rows)?,
        other => return internal_err!("no sample is known for the type {other}"),
    })
}

/// Objects, one of them empty, and a lone number: JSON is of any kind.
fn json(kind: Kind) -> String {
    let ordinary = |number: i16| format!(r#"{{"k": "v{number}", "n": {number}, "items": [{number}, null]}}"#);
    let largest = r#"{"k": "\uffffz", "n": 9223372036854775807, "f": 1.7e308, "in": {"k": true}}"#;
    kind.pick(ordinary, "{}".to_owned(), largest.to_owned(), "-9223372036854775808".to_owned())
}

/// One value of the row's kind in each list or map, and in ordinary ones a NULL behind it.
fn items(rows: &[Option<Kind>]) -> Vec<Vec<Option<Kind>>> {
    let items_of = |row: &Option<Kind>| match row {
        None | Some(Empty) => Vec::new(),
        Some(Ordinary(_)) => vec![*row, None],
        Some(_) => vec![*row],
    };
    rows.iter().map(items_of).collect()
}

fn list(item: &Field, rows: &[Option<Kind>]) -> Result<ArrayRef> {
    let items = items(rows);
    let offsets = OffsetBuffer::<i32>::from_lengths(items.iter().map(Vec::len));
    let values = values(item, &items.concat())?;
    let field = Arc::new(Field::new("element", nullable_type(item.data_type()), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, Some(nulls_of(rows)))?))
}

/// Its first key is `k`, its second `n`.
fn map(data_type: &DataType, rows: &[Option<Kind>]) -> Result<ArrayRef> {
    let (DataType::Map(declared, _), DataType::Map(stored, is_sorted)) = (data_type, nullable_type(data_type)) else {
        return internal_err!("{data_type} is not a MAP");
    };
    let (Some(value), DataType::Struct(fields)) = (map_value(declared), stored.data_type()) else {
        return internal_err!("{data_type} is a MAP without values");
    };
    let items = items(rows);
    let offsets = OffsetBuffer::<i32>::from_lengths(items.iter().map(Vec::len));
    let keys: Vec<&str> = items.iter().flat_map(|items| ["k", "n"].into_iter().take(items.len())).collect();
    let keys: ArrayRef = Arc::new(StringArray::from_iter_values(keys));
    let entries = StructArray::try_new(fields.clone(), vec![keys, values(value, &items.concat())?], None)?;
    Ok(Arc::new(MapArray::try_new(stored, offsets, entries, Some(nulls_of(rows)), is_sorted)?))
}

/// A STRUCT of the row's kind; an empty one is there, but its fields are NULL where they may be.
fn structs(data_type: &DataType, rows: &[Option<Kind>]) -> Result<ArrayRef> {
    let (DataType::Struct(declared), DataType::Struct(fields)) = (data_type, nullable_type(data_type)) else {
        return internal_err!("{data_type} is not a STRUCT");
    };
    let inside: Vec<Option<Kind>> = rows.iter().map(|row| row.filter(|kind| !matches!(kind, Empty))).collect();
    let children = declared.iter().map(|field| values(field, &rows_for(field, &inside)));
    let children = children.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new(fields, children, Some(nulls_of(rows)))?))
}

fn nulls_of(rows: &[Option<Kind>]) -> NullBuffer {
    NullBuffer::from(rows.iter().map(Option::is_some).collect::<Vec<bool>>())
}
