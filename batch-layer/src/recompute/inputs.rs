//! What the views of one cut share: touched hours, copies, counters, holes.
//!
//! In: the rows below a cut. Out: [`Inputs`], and from them the facts of each view's version.
//! Guarantee: a function of (version of the master dataset, cut, cut of the version before).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlanBuilder, lit, when};
use datafusion::physical_plan::collect;
use lake::Version;
use positions::{Counters, Cut, Hole, PartitionId, RecomputeId, TimestampMicros};
use records::decode::column as master_column;
use records::master::MasterFacts;
use serving_layer::BatchFacts;
use views::{Bucket, column};

use super::distinct::{Copies, find_copies};
use super::master_rows::{Buckets, MasterRows, ranges_between};
use super::task::Task;
use crate::BatchError;
use crate::master_columns::field;

/// What the views of one cut share.
pub(crate) struct Inputs {
    pub(crate) cut: Cut,
    /// Buckets of an hour that received rows; `None`: all.
    pub(crate) touched_hours: Option<BTreeSet<TimestampMicros>>,
    pub(crate) copies: Arc<Copies>,
    /// Rows, rejected and late below the cut.
    pub(crate) counters: BTreeMap<PartitionId, Counters>,
    /// What of them lies below the cut.
    pub(crate) holes: Vec<Hole>,
    pub(crate) master_version: Version,
    /// How much of what was erased the rows are without.
    pub(crate) erased: u64,
}

impl Inputs {
    /// The buckets to replace in a view of this grain; `None`: all.
    pub(crate) fn touched(&self, grain: Bucket) -> Option<Buckets> {
        let hours = self.touched_hours.as_ref()?;
        Some(Buckets { grain, starts: hours.iter().map(|hour| views::bucket_of(grain, *hour)).collect() })
    }

    /// The facts of the version that `task` publishes.
    pub(crate) fn facts(&self, task: &Task, recompute: RecomputeId, now: TimestampMicros) -> BatchFacts {
        let previous = task.since.as_ref().and(task.previous.as_ref());
        let counters = self.counters.iter().map(|(partition, below)| {
            let count = |of: &BTreeMap<PartitionId, u64>| of.get(partition).copied().unwrap_or_default();
            let known = previous.and_then(|version| version.facts.counters.get(partition));
            // Buckets that were not touched keep their copies; those of the touched ones are counted anew.
            let copies = known.map_or(0, |known| known.copies) + count(&self.copies.left_out);
            (*partition, Counters { copies: copies - count(&self.copies.left_out_before), ..*below })
        });
        BatchFacts {
            definition: task.view.hash,
            cut: self.cut.clone(),
            master_version: self.master_version,
            recompute,
            published_at: now,
            is_full: task.since.is_none(),
            counters: counters.collect(),
            holes: self.holes.clone(),
            // Buckets that were not touched are as they were.
            erased: previous.map_or(self.erased, |version| version.facts.erased),
        }
    }
}

/// Finds out what the views of one group share.
pub(crate) async fn read_inputs(
    session: &SessionState,
    rows: &MasterRows<'_>,
    group: &[Task],
) -> Result<Inputs, BatchError> {
    let (cut, since) = (group[0].cut.clone(), group[0].since.as_ref());
    let touched_hours = match since {
        Some(since) => Some(find_touched_hours(session, rows, since, &cut).await?),
        None => None,
    };
    let mut inputs = Inputs {
        touched_hours,
        copies: Arc::default(),
        counters: count_below(session, rows, &cut).await?,
        holes: holes_below(&rows.master.facts, &cut),
        master_version: rows.master.snapshot.version(),
        erased: rows.master.facts.erased,
        cut,
    };
    // Whole buckets of the coarsest grain are whole buckets of every finer one. Also where the source names no event
    // id: a record may bring one in its header, and realtime counts it once.
    let grain = group.iter().map(|task| task.view.bucket).max_by_key(coarseness).unwrap_or(Bucket::Hour);
    let events = rows.events(&ranges_between(&Cut::default(), &inputs.cut), inputs.touched(grain).as_ref())?;
    inputs.copies = Arc::new(find_copies(session, events, since).await?);
    Ok(inputs)
}

fn coarseness(grain: &Bucket) -> u8 {
    match grain {
        Bucket::Hour => 0,
        Bucket::Day => 1,
        Bucket::Month => 2,
        Bucket::None => 3,
    }
}

/// The hours of the events in `[since, cut)`.
async fn find_touched_hours(
    session: &SessionState,
    rows: &MasterRows<'_>,
    since: &Cut,
    cut: &Cut,
) -> Result<BTreeSet<TimestampMicros>, BatchError> {
    let events = rows.events(&ranges_between(since, cut), None)?;
    let plan = events.project([rows.bucket(Bucket::Hour).alias(column::BUCKET)])?.distinct()?.build()?;
    let batches = collect(session.create_physical_plan(&plan).await?, session.task_ctx()).await?;
    let hours = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().values());
    Ok(hours.map(|hour| TimestampMicros(*hour)).collect())
}

/// Rows, rejected and late below the cut: what the commits counted, less what is counted from the cut on.
async fn count_below(
    session: &SessionState,
    rows: &MasterRows<'_>,
    cut: &Cut,
) -> Result<BTreeMap<PartitionId, Counters>, BatchError> {
    let facts = &rows.master.facts;
    // The commits counted by the rules of their time: where those are not today's, the rows are counted instead.
    let (counted, above) = if rows.master.has_rows_read_again() {
        (count_between(session, rows, &Cut::default(), cut).await?, BTreeMap::new())
    } else {
        let ends = Cut(facts.partitions.iter().map(|(partition, known)| (*partition, known.archived.end)).collect());
        let counted = facts.partitions.iter().map(|(partition, known)| (*partition, known.counters));
        (counted.collect(), count_between(session, rows, cut, &ends).await?)
    };
    let holes = holes_below(facts, cut);
    let below = cut.0.keys().map(|partition| {
        let counted = counted.get(partition).copied().unwrap_or_default();
        let above = above.get(partition).copied().unwrap_or_default();
        let lost = holes.iter().filter(|hole| hole.partition == *partition).map(|hole| hole.lost());
        let counters = Counters {
            rows: counted.rows - above.rows,
            rejected: counted.rejected - above.rejected,
            late: counted.late - above.late,
            copies: 0,
            holes: lost.sum(),
        };
        (*partition, counters)
    });
    Ok(below.collect())
}

async fn count_between(
    session: &SessionState,
    rows: &MasterRows<'_>,
    from: &Cut,
    to: &Cut,
) -> Result<BTreeMap<PartitionId, Counters>, BatchError> {
    let ranges = ranges_between(from, to);
    if ranges.is_empty() {
        return Ok(BTreeMap::new());
    }
    let late = when(field(master_column::LATE), lit(1)).end()?;
    let counts = [count(lit(1)), count(field(master_column::ERROR)), count(late)];
    let plan: LogicalPlanBuilder = rows.between(&ranges)?.aggregate([field(column::PARTITION)], counts)?;
    let plan = session.create_physical_plan(&plan.build()?).await?;
    let mut counted = BTreeMap::new();
    for batch in collect(plan, session.task_ctx()).await? {
        let partitions = batch.column(0).as_primitive::<Int32Type>();
        let value =
            |number: usize, row: usize| batch.column(number).as_primitive::<Int64Type>().value(row).unsigned_abs();
        for (row, partition) in partitions.values().iter().enumerate() {
            let counters =
                Counters { rows: value(1, row), rejected: value(2, row), late: value(3, row), ..Counters::default() };
            counted.insert(PartitionId(*partition), counters);
        }
    }
    Ok(counted)
}

/// The parts of the holes that lie below the cut.
fn holes_below(facts: &MasterFacts, cut: &Cut) -> Vec<Hole> {
    facts.holes.iter().filter_map(|hole| hole.within(hole.from, cut.offset(hole.partition))).collect()
}
