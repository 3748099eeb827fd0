//! `min` and `max` of floating-point numbers, by one order in both layers.
//!
//! The order is that of PostgreSQL: -0.0 equals 0.0, NaN is greater than every number and equal to itself, so that the
//! greatest of values with a NaN among them is NaN, and the least is NaN only where there is nothing else.
//! Why so: the engine's accumulators let a NaN replace whatever came before it and be replaced by whatever comes after,
//! and begin with the greatest finite number, which hides an infinity.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ArrowNativeTypeOp, AsArray, BooleanArray, PrimitiveArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::normal::normal;
use super::sketch::is_wanted;

/// Which end of the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Extreme {
    /// The least value.
    Least,
    /// The greatest value.
    Greatest,
}

/// The accumulator for a type of floating point, `None` for others.
pub(super) fn groups(extreme: Extreme, data_type: &DataType) -> Option<Box<dyn GroupsAccumulator>> {
    Some(match data_type {
        DataType::Float64 => Box::new(Extremes::<Float64Type>::new(extreme)),
        DataType::Float32 => Box::new(Extremes::<Float32Type>::new(extreme)),
        DataType::Float16 => Box::new(Extremes::<Float16Type>::new(extreme)),
        _ => return None,
    })
}

struct Extremes<T: ArrowPrimitiveType> {
    extreme: Extreme,
    values: Vec<T::Native>,
    is_set: Vec<bool>,
}

impl<T: ArrowPrimitiveType> Extremes<T> {
    fn new(extreme: Extreme) -> Self {
        Self { extreme, values: Vec::new(), is_set: Vec::new() }
    }

    /// Where a group begins: what any other value replaces.
    fn start(&self) -> T::Native {
        match self.extreme {
            Extreme::Least => T::Native::MAX_TOTAL_ORDER,
            Extreme::Greatest => T::Native::MIN_TOTAL_ORDER,
        }
    }

    fn take_values(&mut self, emit_to: EmitTo) -> ArrayRef {
        let values = emit_to.take_needed(&mut self.values);
        let is_set = emit_to.take_needed(&mut self.is_set);
        Arc::new(PrimitiveArray::<T>::new(values.into(), Some(NullBuffer::from(is_set))))
    }
}

impl<T: ArrowPrimitiveType> GroupsAccumulator for Extremes<T> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let start = self.start();
        self.values.resize(total_num_groups, start);
        self.is_set.resize(total_num_groups, false);
        let array = normal(&values[0])?;
        let array = array
            .as_primitive_opt::<T>()
            .ok_or_else(|| exec_datafusion_err!("an extreme of {} got {}", T::DATA_TYPE, array.data_type()))?;
        let (extreme, kept, is_set) = (self.extreme, &mut self.values, &mut self.is_set);
        let mut take = |group: usize, value: T::Native| {
            let is_further = match extreme {
                Extreme::Least => value.is_lt(kept[group]),
                Extreme::Greatest => value.is_gt(kept[group]),
            };
            if is_further {
                kept[group] = value;
            }
            is_set[group] = true;
        };
        if array.null_count() == 0 && opt_filter.is_none() {
            for (&group, &value) in group_indices.iter().zip(array.values()) {
                take(group, value);
            }
        } else {
            for (row, &group) in group_indices.iter().enumerate() {
                if is_wanted(array, opt_filter, row) {
                    take(group, array.value(row));
                }
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.update_batch(values, group_indices, None, total_num_groups)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.take_values(emit_to)])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.take_values(emit_to))
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut one_each = Self::new(self.extreme);
        let rows: Vec<usize> = (0..values[0].len()).collect();
        one_each.update_batch(values, &rows, opt_filter, rows.len())?;
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.values.capacity() * size_of::<T::Native>() + self.is_set.capacity()
    }
}
