//! What a round does for one view: how much, from which cut to which, and how it ended. Plain values.
//!
//! Not here: what there is to do for a view (`next.rs`, `range.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::Lake;
use positions::{Clock, Cut, IdSource, TimestampMicros, ViewName};
use records::master::MasterDataset;
use serving_layer::{BatchVersion, BatchViewStore, BucketRanges};
use views::PlannedView;

use crate::BatchError;

/// How much is computed again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything below the cut.
    Full,
    /// The buckets that received rows since the version before; everything for a first version.
    #[default]
    Incremental,
    /// The buckets of a stretch of event time, at the cut of the version before: a cut that moved would lose what came
    /// since to all other buckets.
    Range {
        /// The start of a bucket of each view.
        from: TimestampMicros,
        /// The end of one, not before `from`.
        to: TimestampMicros,
        /// Only the buckets that the version before has no rows of, as far as files may hold events of them.
        only_missing: bool,
    },
}

/// How the recompute of one view ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A new version was published.
    Published(BatchVersion),
    /// Nothing of the source is archived yet.
    NoData,
    /// All that is archived is in the version before.
    NothingNew,
    /// No cut may lie above that of the version before yet: the records from there on wait for the next multiple of the
    /// grid, or until their partition has been silent for the gap.
    AwaitsSilence {
        /// How many are archived.
        records: u64,
    },
    /// Another publisher was first; its version stays.
    LostRace,
}

/// The outcomes of one recompute, by view.
pub type Round = BTreeMap<ViewName, Result<Outcome, Arc<BatchError>>>;

/// What a recompute works with.
#[derive(Clone)]
pub struct RecomputeComponents {
    /// Where the batch views live.
    pub lake: Lake,
    /// The master dataset of the source.
    pub master: MasterDataset,
    /// The views to build, all of that source.
    pub views: Vec<PlannedView>,
    /// Tells how long the end of the log has been silent, and dates publications.
    pub clock: Arc<dyn Clock>,
    /// Names files and recomputes.
    pub ids: Arc<dyn IdSource>,
}

/// Which buckets a task computes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scope {
    /// All that there are.
    All,
    /// Those that received rows from this cut on, which is that of the version before.
    Since(Cut),
    /// Those of these hours, at the cut of the version before.
    Hours(BucketRanges),
}

/// What a round computes for one view.
pub(crate) struct Task {
    pub(crate) view: PlannedView,
    pub(crate) store: BatchViewStore,
    pub(crate) previous: Option<BatchVersion>,
    pub(crate) cut: Cut,
    pub(crate) scope: Scope,
}

/// What planning decided for one view.
pub(crate) enum Planned {
    /// There is something to compute.
    Task(Task),
    /// There is not.
    Skipped(Outcome),
}

/// Groups of tasks that read the same rows.
pub(crate) fn group_by_cut(tasks: Vec<Task>) -> Vec<Vec<Task>> {
    let mut groups: Vec<Vec<Task>> = Vec::new();
    for task in tasks {
        match groups.iter_mut().find(|group| group[0].cut == task.cut && group[0].scope == task.scope) {
            Some(group) => group.push(task),
            None => groups.push(vec![task]),
        }
    }
    groups
}
