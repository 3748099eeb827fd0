//! One view in one reading of the stores: choose, fetch, put together.
//!
//! In: indexes read before, what was served before. Out: the next [`Served`], or why there is none.
//! Guarantee: blobs are fetched once, by id; a blob that is missing or broken is a gap, and another choice is made.
//! Not here: reading indexes (`refresh.rs`), the choice itself (`pin.rs`).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use positions::{Cut, Offset, PartitionId, RunId, format_span};
use serving_layer::{BatchVersion, BlobKey, Version, blob};
use tracing::warn;
use views::{Compiled, PlannedView, ViewDefinition};

use crate::exactness::compared::Compared;
use crate::lane::{Lane, RunStates};
use crate::metrics;
use crate::patience::within;
use crate::pin::{Choice, Indexes, Pin, PinnedRun};
use crate::realtime::Realtime;
use crate::served::{Served, ServedView, is_ahead};
use crate::states::SortedStates;
use crate::stores::{Check, SourceStores};
use crate::versions::BatchVersions;

/// One view with what is needed to read it.
#[derive(Debug)]
pub(crate) struct ViewReader {
    /// The definition.
    pub view: PlannedView,
    /// Its batch versions.
    pub versions: BatchVersions,
    /// Whether it is a former definition, answered until its successor answers completely.
    pub is_former: bool,
    /// How its publications compared with what they replaced.
    pub exactness: Compared,
}

/// Runs fetched at one time: with them the memory of a rebuild stays near that of its outcome.
const FETCH_RUNS: usize = 64;

/// Why a view cannot be put together.
pub(crate) enum Unserved {
    /// What was read does not tile.
    Gap(String),
    /// What could be put together reaches less far than what was served before.
    WentBack,
    /// A store failed.
    Store(String),
}

/// Why the realtime states of a pin cannot be had.
enum Obstacle {
    /// These runs have no blob, or none that can be read.
    Gone(Vec<RunId>),
    /// With this partition the states do not fit into memory.
    Full(PartitionId),
    /// A store failed, or the states could not be merged.
    Failed(String),
}

impl Obstacle {
    fn failed(error: impl ToString) -> Self {
        Self::Failed(error.to_string())
    }
}

/// What the readings of one view leave for the next ones.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Encoded runs fetched so far.
    runs: BTreeMap<RunId, Bytes>,
    /// Partitions whose realtime states do not fit above any cut at or below the offset: not tried again and again.
    too_large: BTreeMap<PartitionId, Offset>,
    /// The newest version when they were found; a newer one may make room.
    too_large_since: Option<Version>,
}

impl Held {
    /// Notes which versions there are now.
    fn note_versions(&mut self, versions: &[BatchVersion], view: &ViewDefinition) {
        let newest = versions.first().map(BatchVersion::number);
        if newest > self.too_large_since {
            self.too_large_since = newest;
            self.too_large.clear();
            metrics::partitions_too_large(&view.name, 0);
        }
    }
}

/// One view in one reading of the stores.
pub(crate) struct Attempt<'a> {
    /// The source with its stores.
    pub source: &'a SourceStores,
    /// The view.
    pub reader: &'a ViewReader,
    /// Read before any version is looked at.
    pub indexes: &'a Indexes,
    /// What was served before.
    pub before: Option<&'a ServedView>,
    /// From the readings before.
    pub held: &'a mut Held,
}

impl Attempt<'_> {
    /// The newest version in memory that tiles, else the newest of all that does.
    pub(crate) async fn serve(&mut self, check: Check) -> Result<Served, Unserved> {
        if check == Check::IfNeeded
            && let Some(loaded) = self.reader.versions.loaded()
            && let Ok(served) = self.pin(&loaded, false).await
        {
            return Ok(served);
        }
        if check == Check::Always || self.is_listing_due() {
            self.reader.versions.check(&self.source.settings, self.source.now()).await;
        }
        self.pin(&self.reader.versions.known(), false).await
    }

    /// Nothing tiles, also on reading again: the last state if it reaches further, else batch alone; stale either way.
    pub(crate) async fn make_do(&mut self, unserved: Unserved) -> ServedView {
        let reason = match unserved {
            Unserved::Gap(reason) | Unserved::Store(reason) => reason,
            Unserved::WentBack => "the stores reach less far than before".to_owned(),
        };
        let kept = match self.before {
            Some(ServedView::Served(before)) => Some(Served {
                version: before.version.clone(),
                partitions: before.partitions.clone(),
                batch: before.batch.clone(),
                realtime: before.realtime.clone(),
                stale: vec![reason.clone()],
            }),
            _ => None,
        };
        match (self.pin(&self.reader.versions.known(), true).await, kept) {
            (Ok(fallback), _) => ServedView::Served(Arc::new(fallback)),
            (Err(_), Some(kept)) => ServedView::Served(Arc::new(kept)),
            (Err(Unserved::Store(reason)), None) => ServedView::Unavailable(reason),
            // No batch version will make room.
            (Err(_), None) if self.source.generation.is_some() && !self.held.too_large.is_empty() => {
                ServedView::Unavailable(reason)
            }
            (Err(Unserved::Gap(_) | Unserved::WentBack), None) => match self.reader.versions.problem() {
                Some(problem) => ServedView::Unavailable(problem),
                None => ServedView::Building(reason),
            },
        }
    }

    fn is_listing_due(&self) -> bool {
        // A view that is stale already does not list at every tick.
        let was_good = matches!(self.before, Some(ServedView::Served(before)) if before.stale.is_empty());
        let interval = positions::micros(self.source.settings.version_interval);
        let checked_at = self.reader.versions.checked_at();
        was_good || checked_at.is_none_or(|at| self.source.now().micros_since(at) >= interval)
    }

    /// Chooses among `versions` and puts the states together; blobs that are missing make another choice.
    async fn pin(&mut self, versions: &[BatchVersion], is_fallback: bool) -> Result<Served, Unserved> {
        let cuts: Vec<&Cut> = versions.iter().map(|version| &version.facts.cut).collect();
        let floor = match self.before {
            Some(ServedView::Served(before)) => before.heads(),
            _ => BTreeMap::new(),
        };
        let mut missing = HashSet::new();
        self.held.note_versions(versions, &self.reader.view);
        loop {
            let choice = Choice {
                view: self.reader.view.hash,
                is_former: self.reader.is_former,
                indexes: self.indexes,
                cuts: &cuts,
                missing: &missing,
                too_large: &self.held.too_large,
                floor: &floor,
            };
            let pin = if is_fallback {
                choice.fall_back().ok_or_else(|| Unserved::Gap("there is no batch version".to_owned()))?
            } else {
                choice.choose().map_err(Unserved::Gap)?
            };
            // Seen before anything is fetched: such a fallback would be built anew at every reading.
            if is_fallback
                && matches!(self.before, Some(ServedView::Served(before)) if is_ahead(before, &pin.partitions))
            {
                return Err(Unserved::WentBack);
            }
            match self.fetch_realtime(&pin).await {
                Ok(realtime) => return self.put_together(pin, versions, realtime).await,
                Err(Obstacle::Gone(gone)) => missing.extend(gone),
                Err(Obstacle::Full(partition)) => self.leave_out(partition, &pin),
                Err(Obstacle::Failed(reason)) => return Err(Unserved::Store(reason)),
            }
        }
    }

    /// Notes that a partition does not fit above its cut in `pin`.
    fn leave_out(&mut self, partition: PartitionId, pin: &Pin) {
        let (view, limit) = (&self.reader.view.name, self.source.settings.realtime_memory_bytes);
        let cut = pin.partitions.get(&partition).map(|pin| pin.cut.offset).unwrap_or_default();
        let until = match self.source.generation {
            Some(_) => "it is raised, or the source is mode 'lambda'",
            None => "a batch version makes room",
        };
        if self.held.too_large.insert(partition, cut).is_none() {
            warn!(
                %view, %partition, %cut, limit_bytes = limit,
                "realtime states do not fit into gateway.realtime_memory; answers are stale until {until}"
            );
        }
        metrics::partitions_too_large(view, self.held.too_large.len());
    }

    async fn put_together(
        &mut self,
        pin: Pin,
        versions: &[BatchVersion],
        realtime: Realtime,
    ) -> Result<Served, Unserved> {
        let version = pin.candidate.and_then(|candidate| versions.get(candidate)).cloned();
        let batch = match &version {
            Some(version) => {
                let states = self.reader.versions.states(version, &self.source.settings).await;
                Some(states.map_err(|error| Unserved::Store(error.reason()))?)
            }
            None => None,
        };
        self.reader.versions.retain(version.as_ref().map(BatchVersion::number));
        let stale = pin.partitions.values().filter_map(|partition| partition.gap.clone()).collect();
        metrics::realtime_held(&self.reader.view.name, realtime.size_bytes());
        Ok(Served { version, partitions: pin.partitions, batch, realtime, stale })
    }

    /// The realtime states at `pin`, from those before and the runs since.
    async fn fetch_realtime(&mut self, pin: &Pin) -> Result<Realtime, Obstacle> {
        let before = match self.before {
            Some(ServedView::Served(before)) => before.realtime.clone(),
            _ => Realtime::default(),
        };
        let wanted: HashSet<RunId> =
            pin.partitions.values().flat_map(|pin| pin.runs.iter().map(|run| run.id)).collect();
        self.held.runs.retain(|run, _| wanted.contains(run));
        let merge = self.reader.view.plans.compile_merge().await;
        let merge = merge.map_err(Obstacle::failed)?;
        if self.reader.view.plans.follows_merging() {
            return self.fetch_lanes(pin, &before, &merge).await;
        }
        let limit = self.source.settings.realtime_memory_bytes;
        let growth = before.growth(pin);
        let mut grown = if growth.from_scratch { Realtime::default() } else { before };
        for runs in growth.runs.chunks(FETCH_RUNS) {
            let states = self.fetch_states(runs).await?.into_iter().flat_map(|(_, batches)| batches).collect();
            grown = grown.grow(&self.reader.view, &merge, states).await.map_err(Obstacle::failed)?;
            // The partition that is largest, not the one that happened to come last.
            if grown.size_bytes() > limit {
                return Err(Obstacle::Full(pin.largest_partition()));
            }
        }
        Ok(grown.at(pin))
    }

    /// The same for a view whose answers follow the order of merging: partition by partition, run by run.
    async fn fetch_lanes(&mut self, pin: &Pin, before: &Realtime, merge: &Compiled) -> Result<Realtime, Obstacle> {
        let mut room = self.source.settings.realtime_memory_bytes;
        let mut lanes = BTreeMap::new();
        for (partition, pinned) in &pin.partitions {
            let kept = before.lane(*partition).map(|lane| lane.kept_for(&pinned.runs)).unwrap_or_default();
            let lane = self.fetch_lane((*partition, pinned.runs.as_slice()), kept, merge, room).await?;
            let Some(lane) = lane else { return Err(Obstacle::Full(pin.largest_partition())) };
            room -= lane.size_bytes().min(room);
            lanes.insert(*partition, lane);
        }
        Ok(Realtime::of_lanes(lanes))
    }

    /// The states of the runs of one partition; `None` where they need more than `room` bytes.
    async fn fetch_lane(
        &mut self,
        (partition, runs): (PartitionId, &[PinnedRun]),
        mut lane: Lane,
        merge: &Compiled,
        room: usize,
    ) -> Result<Option<Lane>, Obstacle> {
        for next in lane.unfolded(runs).chunks(FETCH_RUNS) {
            let fetched = self.fetch_each(partition, &lane.missing(next)).await?;
            lane.fold(&self.reader.view, merge, next, &fetched).await.map_err(Obstacle::failed)?;
            if lane.size_bytes() > room {
                return Ok(None);
            }
        }
        let mut fetched = RunStates::new();
        for next in lane.missing(lane.unsettled(runs)).chunks(FETCH_RUNS) {
            fetched.extend(self.fetch_each(partition, next).await?);
        }
        lane.end(runs, fetched);
        Ok((lane.size_bytes() <= room).then_some(lane))
    }

    /// The states of runs, each sorted.
    async fn fetch_each(&mut self, partition: PartitionId, runs: &[PinnedRun]) -> Result<RunStates, Obstacle> {
        let runs: Vec<(PartitionId, PinnedRun)> = runs.iter().map(|run| (partition, *run)).collect();
        let mut each = RunStates::new();
        for (run, batches) in self.fetch_states(&runs).await? {
            let view = &self.reader.view;
            let sorted = SortedStates::new(&view.states, &batches, view.dimensions.len()).map_err(Obstacle::failed)?;
            each.insert(run, Arc::new(sorted));
        }
        Ok(each)
    }

    /// The decoded states of runs, in no order.
    async fn fetch_states(
        &mut self,
        runs: &[(PartitionId, PinnedRun)],
    ) -> Result<Vec<(RunId, Vec<RecordBatch>)>, Obstacle> {
        let blobs = self.fetch_blobs(runs).await?;
        let mut states = Vec::new();
        for (run, blob) in &blobs {
            match blob::decode(blob, &self.reader.view.states) {
                Ok(batches) => states.push((*run, batches)),
                Err(error) => {
                    warn!(view = %self.reader.view.name, %run, %error, "a run cannot be read");
                    self.held.runs.remove(run);
                    return Err(Obstacle::Gone(vec![*run]));
                }
            }
        }
        self.keep(blobs);
        Ok(states)
    }

    /// The encoded states of runs, from memory or from the store.
    async fn fetch_blobs(&self, runs: &[(PartitionId, PinnedRun)]) -> Result<Vec<(RunId, Bytes)>, Obstacle> {
        let mut found = Vec::new();
        let mut wanted: BTreeMap<PartitionId, Vec<BlobKey>> = BTreeMap::new();
        for (partition, run) in runs.iter().filter(|(_, run)| run.rows > 0) {
            match self.held.runs.get(&run.id) {
                Some(blob) => found.push((run.id, blob.clone())),
                None => {
                    wanted.entry(*partition).or_default().push(BlobKey { run: run.id, view: self.reader.view.hash })
                }
            }
        }
        let mut gone = Vec::new();
        for (partition, keys) in wanted {
            let key = self.source.key(partition);
            let limit = self.source.settings.store_timeout;
            let read = within(limit, self.source.store.get_blobs(&key, &keys)).await;
            let blobs = read
                .ok_or_else(|| Obstacle::Failed(format!("realtime store: no answer within {}", format_span(limit))))?
                .map_err(Obstacle::failed)?;
            metrics::blobs_fetched(keys.len());
            for (key, blob) in keys.iter().zip(blobs) {
                match blob {
                    Some(blob) => found.push((key.run, blob)),
                    None => gone.push(key.run),
                }
            }
        }
        if gone.is_empty() { Ok(found) } else { Err(Obstacle::Gone(gone)) }
    }

    /// Keeps encoded runs for the next rebuild, within the limit.
    fn keep(&mut self, blobs: Vec<(RunId, Bytes)>) {
        let mut held: usize = self.held.runs.values().map(Bytes::len).sum();
        for (run, blob) in blobs {
            if held + blob.len() > self.source.settings.run_memory_bytes {
                break;
            }
            held += blob.len();
            self.held.runs.insert(run, blob);
        }
    }
}
