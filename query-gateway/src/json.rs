//! Arrow values as JSON text.
//!
//! | SQL | JSON |
//! |---|---|
//! | integers | number; with [`Integers::Text`] a string where a double could not hold it |
//! | floats | number; `"NaN"`, `"Infinity"`, `"-Infinity"` where JSON has no number |
//! | DECIMAL | string, so that no digit is lost |
//! | TIMESTAMP | string, RFC 3339 in UTC with `Z` |
//! | DATE | string, `YYYY-MM-DD` |
//! | VARCHAR, BOOLEAN, null | string, `true` or `false`, `null` |
//! | BINARY | string of hex digits |
//! | ARRAY, STRUCT | array, object |
//!
//! Guarantee: columns keep their order, which a map of values would not. No text much longer than it may be is ever
//! made: names stand in each object, so a text may be ten thousand times as long as its query.

use std::fmt::Write;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, TimeUnit,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::array_value_to_string;
use chrono::{DateTime, SecondsFormat, Utc};
use edge::{Parameters, Problem};
use positions::TimestampMicros;

use crate::GatewayError;

/// How integers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Integers {
    /// As numbers, all digits.
    #[default]
    Numbers,
    /// As strings where they lie beyond 2^53 - 1 or below -(2^53 - 1), for clients whose numbers are doubles.
    Text,
}

/// Up to here a double holds every integer and no two are the same double.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

impl Integers {
    /// Reads the parameter `integers` that rows and SQL share.
    ///
    /// # Errors
    /// `bad-request` with the words that exist.
    pub(crate) fn take(parameters: &mut Parameters) -> Result<Self, Problem> {
        let words = [("number", Self::Numbers), ("text", Self::Text)];
        Ok(parameters.one_of("integers", &words)?.unwrap_or_default())
    }
}

/// How values are written, and how long a text may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Writing {
    pub integers: Integers,
    pub max_bytes: usize,
}

impl Writing {
    /// # Errors
    /// `too-large` where a text is longer than it may be.
    pub(crate) fn check(self, bytes: usize) -> Result<(), GatewayError> {
        if bytes <= self.max_bytes {
            return Ok(());
        }
        let reason = format!("the answer has more than {} bytes as JSON text", self.max_bytes);
        Err(GatewayError::TooLarge {
            reason,
            hint: "add LIMIT, ask for fewer columns, or name them shorter".to_owned(),
        })
    }
}

/// All rows as a JSON array of objects.
///
/// # Errors
/// `too-large`; else only for a defect.
pub(crate) fn rows_to_json(rows: &RecordBatch, writing: Writing) -> Result<String, GatewayError> {
    let expected = rows.num_rows() * rows.num_columns() * 24 + 2;
    let mut out = String::with_capacity(expected.min(writing.max_bytes));
    let names: Vec<String> = rows.schema().fields().iter().map(|field| quoted(field.name())).collect();
    out.push('[');
    for row in 0..rows.num_rows() {
        if row > 0 {
            out.push(',');
        }
        write_object(&mut out, &names, rows.columns(), row, writing)?;
    }
    out.push(']');
    Ok(out)
}

/// An instant as RFC 3339 in UTC.
pub(crate) fn instant(at: TimestampMicros) -> Option<String> {
    DateTime::<Utc>::from_timestamp_micros(at.0).map(|at| at.to_rfc3339_opts(SecondsFormat::AutoSi, true))
}

fn write_object(
    out: &mut String,
    quoted_names: &[String],
    columns: &[arrow::array::ArrayRef],
    row: usize,
    writing: Writing,
) -> Result<(), GatewayError> {
    writing.check(out.len())?;
    out.push('{');
    for (index, (name, column)) in quoted_names.iter().zip(columns).enumerate() {
        if index > 0 {
            out.push(',');
        }
        out.push_str(name);
        out.push(':');
        write_value(out, column.as_ref(), row, writing)?;
    }
    out.push('}');
    Ok(())
}

fn write_value(out: &mut String, array: &dyn Array, row: usize, writing: Writing) -> Result<(), GatewayError> {
    if array.is_null(row) {
        out.push_str("null");
        return Ok(());
    }
    match array.data_type() {
        DataType::Null => out.push_str("null"),
        DataType::Boolean => out.push_str(if array.as_boolean().value(row) { "true" } else { "false" }),
        DataType::Int8 => number::<Int8Type>(out, array, row),
        DataType::Int16 => number::<Int16Type>(out, array, row),
        DataType::Int32 => number::<Int32Type>(out, array, row),
        DataType::Int64 => {
            let value = array.as_primitive::<Int64Type>().value(row);
            integer(out, value, value.unsigned_abs(), writing.integers);
        }
        DataType::UInt8 => number::<UInt8Type>(out, array, row),
        DataType::UInt16 => number::<UInt16Type>(out, array, row),
        DataType::UInt32 => number::<UInt32Type>(out, array, row),
        DataType::UInt64 => {
            let value = array.as_primitive::<UInt64Type>().value(row);
            integer(out, value, value, writing.integers);
        }
        DataType::Float32 => float(out, f64::from(array.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => float(out, array.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => out.push_str(&quoted(array.as_string::<i32>().value(row))),
        DataType::LargeUtf8 => out.push_str(&quoted(array.as_string::<i64>().value(row))),
        DataType::Utf8View => out.push_str(&quoted(array.as_string_view().value(row))),
        DataType::Timestamp(unit, _) => match timestamp(array, *unit, row).and_then(instant) {
            Some(text) => out.push_str(&quoted(&text)),
            None => out.push_str(&quoted(&array_value_to_string(array, row)?)),
        },
        DataType::List(_) => list(out, array.as_list::<i32>().value(row).as_ref(), writing)?,
        DataType::LargeList(_) => list(out, array.as_list::<i64>().value(row).as_ref(), writing)?,
        DataType::FixedSizeList(_, _) => list(out, array.as_fixed_size_list().value(row).as_ref(), writing)?,
        DataType::Struct(fields) => {
            let names: Vec<String> = fields.iter().map(|field| quoted(field.name())).collect();
            write_object(out, &names, array.as_struct().columns(), row, writing)?;
        }
        // Decimals, dates, binary and the rest: Arrow's own text.
        _ => out.push_str(&quoted(&array_value_to_string(array, row)?)),
    }
    Ok(())
}

fn number<T: ArrowPrimitiveType>(out: &mut String, array: &dyn Array, row: usize)
where
    T::Native: std::fmt::Display,
{
    write!(out, "{}", array.as_primitive::<T>().value(row)).expect("writing to a string cannot fail");
}

fn integer(out: &mut String, value: impl std::fmt::Display, size: u64, integers: Integers) {
    let is_text = integers == Integers::Text && size > MAX_SAFE_INTEGER;
    let quote = if is_text { "\"" } else { "" };
    write!(out, "{quote}{value}{quote}").expect("writing to a string cannot fail");
}

fn float(out: &mut String, value: f64) {
    match serde_json::Number::from_f64(value) {
        Some(number) => write!(out, "{number}").expect("writing to a string cannot fail"),
        None if value.is_nan() => out.push_str("\"NaN\""),
        None if value > 0.0 => out.push_str("\"Infinity\""),
        None => out.push_str("\"-Infinity\""),
    }
}

fn list(out: &mut String, items: &dyn Array, writing: Writing) -> Result<(), GatewayError> {
    out.push('[');
    for index in 0..items.len() {
        writing.check(out.len())?;
        if index > 0 {
            out.push(',');
        }
        write_value(out, items, index, writing)?;
    }
    out.push(']');
    Ok(())
}

fn timestamp(array: &dyn Array, unit: TimeUnit, row: usize) -> Option<TimestampMicros> {
    let micros = match unit {
        TimeUnit::Second => array.as_primitive::<TimestampSecondType>().value(row).checked_mul(1_000_000)?,
        TimeUnit::Millisecond => array.as_primitive::<TimestampMillisecondType>().value(row).checked_mul(1_000)?,
        TimeUnit::Microsecond => array.as_primitive::<TimestampMicrosecondType>().value(row),
        TimeUnit::Nanosecond => array.as_primitive::<TimestampNanosecondType>().value(row).div_euclid(1_000),
    };
    Some(TimestampMicros(micros))
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
