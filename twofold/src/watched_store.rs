//! The realtime store as the speed layer of this process writes it, with note taken of writes that were refused.
//!
//! Guarantee: changes nothing that is asked or answered.
//! Why so: a worker that is refused waits and tries again by itself, and nobody else hears of it; answers and status
//! name the store and the setting by these notes.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{Index, IndexStamp};
use serving_layer::{BlobKey, PartitionKey, RealtimeStore, ServingError, Swap};

use crate::health::{Health, RefusedWrite, Written};

/// See the module.
pub struct WatchedStore {
    inner: Arc<dyn RealtimeStore>,
    health: Arc<Health>,
}

impl WatchedStore {
    /// The store, with its refusals noted.
    pub fn new(inner: Arc<dyn RealtimeStore>, health: Arc<Health>) -> Self {
        Self { inner, health }
    }

    fn note<T>(
        &self,
        partition: &PartitionKey,
        written: Written,
        outcome: Result<T, ServingError>,
    ) -> Result<T, ServingError> {
        let refused = outcome.as_ref().err().map(|error| RefusedWrite {
            reason: error.to_string(),
            is_full: matches!(error, ServingError::Full { .. }),
        });
        self.health.note_write(partition, written, refused);
        outcome
    }
}

#[async_trait]
impl RealtimeStore for WatchedStore {
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
        self.note(partition, Written::Blobs, self.inner.put_blobs(partition, blobs, time_to_live).await)
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
        self.note(partition, Written::Index, self.inner.swap_index(partition, expected, next, grace).await)
    }

    async fn discard_corrupt_index(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.inner.discard_corrupt_index(partition).await
    }

    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError> {
        self.inner.forget(partition).await
    }
}
