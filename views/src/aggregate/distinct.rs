//! Aggregates of distinct numbers: the state is the set of them, the value is made of the sorted set. Pairs of numbers
//! are in `distinct_pairs.rs`.
//!
//! State: a list, ascending, each value once.
//! Guarantee: merged equals direct, bit for bit: what is added up in floating point is added up in ascending order.
//! -0.0 is 0.0, and all NaN are one.
//! Why so: the engine's accumulator of `bit_xor(DISTINCT ...)` for many groups forgets that the values are distinct,
//! and those of sums add up in the order of a hash table.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, PrimitiveArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Field, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::normal::normal;

/// Makes the value of the sorted values.
pub(super) type Finish = Box<dyn Fn(&ArrayRef) -> Result<ScalarValue> + Send + Sync>;

/// The accumulator for an argument type; `None` where it is no number.
pub(super) fn accumulator(argument: &DataType, finish: Finish) -> Option<Box<dyn Accumulator>> {
    macro_rules! values_of {
        ($type:ty) => {
            Box::new(DistinctValues::<$type> { keys: HashSet::new(), data_type: argument.clone(), finish })
        };
    }
    Some(match argument {
        DataType::Int8 => values_of!(Int8Type),
        DataType::Int16 => values_of!(Int16Type),
        DataType::Int32 => values_of!(Int32Type),
        DataType::Int64 => values_of!(Int64Type),
        DataType::UInt8 => values_of!(UInt8Type),
        DataType::UInt16 => values_of!(UInt16Type),
        DataType::UInt32 => values_of!(UInt32Type),
        DataType::UInt64 => values_of!(UInt64Type),
        DataType::Float64 => values_of!(Float64Type),
        DataType::Decimal32(..) => values_of!(Decimal32Type),
        DataType::Decimal64(..) => values_of!(Decimal64Type),
        DataType::Decimal128(..) => values_of!(Decimal128Type),
        _ => return None,
    })
}

/// The type of the state.
pub(super) fn state(argument: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(argument.clone(), true)))
}

/// A value made by an accumulator for many groups.
pub(super) fn finish_by(mut groups: Box<dyn GroupsAccumulator>, values: &ArrayRef) -> Result<ScalarValue> {
    groups.update_batch(std::slice::from_ref(values), &vec![0; values.len()], None, 1)?;
    ScalarValue::try_from_array(&groups.evaluate(EmitTo::All)?, 0)
}

/// The sum or the mean of sorted floating-point numbers.
pub(super) fn finish_floats(values: &ArrayRef, is_mean: bool) -> Result<ScalarValue> {
    let values = values.as_primitive_opt::<Float64Type>();
    let values = values.ok_or_else(|| exec_datafusion_err!("a sum of DOUBLE got other values"))?;
    let sum: f64 = values.values().iter().sum();
    let value = if is_mean { sum / values.len() as f64 } else { sum };
    Ok(ScalarValue::Float64((!values.is_empty()).then_some(value)))
}

/// The bits that an odd number of values has.
pub(super) fn finish_bits(values: &ArrayRef) -> Result<ScalarValue> {
    macro_rules! bits_of {
        ($type:ty) => {
            ScalarValue::new_primitive::<$type>(
                arrow::compute::bit_xor(values.as_primitive::<$type>()),
                values.data_type(),
            )
        };
    }
    match values.data_type() {
        DataType::Int8 => bits_of!(Int8Type),
        DataType::Int16 => bits_of!(Int16Type),
        DataType::Int32 => bits_of!(Int32Type),
        DataType::Int64 => bits_of!(Int64Type),
        DataType::UInt8 => bits_of!(UInt8Type),
        DataType::UInt16 => bits_of!(UInt16Type),
        DataType::UInt32 => bits_of!(UInt32Type),
        DataType::UInt64 => bits_of!(UInt64Type),
        other => Err(exec_datafusion_err!("{other} has no bits")),
    }
}

/// A number as something that can be looked up and sorted.
pub(super) trait Keyed: Copy {
    type Key: Copy + Eq + Hash + Ord + Send + Sync + 'static;
    fn key(self) -> Self::Key;
    fn of_key(key: Self::Key) -> Self;
}

macro_rules! keyed_by_itself {
    ($($native:ty),*) => {
        $(impl Keyed for $native {
            type Key = Self;

            fn key(self) -> Self {
                self
            }

            fn of_key(key: Self) -> Self {
                key
            }
        })*
    };
}

keyed_by_itself!(i8, i16, i32, i64, i128, u8, u16, u32, u64);

/// By the total order of IEEE 754, which is its own inverse.
impl Keyed for f64 {
    type Key = i64;

    fn key(self) -> i64 {
        let bits = self.to_bits() as i64;
        bits ^ (((bits >> 63) as u64) >> 1) as i64
    }

    fn of_key(key: i64) -> Self {
        Self::from_bits((key ^ (((key >> 63) as u64) >> 1) as i64) as u64)
    }
}

struct DistinctValues<T: ArrowPrimitiveType<Native: Keyed>> {
    keys: HashSet<<T::Native as Keyed>::Key>,
    data_type: DataType,
    finish: Finish,
}

impl<T: ArrowPrimitiveType<Native: Keyed>> DistinctValues<T> {
    fn insert(&mut self, values: &ArrayRef) -> Result<()> {
        let values = normal(values)?;
        let values = values
            .as_primitive_opt::<T>()
            .ok_or_else(|| exec_datafusion_err!("distinct values of {} are {}", T::DATA_TYPE, values.data_type()))?;
        if values.null_count() == 0 {
            self.keys.extend(values.values().iter().map(|value| value.key()));
        } else {
            self.keys.extend(values.iter().flatten().map(Keyed::key));
        }
        Ok(())
    }

    fn sorted(&self) -> ArrayRef {
        let mut keys: Vec<_> = self.keys.iter().copied().collect();
        keys.sort_unstable();
        let values: Vec<T::Native> = keys.into_iter().map(T::Native::of_key).collect();
        Arc::new(PrimitiveArray::<T>::new(values.into(), None).with_data_type(self.data_type.clone()))
    }
}

impl<T: ArrowPrimitiveType<Native: Keyed>> fmt::Debug for DistinctValues<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DistinctValues").field("data_type", &self.data_type).finish_non_exhaustive()
    }
}

impl<T: ArrowPrimitiveType<Native: Keyed>> Accumulator for DistinctValues<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.insert(&values[0])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sets = states[0]
            .as_list_opt::<i32>()
            .ok_or_else(|| exec_datafusion_err!("a set of values is {}", states[0].data_type()))?;
        for set in sets.iter().flatten() {
            self.insert(&set)?;
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let values = self.sorted();
        let field = Arc::new(Field::new_list_field(self.data_type.clone(), true));
        let list = ListArray::try_new(field, OffsetBuffer::from_lengths([values.len()]), values, None)?;
        Ok(vec![ScalarValue::List(Arc::new(list))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        (self.finish)(&self.sorted())
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.keys.capacity() * (size_of::<<T::Native as Keyed>::Key>() + 1)
    }
}
