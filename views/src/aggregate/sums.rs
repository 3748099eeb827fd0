//! `sum` of integers and decimals, and `avg` of decimals: wide totals, judged once.
//!
//! State: `sum` (DECIMAL(38, s)), which holds every total of integers and of decimals of up to 18 digits; for wider
//! decimals and for means also `carry` (BIGINT), in units of 10^38, and for means `count` (BIGINT). `sum` is null for a
//! group without values.
//! Guarantee: totals are exact whatever is added in between; whether one fits its type is asked of the exact total when
//! it is finished, so that it depends on no order and on no cut. No log holds as many rows as it would take to leave
//! 128 bits (integers, 18 digits) or 256 bits (38 digits).

use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Int64Type, UInt64Type, i256,
};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::sketch::is_wanted;
use crate::sql_name::sql_name;

/// The unit of a carry: the least number that 38 digits do not hold.
const CARRY: i128 = 10_i128.pow(38);
/// Totals of decimals of so many digits stay below the unit of a carry for 10^19 rows.
const MAX_NARROW_DIGITS: u8 = 18;

/// What is made of a total.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Purpose {
    /// The total.
    Sum,
    /// The total by the number of values.
    Average,
}

/// What becomes of a value that does not fit its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Unfit {
    /// It is NULL: its neighbours keep theirs.
    IsNull,
    /// The query fails.
    IsAnError,
}

/// The parts of a state and their types; `None` where the engine's accumulator is used.
pub(super) fn states(purpose: Purpose, argument: &DataType) -> Option<Vec<(&'static str, DataType)>> {
    let (scale, is_narrow) = digits(argument)?;
    let sum = ("sum", DataType::Decimal128(38, scale));
    match purpose {
        Purpose::Average if !argument.is_decimal() => None,
        Purpose::Average => Some(vec![sum, ("carry", DataType::Int64), ("count", DataType::Int64)]),
        Purpose::Sum if is_narrow => Some(vec![sum]),
        Purpose::Sum => Some(vec![sum, ("carry", DataType::Int64)]),
    }
}

/// The accumulator for an argument type; `None` where the engine's is used.
pub(super) fn groups(
    purpose: Purpose,
    unfit: Unfit,
    argument: &DataType,
    returns: &DataType,
) -> Option<Box<dyn GroupsAccumulator>> {
    let shape = Shape::new(purpose, unfit, argument, returns)?;
    Some(match (argument, shape.has_carry) {
        (DataType::Int64, _) => Box::new(Sums::<Int64Type, i128>::new(shape)),
        (DataType::UInt64, _) => Box::new(Sums::<UInt64Type, i128>::new(shape)),
        (DataType::Decimal32(..), false) => Box::new(Sums::<Decimal32Type, i128>::new(shape)),
        (DataType::Decimal64(..), false) => Box::new(Sums::<Decimal64Type, i128>::new(shape)),
        (DataType::Decimal128(..), false) => Box::new(Sums::<Decimal128Type, i128>::new(shape)),
        (DataType::Decimal32(..), true) => Box::new(Sums::<Decimal32Type, i256>::new(shape)),
        (DataType::Decimal64(..), true) => Box::new(Sums::<Decimal64Type, i256>::new(shape)),
        (DataType::Decimal128(..), true) => Box::new(Sums::<Decimal128Type, i256>::new(shape)),
        _ => return None,
    })
}

/// The scale of an argument's total, and whether 128 bits hold it.
fn digits(argument: &DataType) -> Option<(i8, bool)> {
    match argument {
        DataType::Int64 | DataType::UInt64 => Some((0, true)),
        DataType::Decimal32(precision, scale)
        | DataType::Decimal64(precision, scale)
        | DataType::Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            Some((*scale, *precision <= MAX_NARROW_DIGITS))
        }
        _ => None,
    }
}

/// A type whose values are whole numbers of at most 128 bits.
pub(super) trait Summed: ArrowPrimitiveType<Native: Into<i128> + TryFrom<i128>> {}

impl<T: ArrowPrimitiveType<Native: Into<i128> + TryFrom<i128>>> Summed for T {}

/// A running total.
pub(super) trait Total: Copy + Send + Sync + 'static {
    const ZERO: Self;
    fn add(&mut self, value: i128);
    fn add_carry(&mut self, carry: i64);
    fn wide(self) -> i256;
}

impl Total for i128 {
    const ZERO: Self = 0;

    fn add(&mut self, value: i128) {
        // Never wraps: see the guarantee of this file.
        *self = self.wrapping_add(value);
    }

    fn add_carry(&mut self, _carry: i64) {}

    fn wide(self) -> i256 {
        i256::from_i128(self)
    }
}

impl Total for i256 {
    const ZERO: Self = i256::ZERO;

    fn add(&mut self, value: i128) {
        *self = self.wrapping_add(i256::from_i128(value));
    }

    fn add_carry(&mut self, carry: i64) {
        if carry != 0 {
            let units = i256::from_i128(i128::from(carry));
            *self = self.wrapping_add(units.wrapping_mul(i256::from_i128(CARRY)));
        }
    }

    fn wide(self) -> i256 {
        self
    }
}

/// A total as what 38 digits hold, and the carry.
fn split(total: i256) -> (i128, i64) {
    match total.to_i128() {
        Some(small) if small.unsigned_abs() < CARRY.unsigned_abs() => (small, 0),
        _ => {
            let unit = i256::from_i128(CARRY);
            (total.wrapping_rem(unit).as_i128(), total.wrapping_div(unit).as_i128() as i64)
        }
    }
}

/// What a sum is of, and what is made of it.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    purpose: Purpose,
    unfit: Unfit,
    scale: i8,
    has_carry: bool,
    returns: DataType,
}

impl Shape {
    /// `None` where the engine's accumulator is used.
    pub(super) fn new(purpose: Purpose, unfit: Unfit, argument: &DataType, returns: &DataType) -> Option<Self> {
        let has_carry = states(purpose, argument)?.len() > 1;
        Some(Self { purpose, unfit, scale: digits(argument)?.0, has_carry, returns: returns.clone() })
    }

    /// The state of one sum.
    pub(super) fn state(&self, total: i256, has_values: bool) -> Vec<ScalarValue> {
        let (sum, carry) = split(total);
        let mut state = vec![ScalarValue::Decimal128(has_values.then_some(sum), 38, self.scale)];
        if self.has_carry {
            state.push(ScalarValue::Int64(Some(carry)));
        }
        state
    }

    /// The type of the finished value.
    pub(super) fn returns(&self) -> &DataType {
        &self.returns
    }

    /// The finished value of a total, `None` where it does not fit its type.
    fn finish(&self, total: i256, count: i64) -> Option<i128> {
        let value = match (self.purpose, &self.returns) {
            (Purpose::Sum, _) => Some(total),
            (
                Purpose::Average,
                DataType::Decimal32(_, scale) | DataType::Decimal64(_, scale) | DataType::Decimal128(_, scale),
            ) => {
                let digits = u32::try_from(*scale - self.scale).ok()?;
                let scaled = total.checked_mul(i256::from_i128(10).checked_pow(digits)?)?;
                scaled.checked_div(i256::from_i128(i128::from(count)))
            }
            (Purpose::Average, _) => None,
        };
        let value = value?.to_i128()?;
        let fits = match &self.returns {
            DataType::Decimal32(digits, _) | DataType::Decimal64(digits, _) | DataType::Decimal128(digits, _) => {
                value.unsigned_abs() < 10_u128.pow(u32::from(*digits).min(38))
            }
            _ => true,
        };
        fits.then_some(value)
    }

    fn unfit_error(&self) -> DataFusionError {
        let (name, returns) = (if self.purpose == Purpose::Sum { "sum" } else { "avg" }, sql_name(&self.returns));
        let way_out = if self.returns.is_decimal() { "DOUBLE" } else { "DECIMAL(38, 0)" };
        exec_datafusion_err!("the {name} does not fit {returns}; write `{name}(CAST(... AS {way_out}))`")
    }
}

struct Sums<T, W> {
    shape: Shape,
    totals: Vec<W>,
    /// Values per group for a mean; for a sum only whether there were any.
    counts: Vec<i64>,
    values: PhantomData<fn() -> T>,
}

impl<T: Summed, W: Total> Sums<T, W> {
    fn new(shape: Shape) -> Self {
        Self { shape, totals: Vec::new(), counts: Vec::new(), values: PhantomData }
    }

    fn resize(&mut self, groups: usize) {
        self.totals.resize(groups, W::ZERO);
        self.counts.resize(groups, 0);
    }
}

impl<T: Summed, W: Total> GroupsAccumulator for Sums<T, W> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let values = primitive::<T>(&values[0])?;
        let (totals, counts) = (&mut self.totals, &mut self.counts);
        if values.null_count() == 0 && opt_filter.is_none() {
            for (&group, &value) in group_indices.iter().zip(values.values()) {
                totals[group].add(value.into());
                counts[group] += 1;
            }
        } else {
            for (row, &group) in group_indices.iter().enumerate() {
                if is_wanted(values, opt_filter, row) {
                    totals[group].add(values.value(row).into());
                    counts[group] += 1;
                }
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        let sums = primitive::<Decimal128Type>(&states[0])?;
        let carries = states.get(1).map(primitive::<Int64Type>).transpose()?;
        let counts = states.get(2).map(primitive::<Int64Type>).transpose()?;
        for (row, &group) in group_indices.iter().enumerate() {
            if sums.is_valid(row) {
                self.totals[group].add(sums.value(row));
                if let Some(carries) = carries {
                    self.totals[group].add_carry(carries.value(row));
                }
                self.counts[group] += counts.map_or(1, |counts| counts.value(row));
            }
        }
        Ok(())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let totals = emit_to.take_needed(&mut self.totals);
        let counts = emit_to.take_needed(&mut self.counts);
        let (sums, carries): (Vec<i128>, Vec<i64>) = totals.into_iter().map(|total| split(total.wide())).unzip();
        let has_values = NullBuffer::from_iter(counts.iter().map(|count| *count > 0));
        let sums = PrimitiveArray::<Decimal128Type>::new(sums.into(), Some(has_values));
        let mut states: Vec<ArrayRef> = vec![Arc::new(sums.with_precision_and_scale(38, self.shape.scale)?)];
        if self.shape.has_carry {
            states.push(Arc::new(Int64Array::from(carries)));
        }
        if self.shape.purpose == Purpose::Average {
            states.push(Arc::new(Int64Array::from(counts)));
        }
        Ok(states)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let totals = emit_to.take_needed(&mut self.totals);
        let counts = emit_to.take_needed(&mut self.counts);
        let mut values = Vec::with_capacity(totals.len());
        let mut is_valid = Vec::with_capacity(totals.len());
        for (total, count) in totals.into_iter().zip(counts) {
            let value = finish_as::<T>(&self.shape, total.wide(), count)?;
            is_valid.push(value.is_some());
            values.push(value.unwrap_or_default());
        }
        let values = PrimitiveArray::<T>::new(values.into(), Some(NullBuffer::from(is_valid)));
        Ok(Arc::new(values.with_data_type(self.shape.returns.clone())))
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut one_each = Self::new(self.shape.clone());
        let rows: Vec<usize> = (0..values[0].len()).collect();
        one_each.update_batch(values, &rows, opt_filter, rows.len())?;
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.totals.capacity() * size_of::<W>() + self.counts.capacity() * size_of::<i64>()
    }
}

/// The finished value of one group, `None` for NULL.
pub(super) fn finish_as<T: Summed>(shape: &Shape, total: i256, count: i64) -> Result<Option<T::Native>> {
    if count <= 0 {
        return Ok(None);
    }
    match shape.finish(total, count).and_then(|value| T::Native::try_from(value).ok()) {
        None if shape.unfit == Unfit::IsAnError => Err(shape.unfit_error()),
        value => Ok(value),
    }
}

pub(super) fn primitive<T: ArrowPrimitiveType>(array: &ArrayRef) -> Result<&PrimitiveArray<T>> {
    let found = array.as_primitive_opt::<T>();
    found.ok_or_else(|| exec_datafusion_err!("a sum of {} got {}", T::DATA_TYPE, array.data_type()))
}
