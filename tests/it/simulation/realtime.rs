//! The realtime store of one role: one shared store that keeps its own past, behind the dice, and the mistakes that a
//! careless worker or gateway would make.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{DefinitionHash, Index, IndexStamp};
use serving_layer::memory::MemoryStore;
use serving_layer::{BlobKey, PartitionKey, RealtimeStore, ServingError, Swap, named_blobs};

use super::chance::{Gate, Part};
use super::plan::Bug;

const LONG: Duration = Duration::from_secs(3_600);
/// Changes of a partition that a fail-over can take back.
const REMEMBERED: usize = 8;

/// A partition as it was: its index and the blobs that it named.
type OlderCopy = (Index, Vec<(BlobKey, Bytes)>);

/// What all roles share.
pub struct Shared {
    pub memory: Arc<MemoryStore>,
    past: Mutex<BTreeMap<PartitionKey, Vec<OlderCopy>>>,
    /// By stamp, so that a planted bug can tell what a change was decided on.
    known: Mutex<BTreeMap<u128, Index>>,
    evicted: Mutex<BTreeSet<BlobKey>>,
    /// The first index that overlaps with itself.
    pub overlap: Mutex<Option<String>>,
}

impl Shared {
    pub fn new(memory: MemoryStore) -> Self {
        let (past, known, evicted) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { memory: Arc::new(memory), past, known, evicted, overlap: Mutex::default() }
    }

    /// Brings an older copy of a partition back, as a fail-over to a replica does that lagged behind.
    pub async fn fail_over(&self, partition: &PartitionKey, back: usize) {
        let older = {
            let past = self.past.lock().unwrap();
            let Some(past) = past.get(partition) else { return };
            past[past.len().saturating_sub(back + 1)].clone()
        };
        let (index, blobs) = older;
        let stored = self.memory.read_index(partition).await.unwrap().map(|index| index.stamp);
        self.evicted.lock().unwrap().retain(|key| !blobs.iter().any(|(one, _)| one == key));
        self.memory.put_blobs(partition, blobs, LONG).await.unwrap();
        assert_eq!(self.memory.swap_index(partition, stored, &index, LONG).await.unwrap(), Swap::Done);
    }

    /// Loses one blob that the index of a partition names.
    pub async fn evict(&self, partition: &PartitionKey) {
        let index = self.memory.read_index(partition).await.unwrap();
        let named = index.iter().flat_map(named_blobs).next();
        self.evicted.lock().unwrap().extend(named);
    }

    async fn note(&self, partition: &PartitionKey, index: &Index) {
        self.known.lock().unwrap().insert(index.stamp.0, index.clone());
        let overlaps = index.runs.windows(2).any(|pair| pair[0].to.offset > pair[1].from.offset)
            || index.runs.iter().any(|run| run.to.offset > index.head.offset);
        if overlaps {
            let runs: Vec<_> = index.runs.iter().map(|run| (run.from.offset.0, run.to.offset.0)).collect();
            let text = format!("partition {}: runs {runs:?}, head {}", partition.partition, index.head.offset);
            self.overlap.lock().unwrap().get_or_insert(text);
        }
        let keys: Vec<BlobKey> = named_blobs(index).into_iter().collect();
        let blobs = self.memory.get_blobs(partition, &keys).await.unwrap();
        let blobs = keys.into_iter().zip(blobs).filter_map(|(key, bytes)| Some((key, bytes?))).collect();
        let mut past = self.past.lock().unwrap();
        let past = past.entry(partition.clone()).or_default();
        past.push((index.clone(), blobs));
        if past.len() > REMEMBERED {
            past.remove(0);
        }
    }
}

/// The store as one role sees it.
pub struct SimRealtime {
    pub shared: Arc<Shared>,
    pub gate: Gate,
    pub bug: Option<Bug>,
    /// What this role has read, for bugs that remember too much.
    pub seen: Mutex<BTreeMap<PartitionKey, Index>>,
    pub cached: Mutex<BTreeMap<(PartitionKey, DefinitionHash, usize), Bytes>>,
}

fn failed(reason: &'static str) -> ServingError {
    ServingError::Unreachable { store: "simulated", reason: reason.to_owned() }
}

impl SimRealtime {
    pub fn new(shared: Arc<Shared>, gate: Gate, bug: Option<Bug>) -> Self {
        Self { shared, gate, bug, seen: Mutex::default(), cached: Mutex::default() }
    }

    async fn swap(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        let decided_on = expected.and_then(|stamp| self.shared.known.lock().unwrap().get(&stamp.0).cloned());
        let mut next = next.clone();
        if let (Some(Bug::ExpiryOneRunEarly), Some(before)) = (self.bug, &decided_on) {
            let is_expiry = before.head == next.head && before.runs.len() > next.runs.len() && !next.runs.is_empty();
            if is_expiry && before.runs.ends_with(&next.runs) {
                next.runs.remove(0);
            }
        }
        let memory = &self.shared.memory;
        let mut swapped = memory.swap_index(partition, expected, &next, grace).await?;
        if let Swap::Lost(found) = &swapped {
            let forced = found.as_ref().zip(decided_on.as_ref()).and_then(|(found, before)| match self.bug {
                Some(Bug::AppendWithoutComparison) => append_anyway(before, &next, found),
                Some(Bug::MergeByHeadAlone) => merge_by_place(before, &next, found),
                _ => None,
            });
            if let (Some(forced), Some(found)) = (forced, found) {
                let stamp = Some(found.stamp);
                next = forced;
                swapped = memory.swap_index(partition, stamp, &next, grace).await?;
            }
        }
        if swapped == Swap::Done {
            self.shared.note(partition, &next).await;
        }
        Ok(swapped)
    }

    /// Remembers blobs by the place of their run, as if the runs of an index never changed.
    fn by_count(&self, partition: &PartitionKey, keys: &[BlobKey], found: Vec<Option<Bytes>>) -> Vec<Option<Bytes>> {
        let seen = self.seen.lock().unwrap();
        let Some(index) = seen.get(partition) else { return found };
        let mut cached = self.cached.lock().unwrap();
        let remember = |(key, bytes): (&BlobKey, Option<Bytes>)| {
            let place = index.runs.iter().position(|run| run.id == key.run);
            let Some((place, bytes)) = place.zip(bytes.clone()) else { return bytes };
            Some(cached.entry((partition.clone(), key.view, place)).or_insert(bytes).clone())
        };
        keys.iter().zip(found).map(remember).collect()
    }
}

/// An append to whatever is stored by now.
fn append_anyway(before: &Index, next: &Index, found: &Index) -> Option<Index> {
    let appended = next.runs.iter().filter(|run| !before.runs.contains(run)).cloned();
    let mut forced = Index { stamp: next.stamp, head: next.head, ..found.clone() };
    forced.runs.extend(appended);
    (next.head.offset > before.head.offset).then_some(forced)
}

/// A merge that looks at the head alone and names its runs by their places.
fn merge_by_place(before: &Index, next: &Index, found: &Index) -> Option<Index> {
    let is_merge = before.head == next.head && next.runs.len() < before.runs.len();
    let first = next.runs.iter().position(|run| !before.runs.contains(run)).filter(|_| is_merge)?;
    let count = before.runs.len() - next.runs.len() + 1;
    if found.head.offset != next.head.offset || found.runs.len() < first + count {
        return None;
    }
    let mut forced = Index { stamp: next.stamp, ..found.clone() };
    forced.runs.splice(first..first + count, [next.runs[first].clone()]);
    Some(forced)
}

#[async_trait]
impl RealtimeStore for SimRealtime {
    async fn read_index(&self, partition: &PartitionKey) -> Result<Option<Index>, ServingError> {
        let name = format!("index {}", partition.partition);
        let read = self.shared.memory.read_index(partition);
        let index = self.gate.call((Part::Realtime, &name), read, failed).await?;
        if let Some(index) = &index {
            self.seen.lock().unwrap().insert(partition.clone(), index.clone());
        }
        Ok(index)
    }

    async fn put_blobs(
        &self,
        partition: &PartitionKey,
        blobs: Vec<(BlobKey, Bytes)>,
        time_to_live: Duration,
    ) -> Result<(), ServingError> {
        let put = async {
            self.shared.evicted.lock().unwrap().retain(|key| !blobs.iter().any(|(one, _)| one == key));
            self.shared.memory.put_blobs(partition, blobs, time_to_live).await
        };
        self.gate.call((Part::Realtime, "blobs"), put, failed).await
    }

    async fn get_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<Option<Bytes>>, ServingError> {
        let read = self.shared.memory.get_blobs(partition, keys);
        let found = self.gate.call((Part::Realtime, "fetch"), read, failed).await?;
        let evicted = self.shared.evicted.lock().unwrap().clone();
        let found = keys.iter().zip(found).map(|(key, blob)| blob.filter(|_| !evicted.contains(key))).collect();
        let is_counting = self.bug == Some(Bug::RunsCachedByCount);
        Ok(if is_counting { self.by_count(partition, keys, found) } else { found })
    }

    async fn swap_index(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        let name = format!("swap {} to {}", partition.partition, next.head.offset);
        self.gate.call((Part::Realtime, &name), self.swap(partition, expected, next, grace), failed).await
    }

    async fn discard_corrupt_index(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.shared.memory.discard_corrupt_index(partition).await
    }

    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.shared.memory.forget(partition).await
    }
}
