//! One value per floating-point number: -0.0 goes into aggregates as 0.0, and every NaN as the same one.
//!
//! Why so: both pairs are equal to a person and differ in their bits, by which sets of values, extremes and the order
//! of sort keys tell them apart.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, StructArray};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type};
use datafusion::common::Result;

type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// The same values, those of floating point in the one form that each has; others are passed on as they are.
pub(crate) fn normal(array: &ArrayRef) -> Result<ArrayRef> {
    macro_rules! normal_floats {
        ($type:ty, $nan:expr, $zero:expr) => {
            // The sum of -0.0 and 0.0 is 0.0.
            Arc::new(
                array
                    .as_primitive::<$type>()
                    .unary::<_, $type>(|value| if value.is_nan() { $nan } else { value + $zero }),
            )
        };
    }
    Ok(match array.data_type() {
        DataType::Float64 => normal_floats!(Float64Type, f64::NAN, 0.0),
        DataType::Float32 => normal_floats!(Float32Type, f32::NAN, 0.0),
        DataType::Float16 => normal_floats!(Float16Type, F16::NAN, F16::ZERO),
        DataType::Struct(fields) if has_floats(array.data_type()) => {
            let parts = array.as_struct();
            let columns = parts.columns().iter().map(normal).collect::<Result<_>>()?;
            Arc::new(StructArray::try_new_with_length(fields.clone(), columns, parts.nulls().cloned(), parts.len())?)
        }
        DataType::List(item) if has_floats(array.data_type()) => {
            let list = array.as_list::<i32>();
            let values = normal(list.values())?;
            Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), values, list.nulls().cloned())?)
        }
        _ => Arc::clone(array),
    })
}

fn has_floats(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => fields.iter().any(|field| has_floats(field.data_type())),
        DataType::List(item) => has_floats(item.data_type()),
        other => other.is_floating(),
    }
}
