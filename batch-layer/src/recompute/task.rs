//! What a recompute does for one view, what the views of one cut share, and how it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use positions::{Counters, Cut, PartitionId, RecomputeId, TimestampMicros};
use serving_layer::{BatchFacts, BatchVersion, BatchViewStore};
use views::{Bucket, ViewDefinition};

use crate::distinct::Copies;
use crate::raw_rows::Buckets;

/// How the recompute of one view ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// A new version was published.
    Published(BatchVersion),
    /// The archive has no rows between the version before and the next place for a cut.
    NothingNew,
    /// Another publisher was first; its version stays.
    LostRace,
}

/// What to compute for one view.
pub(crate) struct Task {
    pub(crate) view: Arc<ViewDefinition>,
    pub(crate) store: BatchViewStore,
    pub(crate) previous: Option<BatchVersion>,
    pub(crate) cut: Cut,
    /// The cut from which on rows count as new; `None`: compute everything.
    pub(crate) since: Option<Cut>,
}

/// What the views of one cut share.
pub(crate) struct Inputs {
    pub(crate) cut: Cut,
    /// Buckets of an hour that received rows; `None`: all.
    pub(crate) touched_hours: Option<BTreeSet<TimestampMicros>>,
    pub(crate) copies: Arc<Copies>,
    /// Rows, rejected and late below the cut.
    pub(crate) counters: BTreeMap<PartitionId, Counters>,
    pub(crate) holes: Vec<(PartitionId, i64, i64)>,
    pub(crate) raw_version: i64,
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
            raw_version: self.raw_version,
            recompute,
            published_at: now,
            is_full: task.since.is_none(),
            counters: counters.collect(),
            holes: self.holes.clone(),
        }
    }
}
