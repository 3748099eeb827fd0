//! A published version held against the master dataset: the same steps as a recompute at its cut, and instead of
//! publishing a comparison.
//!
//! In: the newest version of a view, perhaps a stretch of event time. Out: which groups differ from what the rows give.
//! Guarantee: nothing is written. One group of buckets is in memory at a time.
//! Not here: what counts as different (`views::compare_groups`).

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use positions::TimestampMicros;
use records::master::MasterSnapshot;
use serving_layer::{BatchVersion, BatchViewStore, BucketRanges, ServingError, Version};
use views::{GroupComparison, PlannedView, compare_groups};

use super::choose::choose;
use super::master_rows::MasterRows;
use super::open_plan::{OpenPlan, OpenView};
use super::parts::GroupPart;
use super::progress::GroupProgress;
use super::range::plan_range;
use super::task::{Planned, RecomputeComponents, Scope, Task};
use crate::{BatchError, RecomputeSettings, engine};

/// What a version was found to hold.
#[derive(Clone, Debug)]
pub struct Verified {
    /// The version.
    pub version: Version,
    /// Its groups, and those that its rows give. A group of a view whose dimensions do not tell buckets apart counts
    /// once for each group of buckets that was computed.
    pub comparison: GroupComparison,
}

impl Verified {
    /// Whether each group is what the rows give.
    pub fn is_same(&self) -> bool {
        self.comparison.measures.iter().all(|measure| measure.different == 0)
    }
}

/// Computes a view from the master dataset at the cut of its newest version, all of it or the buckets in a stretch
/// `[from, to)` of event time, and compares; of each measure the `worst` groups that differ most are named.
///
/// # Errors
/// [`BatchError::RangeRefused`]: there is no version yet, events were erased since, the stretch is not one of whole
/// buckets, or a group of buckets does not fit into `memory_bytes`. Others: store or engine failed.
pub async fn verify(
    components: &RecomputeComponents,
    view: &PlannedView,
    stretch: Option<(TimestampMicros, TimestampMicros)>,
    worst: usize,
    settings: &RecomputeSettings,
) -> Result<Verified, BatchError> {
    let Some(master) = components.master.open().await? else { return Err(refused(view, NO_VERSION)) };
    master.check_ledger()?;
    let task = plan(components, &master, view, stretch).await?;
    let version = task.previous.as_ref().map(BatchVersion::number).ok_or_else(|| refused(view, NO_VERSION))?;
    let session = engine::session(settings)?;
    let plan = choose(components, &session, (&master, settings.task_bytes), vec![task]).await?;
    let dimensions: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    let finish = view.plans.compile_finish(&dimensions).await?;
    let mut comparison = GroupComparison::default();
    for part in plan.parts() {
        for open in plan.views() {
            let (stored, computed) = states_of(&plan, open, &part, settings).await?;
            let (stored, computed) = (finish.execute_whole(stored).await?, finish.execute_whole(computed).await?);
            let found = compare_groups(view, &stored, &computed, worst).map_err(DataFusionError::from)?;
            comparison.add(found, worst);
        }
    }
    Ok(Verified { version, comparison })
}

const NO_VERSION: &str = "it has no version yet; compute one: `twofold batch run`";

fn refused(view: &PlannedView, reason: &str) -> BatchError {
    BatchError::RangeRefused { view: view.name.clone(), reason: reason.to_owned() }
}

/// What is computed: at the cut of the newest version, and of no other.
async fn plan(
    components: &RecomputeComponents,
    master: &MasterSnapshot,
    view: &PlannedView,
    stretch: Option<(TimestampMicros, TimestampMicros)>,
) -> Result<Task, BatchError> {
    let store = BatchViewStore::new(&components.lake, view.clone());
    let Some(newest) = store.newest().await? else { return Err(refused(view, NO_VERSION)) };
    if newest.facts.erased != master.facts.erased {
        let reason = "events were erased since its version was computed; the next round computes it in full: \
                      `twofold batch run`";
        return Err(refused(view, reason));
    }
    let Some((from, to)) = stretch else {
        let cut = newest.facts.cut.clone();
        return Ok(Task { view: view.clone(), store, previous: Some(newest), cut, scope: Scope::All });
    };
    let rows = MasterRows { master, source: &view.source };
    match plan_range(&rows, (store, Some(newest)), view, (from, to, false)).await? {
        Planned::Task(task) => Ok(task),
        Planned::Skipped(_) => Err(refused(view, "there is nothing in this stretch")),
    }
}

/// The states of a group of buckets: as the version holds them, and as its rows give them.
async fn states_of(
    plan: &OpenPlan,
    view: &OpenView,
    part: &GroupPart,
    settings: &RecomputeSettings,
) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), BatchError> {
    let too_large = || {
        let reason = "the states of a group of buckets do not fit into `batch.memory`; raise that, or lower \
                      `batch.task_bytes`";
        refused(&view.view, reason)
    };
    let progress = GroupProgress::default();
    let open = plan.begin_part(part.clone(), settings, &progress).await?;
    let computed = open.states(view, settings.memory_bytes).await?.ok_or_else(too_large)?;
    let buckets = plan.buckets(view.grains(), part).map(|buckets| buckets.ranges);
    let buckets = buckets.unwrap_or_else(BucketRanges::everything);
    let stored = match &view.previous {
        Some(version) => view.store.load_buckets(version, &buckets, settings.memory_bytes).await,
        None => Ok(Vec::new()),
    };
    match stored {
        Ok(stored) => Ok((stored, computed)),
        Err(ServingError::TooLarge { .. }) => Err(too_large()),
        Err(error) => Err(error.into()),
    }
}
