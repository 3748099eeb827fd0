//! The realtime store with fail points about its writes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{Index, IndexStamp};
use serving_layer::{BlobKey, PartitionKey, RealtimeStore, ServingError, Swap};

use super::about;

/// See the module.
pub(super) struct FailingStore {
    pub(super) inner: Arc<dyn RealtimeStore>,
}

#[async_trait]
impl RealtimeStore for FailingStore {
    async fn read_index(&self, partition: &PartitionKey) -> Result<Option<Index>, ServingError> {
        self.inner.read_index(partition).await
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
        about("realtime.blobs", self.inner.put_blobs(partition, blobs, time_to_live)).await
    }

    async fn get_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<Option<Bytes>>, ServingError> {
        self.inner.get_blobs(partition, keys).await
    }

    async fn has_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<bool>, ServingError> {
        self.inner.has_blobs(partition, keys).await
    }

    async fn swap_index(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError> {
        about("realtime.index", self.inner.swap_index(partition, expected, next, grace)).await
    }

    async fn discard_corrupt_index(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        about("realtime.discard", self.inner.discard_corrupt_index(partition)).await
    }

    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.inner.forget(partition).await
    }
}
