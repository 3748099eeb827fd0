//! Running the combinators: the inner accumulator does the mathematics, these decide what goes in and what comes out.
//!
//! Guarantee: a null state adds nothing, whatever the aggregate; a state that the aggregate did not write is an error,
//! never a panic of this code.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, new_null_array};
use arrow::compute::{and, filter, is_not_null, prep_null_mask_filter};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::combinator::Combinator;
use super::stored::StoredAggregate;

/// One group.
#[derive(Debug)]
pub(super) struct StateAccumulator {
    combinator: Combinator,
    aggregate: Arc<StoredAggregate>,
    inner: Box<dyn Accumulator>,
}

impl StateAccumulator {
    pub(super) fn new(combinator: Combinator, aggregate: Arc<StoredAggregate>, inner: Box<dyn Accumulator>) -> Self {
        Self { combinator, aggregate, inner }
    }
}

impl Accumulator for StateAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.combinator == Combinator::State {
            return self.inner.update_batch(values);
        }
        let column = only_column(values)?;
        let states = match present(column, None)? {
            None => self.aggregate.decode(column)?,
            Some(mask) => self.aggregate.decode(&filter(column, &mask)?)?,
        };
        if states.first().is_none_or(|state| state.is_empty()) {
            return Ok(());
        }
        self.inner.merge_batch(&states)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.combinator {
            Combinator::Merge => self.inner.evaluate(),
            Combinator::State | Combinator::MergeState => {
                let states = self.inner.state()?;
                self.aggregate.encode_scalar(states)
            }
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

/// All groups at once.
pub(super) struct StateGroupsAccumulator {
    combinator: Combinator,
    aggregate: Arc<StoredAggregate>,
    inner: Box<dyn GroupsAccumulator>,
}

impl StateGroupsAccumulator {
    pub(super) fn new(
        combinator: Combinator,
        aggregate: Arc<StoredAggregate>,
        inner: Box<dyn GroupsAccumulator>,
    ) -> Self {
        Self { combinator, aggregate, inner }
    }
}

impl GroupsAccumulator for StateGroupsAccumulator {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        if self.combinator == Combinator::State {
            return self.inner.update_batch(values, group_indices, opt_filter, total_num_groups);
        }
        let column = only_column(values)?;
        match present(column, opt_filter)? {
            None => self.inner.merge_batch(&self.aggregate.decode(column)?, group_indices, total_num_groups),
            Some(mask) => {
                let states = self.aggregate.decode(&filter(column, &mask)?)?;
                let groups: Vec<usize> = mask.values().set_indices().map(|row| group_indices[row]).collect();
                announce_groups(self.inner.as_mut(), &self.aggregate, total_num_groups)?;
                self.inner.merge_batch(&states, &groups, total_num_groups)
            }
        }
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        match self.combinator {
            Combinator::Merge => self.inner.evaluate(emit_to),
            Combinator::State | Combinator::MergeState => {
                let states = self.inner.state(emit_to)?;
                self.aggregate.encode(&states)
            }
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.inner.merge_batch(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        if self.combinator == Combinator::State {
            return self.inner.convert_to_state(values, opt_filter);
        }
        let column = only_column(values)?;
        match present(column, opt_filter)? {
            None => self.aggregate.decode(column),
            // A row without a state becomes the neutral one, which only a fresh accumulator knows.
            Some(mask) => {
                let states = self.aggregate.decode(&filter(column, &mask)?)?;
                let rows: Vec<usize> = mask.values().set_indices().collect();
                let mut fresh = self.aggregate.inner().create_groups_accumulator()?;
                announce_groups(fresh.as_mut(), &self.aggregate, column.len())?;
                fresh.merge_batch(&states, &rows, column.len())?;
                fresh.state(EmitTo::All)
            }
        }
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

/// Tells an accumulator of groups that may get no state: one row that the filter leaves out.
///
/// Without it the engine's accumulators take it that every group up to `total_num_groups` has seen a value as soon as
/// a batch has neither nulls nor a filter, and a sum over nothing would be 0 instead of null.
fn announce_groups(
    inner: &mut dyn GroupsAccumulator,
    aggregate: &StoredAggregate,
    total_num_groups: usize,
) -> Result<()> {
    if total_num_groups == 0 {
        return Ok(());
    }
    let row: Vec<ArrayRef> = aggregate.inputs().iter().map(|input| new_null_array(input, 1)).collect();
    inner.update_batch(&row, &[0], Some(&BooleanArray::from(vec![false])), total_num_groups)
}

fn only_column(values: &[ArrayRef]) -> Result<&ArrayRef> {
    match values {
        [column] => Ok(column),
        _ => internal_err!("merging takes one state column, not {}", values.len()),
    }
}

/// Which rows hold a state to merge; `None` stands for all of them.
fn present(column: &ArrayRef, opt_filter: Option<&BooleanArray>) -> Result<Option<BooleanArray>> {
    let filter = opt_filter.map(|mask| if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() });
    Ok(match (filter, column.null_count() > 0) {
        (filter, false) => filter,
        (None, true) => Some(is_not_null(column)?),
        (Some(filter), true) => Some(and(&filter, &is_not_null(column)?)?),
    })
}
