//! Values to Arrow arrays. Most vectors become buffers as they are, without a copy.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, ArrowPrimitiveType, BooleanArray, Decimal128Array, LargeStringArray, ListArray, MapArray, PrimitiveArray,
    StringArray, StringViewArray, StructArray, TimestampMicrosecondArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type};
use arrow::error::ArrowError;

use super::cells::Cells;

/// The array of type `stored` that holds `rows` values.
///
/// # Errors
/// Where `stored` is not the type that the values were made for: a defect.
pub(super) fn to_array(
    cells: Cells,
    stored: &DataType,
    rows: usize,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, ArrowError> {
    Ok(match cells {
        Cells::Boolean(values) => Arc::new(BooleanArray::new(values.into(), nulls)),
        Cells::Integer { values, .. } => integers(values, nulls, stored),
        Cells::Double(values) => Arc::new(PrimitiveArray::<Float64Type>::new(values.into(), nulls)),
        Cells::Float(values) => narrowed::<Float32Type>(values.into_iter().map(|value| value as f32), nulls),
        Cells::Decimal { values, precision, scale } => {
            Arc::new(Decimal128Array::new(values.into(), nulls).with_precision_and_scale(precision, scale)?)
        }
        Cells::Text { bytes, ends } | Cells::Json { bytes, ends } => texts(bytes, ends, nulls, stored)?,
        Cells::Date { values, .. } => Arc::new(PrimitiveArray::<Date32Type>::new(values.into(), nulls)),
        Cells::Timestamp { values, .. } => {
            let DataType::Timestamp(_, zone) = stored else { return Err(mismatch(stored)) };
            Arc::new(TimestampMicrosecondArray::new(values.into(), nulls).with_timezone_opt(zone.clone()))
        }
        Cells::Struct { object, .. } => {
            let DataType::Struct(fields) = stored else { return Err(mismatch(stored)) };
            Arc::new(StructArray::try_new_with_length(fields.clone(), object.finish()?, nulls, rows)?)
        }
        Cells::List { items, ends } => {
            let DataType::List(item) = stored else { return Err(mismatch(stored)) };
            Arc::new(ListArray::try_new(item.clone(), offsets(ends), items.finish()?, nulls)?)
        }
        Cells::Map { entries, ends } => {
            let DataType::Map(field, is_sorted) = stored else { return Err(mismatch(stored)) };
            let DataType::Struct(fields) = field.data_type() else { return Err(mismatch(stored)) };
            let count = entries.key_ends.len();
            let keys = texts(entries.keys, entries.key_ends, None, &DataType::Utf8)?;
            let parts = vec![keys, entries.values.finish()?];
            let entries = StructArray::try_new_with_length(fields.clone(), parts, None, count)?;
            Arc::new(MapArray::try_new(field.clone(), offsets(ends), entries, nulls, *is_sorted)?)
        }
    })
}

fn integers(values: Vec<i64>, nulls: Option<NullBuffer>, stored: &DataType) -> ArrayRef {
    // Every value was checked against the range of its type when it was read.
    match stored {
        DataType::Int8 => narrowed::<Int8Type>(values.into_iter().map(|value| value as i8), nulls),
        DataType::Int16 => narrowed::<Int16Type>(values.into_iter().map(|value| value as i16), nulls),
        DataType::Int32 => narrowed::<Int32Type>(values.into_iter().map(|value| value as i32), nulls),
        _ => Arc::new(PrimitiveArray::<Int64Type>::new(values.into(), nulls)),
    }
}

fn narrowed<T: ArrowPrimitiveType>(values: impl Iterator<Item = T::Native>, nulls: Option<NullBuffer>) -> ArrayRef {
    Arc::new(PrimitiveArray::<T>::new(values.collect::<ScalarBuffer<T::Native>>(), nulls))
}

fn texts(bytes: Vec<u8>, ends: Vec<i32>, nulls: Option<NullBuffer>, stored: &DataType) -> Result<ArrayRef, ArrowError> {
    let strings = StringArray::try_new(offsets(ends), Buffer::from_vec(bytes), nulls)?;
    Ok(match stored {
        DataType::Utf8View => Arc::new(StringViewArray::from(&strings)),
        DataType::LargeUtf8 => Arc::new(strings.iter().collect::<LargeStringArray>()),
        _ => Arc::new(strings),
    })
}

fn offsets(ends: Vec<i32>) -> OffsetBuffer<i32> {
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend(ends);
    OffsetBuffer::new(offsets.into())
}

fn mismatch(stored: &DataType) -> ArrowError {
    ArrowError::SchemaError(format!("declared and stored type differ: stored is {stored}"))
}
