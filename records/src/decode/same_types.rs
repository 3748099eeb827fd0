//! Columns of a file that are those of the source as they stand: which decoding could only give back unchanged.
//!
//! Guarantee: pure. Columns come out only where the text that Arrow's JSON writer makes of every value is read back as
//! that very value, by the rules of the module above; `None` leaves the rows to the decoder. A value is judged where
//! its type does not say enough: instants and days beyond the years 0 to 9999, numbers that JSON cannot write.
//! Why `None` is for whole batches: a file of the right types has no such value, and another one costs what its text
//! costs.
//!
//! | file | column | why it is the same |
//! |---|---|---|
//! | BOOLEAN, integers no wider than the column | the same, a wider integer | digits are exact |
//! | text, also of a dictionary | VARCHAR (not JSON) | what is escaped is unescaped |
//! | 64-bit floating numbers that are finite | DOUBLE | the shortest digits that read back as the number |
//! | days | DATE without a format | `2026-01-31` |
//! | instants of any unit, in UTC | TIMESTAMP without a format | RFC 3339; digits beyond the microsecond are cut off |
//! | NULL | NULL allowed, no DEFAULT | the key is left out, and no other key comes near its name |

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, TimestampMicrosecondArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{
    DataType, Date32Type, Field, Float64Type, Schema, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use views::{ColumnMapping, Envelope, SourceDefinition, SourceFormat, declared_extras};

use super::rows::INSTANTS;

const DAY_MICROS: i64 = 86_400_000_000;
/// The days of [`INSTANTS`].
const DAYS: Range<i64> = INSTANTS.start / DAY_MICROS..INSTANTS.end / DAY_MICROS;

/// The declared columns of `source` from a batch of a file, in the types of `schema`; `None`: decode.
pub(super) fn same_columns(
    source: &SourceDefinition,
    schema: &Schema,
    rows: &RecordBatch,
) -> Result<Option<Vec<ArrayRef>>, ArrowError> {
    let is_plain = source.format == SourceFormat::Json
        && source.envelope == Envelope::None
        && !source.is_timed_by_record()
        && source.mapping.iter().all(|mapping| *mapping == ColumnMapping::default());
    // What is nested may be deeper than a payload may be.
    if !is_plain || rows.schema_ref().fields().iter().any(|field| field.data_type().is_nested()) {
        return Ok(None);
    }
    let mut columns = Vec::with_capacity(schema.fields().len());
    for (declared, stored) in source.declared.fields().iter().zip(schema.fields()) {
        let Some(column) = same_column(declared, stored.data_type(), rows)? else { return Ok(None) };
        columns.push(column);
    }
    Ok(Some(columns))
}

fn same_column(declared: &Field, stored: &DataType, rows: &RecordBatch) -> Result<Option<ArrayRef>, ArrowError> {
    if !declared_extras(declared).is_empty() {
        return Ok(None);
    }
    let fields = rows.schema_ref().fields().iter().enumerate();
    let near: Vec<usize> =
        fields.filter(|(_, field)| field.name().eq_ignore_ascii_case(declared.name())).map(|(at, _)| at).collect();
    let column = match near[..] {
        [] => Some(new_null_array(stored, rows.num_rows())),
        [one] if rows.schema_ref().field(one).name() == declared.name() => as_stored(rows.column(one), stored)?,
        // A key of another case is read where the one of the very name is missing.
        _ => None,
    };
    Ok(column.filter(|column| declared.is_nullable() || column.logical_null_count() == 0))
}

fn as_stored(column: &ArrayRef, stored: &DataType) -> Result<Option<ArrayRef>, ArrowError> {
    let same = || Ok(Some(Arc::clone(column)));
    match (column.data_type(), stored) {
        (DataType::Boolean, DataType::Boolean) | (DataType::Utf8, DataType::Utf8) => same(),
        (DataType::Float64, DataType::Float64) => {
            let is_finite = column.as_primitive::<Float64Type>().iter().flatten().all(f64::is_finite);
            Ok(is_finite.then(|| Arc::clone(column)))
        }
        (DataType::Date32, DataType::Date32) => {
            let mut days = column.as_primitive::<Date32Type>().iter().flatten();
            Ok(days.all(|day| DAYS.contains(&i64::from(day))).then(|| Arc::clone(column)))
        }
        (DataType::Timestamp(unit, _), DataType::Timestamp(TimeUnit::Microsecond, zone)) => {
            Ok(instants(column, *unit).map(|instants| Arc::new(instants.with_timezone_opt(zone.clone())) as ArrayRef))
        }
        (found, DataType::Utf8) if is_text(found) => cast(column, stored).map(Some),
        (found, wanted) if found.is_integer() && found == wanted => same(),
        (found, wanted) if is_wider(found, wanted) => cast(column, wanted).map(Some),
        _ => Ok(None),
    }
}

/// Text in another layout.
fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => **values == DataType::Utf8 || is_text(values),
        _ => false,
    }
}

/// Whether `to` holds every number of `from`.
fn is_wider(from: &DataType, to: &DataType) -> bool {
    use DataType::{Int8, Int16, Int32, Int64, UInt8, UInt16, UInt32};
    matches!(
        (from, to),
        (Int8 | UInt8, Int16 | Int32 | Int64) | (Int16 | UInt16, Int32 | Int64) | (Int32 | UInt32, Int64)
    )
}

/// Instants in microseconds; `None` where one of them lies outside the years that text can name.
fn instants(column: &ArrayRef, unit: TimeUnit) -> Option<TimestampMicrosecondArray> {
    let micros: TimestampMicrosecondArray = match unit {
        TimeUnit::Second => column.as_primitive::<TimestampSecondType>().unary_opt(|time| time.checked_mul(1_000_000)),
        TimeUnit::Millisecond => {
            column.as_primitive::<TimestampMillisecondType>().unary_opt(|time| time.checked_mul(1_000))
        }
        TimeUnit::Microsecond => column.as_primitive::<TimestampMicrosecondType>().clone(),
        TimeUnit::Nanosecond => column.as_primitive::<TimestampNanosecondType>().unary(|time| time.div_euclid(1_000)),
    };
    let is_whole = micros.null_count() == column.null_count();
    (is_whole && micros.iter().flatten().all(|time| INSTANTS.contains(&time))).then_some(micros)
}
