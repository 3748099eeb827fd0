//! Finished values that do not fit their type, counted while the plan runs that makes them.
//!
//! Guarantee: a group without values is not counted, though its value is NULL, too. A value that is computed twice is
//! counted twice.
//! Not here: which values those are before a plan runs again over the same states (`Combinator::Overflows`).
//! Why so: a query of somebody's own finishes states wherever its plan says; no second plan would come across the same
//! groups.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray};
use datafusion::logical_expr::EmitTo;

/// How many finished values did not fit, by the state column that they are made of.
#[derive(Debug, Default)]
pub struct OverflowCounts {
    // Written by the threads of one query where a value does not fit, once for a batch of groups; read behind it.
    by_state: Mutex<BTreeMap<String, u64>>,
}

impl OverflowCounts {
    /// Of the values of one state column.
    pub(crate) fn of(&self, column: &str) -> u64 {
        self.by_state.lock().unwrap_or_else(PoisonError::into_inner).get(column).copied().unwrap_or_default()
    }
}

/// Counts the values of one state column.
#[derive(Clone, Debug)]
pub(crate) struct OverflowCounter {
    counts: Arc<OverflowCounts>,
    column: String,
}

impl OverflowCounter {
    pub(crate) fn new(counts: &Arc<OverflowCounts>, column: &str) -> Self {
        Self { counts: Arc::clone(counts), column: column.to_owned() }
    }

    pub(super) fn add(&self, values: u64) {
        if values > 0 {
            let mut by_state = self.counts.by_state.lock().unwrap_or_else(PoisonError::into_inner);
            *by_state.entry(self.column.clone()).or_default() += values;
        }
    }
}

/// The groups of an accumulator, and which of them have values.
#[derive(Debug)]
pub(super) struct CountedGroups {
    counter: OverflowCounter,
    has_values: Vec<bool>,
}

impl CountedGroups {
    pub(super) fn new(counter: OverflowCounter) -> Self {
        Self { counter, has_values: Vec::new() }
    }

    /// Notes the groups that states are merged into.
    pub(super) fn note(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) {
        self.has_values.resize(total_num_groups, false);
        let Some(state) = states.first() else { return };
        if state.null_count() == 0 && state.as_list_opt::<i32>().is_none() {
            group_indices.iter().for_each(|group| self.has_values[*group] = true);
            return;
        }
        for (row, group) in group_indices.iter().enumerate() {
            self.has_values[*group] |= has_value(state, row);
        }
    }

    /// Lets go of groups whose states are handed on.
    pub(super) fn pass_on(&mut self, emit_to: EmitTo) {
        emit_to.take_needed(&mut self.has_values);
    }

    /// Counts the groups that have values, and no finished one.
    pub(super) fn count(&mut self, emit_to: EmitTo, finished: &ArrayRef) {
        let has_values = emit_to.take_needed(&mut self.has_values);
        if finished.null_count() > 0 {
            let unfit =
                has_values.iter().enumerate().filter(|(group, has_value)| **has_value && finished.is_null(*group));
            self.counter.add(unfit.count() as u64);
        }
    }

    pub(super) fn size(&self) -> usize {
        self.has_values.capacity()
    }
}

/// Whether a state, of which this is the first part, has values.
pub(super) fn has_value(state: &ArrayRef, row: usize) -> bool {
    // A set of distinct values is never null.
    let is_empty = state.as_list_opt::<i32>().is_some_and(|sets| sets.value_length(row) == 0);
    state.is_valid(row) && !is_empty
}
