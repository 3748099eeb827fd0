//! `sum` of one group in a query, over a window that moves too: what leaves the window is taken off the exact total.
//!
//! Guarantee: the states are those of `sums.rs`.
//! Not here: views, whose sums of one group are made of those of many (`one_group.rs`).

use std::fmt;
use std::marker::PhantomData;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{DataType, Decimal32Type, Decimal64Type, Decimal128Type, Int64Type, UInt64Type, i256};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::Accumulator;

use super::sums::{Purpose, Shape, Summed, Total, Unfit, finish_as, primitive};

/// The accumulator for an argument type; `None` where the engine's is used.
pub(super) fn one_sum(unfit: Unfit, argument: &DataType, returns: &DataType) -> Option<Box<dyn Accumulator>> {
    let shape = Shape::new(Purpose::Sum, unfit, argument, returns)?;
    Some(match argument {
        DataType::Int64 => Box::new(OneSum::<Int64Type>::new(shape)),
        DataType::UInt64 => Box::new(OneSum::<UInt64Type>::new(shape)),
        DataType::Decimal32(..) => Box::new(OneSum::<Decimal32Type>::new(shape)),
        DataType::Decimal64(..) => Box::new(OneSum::<Decimal64Type>::new(shape)),
        DataType::Decimal128(..) => Box::new(OneSum::<Decimal128Type>::new(shape)),
        _ => return None,
    })
}

/// The sum of one group.
struct OneSum<T> {
    shape: Shape,
    total: i256,
    count: i64,
    values: PhantomData<fn() -> T>,
}

impl<T: Summed> OneSum<T> {
    fn new(shape: Shape) -> Self {
        Self { shape, total: i256::ZERO, count: 0, values: PhantomData }
    }

    fn sum_of(values: &[ArrayRef]) -> Result<(i256, i64)> {
        let values = primitive::<T>(&values[0])?;
        let mut total = i256::ZERO;
        for value in values.iter().flatten() {
            total.add(value.into());
        }
        Ok((total, (values.len() - values.null_count()) as i64))
    }
}

impl<T> fmt::Debug for OneSum<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OneSum").field("shape", &self.shape).finish_non_exhaustive()
    }
}

impl<T: Summed> Accumulator for OneSum<T> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (total, count) = Self::sum_of(values)?;
        self.total = self.total.wrapping_add(total);
        self.count += count;
        Ok(())
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (total, count) = Self::sum_of(values)?;
        self.total = self.total.wrapping_sub(total);
        self.count -= count;
        Ok(())
    }

    fn supports_retract_batch(&self) -> bool {
        true
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let value = finish_as::<T>(&self.shape, self.total, self.count)?;
        ScalarValue::new_primitive::<T>(value, self.shape.returns())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.shape.state(self.total, self.count > 0))
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let sums = primitive::<Decimal128Type>(&states[0])?;
        let carries = states.get(1).map(primitive::<Int64Type>).transpose()?;
        for row in (0..sums.len()).filter(|row| sums.is_valid(*row)) {
            self.total.add(sums.value(row));
            self.total.add_carry(carries.map_or(0, |carries| carries.value(row)));
            self.count += 1;
        }
        Ok(())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
