//! Types that a Delta table can hold, and the way of state values into them and back.
//!
//! Guarantee: `convert(convert(a, stored), original)` gives back `a`; everything stored is nullable, has no unsigned
//! integers, views, dictionaries or times of day, and list items are named `element`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray, StructArray};
use arrow::buffer::ScalarBuffer;
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type, TimeUnit, UInt64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use positions::TimestampMicros;

/// The storable type that holds every value of `data_type`, or the reason why there is none.
pub(crate) fn stored_type(data_type: &DataType) -> std::result::Result<DataType, String> {
    use DataType::*;
    Ok(match data_type {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Utf8 | Binary | Date32 => data_type.clone(),
        UInt8 | UInt16 | UInt32 | UInt64 | Time32(_) | Time64(_) | Duration(_) => Int64,
        Float16 => Float32,
        LargeUtf8 | Utf8View => Utf8,
        LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Dictionary(_, value) => stored_type(value)?,
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) if *scale >= 0 => {
            Decimal128(*precision, *scale)
        }
        Timestamp(TimeUnit::Nanosecond, _) => {
            return Err("it has nanoseconds; cast it to TIMESTAMP (microseconds) first".to_owned());
        }
        Timestamp(_, _) => utc_micros(),
        List(item) | LargeList(item) | FixedSizeList(item, _) | ListView(item) | LargeListView(item) => {
            List(Arc::new(Field::new("element", stored_type(item.data_type())?, true)))
        }
        Struct(fields) => Struct(stored_fields(fields.iter().map(|field| (field.name().as_str(), field.data_type())))?),
        Null => return Err("it is always NULL".to_owned()),
        Decimal256(..) => return Err("its state needs a decimal of more than 38 digits".to_owned()),
        other => return Err(format!("the type {other} cannot be stored")),
    })
}

/// TIMESTAMP as it is everywhere in Twofold.
pub fn utc_micros() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

/// MAP with keys of text and such values, under the names that Delta and Parquet have for its parts.
pub fn map_of(value: Field) -> DataType {
    let key = Field::new("key", DataType::Utf8, false);
    let entries = DataType::Struct(vec![key, value.with_name("value")].into());
    DataType::Map(Arc::new(Field::new("key_value", entries, false)), false)
}

/// The values of a map, by the field of its entries.
pub fn map_value(entries: &Field) -> Option<&FieldRef> {
    match entries.data_type() {
        DataType::Struct(fields) => fields.get(1),
        _ => None,
    }
}

/// An instant as a value of type [`utc_micros`].
pub fn utc_scalar(at: Option<TimestampMicros>) -> ScalarValue {
    ScalarValue::TimestampMicrosecond(at.map(|at| at.0), Some("UTC".into()))
}

/// Nullable, storable fields with names that every reader of Delta accepts, distinct without regard to case.
pub(crate) fn stored_fields<'a>(
    fields: impl Iterator<Item = (&'a str, &'a DataType)>,
) -> std::result::Result<Fields, String> {
    let mut stored: Vec<FieldRef> = Vec::new();
    for (name, data_type) in fields {
        let plain = plain_name(name);
        let mut unique = plain.clone();
        let mut number = 2;
        while stored.iter().any(|field| field.name().eq_ignore_ascii_case(&unique)) {
            unique = format!("{plain}_{number}");
            number += 1;
        }
        stored.push(Arc::new(Field::new(unique, stored_type(data_type)?, true)));
    }
    Ok(stored.into())
}

/// The engine names state fields like `avg(edits.added)[count]`: keep what stands in the last brackets.
fn plain_name(name: &str) -> String {
    let inner = name.rsplit_once('[').map_or(name, |(_, tail)| tail.trim_end_matches(']'));
    let plain: String = inner.chars().map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' }).collect();
    let plain = plain.trim_matches('_');
    if plain.is_empty() || plain.len() > 40 { "part".to_owned() } else { plain.to_owned() }
}

/// Changes the representation of `array` to `to`, in either direction between a state type and its stored type.
///
/// # Errors
/// If a value does not fit: the stored state was not written by this code.
pub(crate) fn convert(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    Ok(match (array.data_type(), to) {
        (from, to) if from == to => Arc::clone(array),
        (DataType::Struct(_), DataType::Struct(fields)) => convert_struct(array.as_struct(), fields)?,
        (DataType::List(_), DataType::List(item)) => {
            let list = array.as_list::<i32>();
            let values = convert(list.values(), item.data_type())?;
            Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        // Counters: the bit pattern goes out and comes back, whatever its sign looks like in between.
        (DataType::UInt64, DataType::Int64) => {
            let values = array.as_primitive::<UInt64Type>();
            let bits = ScalarBuffer::new(values.values().inner().clone(), 0, values.len());
            Arc::new(PrimitiveArray::<Int64Type>::try_new(bits, values.nulls().cloned())?)
        }
        (DataType::Int64, DataType::UInt64) => {
            let values = array.as_primitive::<Int64Type>();
            let bits = ScalarBuffer::new(values.values().inner().clone(), 0, values.len());
            Arc::new(PrimitiveArray::<UInt64Type>::try_new(bits, values.nulls().cloned())?)
        }
        _ => cast(array, to)?,
    })
}

fn convert_struct(array: &StructArray, fields: &Fields) -> Result<ArrayRef> {
    if array.num_columns() != fields.len() {
        return exec_err!("a state has {} parts, not {}", array.num_columns(), fields.len());
    }
    let children = array
        .columns()
        .iter()
        .zip(fields)
        .map(|(child, field)| convert(child, field.data_type()))
        .collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(StructArray::try_new_with_length(fields.clone(), children, array.nulls().cloned(), array.len())?))
}

fn cast(array: &ArrayRef, to: &DataType) -> Result<ArrayRef> {
    let strict = CastOptions { safe: false, ..Default::default() };
    Ok(cast_with_options(array, to, &strict)?)
}

/// The type with every field, list item and map value nullable.
pub(crate) fn nullable_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::List(item) => {
            DataType::List(Arc::new(Field::new(item.name(), nullable_type(item.data_type()), true)))
        }
        DataType::Map(entries, _) => match map_value(entries) {
            Some(value) => map_of(Field::new(value.name(), nullable_type(value.data_type()), true)),
            None => data_type.clone(),
        },
        DataType::Struct(fields) => {
            let fields = fields.iter().map(|field| Field::new(field.name(), nullable_type(field.data_type()), true));
            DataType::Struct(fields.collect::<Vec<_>>().into())
        }
        other => other.clone(),
    }
}
