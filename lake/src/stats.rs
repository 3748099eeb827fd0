//! Bounds of the columns of a file: collected from Parquet's own statistics, kept as Delta statistics.
//!
//! Guarantee: every value of a column lies within its bounds; integers, dates, timestamps and booleans are exact, the
//! bounds of strings may be wider (long ones are cut). A column without bounds says nothing.
//! Why so: floats (NaN, rounding in JSON) and decimals (JSON numbers) are left out; row groups hold them anyway.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::scalar::ScalarValue;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;
use serde_json::{Map, Value, json};

/// Per top-level column: least value, largest value (both null where all values are), null count.
pub type Bounds = BTreeMap<String, (ScalarValue, ScalarValue, u64)>;

/// Whether columns of this type have bounds.
fn is_plain(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Boolean | DataType::Utf8 | DataType::Date32 | DataType::Timestamp(_, _))
        || data_type.is_integer()
}

/// Whether the bounds of this type are values that occur, not just limits.
pub(crate) fn is_exact(data_type: &DataType) -> bool {
    is_plain(data_type) && *data_type != DataType::Utf8
}

/// Reads the bounds out of the metadata of a file just written.
pub(crate) fn bounds_of(metadata: &ParquetMetaData, schema: &SchemaRef) -> Result<Bounds, String> {
    let mut bounds = Bounds::new();
    for field in schema.fields().iter().filter(|field| is_plain(field.data_type())) {
        if let Some(bound) = column_bounds(metadata, schema, field.name(), field.data_type())? {
            bounds.insert(field.name().clone(), bound);
        }
    }
    Ok(bounds)
}

fn column_bounds(
    metadata: &ParquetMetaData,
    schema: &Schema,
    name: &str,
    data_type: &DataType,
) -> Result<Option<(ScalarValue, ScalarValue, u64)>, String> {
    let groups = metadata.row_groups();
    let converter = StatisticsConverter::try_new(name, schema, metadata.file_metadata().schema_descr())
        .map_err(|error| error.to_string())?;
    let mins = converter.row_group_mins(groups).map_err(|error| error.to_string())?;
    let maxes = converter.row_group_maxes(groups).map_err(|error| error.to_string())?;
    let nulls = converter.row_group_null_counts(groups).map_err(|error| error.to_string())?;
    let mut total = (null_of(data_type)?, null_of(data_type)?, 0_u64);
    for (index, group) in groups.iter().enumerate() {
        let min = ScalarValue::try_from_array(&mins, index).map_err(|error| error.to_string())?;
        let max = ScalarValue::try_from_array(&maxes, index).map_err(|error| error.to_string())?;
        let null_count = nulls.value(index);
        if (min.is_null() || max.is_null()) && null_count < u64::try_from(group.num_rows()).unwrap_or(0) {
            return Ok(None);
        }
        total.0 = extreme(total.0, min, Ordering::Less);
        total.1 = extreme(total.1, max, Ordering::Greater);
        total.2 += null_count;
    }
    Ok(Some(total))
}

/// The lesser or the greater of two bounds of one column: `other` where it compares to `one` as `wanted` says,
/// otherwise `one`. A bound that is null gives way.
pub fn extreme(one: ScalarValue, other: ScalarValue, wanted: Ordering) -> ScalarValue {
    if one.is_null() || (!other.is_null() && other.partial_cmp(&one) == Some(wanted)) { other } else { one }
}

fn null_of(data_type: &DataType) -> Result<ScalarValue, String> {
    ScalarValue::try_from(data_type).map_err(|error| error.to_string())
}

/// The `stats` text of a Delta `add` action.
pub(crate) fn to_delta(rows: u64, bounds: &Bounds) -> String {
    let (mut min_values, mut max_values, mut null_count) = (Map::new(), Map::new(), Map::new());
    for (name, (min, max, nulls)) in bounds {
        if min.is_null() && *nulls == rows {
            null_count.insert(name.clone(), Value::from(*nulls));
        } else if let (Some(min), Some(max)) = (value_to_json(min), value_to_json(max)) {
            min_values.insert(name.clone(), min);
            max_values.insert(name.clone(), max);
            null_count.insert(name.clone(), Value::from(*nulls));
        }
    }
    json!({ "numRecords": rows, "minValues": min_values, "maxValues": max_values, "nullCount": null_count }).to_string()
}

/// Rows and bounds of a `stats` text.
pub(crate) fn from_delta(text: &str, schema: &Schema) -> Result<(u64, Bounds), String> {
    let stats: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let rows = stats.get("numRecords").and_then(Value::as_u64).ok_or("statistics without numRecords")?;
    let mut bounds = Bounds::new();
    for field in schema.fields().iter().filter(|field| is_plain(field.data_type())) {
        let (name, data_type) = (field.name(), field.data_type());
        let Some(nulls) = stats["nullCount"].get(name).and_then(Value::as_u64) else { continue };
        let min = stats["minValues"].get(name).and_then(|value| value_from_json(value, data_type));
        let max = stats["maxValues"].get(name).and_then(|value| value_from_json(value, data_type));
        let bound = match (min, max) {
            (Some(min), Some(max)) => (min, max, nulls),
            _ if nulls == rows => (null_of(data_type)?, null_of(data_type)?, nulls),
            _ => continue,
        };
        bounds.insert(name.clone(), bound);
    }
    Ok((rows, bounds))
}

/// The JSON form, only where reading it gives the same value again.
fn value_to_json(value: &ScalarValue) -> Option<Value> {
    let json = match value {
        ScalarValue::Boolean(Some(value)) => Value::from(*value),
        ScalarValue::Int8(Some(value)) => Value::from(*value),
        ScalarValue::Int16(Some(value)) => Value::from(*value),
        ScalarValue::Int32(Some(value)) => Value::from(*value),
        ScalarValue::Int64(Some(value)) => Value::from(*value),
        ScalarValue::Utf8(Some(value)) => Value::from(value.as_str()),
        other => match other.cast_to(&DataType::Utf8).ok()? {
            ScalarValue::Utf8(Some(text)) => Value::from(text),
            _ => return None,
        },
    };
    (value_from_json(&json, &value.data_type()).as_ref() == Some(value)).then_some(json)
}

fn value_from_json(value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    match (value, data_type) {
        (Value::Bool(value), DataType::Boolean) => Some(ScalarValue::Boolean(Some(*value))),
        (Value::String(text), DataType::Utf8) => Some(ScalarValue::Utf8(Some(text.clone()))),
        (Value::String(text), DataType::Date32 | DataType::Timestamp(_, _)) => {
            ScalarValue::try_from_string(text.clone(), data_type).ok()
        }
        (Value::Number(number), integer) if integer.is_integer() => {
            ScalarValue::Int64(Some(number.as_i64()?)).cast_to(integer).ok()
        }
        _ => None,
    }
}
