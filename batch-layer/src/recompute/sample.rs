//! Two definitions of a view computed from the same newest events, and compared, before one replaces the other.
//!
//! ```text
//!  newest whole buckets of at most so many bytes --+--former definition--> groups --+
//!                                                  +--newer definition---> groups --+--> what differs, by measure
//! ```
//!
//! In: both definitions, each with the master dataset as its source reads it. Out: a [`Sampled`].
//! Guarantee: nothing is written. Both read the same version of the master dataset up to the same offsets, without
//! copies, as a recompute does; how much is read is bounded, and what is held in memory by `memory_bytes` for each.
//! Not here: which columns are compared (`views::Comparable`).
//! Why whole buckets: all copies of an event lie in one, and groups by the hour are whole.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use datafusion::error::DataFusionError;
use positions::{Cut, TimestampMicros};
use records::master::MasterSnapshot;
use serving_layer::{BatchViewStore, Folded};
use views::{Comparable, GroupComparison, PlannedView};

use super::choose::open_view;
use super::groups::{BucketGroup, Scale, divide};
use super::master_rows::MasterRows;
use super::open_plan::OpenPlan;
use super::parts::GroupPart;
use super::plan::RecomputePlan;
use super::progress::GroupProgress;
use super::task::{RecomputeComponents, Scope, Task};
use crate::grains::{Grains, LAST};
use crate::{BatchError, RecomputeSettings};

/// What a sample gave.
#[derive(Clone, Debug)]
pub struct Sampled {
    /// The first instant of event time in it; `None`: it begins with the first event.
    pub from: Option<TimestampMicros>,
    /// The first instant behind it; `None`: it ends with the last event.
    pub to: Option<TimestampMicros>,
    /// Rows in it, about.
    pub rows: u64,
    /// Bytes of the files that they are read from, about.
    pub bytes: u64,
    /// What the groups of both definitions have in common, and what is not compared.
    pub comparable: Comparable,
    /// Their groups: first those of the former definition, then those of the newer one.
    pub comparison: GroupComparison,
}

/// Computes both definitions from the newest whole buckets that have at most `limit_bytes` of files, and compares; of
/// each measure the `worst` groups that differ most are named. The former definition comes first, each with the
/// components of its own source.
///
/// # Errors
/// [`BatchError::RangeRefused`]: nothing is archived, one bucket has more bytes, or its groups do not fit into
/// `memory_bytes`. Others: store or engine failed.
pub async fn sample(
    [former, newer]: [(&RecomputeComponents, &PlannedView); 2],
    limit_bytes: u64,
    worst: usize,
    settings: &RecomputeSettings,
) -> Result<Sampled, BatchError> {
    let (components, view) = newer;
    let nothing = "nothing of its source is archived, so there is nothing to sample";
    let Some(master) = components.master.open().await? else { return Err(refused(view, nothing.to_owned())) };
    master.check_ledger()?;
    let master_of_former = former.0.master.open_at(master.snapshot.version()).await?;
    let ends = master.facts.partitions.iter().map(|(partition, known)| (*partition, known.archived.end));
    let cut = Cut(ends.collect());
    let part = newest_buckets(&master, [former.1, view], limit_bytes)?;
    let comparable = Comparable::between(former.1, view);
    let by = comparable.dimensions();
    let stretch = (part.from, part.to);
    let before = groups_of(former, (master_of_former, &cut), stretch, &by, settings).await?;
    let after = groups_of(newer, (master, &cut), stretch, &by, settings).await?;
    let comparison = comparable.compare(&before, &after, worst).map_err(DataFusionError::from)?;
    Ok(Sampled {
        from: Some(part.from).filter(|from| *from != TimestampMicros::MIN),
        to: Some(part.to).filter(|to| *to != LAST),
        rows: part.rows,
        bytes: part.bytes,
        comparable,
        comparison,
    })
}

/// The newest stretch of whole buckets of both definitions that has at most so many bytes.
fn newest_buckets(
    master: &MasterSnapshot,
    [former, newer]: [&PlannedView; 2],
    limit_bytes: u64,
) -> Result<GroupPart, BatchError> {
    let rows = MasterRows { master, source: &newer.source };
    let grains = Grains::coarsest([Grains::even(former.bucket), Grains::even(newer.bucket)].into_iter());
    let weights = rows.weights();
    let groups = divide(&weights, grains, None, limit_bytes);
    let last = groups.last().expect("groups divide all of event time");
    let mut part = GroupPart::all_of(0, last, grains, &Scale::new(&weights, grains, None));
    while part.bytes > limit_bytes {
        let Some([_, newest]) = part.halves() else {
            let bytes = part.bytes;
            let reason =
                format!("its newest bucket has about {bytes} bytes of files to read, a sample at most {limit_bytes}");
            return Err(refused(newer, reason));
        };
        part = newest;
    }
    Ok(part)
}

/// The finished groups of a stretch of event time by one definition, rolled up to the dimensions of `by`.
async fn groups_of(
    (components, view): (&RecomputeComponents, &PlannedView),
    (master, cut): (MasterSnapshot, &Cut),
    (from, to): (TimestampMicros, TimestampMicros),
    by: &[&str],
    settings: &RecomputeSettings,
) -> Result<RecordBatch, BatchError> {
    let store = BatchViewStore::new(&components.lake, view.clone());
    let task = Task { view: view.clone(), store, previous: None, cut: cut.clone(), scope: Scope::All };
    let open = open_view(components, task);
    let plan = RecomputePlan {
        master_version: master.snapshot.version(),
        cut: cut.clone(),
        since: None,
        touched: None,
        folded: Folded::default(),
        views: vec![open.plan.clone()],
        groups: vec![BucketGroup { from, to, buckets: 0, rows: 0, bytes: 0 }],
        counters: BTreeMap::new(),
        holes: Vec::new(),
        erased: master.facts.erased,
    };
    let plan = OpenPlan::new(components, plan, master, vec![open]);
    let progress = GroupProgress::default();
    let part = plan.begin_part(plan.part(0)?, settings, &progress).await?;
    let states = part.states(&plan.views()[0], settings.memory_bytes).await?;
    let too_large = || refused(view, "its groups do not fit into `batch.memory`; sample fewer bytes".to_owned());
    let finish = view.plans.compile_finish(by).await?;
    Ok(finish.execute_whole(states.ok_or_else(too_large)?).await?)
}

fn refused(view: &PlannedView, reason: String) -> BatchError {
    BatchError::RangeRefused { view: view.name.clone(), reason }
}
