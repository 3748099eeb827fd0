//! Sketches as aggregates: the accumulators around them, for one group and for many.
//!
//! State: the serialised sketch (BINARY), null for a group without values.
//! Guarantee: a group has a sketch from its first value on; a state that is not a sketch is an error, never a panic.
//! Not here: the sketches themselves (`hll.rs`, `kll_sketch.rs`, `dd_sketch.rs`), the functions (`sketch_function.rs`).

use std::fmt::Debug;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, BooleanArray};
use datafusion::common::{Result, ScalarValue, exec_datafusion_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

/// A sketch of the values of one group.
pub(super) trait Sketch: Debug + Send + Sync + Sized + 'static {
    /// What is taken in, row by row.
    type Value;
    /// What is asked of the finished sketch.
    type Question: Debug + Send + Sync;
    /// The name in errors.
    const NAME: &'static str;

    fn empty() -> Result<Self>;

    fn update(&mut self, value: Self::Value) -> Result<()>;

    /// Merges a serialised sketch, which may come from anywhere, into that of a group.
    fn merge_state(merged: &mut Option<Self>, state: &[u8]) -> Result<()>;

    fn to_state(&self) -> Vec<u8>;

    /// The answers of groups, of those without a sketch too.
    fn finish(sketches: &[Option<Self>], question: &Self::Question) -> Result<ArrayRef>;

    /// The bytes held, for the engine's memory pool.
    fn size_bytes(&self) -> usize;

    /// Calls `each` with the rows that are not null and pass the filter.
    fn for_each(
        array: &ArrayRef,
        opt_filter: Option<&BooleanArray>,
        each: impl FnMut(usize, Self::Value) -> Result<()>,
    ) -> Result<()>;
}

/// Whether a row is to be taken in.
pub(super) fn is_wanted(array: &dyn Array, opt_filter: Option<&BooleanArray>, row: usize) -> bool {
    array.is_valid(row) && opt_filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

/// The accumulators of a sketch, whatever the type of its values.
pub(super) trait Accumulators {
    fn for_one_group(self: Box<Self>) -> Box<dyn Accumulator>;
    fn for_groups(self: Box<Self>) -> Box<dyn GroupsAccumulator>;
}

impl<S: Sketch> Accumulators for SketchGroups<S> {
    fn for_one_group(self: Box<Self>) -> Box<dyn Accumulator> {
        Box::new(SketchAccumulator { groups: *self })
    }

    fn for_groups(self: Box<Self>) -> Box<dyn GroupsAccumulator> {
        self
    }
}

/// A single group is the group with index 0.
#[derive(Debug)]
struct SketchAccumulator<S: Sketch> {
    groups: SketchGroups<S>,
}

impl<S: Sketch> Accumulator for SketchAccumulator<S> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; values[0].len()];
        self.groups.update_batch(values, &groups, None, 1)
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let groups = vec![0; states[0].len()];
        self.groups.merge_batch(states, &groups, 1)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.groups.resize(1);
        Ok(vec![ScalarValue::Binary(self.groups.sketches[0].as_ref().map(S::to_state))])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        self.groups.resize(1);
        ScalarValue::try_from_array(&S::finish(&self.groups.sketches, &self.groups.question)?, 0)
    }

    fn size(&self) -> usize {
        GroupsAccumulator::size(&self.groups)
    }
}

/// One sketch per group, made at the group's first value.
#[derive(Debug)]
pub(super) struct SketchGroups<S: Sketch> {
    question: S::Question,
    sketches: Vec<Option<S>>,
    // What each sketch held when it was last touched: summing up all of them for every batch would be quadratic.
    sizes: Vec<u32>,
    size_bytes: usize,
}

impl<S: Sketch> SketchGroups<S> {
    pub(super) fn new(question: S::Question) -> Self {
        Self { question, sketches: Vec::new(), sizes: Vec::new(), size_bytes: 0 }
    }

    fn resize(&mut self, groups: usize) {
        self.sketches.resize_with(groups.max(self.sketches.len()), || None);
        self.sizes.resize(self.sketches.len(), 0);
    }

    fn account(&mut self, group_indices: &[usize]) {
        for &group in group_indices {
            let size = self.sketches[group].as_ref().map_or(0, S::size_bytes);
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            self.size_bytes = self.size_bytes + size as usize - self.sizes[group] as usize;
            self.sizes[group] = size;
        }
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Option<S>> {
        let sizes = emit_to.take_needed(&mut self.sizes);
        self.size_bytes -= sizes.iter().map(|size| *size as usize).sum::<usize>();
        emit_to.take_needed(&mut self.sketches)
    }
}

impl<S: Sketch> GroupsAccumulator for SketchGroups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.resize(total_num_groups);
        let sketches = &mut self.sketches;
        S::for_each(&values[0], opt_filter, |row, value| {
            let sketch = &mut sketches[group_indices[row]];
            match sketch {
                Some(sketch) => sketch.update(value),
                None => sketch.insert(S::empty()?).update(value),
            }
        })?;
        self.account(group_indices);
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.resize(total_num_groups);
        let states = values[0]
            .as_binary_opt::<i32>()
            .ok_or_else(|| exec_datafusion_err!("a {} state is {}", S::NAME, values[0].data_type()))?;
        for (row, &group) in group_indices.iter().enumerate() {
            if states.is_valid(row) {
                S::merge_state(&mut self.sketches[group], states.value(row))?;
            }
        }
        self.account(group_indices);
        Ok(())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut states = BinaryBuilder::new();
        for sketch in self.take(emit_to) {
            states.append_option(sketch.as_ref().map(S::to_state));
        }
        Ok(vec![Arc::new(states.finish())])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let sketches = self.take(emit_to);
        S::finish(&sketches, &self.question)
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let mut rows: Vec<Option<Vec<u8>>> = vec![None; values[0].len()];
        S::for_each(&values[0], opt_filter, |row, value| {
            let mut sketch = S::empty()?;
            sketch.update(value)?;
            rows[row] = Some(sketch.to_state());
            Ok(())
        })?;
        Ok(vec![Arc::new(BinaryArray::from_iter(rows))])
    }

    fn size(&self) -> usize {
        self.size_bytes + self.sketches.capacity() * size_of::<Option<S>>() + self.sizes.capacity() * size_of::<u32>()
    }
}
