//! How often each value occurs in a group: of all values, or of the most frequent ones within a bound.
//!
//! State: `values`, a list in their order; `counts`, a list of BIGINT beside it; `error` (BIGINT), by how much any
//! count may be too small, 0 where all values are held.
//! Guarantee: without a capacity the counts are exact. With one, of n values in any tree of merges: a value that is
//! held occurs at least `count` and at most `count + error` times, one that is not at most `error` times, and `error`
//! is at most n / (capacity + 1). A group of up to twice as many distinct values as the capacity is exact. What is held
//! is a function of the rows and the order of merging, and two states merge to the same in either order.
//! Not here: the functions (`frequent.rs`), the order of values (`ordered.rs`).
//!
//! # Source
//! Misra and Gries, "Finding repeated elements" (1982), as Agarwal et al. merge it in "Mergeable Summaries" (PODS 2012,
//! section 3.1): counts are added, then the (capacity + 1)-th largest is taken off all of them and what is left of the
//! positive ones is kept. Each unit of `error` so takes a unit off `capacity + 1` counts at least, hence the bound.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, ListArray, StructArray};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::ordered::{Direction, Ordered, RowBytes};
use super::sketch::is_wanted;

/// Bytes of a value that is held, beside those of the value: where it is, its length, its count.
const ENTRY_BYTES: usize = size_of::<RowBytes>() + size_of::<i64>();

/// What is asked of the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Question {
    /// The most frequent value; of equals the first, in such an order.
    Mode(Direction),
    /// The `k` most frequent values, of which `capacity` are held at least; of equals the least first.
    Top { k: usize, capacity: usize },
}

impl Question {
    fn direction(self) -> Direction {
        match self {
            Self::Mode(direction) => direction,
            Self::Top { .. } => Direction::Ascending,
        }
    }
}

/// The parts of the state for values of a type.
pub(super) fn states(value: &DataType) -> [(&'static str, DataType); 3] {
    [("values", list_of(value)), ("counts", list_of(&DataType::Int64)), ("error", DataType::Int64)]
}

/// The type of the most frequent values: a list of value, count and error.
pub(super) fn top_of(value: &DataType) -> DataType {
    // Named as it is stored, so that no answer needs a cast.
    DataType::List(Arc::new(Field::new("element", DataType::Struct(top_fields(value)), true)))
}

fn list_of(item: &DataType) -> DataType {
    DataType::List(Arc::new(Field::new_list_field(item.clone(), true)))
}

fn top_fields(value: &DataType) -> Fields {
    let field = |name: &str, data_type: &DataType| Field::new(name, data_type.clone(), true);
    vec![field("value", value), field("count", &DataType::Int64), field("error", &DataType::Int64)].into()
}

/// The values of one group.
#[derive(Debug, Default)]
struct Counts {
    counts: BTreeMap<RowBytes, i64>,
    error: i64,
    size_bytes: usize,
}

impl Counts {
    fn add(&mut self, value: &[u8], count: i64) -> Result<()> {
        match self.counts.get_mut(value) {
            Some(known) => *known = sum(*known, count)?,
            None => {
                self.counts.insert(value.into(), count);
                self.size_bytes += value.len() + ENTRY_BYTES;
            }
        }
        Ok(())
    }

    /// Leaves at most `capacity` values where there are more than twice as many.
    fn compact(&mut self, capacity: usize) -> Result<()> {
        if self.counts.len() <= 2 * capacity {
            return Ok(());
        }
        let mut counts: Vec<i64> = self.counts.values().copied().collect();
        let (_, next, _) = counts.select_nth_unstable_by_key(capacity, |count| Reverse(*count));
        let next = *next;
        self.error = sum(self.error, next)?;
        self.counts.retain(|_, count| {
            *count -= next;
            *count > 0
        });
        self.size_bytes = self.counts.keys().map(|value| value.len() + ENTRY_BYTES).sum();
        Ok(())
    }

    /// The most frequent values, of equals the first.
    fn top(&self, k: usize) -> Vec<(&[u8], i64)> {
        let mut all: Vec<(&[u8], i64)> = self.counts.iter().map(|(value, count)| (&**value, *count)).collect();
        all.sort_by_key(|(_, count)| Reverse(*count));
        all.truncate(k);
        all
    }
}

fn sum(one: i64, other: i64) -> Result<i64> {
    one.checked_add(other).ok_or_else(|| exec_datafusion_err!("a state counts more values than any log holds"))
}

/// The values of all groups.
pub(super) struct CountedGroups {
    question: Question,
    ordered: Arc<Ordered>,
    groups: Vec<Counts>,
    size_bytes: usize,
}

impl CountedGroups {
    /// Of values of a type that has an order.
    pub(super) fn new(question: Question, value: &DataType) -> Result<Self> {
        let ordered = Ordered::new(&[(value, question.direction())])?;
        Ok(Self { question, ordered: Arc::new(ordered), groups: Vec::new(), size_bytes: 0 })
    }

    /// Changes a group, and leaves it within its capacity.
    fn change(&mut self, group: usize, change: impl FnOnce(&mut Counts) -> Result<()>) -> Result<()> {
        let counts = &mut self.groups[group];
        let before = counts.size_bytes;
        change(counts)?;
        if let Question::Top { capacity, .. } = self.question {
            counts.compact(capacity)?;
        }
        self.size_bytes = self.size_bytes + counts.size_bytes - before;
        Ok(())
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Counts> {
        let groups = emit_to.take_needed(&mut self.groups);
        self.size_bytes -= groups.iter().map(|group| group.size_bytes).sum::<usize>();
        groups
    }

    /// Values as a column; where there is none, NULL.
    fn column<'a>(&'a self, values: impl Iterator<Item = Option<&'a [u8]>>) -> Result<ArrayRef> {
        Ok(self.ordered.columns(values)?.swap_remove(0))
    }

    fn top(&self, groups: &[Counts], k: usize) -> Result<ArrayRef> {
        let tops: Vec<_> = groups.iter().map(|group| group.top(k)).collect();
        let values = self.column(tops.iter().flatten().map(|(value, _)| Some(*value)))?;
        let counts = Int64Array::from_iter_values(tops.iter().flatten().map(|(_, count)| *count));
        let errors = groups.iter().zip(&tops).flat_map(|(group, top)| repeat_n(group.error, top.len()));
        let fields = top_fields(values.data_type());
        let errors = Int64Array::from_iter_values(errors);
        let items = StructArray::try_new(fields.clone(), vec![values, Arc::new(counts), Arc::new(errors)], None)?;
        let item = Arc::new(Field::new("element", DataType::Struct(fields), true));
        let offsets = OffsetBuffer::from_lengths(tops.iter().map(Vec::len));
        // Where no value stands out, all may have been given up.
        let has_values = groups.iter().map(|group| !group.counts.is_empty() || group.error > 0);
        let has_values = NullBuffer::from_iter(has_values);
        Ok(Arc::new(ListArray::try_new(item, offsets, Arc::new(items), Some(has_values))?))
    }
}

impl GroupsAccumulator for CountedGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Counts::default);
        let rows = self.ordered.rows(&values[..1])?;
        for (row, &group) in group_indices.iter().enumerate() {
            if is_wanted(&values[0], opt_filter, row) {
                self.change(group, |counts| counts.add(rows.row(row).data(), 1))?;
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups.resize_with(total_num_groups, Counts::default);
        let states = States::of(states)?;
        let rows = self.ordered.rows(&[states.values()])?;
        for (row, &group) in group_indices.iter().enumerate() {
            let Some(state) = states.row(row)? else { continue };
            self.change(group, |counts| {
                for (place, count) in state.places.zip(state.counts) {
                    counts.add(rows.row(place).data(), *count)?;
                }
                counts.error = sum(counts.error, state.error)?;
                Ok(())
            })?;
        }
        Ok(())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.take(emit_to);
        let lengths = OffsetBuffer::from_lengths(groups.iter().map(|group| group.counts.len()));
        let values = self.column(groups.iter().flat_map(|group| group.counts.keys().map(|value| Some(&**value))))?;
        let counts = Int64Array::from_iter_values(groups.iter().flat_map(|group| group.counts.values().copied()));
        let errors = Int64Array::from_iter_values(groups.iter().map(|group| group.error));
        Ok(vec![list(values, lengths.clone())?, list(Arc::new(counts), lengths)?, Arc::new(errors)])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit_to);
        match self.question {
            Question::Top { k, .. } => self.top(&groups, k),
            Question::Mode(_) => self.column(groups.iter().map(|group| group.top(1).first().map(|(value, _)| *value))),
        }
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (question, ordered) = (self.question, Arc::clone(&self.ordered));
        let mut one_each = Self { question, ordered, groups: Vec::new(), size_bytes: 0 };
        let rows: Vec<usize> = (0..values[0].len()).collect();
        one_each.update_batch(values, &rows, opt_filter, rows.len())?;
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.size_bytes + self.groups.capacity() * size_of::<Counts>() + self.ordered.size_bytes()
    }
}

fn list(items: ArrayRef, offsets: OffsetBuffer<i32>) -> Result<ArrayRef> {
    let field = Arc::new(Field::new_list_field(items.data_type().clone(), true));
    Ok(Arc::new(ListArray::try_new(field, offsets, items, None)?))
}

/// State columns, which may come from anywhere.
struct States<'a> {
    values: &'a ListArray,
    counts: &'a ListArray,
    errors: &'a Int64Array,
}

/// One state: where its values are among those of all states, and their counts.
struct State<'a> {
    places: Range<usize>,
    counts: &'a [i64],
    error: i64,
}

impl<'a> States<'a> {
    fn of(states: &'a [ArrayRef]) -> Result<Self> {
        let [values, counts, errors] = states else {
            return exec_err!("a state of counted values has {} parts", states.len());
        };
        match (values.as_list_opt::<i32>(), counts.as_list_opt::<i32>(), errors.as_primitive_opt::<Int64Type>()) {
            (Some(values), Some(counts), Some(errors)) => Ok(Self { values, counts, errors }),
            _ => Err(damaged()),
        }
    }

    /// The values of all states, one behind the other.
    fn values(&self) -> ArrayRef {
        let offsets = self.values.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        self.values.values().slice(first, last - first)
    }

    /// The state of a row; `None` where there is none.
    fn row(&self, row: usize) -> Result<Option<State<'a>>> {
        if self.values.is_null(row) {
            return Ok(None);
        }
        let counts = self.counts.values().as_primitive_opt::<Int64Type>().ok_or_else(damaged)?;
        let (places, of_counts) = (range(self.values, row), range(self.counts, row));
        let has_nulls = places.clone().any(|place| self.values.values().is_null(place))
            || of_counts.clone().any(|place| counts.is_null(place));
        let (error, counts) = (self.errors.value(row), &counts.values()[of_counts]);
        let is_whole = self.counts.is_valid(row) && self.errors.is_valid(row) && places.len() == counts.len();
        if has_nulls || !is_whole || error < 0 || counts.iter().any(|count| *count <= 0) {
            return Err(damaged());
        }
        let first = self.values.value_offsets()[0] as usize;
        Ok(Some(State { places: places.start - first..places.end - first, counts, error }))
    }
}

fn range(lists: &ListArray, row: usize) -> Range<usize> {
    let offsets = lists.value_offsets();
    offsets[row] as usize..offsets[row + 1] as usize
}

fn damaged() -> DataFusionError {
    exec_datafusion_err!("a state of counted values is none that was written as such")
}
