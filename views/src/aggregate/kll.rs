//! `approx_percentile_cont`: a percentile whose rank is off by at most 1.33 %.
//!
//! Integers are kept as 64-bit integers, floating-point and decimal numbers as doubles (NaN is dropped, -0.0 is 0.0),
//! text as text; other types are refused by name. The answer is a value that occurred; exact up to 200 values.
//! Not here: the sketch (`kll_sketch.rs`), the accumulators (`sketch.rs`), the function (`sketch_function.rs`).

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::function::AccumulatorArgs;

use super::kll_sketch::{KllDouble, KllItem, KllSketch};
use super::percentile::{coerce_types, rank_of};
use super::sketch::{Accumulators, Sketch, SketchGroups, is_wanted};
use super::sketch_function::{SketchFunction, sketch_function};

/// The normalized rank error for k = 200 as Apache DataSketches publishes it: 99 of 100 estimates lie within.
pub(super) const BOUND: f64 = 0.0133;

/// What it takes, for messages.
const TAKES: &str = "numbers and text";

/// The function for a session.
pub(super) fn function() -> AggregateUDF {
    sketch_function::<ApproxPercentile>()
}

/// The function under its SQL name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxPercentile;

impl SketchFunction for ApproxPercentile {
    const NAME: &'static str = "approx_percentile_cont";
    const STATE: &'static str = "kll";
    const TAKES_WITHIN_GROUP: bool = true;

    fn coerce_types(arguments: &[DataType]) -> Result<Vec<DataType>> {
        coerce_types(Self::NAME, arguments, (TAKES, sketched_as))
    }

    fn return_type(arguments: &[DataType]) -> Result<DataType> {
        match arguments.first().and_then(sketched_as) {
            Some(sketched) => Ok(sketched),
            None => plan_err!("'{}' takes {TAKES}", Self::NAME),
        }
    }

    fn accumulators(arguments: &AccumulatorArgs) -> Result<Box<dyn Accumulators>> {
        let rank = rank_of(Self::NAME, arguments)?;
        Ok(match arguments.expr_fields[0].data_type() {
            DataType::Int64 => Box::new(SketchGroups::<KllSketch<i64>>::new(rank)),
            DataType::Float64 => Box::new(SketchGroups::<KllSketch<KllDouble>>::new(rank)),
            DataType::Utf8 => Box::new(SketchGroups::<KllSketch<String>>::new(rank)),
            other => return exec_err!("{} does not take {other}", Self::NAME),
        })
    }
}

/// The type that a sketch holds for values of a type.
fn sketched_as(data_type: &DataType) -> Option<DataType> {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Some(DataType::Utf8),
        // Beyond 63 bits only a double reaches.
        DataType::UInt64 => Some(DataType::Float64),
        integer if integer.is_integer() => Some(DataType::Int64),
        number if number.is_numeric() => Some(DataType::Float64),
        _ => None,
    }
}

/// A value that a sketch holds, and the arrays it comes from and goes to.
trait Sketched: KllItem + Debug + Send + Sync + Sized + 'static {
    fn for_each(array: &ArrayRef, each: impl FnMut(usize, Self) -> Result<()>) -> Result<()>;
    fn finish(values: Vec<Option<Self>>) -> ArrayRef;
    /// Bytes of a value outside of the sketch's own vector.
    const HEAP_BYTES: usize;
}

impl Sketched for i64 {
    const HEAP_BYTES: usize = 0;

    fn for_each(array: &ArrayRef, mut each: impl FnMut(usize, Self) -> Result<()>) -> Result<()> {
        let values = array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(array))?;
        values.values().iter().enumerate().try_for_each(|(row, value)| each(row, *value))
    }

    fn finish(values: Vec<Option<Self>>) -> ArrayRef {
        Arc::new(PrimitiveArray::<Int64Type>::from(values))
    }
}

impl Sketched for KllDouble {
    const HEAP_BYTES: usize = 0;

    fn for_each(array: &ArrayRef, mut each: impl FnMut(usize, Self) -> Result<()>) -> Result<()> {
        let values = array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(array))?;
        for (row, value) in values.values().iter().enumerate() {
            if let Some(number) = KllDouble::new(*value) {
                each(row, number)?;
            }
        }
        Ok(())
    }

    fn finish(values: Vec<Option<Self>>) -> ArrayRef {
        let values = values.into_iter().map(|value| value.map(KllDouble::get));
        Arc::new(values.collect::<PrimitiveArray<Float64Type>>())
    }
}

impl Sketched for String {
    // A guess at the usual length of a text.
    const HEAP_BYTES: usize = 32;

    fn for_each(array: &ArrayRef, mut each: impl FnMut(usize, Self) -> Result<()>) -> Result<()> {
        let values = array.as_string_opt::<i32>().ok_or_else(|| wrong_type(array))?;
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            each(row, values.value(row).to_owned())?;
        }
        Ok(())
    }

    fn finish(values: Vec<Option<Self>>) -> ArrayRef {
        Arc::new(StringArray::from(values))
    }
}

fn wrong_type(array: &ArrayRef) -> DataFusionError {
    exec_datafusion_err!("{} got {}", ApproxPercentile::NAME, array.data_type())
}

impl<T: Sketched> Sketch for KllSketch<T> {
    type Value = T;
    /// The percentile as a rank in ascending order.
    type Question = f64;
    const NAME: &'static str = "percentile";

    fn empty() -> Result<Self> {
        Ok(Self::default())
    }

    fn update(&mut self, value: T) -> Result<()> {
        self.update(value)
    }

    fn merge_state(merged: &mut Option<Self>, state: &[u8]) -> Result<()> {
        let sketch = Self::from_bytes(state)?;
        match merged {
            Some(merged) => merged.merge(sketch)?,
            none => *none = Some(sketch),
        }
        Ok(())
    }

    fn to_state(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn finish(sketches: &[Option<Self>], rank: &f64) -> Result<ArrayRef> {
        let values = sketches.iter().map(|sketch| sketch.as_ref().and_then(|sketch| sketch.quantile(*rank)));
        Ok(T::finish(values.collect()))
    }

    fn size_bytes(&self) -> usize {
        self.retained() * (size_of::<T>() + T::HEAP_BYTES)
    }

    fn for_each(
        array: &ArrayRef,
        opt_filter: Option<&BooleanArray>,
        mut each: impl FnMut(usize, T) -> Result<()>,
    ) -> Result<()> {
        if array.null_count() == 0 && opt_filter.is_none() {
            return T::for_each(array, each);
        }
        T::for_each(array, |row, value| if is_wanted(array, opt_filter, row) { each(row, value) } else { Ok(()) })
    }
}
