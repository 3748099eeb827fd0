//! The realtime-view store: per partition one small index and the immutable blobs it names.
//!
//! Implementations: memory (`memory.rs`), Redis (`redis.rs`); both pass one conformance suite
//! (`tests/it/realtime_store.rs`).
//! Guarantee: `swap_index` replaces the index only if it still carries the expected stamp; blobs never change.
//! Why a stamp: it is drawn at random at each write, so an equal stamp means the very index that the pure rules of
//! `positions::Index` were applied to; a fail-over to an older copy cannot be mistaken for it (no ABA).

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use positions::{DefinitionHash, Index, IndexStamp, PartitionId, Run, RunId, SourceName};

use crate::ServingError;

/// Names one partition's place in the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartitionKey {
    /// The source.
    pub source: SourceName,
    /// The generation, which holds one definition of a view from the first record on; `None`: what lies above the batch
    /// views of the source.
    pub generation: Option<DefinitionHash>,
    /// The partition.
    pub partition: PartitionId,
}

impl PartitionKey {
    /// The place of a partition above the batch views of its source.
    pub fn new(source: &SourceName, partition: PartitionId) -> Self {
        Self { source: source.clone(), generation: None, partition }
    }

    /// The place of a partition in a generation.
    pub fn of_generation(source: &SourceName, generation: DefinitionHash, partition: PartitionId) -> Self {
        Self { generation: Some(generation), ..Self::new(source, partition) }
    }
}

/// Names one blob: the states of one run for one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobKey {
    /// The run.
    pub run: RunId,
    /// The view's definition.
    pub view: DefinitionHash,
}

/// How a swap ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Swap {
    /// The new index is stored.
    Done,
    /// Another index is stored (or none): here it is; decide again.
    Lost(Option<Index>),
    /// Nothing was changed: these blobs, which the new index would be the first to name, are not there (any more).
    /// Put them again, and swap again.
    MissingBlobs(BTreeSet<BlobKey>),
}

/// The blobs that an index names: those of every run and view with rows.
pub fn named_blobs(index: &Index) -> BTreeSet<BlobKey> {
    let blobs_of = |run: &Run| {
        let id = run.id;
        let filled = run.views.iter().filter(|held| held.rows > 0);
        filled.map(move |held| BlobKey { run: id, view: held.view }).collect::<Vec<_>>()
    };
    index.runs.iter().flat_map(blobs_of).collect()
}

/// What a swap does to blobs: the same in every store.
pub(crate) struct BlobChange {
    /// Named for the first time: they must be there, and no longer expire.
    pub(crate) kept: Vec<BlobKey>,
    /// No longer named: they begin to expire.
    pub(crate) dropped: Vec<BlobKey>,
}

impl BlobChange {
    /// From what the stored index names to what the next one does.
    pub(crate) fn between(before: Option<&Index>, after: &Index) -> Self {
        let (before, after) = (before.map(named_blobs).unwrap_or_default(), named_blobs(after));
        Self {
            kept: after.difference(&before).copied().collect(),
            dropped: before.difference(&after).copied().collect(),
        }
    }
}

/// A store of realtime views.
#[async_trait]
pub trait RealtimeStore: Send + Sync + 'static {
    /// The index of a partition, or `None` where it was never written or was lost.
    async fn read_index(&self, partition: &PartitionKey) -> Result<Option<Index>, ServingError>;

    /// Counts the changes of indexes, where all of them are made in this process and reading cannot fail: two equal
    /// counts mean that no index changed between them. `None`: only reading tells.
    fn index_changes(&self) -> Option<u64> {
        None
    }

    /// Writes blobs that expire after `time_to_live` unless an index that names them keeps them. A blob that is there
    /// already stays as it is: blobs never change.
    ///
    /// # Errors
    /// [`ServingError::Full`] where the store has no room: stop appending; nothing is evicted.
    async fn put_blobs(
        &self,
        partition: &PartitionKey,
        blobs: Vec<(BlobKey, Bytes)>,
        time_to_live: Duration,
    ) -> Result<(), ServingError>;

    /// The blobs, in the order asked for; `None` where one is missing: a gap, never an empty run.
    async fn get_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<Option<Bytes>>, ServingError>;

    /// Whether each of these blobs is there, in the order asked for.
    async fn has_blobs(&self, partition: &PartitionKey, keys: &[BlobKey]) -> Result<Vec<bool>, ServingError> {
        Ok(self.get_blobs(partition, keys).await?.iter().map(Option::is_some).collect())
    }

    /// Replaces the index in one atomic step if the stored one carries `expected` (`None`: if there is none).
    ///
    /// Blobs of runs that only `next` names are kept from expiring; those of runs that only the old index named begin
    /// to expire after `grace`, so that readers that hold the old index can still fetch them; a store without room may
    /// give them up sooner. A blob that `next` would be the first to name must be there: otherwise the swap is refused
    /// with [`Swap::MissingBlobs`].
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: whether the swap was done is not known; try again, the stamp tells.
    async fn swap_index(
        &self,
        partition: &PartitionKey,
        expected: Option<IndexStamp>,
        next: &Index,
        grace: Duration,
    ) -> Result<Swap, ServingError>;

    /// Removes an index that [`ServingError::Corrupt`] was said of, so that another can be created. One that can be
    /// read, also because it was replaced meanwhile, stays. Blobs that the lost index named are not found again: nobody
    /// reads them, and in Redis they stay until an operator deletes them.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: try again.
    async fn discard_corrupt_index(&self, partition: &PartitionKey) -> Result<(), ServingError>;

    /// Removes the index of a partition and its blobs at once, as if the store had lost them: for states of events that
    /// were erased. Whoever reads or appends finds no index, and begins again from the batch views.
    ///
    /// # Errors
    /// [`ServingError::Unreachable`]: call again.
    async fn forget(&self, partition: &PartitionKey) -> Result<(), ServingError>;
}
