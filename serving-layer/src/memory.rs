//! The realtime-view store in memory: for one process on one machine, bounded.
//!
//! Guarantee: the same as every realtime store (`realtime.rs`). What is full first gives up blobs that no index names
//! any more, before their grace is over, so that a publication makes room at once; then it refuses, and never evicts
//! what an index names. A reader of an older index finds a gap, and reads the index again.
//! After a restart it is empty: the worker replays from the least serving cut.
//! Not here: who decides what an index says (`positions::Index`).

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{Clock, Index, IndexStamp, TimestampMicros};

use crate::ServingError;
use crate::metrics::{MEMORY_STORE_LIMIT_BYTES, MEMORY_STORE_USED_BYTES};
use crate::realtime::{BlobChange, BlobKey, PartitionKey, RealtimeStore, Swap};

/// What a blob costs beside its bytes: key, entry, reference count.
const BLOB_OVERHEAD_BYTES: u64 = 128;

/// A realtime store in memory.
pub struct MemoryStore {
    limit_bytes: u64,
    clock: Arc<dyn Clock>,
    // Writers are the speed workers, readers the gateway, all for microseconds and never across an await; so one plain
    // lock makes every method atomic.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    partitions: HashMap<PartitionKey, Partition>,
    used_bytes: u64,
    /// Of indexes.
    changes: u64,
}

#[derive(Default)]
struct Partition {
    index: Option<Index>,
    blobs: HashMap<BlobKey, Blob>,
}

struct Blob {
    bytes: Bytes,
    /// `None`: the index names it.
    expires_at: Option<TimestampMicros>,
    /// Whether an index has named it: then one that expires is kept for readers of that index alone.
    was_named: bool,
}

impl Blob {
    fn is_alive(&self, now: TimestampMicros) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether an index named it, and none does any more.
    fn is_dropped(&self) -> bool {
        self.was_named && self.expires_at.is_some()
    }

    fn cost_bytes(&self) -> u64 {
        self.bytes.len() as u64 + BLOB_OVERHEAD_BYTES
    }
}

impl MemoryStore {
    /// An empty store that holds at most `limit_bytes` of blobs and indexes.
    pub fn new(limit_bytes: u64, clock: Arc<dyn Clock>) -> Self {
        Self { limit_bytes, clock, state: Mutex::default() }
    }

    /// Bytes in use, for status.
    pub fn used_bytes(&self) -> u64 {
        self.lock().used_bytes
    }

    /// Forgets everything, as a restart does.
    pub fn wipe(&self) {
        let mut state = self.lock();
        *state = State { changes: state.changes + 1, ..State::default() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No method can panic half way through a change, so a poisoned lock still guards a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell_use(&self, state: &State) {
        metrics::gauge!(MEMORY_STORE_USED_BYTES).set(state.used_bytes as f64);
        metrics::gauge!(MEMORY_STORE_LIMIT_BYTES).set(self.limit_bytes as f64);
    }

    fn full(&self, state: &State) -> ServingError {
        ServingError::Full { used_bytes: Some(state.used_bytes), limit_bytes: Some(self.limit_bytes) }
    }
}

impl State {
    fn forget_expired(&mut self, now: TimestampMicros) {
        self.forget(|blob| blob.is_alive(now));
    }

    /// Forgets the blobs that are not to stay.
    fn forget(&mut self, stays: impl Fn(&Blob) -> bool) {
        let mut freed = 0;
        for partition in self.partitions.values_mut() {
            partition.blobs.retain(|_, blob| {
                let stays = stays(blob);
                freed += if stays { 0 } else { blob.cost_bytes() };
                stays
            });
        }
        self.used_bytes -= freed;
    }
}

impl Partition {
    fn has(&self, key: &BlobKey, now: TimestampMicros) -> bool {
        self.blobs.get(key).is_some_and(|blob| blob.is_alive(now))
    }

    fn set_expiry(&mut self, key: &BlobKey, expires_at: Option<TimestampMicros>) {
        if let Some(blob) = self.blobs.get_mut(key) {
            blob.expires_at = expires_at;
            // Whatever is said of it here, an index names it, or did.
            blob.was_named = true;
        }
    }
}

#[async_trait]
impl RealtimeStore for MemoryStore {
    async fn read_index(&self, partition: &PartitionKey) -> Result<Option<Index>, ServingError> {
        Ok(self.lock().partitions.get(partition).and_then(|held| held.index.clone()))
    }

    fn index_changes(&self) -> Option<u64> {
        Some(self.lock().changes)
    }

    async fn put_blobs(
        &self,
        partition: &PartitionKey,
        blobs: Vec<(BlobKey, Bytes)>,
        time_to_live: Duration,
    ) -> Result<(), ServingError> {
        let now = self.clock.now();
        let expires_at = Some(now.plus(time_to_live));
        let mut state = self.lock();
        state.forget_expired(now);
        let held = state.partitions.get(partition);
        // Blobs never change: one that is there already stays as it is, above all if the index names it.
        let fresh: Vec<(BlobKey, Blob)> = blobs
            .into_iter()
            .filter(|(key, _)| !held.is_some_and(|held| held.has(key, now)))
            .map(|(key, bytes)| (key, Blob { bytes, expires_at, was_named: false }))
            .collect();
        let needed: u64 = fresh.iter().map(|(_, blob)| blob.cost_bytes()).sum();
        if state.used_bytes + needed > self.limit_bytes {
            state.forget(|blob| !blob.is_dropped());
        }
        if state.used_bytes + needed > self.limit_bytes {
            return Err(self.full(&state));
        }
        state.used_bytes += needed;
        state.partitions.entry(partition.clone()).or_default().blobs.extend(fresh);
        self.tell_use(&state);
        Ok(())
    }

    async fn get_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<Option<Bytes>>, ServingError> {
        let now = self.clock.now();
        let state = self.lock();
        let held = state.partitions.get(partition);
        let get = |key| held?.blobs.get(key).filter(|blob| blob.is_alive(now)).map(|blob| blob.bytes.clone());
        Ok(keys.iter().map(get).collect())
    }

    async fn swap_index(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        let now = self.clock.now();
        let mut state = self.lock();
        state.forget_expired(now);
        let used_bytes = state.used_bytes;
        let held = state.partitions.entry(partition.clone()).or_default();
        if held.index.as_ref().map(|index| index.stamp) != expected {
            return Ok(Swap::Lost(held.index.clone()));
        }
        let change = BlobChange::between(held.index.as_ref(), next);
        let missing: BTreeSet<BlobKey> = change.kept.iter().filter(|key| !held.has(key, now)).copied().collect();
        if !missing.is_empty() {
            return Ok(Swap::MissingBlobs(missing));
        }
        let (old_bytes, new_bytes) = (held.index.as_ref().map_or(0, index_bytes), index_bytes(next));
        let used_bytes = used_bytes - old_bytes + new_bytes;
        if new_bytes > old_bytes && used_bytes > self.limit_bytes {
            return Err(self.full(&state));
        }
        change.kept.iter().for_each(|key| held.set_expiry(key, None));
        let expires_at = Some(now.plus(grace));
        change.dropped.iter().for_each(|key| held.set_expiry(key, expires_at));
        held.index = Some(next.clone());
        state.used_bytes = used_bytes;
        state.changes += 1;
        self.tell_use(&state);
        Ok(Swap::Done)
    }

    async fn discard_corrupt_index(&self, _partition: &PartitionKey) -> Result<(), ServingError> {
        // What was never bytes can always be read.
        Ok(())
    }

    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        let mut state = self.lock();
        if let Some(held) = state.partitions.remove(partition) {
            let blobs: u64 = held.blobs.values().map(Blob::cost_bytes).sum();
            state.used_bytes -= blobs + held.index.as_ref().map_or(0, index_bytes);
            state.changes += 1;
            self.tell_use(&state);
        }
        Ok(())
    }
}

/// About what an index takes: it is bounded like the blobs, because runs without rows have no blob.
fn index_bytes(index: &Index) -> u64 {
    let runs: usize = index.runs.iter().map(|run| size_of_val(run) + size_of_val(run.views.as_slice())).sum();
    (size_of::<Index>() + runs) as u64
}
