//! Which batch version and which runs an answer is made of.
//!
//! In: the indexes of a source, read *before* the list of versions; the cuts of those versions, newest first; how far
//! readers have been served already. Out: a [`Pin`].
//! Guarantee: in every partition of a pin the runs tile `[cut, head)`; a partition for which that cannot be had is
//! answered from batch alone, `head = cut`, and says why. Pure.
//! Not here: reading indexes (`refresh.rs`), versions (`versions.rs`) and blobs (`attempt.rs`).
//! Why so: whoever reads the version first may find that the runs above it were dropped in between; read in this
//! order, everything that was dropped is covered by a version in the list.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use positions::{
    Counters, Cut, DefinitionHash, Incarnation, Index, Offset, PartitionId, Position, RunId, TimestampMicros, tile,
    tile_held,
};

/// The indexes of one source as read at one time; `None`: the store has none.
pub(crate) type Indexes = BTreeMap<PartitionId, Option<Arc<Index>>>;

/// A run as a pin names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PinnedRun {
    /// Names the blob.
    pub id: RunId,
    /// Where it starts.
    pub from: Offset,
    /// Where it ends.
    pub to: Offset,
    /// State rows; 0: no blob.
    pub rows: u64,
    /// Whether no merge of runs crosses where it starts.
    pub starts_at_border: bool,
}

/// One partition of a pin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionPin {
    /// Up to here batch answers.
    pub cut: Position,
    /// Up to here the whole answers.
    pub head: Position,
    /// What tiles `[cut, head)`.
    pub runs: Vec<PinnedRun>,
    /// What happened to the records of the runs.
    pub counters: Counters,
    /// When the head was last known to be right; `None` where nothing is known of the partition.
    pub as_of: Option<TimestampMicros>,
    /// Why the partition does not reach its head.
    pub gap: Option<String>,
}

/// The version and the runs of one answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pin {
    /// Which of the given cuts; `None`: no version, realtime alone.
    pub candidate: Option<usize>,
    /// All partitions.
    pub partitions: BTreeMap<PartitionId, PartitionPin>,
}

impl Pin {
    /// The partition with the most state rows above the cut.
    pub(crate) fn largest_partition(&self) -> PartitionId {
        let rows = |pin: &PartitionPin| pin.runs.iter().map(|run| run.rows).sum::<u64>();
        let largest = self.partitions.iter().max_by_key(|(_, pin)| rows(pin));
        largest.map_or(PartitionId(0), |(partition, _)| *partition)
    }
}

/// What a pin is chosen from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Choice<'a> {
    /// The view's definition.
    pub view: DefinitionHash,
    /// Whether runs may end below the head of their index: those of a former definition, which nobody may append to any
    /// more. The answer then reaches as far as they do.
    pub is_former: bool,
    /// Read before the versions.
    pub indexes: &'a Indexes,
    /// Cuts of the versions, newest first.
    pub cuts: &'a [&'a Cut],
    /// Runs whose blobs were found missing: gaps.
    pub missing: &'a HashSet<RunId>,
    /// Partitions whose realtime states do not fit into memory above any cut at or below this offset.
    pub too_large: &'a BTreeMap<PartitionId, Offset>,
    /// How far readers have been served; the head must not go back below it.
    pub floor: &'a BTreeMap<PartitionId, Position>,
}

impl Choice<'_> {
    /// The newest version whose cut tiles with the runs in every partition, or is at or above their head. Where none
    /// does, realtime alone, as long as it holds every record.
    ///
    /// # Errors
    /// Why the newest version does not, by partition: read again, then [`Self::fall_back`].
    pub(crate) fn choose(&self) -> Result<Pin, String> {
        if self.cuts.is_empty() {
            return self.try_cut(None, &Cut::default());
        }
        let mut first_gap = None;
        for (candidate, cut) in self.cuts.iter().enumerate() {
            match self.try_cut(Some(candidate), cut) {
                Ok(pin) => return Ok(pin),
                Err(gap) => first_gap = first_gap.or(Some(gap)),
            }
        }
        self.realtime_alone().ok_or(first_gap.unwrap_or_default())
    }

    /// What was answered before there was a version: the first one may be cut inside a run (`positions::choose_cut`),
    /// and has no version before it to go on with. `None` where the newest version covers what realtime does not hold.
    fn realtime_alone(&self) -> Option<Pin> {
        let newest = self.cuts.first()?;
        let holds = |(partition, covered): (&PartitionId, &Position)| {
            let index = self.indexes.get(partition).and_then(Option::as_deref);
            covered.offset <= index.map_or(Offset(0), |index| index.head.offset)
        };
        // A later life of the topic goes on from what batch covers of the one before.
        let lives = self.indexes.values().flatten().map(|index| index.head.incarnation);
        let is_first_life = lives.chain([newest.incarnation()]).all(|life| life == Incarnation(0));
        let is_whole = !self.is_former && is_first_life && newest.0.iter().all(holds);
        is_whole.then(|| self.try_cut(None, &Cut::default()).ok()).flatten()
    }

    /// The newest version, from batch alone in the partitions where it does not tile. `None` without any version.
    pub(crate) fn fall_back(&self) -> Option<Pin> {
        let cut = self.cuts.first()?;
        let partitions = self.partitions(cut).into_iter().map(|partition| {
            let pin = self.pin_partition(partition, cut).unwrap_or_else(|gap| {
                let mut pin = batch_alone(partition, cut);
                pin.gap = Some(gap);
                pin
            });
            let gap = pin.gap.clone().or_else(|| self.went_back(partition, pin.head).err());
            (partition, PartitionPin { gap, ..pin })
        });
        Some(Pin { candidate: Some(0), partitions: partitions.collect() })
    }

    fn try_cut(&self, candidate: Option<usize>, cut: &Cut) -> Result<Pin, String> {
        let mut partitions = BTreeMap::new();
        for partition in self.partitions(cut) {
            let pin = self.pin_partition(partition, cut)?;
            self.went_back(partition, pin.head)?;
            partitions.insert(partition, pin);
        }
        self.imports_went_back(cut)?;
        if candidate.is_none() && self.indexes.values().all(Option::is_none) {
            return Err("there is neither a batch version nor a realtime view".to_owned());
        }
        if candidate.is_none() {
            self.first_reading(&partitions)?;
        }
        Ok(Pin { candidate, partitions })
    }

    /// Without a version, a partition whose worker has not come to its end since it began holds some of its records, or
    /// none, and of a former definition there may be no run any more: an answer would look like one of a stream that
    /// has just begun.
    fn first_reading(&self, partitions: &BTreeMap<PartitionId, PartitionPin>) -> Result<(), String> {
        let begun = || self.indexes.iter().filter_map(|(partition, index)| Some((partition, index.as_deref()?)));
        if let Some((partition, index)) = begun().find(|(_, index)| index.as_of.0 <= 0) {
            let offset = index.head.offset;
            return Err(format!(
                "partition {partition}: it is read for the first time, and has come to offset {offset}"
            ));
        }
        let holds_nothing = partitions.values().all(|pin| pin.runs.is_empty());
        if self.is_former && holds_nothing && begun().any(|(_, index)| index.head.offset > Offset(0)) {
            return Err("no run of its former definition is left".to_owned());
        }
        Ok(())
    }

    fn partitions(&self, cut: &Cut) -> BTreeSet<PartitionId> {
        self.indexes.keys().chain(cut.0.keys()).copied().collect()
    }

    fn pin_partition(&self, partition: PartitionId, cut: &Cut) -> Result<PartitionPin, String> {
        let index = self.indexes.get(&partition).and_then(Option::as_deref);
        let Some(index) = index else { return Ok(batch_alone(partition, cut)) };
        let base = cut.position(partition, index.head.incarnation);
        if base.incarnation != index.head.incarnation && base.offset > Offset(0) {
            return Err(format!("partition {partition}: the batch view belongs to another incarnation of the topic"));
        }
        let tiling = match self.is_former {
            true => tile_held(Some(index), self.view, base),
            false => tile(Some(index), self.view, base).map_err(|gap| format!("partition {partition}: {gap}"))?,
        };
        if !tiling.runs.is_empty() && self.too_large.get(&partition).is_some_and(|below| base.offset <= *below) {
            return Err(format!("partition {partition}: its realtime states do not fit into gateway.realtime_memory"));
        }
        if let Some(run) = tiling.runs.iter().find(|run| self.missing.contains(&run.id)) {
            return Err(format!("partition {partition}: run {} at {} has no blob", run.id, run.from.offset));
        }
        let runs = tiling.runs.iter().map(|run| PinnedRun {
            id: run.id,
            from: run.from.offset,
            to: run.to.offset,
            rows: run.rows_of(self.view).unwrap_or(0),
            starts_at_border: run.starts_at_border,
        });
        Ok(PartitionPin {
            cut: base,
            head: tiling.head,
            runs: runs.collect(),
            counters: tiling.runs.iter().map(|run| run.counters).sum(),
            as_of: right_as_of(index, tiling.head),
            gap: None,
        })
    }

    /// A version of before an import does not name its partitions, and no index does: it would take back what was shown
    /// of them. A partition of the topic is named by its index, or its topic was replaced by one with fewer.
    fn imports_went_back(&self, cut: &Cut) -> Result<(), String> {
        let shown = self.floor.iter().filter(|(partition, _)| partition.is_imported());
        for (partition, served) in shown {
            let covered = cut.position(*partition, served.incarnation);
            if covered.offset < served.offset {
                return Err(format!(
                    "partition {partition}: the version is of before the import of offsets {} to {}",
                    covered.offset, served.offset
                ));
            }
        }
        Ok(())
    }

    fn went_back(&self, partition: PartitionId, head: Position) -> Result<(), String> {
        match self.floor.get(&partition) {
            Some(served) if served.incarnation == head.incarnation && head.offset < served.offset => Err(format!(
                "partition {partition}: the head went back from {} to {}, the realtime store lost what it held",
                served.offset, head.offset
            )),
            _ => Ok(()),
        }
    }
}

/// When a head was last known to be right.
///
/// A worker that begins with a partition writes the epoch until it has seen the end once. Below the head of the index
/// log time stands in, as for a batch view.
fn right_as_of(index: &Index, head: Position) -> Option<TimestampMicros> {
    let log_time = || Some(head.max_timestamp).filter(|at| *at != TimestampMicros::MIN);
    if head.offset < index.head.offset { log_time() } else { Some(index.as_of).filter(|as_of| as_of.0 > 0) }
}

/// A partition that batch answers alone: its head is the cut.
pub(crate) fn batch_alone(partition: PartitionId, cut: &Cut) -> PartitionPin {
    let base = cut.position(partition, Incarnation::default());
    // Log time stands in for a writer's clock: the batch view is right as of the last record below the cut.
    let as_of = (base.max_timestamp != TimestampMicros::MIN).then_some(base.max_timestamp);
    PartitionPin { cut: base, head: base, runs: Vec::new(), counters: Counters::default(), as_of, gap: None }
}
