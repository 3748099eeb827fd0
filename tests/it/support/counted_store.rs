//! A realtime store that counts what is asked of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{Index, IndexStamp};
use serving_layer::memory::MemoryStore;
use serving_layer::{BlobKey, PartitionKey, RealtimeStore, ServingError, Swap};

/// Wraps a store in memory.
pub struct CountedStore {
    inner: Arc<MemoryStore>,
    calls: AtomicUsize,
    index_reads: AtomicUsize,
}

impl CountedStore {
    /// Nothing was asked yet.
    pub fn new(inner: Arc<MemoryStore>) -> Self {
        Self { inner, calls: AtomicUsize::new(0), index_reads: AtomicUsize::new(0) }
    }

    /// Calls of any kind; asking for the count of changes is not counted.
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Those among them that read an index.
    pub fn index_reads(&self) -> usize {
        self.index_reads.load(Ordering::SeqCst)
    }

    fn count(&self) -> &MemoryStore {
        self.calls.fetch_add(1, Ordering::SeqCst);
        &self.inner
    }
}

#[async_trait]
impl RealtimeStore for CountedStore {
    async fn read_index(&self, partition: &PartitionKey) -> Result<Option<Index>, ServingError> {
        self.index_reads.fetch_add(1, Ordering::SeqCst);
        self.count().read_index(partition).await
    }

    fn index_changes(&self) -> Option<u64> {
        self.inner.index_changes()
    }

    async fn put_blobs(
        &self,
        partition: &PartitionKey,
        blobs: Vec<(BlobKey, Bytes)>,
        time_to_live: Duration,
    ) -> Result<(), ServingError> {
        self.count().put_blobs(partition, blobs, time_to_live).await
    }

    async fn get_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<Option<Bytes>>, ServingError> {
        self.count().get_blobs(partition, keys).await
    }

    async fn swap_index(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        self.count().swap_index(partition, expected, next, grace).await
    }

    async fn discard_corrupt_index(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.count().discard_corrupt_index(partition).await
    }

    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.count().forget(partition).await
    }
}
