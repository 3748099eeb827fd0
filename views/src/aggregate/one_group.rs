//! The accumulator of one group, made of the accumulator of many.
//!
//! Why so: the engine has two accumulators for most aggregates, one per group and one for all groups at once, and their
//! states are not always the same thing. With this adapter there is one kind: what is aggregated with keys and without
//! them is computed, merged and finished by the same code.
//! Guarantee: reading the state or the value leaves both as they are, so that a window may ask again and again.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use arrow::array::{Array, ArrayRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// The group with index 0 of an accumulator for many.
pub(super) struct OneGroup {
    // Never locked but to tell its size: an accumulator of one group must be `Sync`, one of many need not.
    groups: Mutex<Box<dyn GroupsAccumulator>>,
    /// The state of a group without rows: accumulators for many count on a row for every group they are told of.
    neutral: Vec<ScalarValue>,
    /// The group of each row: zeros, kept between batches.
    places: Vec<usize>,
    has_group: bool,
}

impl OneGroup {
    /// `neutral` is the state of a group without rows.
    pub(super) fn new(groups: Box<dyn GroupsAccumulator>, neutral: Vec<ScalarValue>) -> Self {
        Self { groups: Mutex::new(groups), neutral, places: Vec::new(), has_group: false }
    }

    fn groups(&mut self) -> &mut dyn GroupsAccumulator {
        self.groups.get_mut().unwrap_or_else(PoisonError::into_inner).as_mut()
    }

    /// The states of the group, which keeps them; of a group without rows too.
    fn read(&mut self) -> Result<Vec<ArrayRef>> {
        if !self.has_group {
            let none = self.neutral.iter().map(|part| part.to_array_of_size(1)).collect::<Result<Vec<_>>>()?;
            self.merge_batch(&none)?;
        }
        let states = self.groups().state(EmitTo::All)?;
        self.groups().merge_batch(&states, &[0], 1)?;
        Ok(states)
    }
}

impl fmt::Debug for OneGroup {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("OneGroup").field("neutral", &self.neutral).finish_non_exhaustive()
    }
}

impl Accumulator for OneGroup {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let rows = values.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(());
        }
        self.places.resize(rows, 0);
        self.has_group = true;
        let groups = self.groups.get_mut().unwrap_or_else(PoisonError::into_inner);
        groups.update_batch(values, &self.places, None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let rows = states.first().map_or(0, |column| column.len());
        if rows == 0 {
            return Ok(());
        }
        self.places.resize(rows, 0);
        self.has_group = true;
        let groups = self.groups.get_mut().unwrap_or_else(PoisonError::into_inner);
        groups.merge_batch(states, &self.places, 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.read()?.iter().map(|state| ScalarValue::try_from_array(state, 0)).collect()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let states = self.read()?;
        let value = self.groups().evaluate(EmitTo::All)?;
        self.groups().merge_batch(&states, &[0], 1)?;
        ScalarValue::try_from_array(&value, 0)
    }

    fn size(&self) -> usize {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        size_of_val(self) + groups.size() + self.places.capacity() * size_of::<usize>()
    }
}
