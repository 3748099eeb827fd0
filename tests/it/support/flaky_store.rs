//! A realtime store that fails as a network does: before an operation, or after it was done and its answer was lost.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{IdSource, Index, IndexStamp};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serving_layer::{BlobKey, PartitionKey, RealtimeStore, ServingError, Swap};

/// Wraps a store.
pub struct FlakyStore {
    inner: Arc<dyn RealtimeStore>,
    rng: Mutex<StdRng>,
    failures_per_thousand: AtomicU64,
    is_up: AtomicBool,
    lost_blobs: Mutex<BTreeSet<BlobKey>>,
    corrupt: Mutex<BTreeSet<PartitionKey>>,
    has_room_for_merges: AtomicBool,
    marks: Mutex<Option<Arc<dyn IdSource>>>,
}

impl FlakyStore {
    /// Fails never, until told otherwise.
    pub fn new(inner: Arc<dyn RealtimeStore>, seed: u64) -> Self {
        Self {
            inner,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
            failures_per_thousand: AtomicU64::new(0),
            is_up: AtomicBool::new(true),
            lost_blobs: Mutex::default(),
            corrupt: Mutex::default(),
            has_room_for_merges: AtomicBool::new(true),
            marks: Mutex::default(),
        }
    }

    /// How many of a thousand operations fail, half of them after they were done.
    pub fn fail(&self, per_thousand: u64) {
        self.failures_per_thousand.store(per_thousand, Ordering::SeqCst);
    }

    /// Takes the whole store away, or brings it back.
    pub fn set_up(&self, is_up: bool) {
        self.is_up.store(is_up, Ordering::SeqCst);
    }

    /// Loses a blob for ever, as an eviction does.
    pub fn lose_blob(&self, key: BlobKey) {
        self.lost_blobs.lock().unwrap().insert(key);
    }

    /// Finds all lost blobs again.
    pub fn find_blobs(&self) {
        self.lost_blobs.lock().unwrap().clear();
    }

    /// Makes an index unreadable until it is discarded; the caller takes the stored one away.
    pub fn corrupt_index(&self, partition: PartitionKey) {
        self.corrupt.lock().unwrap().insert(partition);
    }

    /// From now on every merge finds the store full; appends do not.
    pub fn refuse_merges(&self) {
        self.has_room_for_merges.store(false, Ordering::SeqCst);
    }

    /// From now on another worker marks an index as right before every look at its blobs.
    pub fn mark_before_looks(&self, ids: Arc<dyn IdSource>) {
        *self.marks.lock().unwrap() = Some(ids);
    }

    async fn mark(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        let Some(ids) = self.marks.lock().unwrap().clone() else { return Ok(()) };
        if let Some(index) = self.inner.read_index(partition).await? {
            let marked = index.touch(IndexStamp(ids.next_id()), index.definitions, index.head, index.as_of).unwrap();
            self.inner.swap_index(partition, Some(index.stamp), &marked, Duration::ZERO).await?;
        }
        Ok(())
    }

    fn check_readable(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        match self.corrupt.lock().unwrap().contains(partition) {
            true => Err(ServingError::Corrupt { what: "the index".to_owned(), reason: "a test spoiled it".to_owned() }),
            false => Ok(()),
        }
    }

    async fn is_refused(&self, partition: &PartitionKey, next: &Index) -> Result<bool, ServingError> {
        if self.has_room_for_merges.load(Ordering::SeqCst) {
            return Ok(false);
        }
        let Some(stored) = self.inner.read_index(partition).await? else { return Ok(false) };
        let is_new = |run: &positions::Run| stored.runs.iter().all(|held| held.id != run.id);
        Ok(stored.head == next.head && next.runs.iter().any(is_new))
    }

    async fn attempt<T>(&self, operation: impl Future<Output = Result<T, ServingError>>) -> Result<T, ServingError> {
        let failed = |reason: &str| ServingError::Unreachable { store: "flaky", reason: reason.to_owned() };
        let (fails, is_after) = {
            let mut rng = self.rng.lock().unwrap();
            (rng.random_range(0..1_000) < self.failures_per_thousand.load(Ordering::SeqCst), rng.random_bool(0.5))
        };
        tokio::task::yield_now().await;
        if !self.is_up.load(Ordering::SeqCst) || (fails && !is_after) {
            return Err(failed("down"));
        }
        let answer = operation.await;
        tokio::task::yield_now().await;
        if fails { Err(failed("the answer was lost")) } else { answer }
    }
}

#[async_trait]
impl RealtimeStore for FlakyStore {
    async fn read_index(&self, partition: &PartitionKey) -> Result<Option<Index>, ServingError> {
        self.check_readable(partition)?;
        self.attempt(self.inner.read_index(partition)).await
    }

    async fn put_blobs(
        &self,
        partition: &PartitionKey,
        blobs: Vec<(BlobKey, Bytes)>,
        time_to_live: Duration,
    ) -> Result<(), ServingError> {
        self.attempt(self.inner.put_blobs(partition, blobs, time_to_live)).await
    }

    async fn get_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<Option<Bytes>>, ServingError> {
        self.mark(partition).await?;
        let found = self.attempt(self.inner.get_blobs(partition, keys)).await?;
        let lost = self.lost_blobs.lock().unwrap();
        Ok(keys.iter().zip(found).map(|(key, blob)| blob.filter(|_| !lost.contains(key))).collect())
    }

    async fn swap_index(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        self.check_readable(partition)?;
        if self.is_refused(partition, next).await? {
            return Err(ServingError::Full { used_bytes: Some(1), limit_bytes: Some(1) });
        }
        self.attempt(self.inner.swap_index(partition, expected, next, grace)).await
    }

    async fn discard_corrupt_index(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.attempt(self.inner.discard_corrupt_index(partition)).await?;
        self.corrupt.lock().unwrap().remove(partition);
        Ok(())
    }

    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.attempt(self.inner.forget(partition)).await?;
        self.corrupt.lock().unwrap().remove(partition);
        Ok(())
    }
}
