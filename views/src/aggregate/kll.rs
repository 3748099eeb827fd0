//! `approx_percentile_cont`: a KLL quantile sketch of Apache DataSketches.
//!
//! Integers are kept as 64-bit integers, floating-point and decimal numbers as doubles (NaN is dropped), text as text;
//! other types are refused by name. The answer is a value that occurred, whose rank is off by at most the published
//! bound; exact up to 200 values.
//! KLL compacts at random: equal inputs may give different state bytes within the same bound.
//! Not here: the accumulators (`sketch.rs`).

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datasketches::common::SearchCriteria;
use datasketches::kll::{KllFloat, KllSketch, KllValue};

use super::sketch::{Accumulators, Sketch, SketchGroups, is_wanted};

/// The published default: about 1.3 % rank error.
const K: u16 = 200;

/// The normalized rank error for this `k` as Apache DataSketches publishes it: 99 of 100 estimates lie within.
pub(super) const BOUND: f64 = 0.0133;

/// The function for a session.
pub(super) fn function() -> AggregateUDF {
    AggregateUDF::from(ApproxPercentile { signature: Signature::user_defined(Volatility::Immutable) })
}

/// The function under its SQL name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxPercentile {
    signature: Signature,
}

impl ApproxPercentile {
    fn accumulators(arguments: &AccumulatorArgs) -> Result<Box<dyn Accumulators>> {
        let rank = rank_of(arguments)?;
        Ok(match arguments.expr_fields[0].data_type() {
            DataType::Int64 => Box::new(SketchGroups::<KllSketch<i64>>::new(rank)),
            DataType::Float64 => Box::new(SketchGroups::<KllSketch<KllFloat<f64>>>::new(rank)),
            DataType::Utf8 => Box::new(SketchGroups::<KllSketch<String>>::new(rank)),
            other => return exec_err!("approx_percentile_cont does not take {other}"),
        })
    }
}

impl AggregateUDFImpl for ApproxPercentile {
    fn name(&self) -> &str {
        "approx_percentile_cont"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let [value, _] = arguments else {
            return plan_err!(
                "'approx_percentile_cont' takes a value and a percentile, not {} arguments",
                arguments.len()
            );
        };
        match sketched_as(value) {
            Some(sketched) => Ok(vec![sketched, DataType::Float64]),
            None => plan_err!("'approx_percentile_cont' does not take {value}; it takes numbers and text"),
        }
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments.first().and_then(sketched_as) {
            Some(sketched) => Ok(sketched),
            None => plan_err!("'approx_percentile_cont' takes numbers and text"),
        }
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(arguments.name, "kll"), DataType::Binary, true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Self::accumulators(&arguments)?.for_one_group())
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Self::accumulators(&arguments)?.for_groups())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        true
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

/// The percentile as a rank in ascending order.
fn rank_of(arguments: &AccumulatorArgs) -> Result<f64> {
    let literal = arguments.exprs.get(1).and_then(|percentile| percentile.downcast_ref::<Literal>());
    let Some(ScalarValue::Float64(Some(percentile))) = literal.map(Literal::value) else {
        return plan_err!(
            "the percentile of approx_percentile_cont must be a number between 0 and 1, not an expression"
        );
    };
    if !(0.0..=1.0).contains(percentile) {
        return plan_err!("the percentile of approx_percentile_cont must lie between 0 and 1, not at {percentile}");
    }
    let is_descending = arguments.order_bys.first().is_some_and(|order| order.options.descending);
    Ok(if is_descending { 1.0 - percentile } else { *percentile })
}

/// A value that a sketch holds, and the arrays it comes from and goes to.
trait Sketched: KllValue + Ord + Debug + Send + Sync + Sized + 'static {
    fn for_each(array: &ArrayRef, each: impl FnMut(usize, Self) -> Result<()>) -> Result<()>;
    fn finish(values: Vec<Option<Self>>) -> ArrayRef;
    fn serialize(sketch: &KllSketch<Self>) -> Vec<u8>;
    fn deserialize(bytes: &[u8]) -> std::result::Result<KllSketch<Self>, datasketches::error::Error>;
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

    fn serialize(sketch: &KllSketch<Self>) -> Vec<u8> {
        sketch.serialize()
    }

    fn deserialize(bytes: &[u8]) -> std::result::Result<KllSketch<Self>, datasketches::error::Error> {
        KllSketch::<Self>::deserialize(bytes)
    }
}

impl Sketched for KllFloat<f64> {
    const HEAP_BYTES: usize = 0;

    fn for_each(array: &ArrayRef, mut each: impl FnMut(usize, Self) -> Result<()>) -> Result<()> {
        let values = array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(array))?;
        for (row, value) in values.values().iter().enumerate() {
            if let Ok(number) = KllFloat::<f64>::new(*value) {
                each(row, number)?;
            }
        }
        Ok(())
    }

    fn finish(values: Vec<Option<Self>>) -> ArrayRef {
        let values = values.into_iter().map(|value| value.map(KllFloat::into_inner));
        Arc::new(values.collect::<PrimitiveArray<Float64Type>>())
    }

    fn serialize(sketch: &KllSketch<Self>) -> Vec<u8> {
        sketch.serialize()
    }

    fn deserialize(bytes: &[u8]) -> std::result::Result<KllSketch<Self>, datasketches::error::Error> {
        KllSketch::<Self>::deserialize(bytes)
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

    fn serialize(sketch: &KllSketch<Self>) -> Vec<u8> {
        sketch.serialize()
    }

    fn deserialize(bytes: &[u8]) -> std::result::Result<KllSketch<Self>, datasketches::error::Error> {
        KllSketch::<Self>::deserialize(bytes)
    }
}

fn wrong_type(array: &ArrayRef) -> DataFusionError {
    exec_datafusion_err!("approx_percentile_cont got {}", array.data_type())
}

impl<T: Sketched> Sketch for KllSketch<T> {
    type Value = T;
    /// The percentile as a rank in ascending order.
    type Question = f64;
    const NAME: &'static str = "percentile";

    fn empty() -> Result<Self> {
        Self::new(K).map_err(sketch_error)
    }

    fn update(&mut self, value: T) -> Result<()> {
        self.update(value);
        Ok(())
    }

    fn merge_state(merged: &mut Option<Self>, state: &[u8]) -> Result<()> {
        let sketch = deserialize::<T>(state)?;
        match merged {
            Some(merged) => merged.merge(&sketch).map_err(sketch_error)?,
            none => *none = Some(sketch),
        }
        Ok(())
    }

    fn to_state(&self) -> Vec<u8> {
        <T as Sketched>::serialize(self)
    }

    fn finish(sketches: &[Option<Self>], rank: &f64) -> Result<ArrayRef> {
        let quantile = |sketch: &Self| sketch.quantile(*rank, SearchCriteria::Inclusive).map_err(sketch_error);
        let values = sketches.iter().map(|sketch| sketch.as_ref().map_or(Ok(None), quantile));
        Ok(T::finish(values.collect::<Result<_>>()?))
    }

    fn size_bytes(&self) -> usize {
        self.num_retained() * (size_of::<T>() + T::HEAP_BYTES)
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

/// Reads a sketch that may come from anywhere.
fn deserialize<T: Sketched>(bytes: &[u8]) -> Result<KllSketch<T>> {
    /// More values than any log holds: the library counts on sums below 2^64.
    const MAX_VALUES: u64 = 1 << 60;
    let sketch = <T as Sketched>::deserialize(bytes).map_err(sketch_error)?;
    if sketch.k() != K || sketch.n() > MAX_VALUES {
        return exec_err!("a percentile state has k = {} and {} values", sketch.k(), sketch.n());
    }
    Ok(sketch)
}

fn sketch_error(error: datasketches::error::Error) -> DataFusionError {
    exec_datafusion_err!("percentile state: {error}")
}
