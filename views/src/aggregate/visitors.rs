//! The visits of each user of a group: the accumulator behind `visits`, `bounces` and `bounce_rate`.
//!
//! State: `users`, a list in their order; `visits` (BINARY), the visits of each of them in that order
//! (`visit_list.rs`): 8 to 12 bytes for each visit within a day, beside the user itself. A group without events has an
//! empty list.
//! Guarantee: equal sets of events are equal bytes, in any division, order and tree of merges. A state that comes from
//! elsewhere is an error, never a panic.
//! Not here: the order of users (`ordered.rs`), the functions (`visits.rs`).

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Float64Array, Int64Array, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{EmitTo, GroupsAccumulator};

use super::ordered::{Direction, Ordered, RowBytes};
use super::sketch::is_wanted;
use super::visit_list::VisitList;

/// Bytes of a user who is held, beside those of the user and of the visits.
const ENTRY_BYTES: usize = size_of::<RowBytes>() + size_of::<VisitList>();

/// What is asked of the visits of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Question {
    /// How many there are.
    Visits,
    /// How many of them are one event alone.
    Bounces,
    /// The part of these: none where there is no visit.
    BounceRate,
}

/// The parts of the state for users of a type.
pub(super) fn states(user: &DataType) -> [(&'static str, DataType); 2] {
    let users = DataType::List(Arc::new(Field::new_list_field(user.clone(), true)));
    [("users", users), ("visits", DataType::Binary)]
}

/// The users of one group.
#[derive(Debug, Default)]
struct Visitors {
    users: BTreeMap<RowBytes, VisitList>,
    size_bytes: usize,
}

impl Visitors {
    fn add(&mut self, user: &[u8], time: i64, gap_micros: u64) {
        match self.users.get_mut(user) {
            Some(known) => {
                let before = known.size_bytes();
                known.add(time, gap_micros);
                self.size_bytes = self.size_bytes + known.size_bytes() - before;
            }
            None => self.insert(user, VisitList::of(time)),
        }
    }

    fn join(&mut self, user: &[u8], visits: VisitList, gap_micros: u64) {
        match self.users.get_mut(user) {
            Some(known) => {
                let before = known.size_bytes();
                known.join(&visits, gap_micros);
                self.size_bytes = self.size_bytes + known.size_bytes() - before;
            }
            None => self.insert(user, visits),
        }
    }

    fn insert(&mut self, user: &[u8], visits: VisitList) {
        self.size_bytes += user.len() + ENTRY_BYTES + visits.size_bytes();
        self.users.insert(user.into(), visits);
    }

    fn visits(&self) -> usize {
        self.users.values().map(VisitList::visits).sum()
    }

    fn bounces(&self) -> usize {
        self.users.values().map(VisitList::bounces).sum()
    }

    fn bounce_rate(&self) -> Option<f64> {
        let visits = self.visits();
        (visits > 0).then(|| self.bounces() as f64 / visits as f64)
    }

    fn bytes(&self) -> Vec<u8> {
        let (mut bytes, mut before) = (Vec::new(), 0);
        for visits in self.users.values() {
            visits.put(&mut bytes, &mut before);
        }
        bytes
    }
}

/// The users of all groups.
pub(super) struct VisitorGroups {
    question: Question,
    gap_micros: u64,
    ordered: Arc<Ordered>,
    groups: Vec<Visitors>,
    size_bytes: usize,
}

impl VisitorGroups {
    /// Of users of a type that has an order.
    pub(super) fn new(question: Question, gap_micros: u64, user: &DataType) -> Result<Self> {
        let ordered = Ordered::new(&[(user, Direction::Ascending)])?;
        Ok(Self { question, gap_micros, ordered: Arc::new(ordered), groups: Vec::new(), size_bytes: 0 })
    }

    fn change<T>(&mut self, group: usize, change: impl FnOnce(&mut Visitors, u64) -> T) -> T {
        let visitors = &mut self.groups[group];
        let before = visitors.size_bytes;
        let changed = change(visitors, self.gap_micros);
        self.size_bytes = self.size_bytes + visitors.size_bytes - before;
        changed
    }

    fn take(&mut self, emit_to: EmitTo) -> Vec<Visitors> {
        let groups = emit_to.take_needed(&mut self.groups);
        self.size_bytes -= groups.iter().map(|group| group.size_bytes).sum::<usize>();
        groups
    }
}

impl GroupsAccumulator for VisitorGroups {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.groups.resize_with(total_num_groups, Visitors::default);
        let [users, times, _] = values else {
            return exec_err!("visits are made of a user, a time and a gap, not of {} columns", values.len());
        };
        let Some(times) = times.as_primitive_opt::<TimestampMicrosecondType>() else {
            return exec_err!("the times of visits are {}, not microseconds", times.data_type());
        };
        let rows = self.ordered.rows(&values[..1])?;
        for (row, &group) in group_indices.iter().enumerate() {
            if is_wanted(users, opt_filter, row) && times.is_valid(row) {
                let time = times.value(row);
                self.change(group, |visitors, gap_micros| visitors.add(rows.row(row).data(), time, gap_micros));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef], group_indices: &[usize], total_num_groups: usize) -> Result<()> {
        self.groups.resize_with(total_num_groups, Visitors::default);
        let states = States::of(states)?;
        let rows = self.ordered.rows(&[states.users()])?;
        for (row, &group) in group_indices.iter().enumerate() {
            let Some((places, mut bytes)) = states.row(row)? else { continue };
            let merged = self.change(group, |visitors, gap_micros| {
                let mut before = 0;
                for place in places {
                    let visits = VisitList::take(&mut bytes, &mut before, gap_micros)?;
                    visitors.join(rows.row(place).data(), visits, gap_micros);
                }
                bytes.is_empty().then_some(())
            });
            merged.ok_or_else(damaged)?;
        }
        Ok(())
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        let groups = self.take(emit_to);
        let users = groups.iter().flat_map(|group| group.users.keys().map(|user| Some(&**user)));
        let users = self.ordered.columns(users)?.swap_remove(0);
        let offsets = OffsetBuffer::from_lengths(groups.iter().map(|group| group.users.len()));
        let item = Arc::new(Field::new_list_field(users.data_type().clone(), true));
        let users = ListArray::try_new(item, offsets, users, None)?;
        let visits = BinaryArray::from_iter_values(groups.iter().map(Visitors::bytes));
        Ok(vec![Arc::new(users), Arc::new(visits)])
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let groups = self.take(emit_to);
        let count = |of: fn(&Visitors) -> usize| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(groups.iter().map(|group| of(group) as i64)))
        };
        Ok(match self.question {
            Question::Visits => count(Visitors::visits),
            Question::Bounces => count(Visitors::bounces),
            Question::BounceRate => Arc::new(groups.iter().map(Visitors::bounce_rate).collect::<Float64Array>()),
        })
    }

    fn convert_to_state(&self, values: &[ArrayRef], opt_filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let (question, gap_micros, ordered) = (self.question, self.gap_micros, Arc::clone(&self.ordered));
        let mut one_each = Self { question, gap_micros, ordered, groups: Vec::new(), size_bytes: 0 };
        let rows: Vec<usize> = (0..values[0].len()).collect();
        one_each.update_batch(values, &rows, opt_filter, rows.len())?;
        one_each.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.size_bytes + self.groups.capacity() * size_of::<Visitors>() + self.ordered.size_bytes()
    }
}

/// State columns, which may come from anywhere.
struct States<'a> {
    users: &'a ListArray,
    visits: &'a BinaryArray,
}

impl<'a> States<'a> {
    fn of(states: &'a [ArrayRef]) -> Result<Self> {
        let [users, visits] = states else {
            return exec_err!("a state of visits has {} parts", states.len());
        };
        match (users.as_list_opt::<i32>(), visits.as_binary_opt::<i32>()) {
            (Some(users), Some(visits)) => Ok(Self { users, visits }),
            _ => Err(damaged()),
        }
    }

    /// The users of all states, one behind the other.
    fn users(&self) -> ArrayRef {
        let offsets = self.users.value_offsets();
        let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
        self.users.values().slice(first, last - first)
    }

    /// Where the users of a row are among those of all states, and the bytes of their visits; `None` where there is no
    /// state.
    fn row(&self, row: usize) -> Result<Option<(Range<usize>, &'a [u8])>> {
        if self.users.is_null(row) {
            return Ok(None);
        }
        let offsets = self.users.value_offsets();
        let (from, to) = (offsets[row] as usize, offsets[row + 1] as usize);
        if self.visits.is_null(row) || (from..to).any(|place| self.users.values().is_null(place)) {
            return Err(damaged());
        }
        let first = offsets[0] as usize;
        Ok(Some((from - first..to - first, self.visits.value(row))))
    }
}

fn damaged() -> DataFusionError {
    exec_datafusion_err!("a state of visits is none that was written as such")
}
