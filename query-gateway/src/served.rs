//! What queries read: complete, immutable states in memory.
//!
//! Guarantee: made once by a refresh, never changed; an answer that holds one is not touched by what happens later.
//! Not here: how they are made (`refresh.rs`, `attempt.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use positions::{DefinitionHash, Offset, PartitionId, Position, TimestampMicros, ViewName};
use serving_layer::BatchVersion;
use tracing::{info, warn};

use crate::pin::{Indexes, PartitionPin, batch_alone};
use crate::realtime::Realtime;
use crate::states::SortedStates;

/// What answers of one view are computed from. Immutable.
#[derive(Debug)]
pub(crate) struct Served {
    /// The batch version; `None` before the first.
    pub version: Option<BatchVersion>,
    /// Cut, head and runs by partition.
    pub partitions: BTreeMap<PartitionId, PartitionPin>,
    /// The states of the version. Answers come to these and to those of the runs by `visible.rs` alone.
    pub batch: Option<Arc<SortedStates>>,
    /// The states of the runs.
    pub realtime: Realtime,
    /// Why it does not reach what the stores should give; empty for a good one.
    pub stale: Vec<String>,
}

impl Served {
    /// One batch version alone: every head is its cut.
    pub(crate) fn of_version(version: BatchVersion, states: Arc<SortedStates>) -> Self {
        let cut = version.facts.cut.clone();
        let partitions = cut.0.keys().map(|partition| (*partition, batch_alone(*partition, &cut))).collect();
        Self {
            version: Some(version),
            partitions,
            batch: Some(states),
            realtime: Realtime::default(),
            stale: Vec::new(),
        }
    }

    /// States alone, wherever they come from.
    pub(crate) fn of_states(states: SortedStates) -> Self {
        Self {
            version: None,
            partitions: BTreeMap::new(),
            batch: Some(Arc::new(states)),
            realtime: Realtime::default(),
            stale: Vec::new(),
        }
    }

    /// Whether the version covers more, in a partition, than had been read by the worker whose index this is.
    pub(crate) fn is_beyond(&self, indexes: &Indexes) -> bool {
        let head = |partition| indexes.get(partition)?.as_deref().map(|index| index.head.offset);
        self.partitions.iter().any(|(partition, pin)| head(partition).is_some_and(|head| head < pin.cut.offset))
    }

    /// Whether version and runs tile in every partition, as far as anybody has read each to its end once.
    pub(crate) fn is_complete(&self) -> bool {
        self.stale.is_empty() && unknown_partitions(&self.partitions).is_empty()
    }

    /// Head and cut, each summed over the partitions.
    pub(crate) fn offsets(&self) -> (i64, i64) {
        let pins = of_log(&self.partitions);
        pins.fold((0, 0), |(head, cut), (_, pin)| (head + pin.head.offset.0, cut + pin.cut.offset.0))
    }

    /// How far it reaches.
    pub(crate) fn heads(&self) -> BTreeMap<PartitionId, Position> {
        self.partitions.iter().map(|(partition, pin)| (*partition, pin.head)).collect()
    }
}

/// What can be said of one view.
#[derive(Clone, Debug)]
pub(crate) enum ServedView {
    /// It can be answered.
    Served(Arc<Served>),
    /// It has no version yet that tiles.
    Building(String),
    /// The stores failed before anything was read.
    Unavailable(String),
}

/// All views of one source, as of one reading of the stores. Immutable.
#[derive(Debug, Default)]
pub(crate) struct SourceState {
    /// Counts the readings; 0: none yet.
    pub generation: u64,
    /// The indexes.
    pub indexes: Indexes,
    /// The partitions that an answer speaks of.
    pub named: BTreeSet<PartitionId>,
    /// Why the realtime store could not be read.
    pub problem: Option<String>,
    /// By definition: a view may be answered by one while another is being built.
    pub views: BTreeMap<DefinitionHash, ServedView>,
    /// Whether the same stores would give the same state again.
    pub is_repeatable: bool,
    /// Counts the changes of batch versions that it was made after.
    pub changes: u64,
}

impl SourceState {
    /// How far an answer for the view would reach, by partition; nothing where it cannot be answered.
    pub(crate) fn reached(&self, view: DefinitionHash, is_batch: bool) -> BTreeMap<PartitionId, Offset> {
        let Some(ServedView::Served(served)) = self.views.get(&view) else { return BTreeMap::new() };
        let reached = |pin: &PartitionPin| if is_batch { pin.cut.offset } else { pin.head.offset };
        served.partitions.iter().map(|(partition, pin)| (*partition, reached(pin))).collect()
    }
}

/// Whether serving `next` after `kept` would take a head back.
pub(crate) fn is_ahead(kept: &Served, next: &BTreeMap<PartitionId, PartitionPin>) -> bool {
    kept.partitions.iter().any(|(partition, kept)| is_before(next.get(partition), kept))
}

/// The same of the partitions of the topic alone: of imported files a generation holds nothing, nor ever will.
pub(crate) fn is_ahead_in_log(kept: &Served, next: &BTreeMap<PartitionId, PartitionPin>) -> bool {
    of_log(&kept.partitions).any(|(partition, kept)| is_before(next.get(partition), kept))
}

fn is_before(next: Option<&PartitionPin>, kept: &PartitionPin) -> bool {
    match next {
        Some(next) => next.head.incarnation == kept.head.incarnation && next.head.offset < kept.head.offset,
        // At 0 it was perhaps none of the topic's.
        None => kept.head.offset > Offset(0),
    }
}

/// Logs what became of a view, once per change.
pub(crate) fn note_change(view: &ViewName, before: Option<&ServedView>, after: &ServedView) {
    let version = |state: &ServedView| match state {
        ServedView::Served(served) => served.version.as_ref().map(BatchVersion::number),
        _ => None,
    };
    let reason = |state: &ServedView| match state {
        ServedView::Served(served) => served.stale.first().cloned(),
        ServedView::Building(_) => None,
        ServedView::Unavailable(reason) => Some(reason.clone()),
    };
    if let Some(version) = version(after).filter(|new| before.and_then(version) != Some(*new)) {
        info!(%view, version = version.0, "batch version is served");
    }
    match (before.and_then(reason), reason(after)) {
        (None, Some(reason)) => warn!(%view, reason, "answers are stale"),
        (Some(_), None) => info!(%view, "answers are up to date again"),
        _ => {}
    }
}

/// The least instant at which all partitions were known to be right; `None` where one of them is not known at all.
pub(crate) fn as_of(partitions: &BTreeMap<PartitionId, PartitionPin>) -> Option<TimestampMicros> {
    // `None` is less than any instant, so one unknown partition decides.
    of_log(partitions).map(|(_, partition)| partition.as_of).min().flatten()
}

/// The partitions of the topic. Those of imported files say nothing of how fresh an answer is: all of them lies below
/// the cut, and how old its records are is no age of the answer.
pub(crate) fn of_log(
    partitions: &BTreeMap<PartitionId, PartitionPin>,
) -> impl Iterator<Item = (&PartitionId, &PartitionPin)> {
    partitions.iter().filter(|(partition, _)| !partition.is_imported())
}

/// Why an answer is not known to be right in partitions whose end was not seen yet.
///
/// A worker that owns an empty partition writes an index without runs: where there is none, nobody has looked.
pub(crate) fn unknown_partitions(partitions: &BTreeMap<PartitionId, PartitionPin>) -> Vec<String> {
    let unknown = of_log(partitions).filter(|(_, pin)| pin.as_of.is_none() && pin.gap.is_none());
    let reason = |partition| {
        format!(
            "partition {partition}: not read to its end yet, events of it are missing; is the speed layer running, and has \
             the topic so many partitions?"
        )
    };
    unknown.map(|(partition, _)| reason(partition)).collect()
}
