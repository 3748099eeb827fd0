//! What the views of one cut share: touched hours, counters, holes.
//!
//! In: the rows below a cut. Out: [`Inputs`]. Guarantee: a function of (version of the master dataset, cut, cut of the
//! version before).

use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlanBuilder, lit, when};
use datafusion::physical_plan::collect;
use positions::{Counters, Cut, Hole, PartitionId, TimestampMicros};
use records::decode::column as master_column;
use records::master::MasterFacts;
use serving_layer::BucketRanges;
use views::{Bucket, column};

use super::master_rows::{MasterRows, ranges_between};
use super::task::Scope;
use crate::BatchError;
use crate::grains::Grains;
use crate::master_columns::field;

/// What the views of one cut share.
pub(crate) struct Inputs {
    /// The hours to compute again, in each view widened to whole buckets; `None`: all.
    pub(crate) touched: Option<BucketRanges>,
    /// Rows, rejected and late below the cut.
    pub(crate) counters: BTreeMap<PartitionId, Counters>,
    /// What of them lies below the cut.
    pub(crate) holes: Vec<Hole>,
}

/// Finds out what the views of one cut share.
pub(crate) async fn read_inputs(
    session: &SessionState,
    rows: &MasterRows<'_>,
    cut: &Cut,
    scope: &Scope,
) -> Result<Inputs, BatchError> {
    let touched = match scope {
        Scope::All => None,
        Scope::Since(since) => Some(find_touched_hours(session, rows, since, cut).await?),
        Scope::Hours(hours) => Some(hours.clone()),
    };
    let counters = count_below(session, rows, cut).await?;
    Ok(Inputs { touched, counters, holes: holes_below(&rows.master.facts, cut) })
}

/// The hours of the events in `[since, cut)`.
async fn find_touched_hours(
    session: &SessionState,
    rows: &MasterRows<'_>,
    since: &Cut,
    cut: &Cut,
) -> Result<BucketRanges, BatchError> {
    let events = rows.events(&ranges_between(since, cut), None)?;
    let hours = Grains::even(Bucket::Hour);
    let plan = events.project([rows.bucket(hours).alias(column::BUCKET)])?.distinct()?.build()?;
    let batches = collect(session.create_physical_plan(&plan).await?, session.task_ctx()).await?;
    let found = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().values());
    let found = found.map(|hour| TimestampMicros(*hour));
    Ok(found.map(|hour| (hour, hours.next_bucket(hour))).collect())
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
pub(crate) fn holes_below(facts: &MasterFacts, cut: &Cut) -> Vec<Hole> {
    facts.holes.iter().filter_map(|hole| hole.within(hole.from, cut.offset(hole.partition))).collect()
}
