//! Running the combinators: the inner accumulator does the mathematics, these decide what goes in and what comes out.
//!
//! Guarantee: a null state adds nothing, whatever the aggregate; a state that the aggregate did not write is an error,
//! never a panic of this code. What goes in has one form of each floating-point number (`normal.rs`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use super::normal::normal;
use super::overflow_counts::{CountedGroups, OverflowCounter, has_value};
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
    /// States to whether there are values, and yet no finished one: it does not fit its type.
    Overflows,
}

impl Combinator {
    /// All of them; other processes know them by their places here.
    pub(crate) const ALL: [Self; 4] = [Self::State, Self::MergeState, Self::Merge, Self::Overflows];
}

/// One group.
#[derive(Debug)]
pub(super) struct StateAccumulator {
    combinator: Combinator,
    aggregate: Arc<StoredAggregate>,
    inner: Box<dyn Accumulator>,
    /// Of finished values that do not fit.
    counter: Option<OverflowCounter>,
}

impl StateAccumulator {
    pub(super) fn new(
        combinator: Combinator,
        aggregate: Arc<StoredAggregate>,
        inner: Box<dyn Accumulator>,
        counter: Option<OverflowCounter>,
    ) -> Self {
        Self { combinator, aggregate, inner, counter }
    }

    /// The finished value, and whether there are values and yet none. Finishing may take the state with it, so it is
    /// read before.
    fn judged(&mut self) -> Result<(ScalarValue, bool)> {
        let state = self.inner.state()?.first().map(|part| part.to_array_of_size(1)).transpose()?;
        let value = self.inner.evaluate()?;
        let overflows = value.is_null() && state.is_some_and(|state| has_value(&state, 0));
        Ok((value, overflows))
    }
}

impl Accumulator for StateAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        if self.combinator == Combinator::State {
            return self.inner.update_batch(&normal_all(values)?);
        }
        let column = self.aggregate.with_neutral(only_column(values)?, None)?;
        if column.is_empty() {
            return Ok(());
        }
        self.inner.merge_batch(&self.aggregate.decode(&column)?)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.inner.merge_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.inner.state()
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        match self.combinator {
            Combinator::Merge => {
                let Some(counter) = self.counter.clone() else { return self.inner.evaluate() };
                let (value, overflows) = self.judged()?;
                counter.add(overflows.into());
                Ok(value)
            }
            Combinator::Overflows => Ok(ScalarValue::Boolean(Some(self.judged()?.1))),
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
    /// Of finished values that do not fit.
    counted: Option<CountedGroups>,
}

impl StateGroupsAccumulator {
    pub(super) fn new(
        combinator: Combinator,
        aggregate: Arc<StoredAggregate>,
        inner: Box<dyn GroupsAccumulator>,
        counter: Option<OverflowCounter>,
    ) -> Self {
        Self { combinator, aggregate, inner, counted: counter.map(CountedGroups::new) }
    }

    fn merge(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        if let Some(counted) = &mut self.counted {
            counted.note(states, group_indices, total_num_groups);
        }
        self.inner.merge_batch(states, group_indices, total_num_groups)
    }

    /// Whether each group has values and no finished one. Finishing takes the states with it, so they are read before.
    fn overflows(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let states = self.inner.state(emit_to)?;
        let groups: Vec<usize> = (0..states.first().map_or(0, |state| state.len())).collect();
        let mut all = self.aggregate.inner().create_groups_accumulator()?;
        all.merge_batch(&states, &groups, groups.len())?;
        Ok(overflows(&states, &all.evaluate(EmitTo::All)?))
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
            return self.inner.update_batch(&normal_all(values)?, group_indices, opt_filter, total_num_groups);
        }
        let column = self.aggregate.with_neutral(only_column(values)?, opt_filter)?;
        self.merge(&self.aggregate.decode(&column)?, group_indices, total_num_groups)
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        match self.combinator {
            Combinator::Merge => {
                let finished = self.inner.evaluate(emit_to)?;
                if let Some(counted) = &mut self.counted {
                    counted.count(emit_to, &finished);
                }
                Ok(finished)
            }
            Combinator::Overflows => self.overflows(emit_to),
            Combinator::State | Combinator::MergeState => {
                let states = self.inner.state(emit_to)?;
                self.aggregate.encode(&states)
            }
        }
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        if let Some(counted) = &mut self.counted {
            counted.pass_on(emit_to);
        }
        self.inner.state(emit_to)
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.merge(values, group_indices, total_num_groups)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        if self.combinator == Combinator::State {
            return self.inner.convert_to_state(&normal_all(values)?, opt_filter);
        }
        let column = self.aggregate.with_neutral(only_column(values)?, opt_filter)?;
        self.aggregate.decode(&column)
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.inner.size() + self.counted.as_ref().map_or(0, CountedGroups::size)
    }
}

fn only_column(values: &[ArrayRef]) -> Result<&ArrayRef> {
    match values {
        [column] => Ok(column),
        _ => internal_err!("merging takes one state column, not {}", values.len()),
    }
}

fn normal_all(values: &[ArrayRef]) -> Result<Vec<ArrayRef>> {
    values.iter().map(normal).collect()
}

/// By group, whether its state has values and its finished value is null.
fn overflows(states: &[ArrayRef], finished: &ArrayRef) -> ArrayRef {
    let has_values = |row: usize| states.first().is_some_and(|state| has_value(state, row));
    let overflows = (0..finished.len()).map(|row| Some(finished.is_null(row) && has_values(row)));
    Arc::new(overflows.collect::<BooleanArray>())
}
