//! The merged realtime states of one view, kept up to date run by run.
//!
//! In: pins. Out: a few sorted chunks of states that together are the states of `[cut, head)` in every partition.
//! Guarantee: a chunk list is immutable and covers exactly what it says; growing makes a new list.
//! Not here: fetching blobs (`attempt.rs`), choosing runs (`pin.rs`), views whose answers follow the order of merging
//! (`lane.rs`).
//! Why so: merging each small run into one big table would rewrite the table at every tick. Chunks of falling size
//! rewrite each state a logarithmic number of times, and a look-up searches a logarithmic number of chunks.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use positions::{Incarnation, Offset, PartitionId};
use views::{Compiled, ViewDefinition};

use crate::GatewayError;
use crate::lane::Lane;
use crate::merging::{merge_states, push_merged};
use crate::pin::{Pin, PinnedRun};
use crate::states::SortedStates;

/// What the chunks cover of one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Covered {
    incarnation: Incarnation,
    from: Offset,
    to: Offset,
}

/// The realtime states of one view at one pin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Realtime {
    covered: BTreeMap<PartitionId, Covered>,
    chunks: Vec<Arc<SortedStates>>,
    /// Of a view whose answers follow the order of merging; otherwise none.
    lanes: BTreeMap<PartitionId, Lane>,
}

/// How to get from what is covered to a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Growth {
    /// Whether to begin with nothing: the cut moved, or the runs are divided differently now.
    pub from_scratch: bool,
    /// The runs to merge in.
    pub runs: Vec<(PartitionId, PinnedRun)>,
}

impl Realtime {
    /// The states of these partitions, each with its runs in the order of the log.
    pub(crate) fn of_lanes(lanes: BTreeMap<PartitionId, Lane>) -> Self {
        let chunks = lanes.values().flat_map(Lane::chunks).cloned().collect();
        Self { covered: BTreeMap::new(), chunks, lanes }
    }

    /// What is held of one partition, where partitions are held apart.
    pub(crate) fn lane(&self, partition: PartitionId) -> Option<&Lane> {
        self.lanes.get(&partition)
    }

    /// The chunks, in the order in which an answer merges them.
    pub(crate) fn chunks(&self) -> &[Arc<SortedStates>] {
        &self.chunks
    }

    /// Bytes in memory.
    pub(crate) fn size_bytes(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.size_bytes()).sum()
    }

    /// What is missing for `pin`. Pure.
    pub(crate) fn growth(&self, pin: &Pin) -> Growth {
        let mut added = Vec::new();
        for (partition, wanted) in &pin.partitions {
            let held = self.covered.get(partition);
            let is_same_start =
                held.is_none_or(|held| held.incarnation == wanted.head.incarnation && held.from == wanted.cut.offset);
            let at = held.map_or(wanted.cut.offset, |held| held.to);
            let fresh: Vec<PinnedRun> = wanted.runs.iter().filter(|run| run.to > at).copied().collect();
            let continues = fresh.first().map_or(wanted.head.offset == at, |run| run.from == at);
            if !is_same_start || !continues {
                return Growth { from_scratch: true, runs: all_runs(pin) };
            }
            added.extend(fresh.into_iter().map(|run| (*partition, run)));
        }
        Growth { from_scratch: false, runs: added }
    }

    /// These states with more of them merged in; what is covered is said by [`Self::at`] once all are.
    pub(crate) async fn grow(
        &self,
        view: &ViewDefinition,
        merge: &Compiled,
        states: Vec<RecordBatch>,
    ) -> Result<Self, GatewayError> {
        let mut chunks = self.chunks.clone();
        if states.iter().any(|batch| batch.num_rows() > 0) {
            let added = merge_states(view, merge, states).await?;
            push_merged(view, merge, &mut chunks, added).await?;
        }
        Ok(Self { covered: self.covered.clone(), chunks, lanes: BTreeMap::new() })
    }

    /// The same states, now those of `pin`: every run that `growth` named was merged in.
    pub(crate) fn at(self, pin: &Pin) -> Self {
        let covered = pin.partitions.iter().map(|(partition, pinned)| {
            let (from, to) = (pinned.cut.offset, pinned.head.offset);
            (*partition, Covered { incarnation: pinned.head.incarnation, from, to })
        });
        Self { covered: covered.collect(), ..self }
    }
}

fn all_runs(pin: &Pin) -> Vec<(PartitionId, PinnedRun)> {
    let runs = pin.partitions.iter();
    runs.flat_map(|(partition, pinned)| pinned.runs.iter().map(|run| (*partition, *run))).collect()
}
