//! Running the combinators: the inner accumulator does the mathematics, these decide what goes in and what comes out.
//!
//! Guarantee: a null state adds nothing, whatever the aggregate; a state that the aggregate did not write is an error,
//! never a panic of this code.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::stored::StoredAggregate;

/// What goes in and what comes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Combinator {
    /// The aggregate's own arguments to a state.
    State,
    /// States to a state.
    MergeState,
    /// States to the finished value.
    Merge,
}

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
        let column = self.aggregate.with_neutral(only_column(values)?, None)?;
        if column.is_empty() {
            return Ok(());
        }
        self.aggregate.merge_into(self.inner.as_mut(), &self.aggregate.decode(&column)?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.aggregate.merge_into(self.inner.as_mut(), states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.combinator {
            Combinator::Merge => {
                let finished = self.inner.evaluate();
                self.aggregate.finished_or_null(finished)
            }
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

impl StateGroupsAccumulator {
    /// The finished values, NULL for a group that cannot be finished: its neighbours keep theirs. A failure takes the
    /// engine's states with it, so they are read before.
    fn finish_each(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states = self.inner.state(emit_to)?;
        let groups: Vec<usize> = (0..states.first().map_or(0, |state| state.len())).collect();
        let mut all = self.aggregate.inner().create_groups_accumulator()?;
        all.merge_batch(&states, &groups, groups.len())?;
        if let Ok(finished) = all.evaluate(EmitTo::All) {
            return Ok(finished);
        }
        let each = groups.into_iter().map(|group| {
            let mut one = self.aggregate.inner().create_accumulator()?;
            one.merge_batch(&states.iter().map(|state| state.slice(group, 1)).collect::<Vec<_>>())?;
            self.aggregate.finished_or_null(one.evaluate())
        });
        ScalarValue::iter_to_array(each.collect::<Result<Vec<_>>>()?)
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
        let column = self.aggregate.with_neutral(only_column(values)?, opt_filter)?;
        self.inner.merge_batch(&self.aggregate.decode(&column)?, group_indices, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        match self.combinator {
            Combinator::Merge if self.aggregate.may_fail_to_finish() => self.finish_each(emit_to),
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
        let column = self.aggregate.with_neutral(only_column(values)?, opt_filter)?;
        self.aggregate.decode(&column)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size()
    }
}

fn only_column(values: &[ArrayRef]) -> Result<&ArrayRef> {
    match values {
        [column] => Ok(column),
        _ => internal_err!("merging takes one state column, not {}", values.len()),
    }
}
