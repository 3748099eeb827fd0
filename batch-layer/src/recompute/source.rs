//! Recompute: the views of one source, from the raw rows below a cut.
//!
//! ```text
//!  master snapshot --> ledger --> per view: previous version, cut, touched buckets (task)
//!                                 per cut:  copies, counters                       (inputs)
//!                                 per view: states --> one commit                  (publish.rs)
//! ```
//!
//! In: the newest master dataset and the newest version of each view. Out: one [`Outcome`] per view.
//! Guarantee: a published table is a function of (raw version, cut, definition); `full` and `incremental` give equal
//! tables. Killed at any step, the old version stays. An error of one view does not stop the others.
//! Not here: when to recompute (`run.rs`), where a cut may lie (`positions::choose_cut`).
//! Why so: views that stand at the same cut share the search for copies, which costs as much as a view.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::{Int32Type, Int64Type, TimestampMicrosecondType};
use datafusion::execution::SessionState;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{LogicalPlanBuilder, lit, when};
use datafusion::physical_plan::collect;
use lake::Lake;
use positions::{Clock, Counters, Cut, IdSource, PartitionId, RecomputeId, TimestampMicros, ViewName, choose_cut};
use records::decode::column as raw;
use records::master::{MasterDataset, MasterFacts, MasterSnapshot};
use serving_layer::BatchViewStore;
use views::{Bucket, ViewDefinition, column};

use crate::distinct::find_copies;
use crate::publish::publish_states;
use crate::raw_rows::{RawRows, field, ranges_between};
pub use crate::task::Outcome;
use crate::task::{Inputs, Task};
use crate::{BatchError, RecomputeSettings, engine};

/// What a recompute works with.
#[derive(Clone)]
pub struct RecomputeComponents {
    /// Where the batch views live.
    pub lake: Lake,
    /// The raw rows of the source.
    pub master: MasterDataset,
    /// The views to build, all of that source.
    pub views: Vec<Arc<ViewDefinition>>,
    /// Judges the silence at the end of the log; nothing else depends on it.
    pub clock: Arc<dyn Clock>,
    /// Names of files and recomputes.
    pub ids: Arc<dyn IdSource>,
}

/// How much is computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything below the cut.
    Full,
    /// The buckets that received rows since the version before; everything for a first version.
    #[default]
    Incremental,
}

/// The outcomes of one recompute, by view.
pub type Round = BTreeMap<ViewName, Result<Outcome, Arc<BatchError>>>;

/// Recomputes the views of one source and publishes what is new.
pub async fn recompute(components: &RecomputeComponents, mode: Mode, settings: &RecomputeSettings) -> Round {
    match recompute_source(components, mode, settings).await {
        Ok(round) => round,
        Err(error) => {
            let error = Arc::new(error);
            components.views.iter().map(|view| (view.name.clone(), Err(Arc::clone(&error)))).collect()
        }
    }
}

async fn recompute_source(
    components: &RecomputeComponents,
    mode: Mode,
    settings: &RecomputeSettings,
) -> Result<Round, BatchError> {
    let names = components.views.iter().map(|view| view.name.clone());
    let Some(master) = components.master.open().await? else {
        return Ok(names.map(|name| (name, Ok(Outcome::NothingNew))).collect());
    };
    master.check_ledger()?;
    let mut round = Round::new();
    let mut tasks = Vec::new();
    for view in &components.views {
        match plan_task(components, &master, view, mode).await {
            Ok(Planned::Task(task)) => tasks.push(task),
            Ok(Planned::Settled(outcome)) => drop(round.insert(view.name.clone(), Ok(outcome))),
            Err(error) => drop(round.insert(view.name.clone(), Err(Arc::new(error)))),
        }
    }
    let session = engine::session(settings)?;
    for group in group_by_cut(tasks) {
        round.extend(compute_group(components, &session, &master, group).await);
    }
    Ok(round)
}

enum Planned {
    Task(Task),
    Settled(Outcome),
}

async fn plan_task(
    components: &RecomputeComponents,
    master: &MasterSnapshot,
    view: &Arc<ViewDefinition>,
    mode: Mode,
) -> Result<Planned, BatchError> {
    let store = BatchViewStore::new(&components.lake, Arc::clone(view));
    let previous = store.newest().await?;
    let facts = previous.as_ref().map(|version| version.facts.as_ref());
    if facts.is_some_and(|facts| facts.raw_version > master.snapshot.version().0) {
        return Ok(Planned::Settled(Outcome::LostRace));
    }
    let before = facts.map(|facts| facts.cut.clone()).unwrap_or_default();
    let cut = next_cut(&master.facts, &before, view, components.clock.now());
    let is_new = !before.is_at_or_above(&cut);
    if !is_new && (mode == Mode::Incremental || previous.is_none()) {
        return Ok(Planned::Settled(Outcome::NothingNew));
    }
    let since = (mode == Mode::Incremental && previous.is_some()).then_some(before);
    Ok(Planned::Task(Task { view: Arc::clone(view), store, previous, cut, since }))
}

/// The cut of the next version: what `choose_cut` says, partition by partition.
fn next_cut(facts: &MasterFacts, before: &Cut, view: &ViewDefinition, now: TimestampMicros) -> Cut {
    let mut cut = before.clone();
    for (partition, known) in &facts.partitions {
        let previous = before.0.get(partition).copied();
        cut.0.insert(*partition, choose_cut(&known.archived, previous, &view.source.border, now));
    }
    cut
}

/// Tasks that read the same rows.
fn group_by_cut(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut groups: Vec<Vec<Task>> = Vec::new();
    for task in tasks {
        match groups.iter_mut().find(|group| group[0].cut == task.cut && group[0].since == task.since) {
            Some(group) => group.push(task),
            None => groups.push(vec![task]),
        }
    }
    groups
}

async fn compute_group(
    components: &RecomputeComponents,
    session: &SessionState,
    master: &MasterSnapshot,
    group: Vec<Task>,
) -> Round {
    let source = Arc::clone(&group[0].view.source);
    let rows = RawRows { master, source: &source };
    let inputs = match read_inputs(session, &rows, &group).await {
        Ok(inputs) => inputs,
        Err(error) => {
            let error = Arc::new(error);
            return group.iter().map(|task| (task.view.name.clone(), Err(Arc::clone(&error)))).collect();
        }
    };
    let mut round = Round::new();
    for task in group {
        let recompute = RecomputeId(components.ids.next_id());
        let facts = inputs.facts(&task, recompute, components.clock.now());
        let outcome = publish_states(session, &rows, &inputs, &task, (facts, components.ids.next_id())).await;
        round.insert(task.view.name.clone(), outcome.map_err(Arc::new));
    }
    round
}

/// Finds out what the views of one group share.
async fn read_inputs(session: &SessionState, rows: &RawRows<'_>, group: &[Task]) -> Result<Inputs, BatchError> {
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
        raw_version: rows.master.snapshot.version().0,
        cut,
    };
    // Whole buckets of the coarsest grain are whole buckets of every finer one. Also where the source names no event id:
    // a record may bring one in its header, and realtime counts it once.
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
    rows: &RawRows<'_>,
    since: &Cut,
    cut: &Cut,
) -> Result<BTreeSet<TimestampMicros>, BatchError> {
    let events = rows.events(&ranges_between(since, cut), None)?;
    let plan = events.project([rows.bucket(Bucket::Hour).alias(column::BUCKET)])?.distinct()?.build()?;
    let batches = collect(session.create_physical_plan(&plan).await?, session.task_ctx()).await?;
    let hours = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<TimestampMicrosecondType>().values());
    Ok(hours.map(|hour| TimestampMicros(*hour)).collect())
}

/// Rows, rejected and late below the cut: what the commits counted, less what was counted from the cut on.
async fn count_below(
    session: &SessionState,
    rows: &RawRows<'_>,
    cut: &Cut,
) -> Result<BTreeMap<PartitionId, Counters>, BatchError> {
    let facts = &rows.master.facts;
    let ends = Cut(facts.partitions.iter().map(|(partition, known)| (*partition, known.archived.end)).collect());
    let above = count_between(session, rows, cut, &ends).await?;
    let holes = holes_below(facts, cut);
    let below = cut.0.keys().map(|partition| {
        let archived = facts.partitions.get(partition).map(|known| known.counters).unwrap_or_default();
        let above = above.get(partition).copied().unwrap_or_default();
        let lost = holes.iter().filter(|hole| hole.0 == *partition).map(|(_, from, to)| to - from);
        let counters = Counters {
            rows: archived.rows - above.rows,
            rejected: archived.rejected - above.rejected,
            late: archived.late - above.late,
            copies: 0,
            holes: lost.sum::<i64>().unsigned_abs(),
        };
        (*partition, counters)
    });
    Ok(below.collect())
}

async fn count_between(
    session: &SessionState,
    rows: &RawRows<'_>,
    from: &Cut,
    to: &Cut,
) -> Result<BTreeMap<PartitionId, Counters>, BatchError> {
    let ranges = ranges_between(from, to);
    if ranges.is_empty() {
        return Ok(BTreeMap::new());
    }
    let late = when(field(raw::LATE), lit(1)).end()?;
    let counts = [count(lit(1)), count(field(raw::ERROR)), count(late)];
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
fn holes_below(facts: &MasterFacts, cut: &Cut) -> Vec<(PartitionId, i64, i64)> {
    let below = facts.holes.iter().map(|hole| (hole.partition, hole.from.0, hole.to.min(cut.offset(hole.partition)).0));
    below.filter(|(_, from, to)| from < to).collect()
}
