//! `approx_percentile_cont`: a KLL quantile sketch of Apache DataSketches.
//!
//! State: the serialised sketch (BINARY), null for a group without values. Integers are kept as 64-bit integers,
//! floating-point and decimal numbers as doubles (NaN is dropped), text as text; other types are refused by name. The
//! answer is a value that occurred, whose rank is off by at most the published bound; exact up to 200 values.
//! KLL compacts at random: equal inputs may give different state bytes within the same bound.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray, PrimitiveArray, StringArray};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility};
use datafusion::physical_expr::expressions::Literal;
use datasketches::common::SearchCriteria;
use datasketches::kll::{KllFloat, KllSketch, KllValue};

/// The published default: about 1.3 % rank error.
const K: u16 = 200;

/// The function under its SQL name.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct ApproxPercentile {
    signature: Signature,
}

impl ApproxPercentile {
    pub(super) fn new() -> Self {
        Self { signature: Signature::user_defined(Volatility::Immutable) }
    }

    fn groups(arguments: &AccumulatorArgs) -> Result<Box<dyn Percentiles>> {
        let rank = rank_of(arguments)?;
        Ok(match arguments.expr_fields[0].data_type() {
            DataType::Int64 => Box::new(KllGroups::<i64>::new(rank)),
            DataType::Float64 => Box::new(KllGroups::<KllFloat<f64>>::new(rank)),
            DataType::Utf8 => Box::new(KllGroups::<String>::new(rank)),
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
        Ok(Box::new(KllAccumulator { groups: Self::groups(&arguments)? }))
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Self::groups(&arguments)?)
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
    fn for_each(array: &ArrayRef, each: impl FnMut(usize, Self)) -> Result<()>;
    fn finish(values: Vec<Option<Self>>) -> ArrayRef;
    fn serialize(sketch: &KllSketch<Self>) -> Vec<u8>;
    fn deserialize(bytes: &[u8]) -> std::result::Result<KllSketch<Self>, datasketches::error::Error>;
    /// Bytes of a value outside of the sketch's own vector.
    const HEAP_BYTES: usize;
}

impl Sketched for i64 {
    const HEAP_BYTES: usize = 0;

    fn for_each(array: &ArrayRef, mut each: impl FnMut(usize, Self)) -> Result<()> {
        let values = array.as_primitive_opt::<Int64Type>().ok_or_else(|| wrong_type(array))?;
        values.values().iter().enumerate().for_each(|(row, value)| each(row, *value));
        Ok(())
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

    fn for_each(array: &ArrayRef, mut each: impl FnMut(usize, Self)) -> Result<()> {
        let values = array.as_primitive_opt::<Float64Type>().ok_or_else(|| wrong_type(array))?;
        for (row, value) in values.values().iter().enumerate() {
            if let Ok(number) = KllFloat::<f64>::new(*value) {
                each(row, number);
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

    fn for_each(array: &ArrayRef, mut each: impl FnMut(usize, Self)) -> Result<()> {
        let values = array.as_string_opt::<i32>().ok_or_else(|| wrong_type(array))?;
        for row in (0..values.len()).filter(|row| values.is_valid(*row)) {
            each(row, values.value(row).to_owned());
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

/// A groups accumulator of some value type, for use behind the single-group accumulator.
trait Percentiles: GroupsAccumulator + Debug + Sync {}

impl<T: Sketched> Percentiles for KllGroups<T> {}

/// A single group is the group with index 0.
#[derive(Debug)]
struct KllAccumulator {
    groups: Box<dyn Percentiles>,
}

impl Accumulator for KllAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; values[0].len()];
        self.groups.update_batch(values, &groups, None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        self.groups.merge_batch(states, &groups, 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        // Makes the group where nothing came in.
        let none: ArrayRef = Arc::new(BinaryArray::from(vec![None::<&[u8]>]));
        self.groups.merge_batch(&[none], &[0], 1)?;
        let states = self.groups.state(EmitTo::All)?;
        Ok(vec![ScalarValue::try_from_array(&states[0], 0)?])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let none: ArrayRef = Arc::new(BinaryArray::from(vec![None::<&[u8]>]));
        self.groups.merge_batch(&[none], &[0], 1)?;
        ScalarValue::try_from_array(&self.groups.evaluate(EmitTo::All)?, 0)
    }

    fn size(&self) -> usize {
        self.groups.size()
    }
}

/// One sketch per group, made at the group's first value.
#[derive(Debug)]
struct KllGroups<T> {
    rank: f64,
    sketches: Vec<Option<KllSketch<T>>>,
    // What each sketch held when it was last touched: summing up all of them for every batch would be quadratic.
    retained: Vec<u32>,
    total_retained: usize,
}

impl<T: Sketched> KllGroups<T> {
    fn new(rank: f64) -> Self {
        Self { rank, sketches: Vec::new(), retained: Vec::new(), total_retained: 0 }
    }

    fn resize(&mut self, groups: usize) {
        self.sketches.resize_with(groups.max(self.sketches.len()), || None);
        self.retained.resize(self.sketches.len(), 0);
    }

    fn account(&mut self, group_indices: &[usize]) {
        for &group in group_indices {
            let retained = self.sketches[group].as_ref().map_or(0, KllSketch::num_retained);
            let retained = u32::try_from(retained).unwrap_or(u32::MAX);
            self.total_retained = self.total_retained + retained as usize - self.retained[group] as usize;
            self.retained[group] = retained;
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<KllSketch<T>>> {
        let retained = emit_to.take_needed(&mut self.retained);
        self.total_retained -= retained.iter().map(|count| *count as usize).sum::<usize>();
        emit_to.take_needed(&mut self.sketches)
    }
}

impl<T: Sketched> GroupsAccumulator for KllGroups<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let sketches = &mut self.sketches;
        for_each_wanted::<T>(&values[0], opt_filter, |row, value| {
            sketches[group_indices[row]].get_or_insert_with(empty_sketch).update(value);
        })?;
        self.account(group_indices);
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        let states = values[0]
            .as_binary_opt::<i32>()
            .ok_or_else(|| exec_datafusion_err!("a percentile state is {}", values[0].data_type()))?;
        for (row, &group) in group_indices.iter().enumerate() {
            if states.is_null(row) {
                continue;
            }
            let sketch = deserialize::<T>(states.value(row))?;
            match &mut self.sketches[group] {
                Some(merged) => merged.merge(&sketch).map_err(sketch_error)?,
                none => *none = Some(sketch),
            }
        }
        self.account(group_indices);
        Ok(())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        for sketch in self.take(emit_to) {
            states.append_option(sketch.as_ref().map(<T as Sketched>::serialize));
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sketches = self.take(emit_to);
        let quantile =
            |sketch: &KllSketch<T>| sketch.quantile(self.rank, SearchCriteria::Inclusive).map_err(sketch_error);
        let values = sketches.iter().map(|sketch| sketch.as_ref().map_or(Ok(None), quantile));
        Ok(T::finish(values.collect::<Result<_>>()?))
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut rows: Vec<Option<Vec<u8>>> = vec![None; values[0].len()];
        for_each_wanted::<T>(&values[0], opt_filter, |row, value| {
            let mut sketch = empty_sketch();
            sketch.update(value);
            rows[row] = Some(<T as Sketched>::serialize(&sketch));
        })?;
        Ok(vec![Arc::new(BinaryArray::from_iter(rows))])
    }

    fn size(&self) -> usize {
        self.sketches.capacity() * size_of::<Option<KllSketch<T>>>()
            + self.retained.capacity() * size_of::<u32>()
            + self.total_retained * (size_of::<T>() + T::HEAP_BYTES)
    }
}

fn empty_sketch<T: Sketched>() -> KllSketch<T> {
    KllSketch::new(K).expect("the constant k lies within the library's limits")
}

fn for_each_wanted<T: Sketched>(
    array: &ArrayRef,
    opt_filter: Option<&BooleanArray>,
    mut each: impl FnMut(usize, T),
) -> Result<()> {
    if array.null_count() == 0 && opt_filter.is_none() {
        return T::for_each(array, each);
    }
    T::for_each(array, |row, value| {
        let is_wanted =
            array.is_valid(row) && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row));
        if is_wanted {
            each(row, value);
        }
    })
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
