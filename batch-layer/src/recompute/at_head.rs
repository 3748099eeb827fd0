//! What an answer should have been, and which events it was made of, by the master dataset alone: the law at the cut
//! and the head of that answer.
//!
//! ```text
//!  rows below the cut ---> distinct: all copies but the first  --+
//!                                                                +--> left out --> states of [0, head)
//!  rows up to the head --> fresh: copies within the horizon ----+                  events of a group, one by one
//! ```
//!
//! In: a snapshot that reaches the head. Out: states, and the places of events.
//! Guarantee: nothing is written. What is left out is what batch left out below the cut and realtime above it: a
//! function of the records, the cut and the head, whatever became of runs, versions and files since.
//! Not here: whether a snapshot reaches so far (whoever opens it), which groups are asked for, finished values.
//! Why the whole partition is read where something lies above its cut: the running maximum at which a copy was seen
//! follows from its first record on. It is four columns, as for the search below the cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::{execute_stream, execute_stream_partitioned};
use futures::TryStreamExt;
use positions::{CopyWindow, Cut, Offset, PartitionId, Position, TimestampMicros, running_max};
use records::decode::{column as master_column, event_keys};
use records::master::MasterSnapshot;
use views::{PlannedView, SourceDefinition, column};

use super::compute::collect_states;
use super::distinct::{Copies, Place, find_copies, keep_first, sightings};
use super::master_rows::{MasterRows, OffsetRange, ranges_between};
use crate::master_columns::field;
use crate::{BatchError, RecomputeSettings, engine};

/// The keys that tell single events apart, as columns of a plan over them. The names are none of a source's columns.
const PLACE: [(&str, &str); 4] = [
    ("_at_partition", column::PARTITION),
    ("_at_offset", column::OFFSET),
    ("_at_item", master_column::ITEM),
    ("_at_late", master_column::LATE),
];

/// How far an answer reached, and from where on realtime remembered copies.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AnswerPlace {
    /// Below it batch answered.
    pub cut: Cut,
    /// Below it the whole answered.
    pub head: Cut,
    /// Where partitions begin in the life of the topic that the head is of; absent: at 0.
    pub begins: BTreeMap<PartitionId, Offset>,
}

/// An event that a group is made of, or would be if it were no copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CountedEvent {
    /// Its partition.
    pub partition: PartitionId,
    /// The offset of its record.
    pub offset: Offset,
    /// Which of the events of its record it is; 0: the only one.
    pub item: i32,
    /// Whether it was late.
    pub is_late: bool,
    /// Whether an earlier copy stands for it, so that it does not count.
    pub is_copy: bool,
}

/// The events of some groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CountedEvents {
    /// The first ones, by partition, offset and number in the record.
    pub first: Vec<CountedEvent>,
    /// How many there are, copies among them; an event counts once in each of its groups.
    pub total: u64,
    /// How many of them were late.
    pub late: u64,
    /// How many of them are copies.
    pub copies: u64,
}

/// Records of which no event could be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectedPlaces {
    /// The first ones, by partition and offset.
    pub first: Vec<(PartitionId, Offset)>,
    /// How many there are; a record with several such parts counts as often.
    pub total: u64,
}

/// One view at the place of one answer.
pub struct AtHead {
    master: MasterSnapshot,
    view: PlannedView,
    place: AnswerPlace,
    session: SessionState,
    left_out: Arc<Copies>,
}

impl AtHead {
    /// Finds the events that are left out. `master` reaches the head, and reads the source as the view defines it.
    ///
    /// Reads the keys of all events below the head.
    ///
    /// # Errors
    /// Store or engine failed; too little memory and room for spilling.
    pub async fn open(
        master: MasterSnapshot,
        view: &PlannedView,
        place: AnswerPlace,
        settings: &RecomputeSettings,
    ) -> Result<Self, BatchError> {
        let session = engine::session(settings)?;
        let rows = MasterRows { master: &master, source: &view.source };
        let below = rows.events(&ranges_between(&Cut::default(), &place.cut), None)?;
        let plan = session.create_physical_plan(&sightings(below)?.build()?).await?;
        let streams = execute_stream_partitioned(plan, session.task_ctx())?;
        let mut left_out = find_copies(&session, streams, None).await?;
        for range in ranges_between(&place.cut, &place.head) {
            repeated_above(&session, &rows, &place, range, &mut left_out).await?;
        }
        Ok(Self { master, view: view.clone(), place, session, left_out: Arc::new(left_out) })
    }

    /// The states of all groups that pass `only`, a condition on dimensions, as columns of `ViewDefinition::states`;
    /// `None` where they need more than `limit_bytes`.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn states(&self, only: Option<Expr>, limit_bytes: usize) -> Result<Option<Vec<RecordBatch>>, BatchError> {
        let mut events = self.events_below()?;
        if !self.left_out.places.is_empty() {
            events = events.filter(keep_first(&self.left_out))?;
        }
        let rows = self.run(self.plan(events, &[], only)?).await?;
        collect_states(rows, (&self.view.states, 0), limit_bytes).await
    }

    /// The events of the groups that `passes` says of their dimensions, of which all pass `only`; the first `most` of
    /// them by their places.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn events(
        &self,
        only: Option<Expr>,
        passes: impl Fn(&RecordBatch) -> Result<BooleanArray, ArrowError>,
        most: usize,
    ) -> Result<CountedEvents, BatchError> {
        let keys = PLACE.map(|(name, _)| name);
        let mut rows = self.run(self.plan(self.events_below()?, &keys, only)?).await?;
        let dimensions: Vec<usize> = (PLACE.len()..PLACE.len() + self.view.dimensions.len()).collect();
        let (mut found, mut first) = (CountedEvents::default(), BTreeSet::new());
        while let Some(batch) = rows.try_next().await? {
            let passes = batch.project(&dimensions).and_then(|dimensions| passes(&dimensions));
            let passes = passes.map_err(DataFusionError::from)?;
            for event in self.events_of(&batch, &passes)? {
                found.total += 1;
                found.late += u64::from(event.is_late);
                found.copies += u64::from(event.is_copy);
                keep_least(&mut first, event, most);
            }
        }
        found.first = first.into_iter().collect();
        Ok(found)
    }

    /// The records in `[from, to)` of some partitions of which no event could be read.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn rejected(
        &self,
        stretches: &BTreeMap<PartitionId, (Offset, Offset)>,
        most: usize,
    ) -> Result<RejectedPlaces, BatchError> {
        let ranges =
            stretches.iter().map(|(partition, (from, to))| OffsetRange { partition: *partition, from: *from, to: *to });
        let ranges: Vec<OffsetRange> = ranges.collect();
        let rows = MasterRows { master: &self.master, source: &self.view.source };
        let rejected = rows.between(&ranges)?.filter(field(master_column::ERROR).is_not_null())?;
        let plan = rejected.project([column::PARTITION, column::OFFSET].map(field))?.build()?;
        let mut rows = self.run(plan).await?;
        let (mut found, mut first) = (RejectedPlaces::default(), BTreeSet::new());
        while let Some(batch) = rows.try_next().await? {
            let partitions = batch.column(0).as_primitive::<Int32Type>().values();
            let offsets = batch.column(1).as_primitive::<Int64Type>().values();
            for (partition, offset) in partitions.iter().zip(offsets) {
                found.total += 1;
                keep_least(&mut first, (PartitionId(*partition), Offset(*offset)), most);
            }
        }
        found.first = first.into_iter().collect();
        Ok(found)
    }

    /// All events below the head, copies among them.
    fn events_below(&self) -> Result<LogicalPlanBuilder, BatchError> {
        let rows = MasterRows { master: &self.master, source: &self.view.source };
        Ok(rows.events(&ranges_between(&Cut::default(), &self.place.head), None)?)
    }

    /// Events to states, by these keys of [`PLACE`] and the dimensions.
    fn plan(&self, events: LogicalPlanBuilder, keys: &[&str], only: Option<Expr>) -> Result<LogicalPlan, BatchError> {
        let source: &SourceDefinition = &self.view.source;
        let columns = source.events.fields().iter().map(|column| field(column.name()).alias(column.name()));
        let wanted = PLACE.iter().filter(|(name, _)| keys.contains(name));
        let places = wanted.map(|(name, stored)| field(stored).alias(*name));
        let events = events.project(columns.chain(places).collect::<Vec<Expr>>())?.build()?;
        let states = self.view.plans.state_plan(events, keys)?;
        match only {
            Some(only) => Ok(LogicalPlanBuilder::from(states).filter(only)?.build()?),
            None => Ok(states),
        }
    }

    async fn run(&self, plan: LogicalPlan) -> Result<SendableRecordBatchStream, BatchError> {
        let plan = self.session.create_physical_plan(&plan).await?;
        Ok(execute_stream(plan, self.session.task_ctx())?)
    }

    /// The events of rows that begin with the keys of [`PLACE`], those that pass.
    fn events_of(&self, rows: &RecordBatch, passes: &BooleanArray) -> Result<Vec<CountedEvent>, BatchError> {
        let partitions = rows.column(0).as_primitive::<Int32Type>();
        let offsets = rows.column(1).as_primitive::<Int64Type>();
        let items = rows.column(2).as_primitive::<Int32Type>();
        let late = rows.column(3).as_boolean();
        let mut reader = self.left_out.places.reader();
        let mut events = Vec::new();
        for row in (0..rows.num_rows()).filter(|row| passes.is_valid(*row) && passes.value(*row)) {
            let (partition, offset, item) = (partitions.value(row), offsets.value(row), items.value(row));
            events.push(CountedEvent {
                partition: PartitionId(partition),
                offset: Offset(offset),
                item,
                is_late: late.is_valid(row) && late.value(row),
                is_copy: reader.contains(Place::new(partition, offset, item)?),
            });
        }
        Ok(events)
    }
}

/// Keeps the least ones, `most` of them.
fn keep_least<T: Ord>(kept: &mut BTreeSet<T>, one: T, most: usize) {
    kept.insert(one);
    if kept.len() > most {
        kept.pop_last();
    }
}

/// Puts the events above the cut in that realtime left out as copies, of one partition.
async fn repeated_above(
    session: &SessionState,
    rows: &MasterRows<'_>,
    place: &AnswerPlace,
    above: OffsetRange,
    left_out: &mut Copies,
) -> Result<(), BatchError> {
    let begins = place.begins.get(&above.partition).copied().unwrap_or_default().min(above.from);
    let columns = [column::OFFSET, master_column::ITEM, column::TIMESTAMP, master_column::EVENT_KEY].map(field);
    let order = [column::OFFSET, master_column::ITEM].map(|name| field(name).sort(true, false));
    let plan = rows.between(&[OffsetRange { from: begins, ..above }])?.project(columns)?.sort(order)?.build()?;
    let plan = session.create_physical_plan(&plan).await?;
    let mut read = execute_stream(plan, session.task_ctx())?;
    let mut replay = Replay::new(above, place.cut.0.get(&above.partition).copied());
    while let Some(batch) = read.try_next().await? {
        replay.observe(&batch, rows.source, left_out)?;
    }
    Ok(())
}

/// The records of one partition, seen one after the other as the speed layer saw them.
struct Replay {
    above: OffsetRange,
    /// Where the cut stands; `None`: at the start of the partition.
    cut: Option<Position>,
    window: CopyWindow,
    running_max: TimestampMicros,
    /// The record of the last row: it raises the running maximum once, however many events it holds.
    last: Option<i64>,
}

impl Replay {
    fn new(above: OffsetRange, cut: Option<Position>) -> Self {
        Self { above, cut, window: CopyWindow::default(), running_max: TimestampMicros::MIN, last: None }
    }

    /// Sees rows of offset, item, timestamp and key, in the order of the log.
    fn observe(
        &mut self,
        rows: &RecordBatch,
        source: &SourceDefinition,
        left_out: &mut Copies,
    ) -> Result<(), BatchError> {
        let offsets = rows.column(0).as_primitive::<Int64Type>();
        let items = rows.column(1).as_primitive::<Int32Type>();
        let timestamps = rows.column(2).as_primitive::<TimestampMicrosecondType>();
        let keys = event_keys(rows)?;
        for (row, key) in keys.iter().enumerate() {
            let offset = offsets.value(row);
            if offset >= self.above.from.0
                && let Some(cut) = self.cut.take()
            {
                // From here on it is what the cut says, also where records before it were lost.
                self.running_max = cut.max_timestamp;
            }
            if self.last != Some(offset) {
                self.running_max = running_max(self.running_max, TimestampMicros(timestamps.value(row)));
                self.last = Some(offset);
            }
            let is_copy = self.window.observe(*key, self.running_max, source.horizon);
            if is_copy && offset >= self.above.from.0 {
                left_out.places.insert(Place::new(self.above.partition.0, offset, items.value(row))?);
            }
        }
        Ok(())
    }
}
