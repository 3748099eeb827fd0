//! The batch-view store: one table per view version (name and definition hash), one commit per publication.
//!
//! Guarantee: a publication is one commit on exactly the version it was computed from, and never moves a cut back.
//! The table `views/<name>-<hash>` has the columns `_bucket`, dimensions, one state column per measure.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use serde::{Deserialize, Serialize};
use views::{Counters, Cut, DefinitionHash, PartitionId, RecomputeId, TimestampMicros, ViewDefinition};

use crate::ServingError;

/// The facts of a publication.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchFacts {
    /// The definition that the states were computed with.
    pub definition: DefinitionHash,
    /// Everything below is in this version.
    pub cut: Cut,
    /// The version of the master dataset that was read.
    pub raw_version: i64,
    /// The recompute that made it.
    pub recompute: RecomputeId,
    /// When it was published, by the publisher's clock.
    pub published_at: TimestampMicros,
    /// Whether everything was recomputed, or the touched buckets only.
    pub is_full: bool,
    /// Counters below the cut, by partition.
    pub counters: BTreeMap<PartitionId, Counters>,
    /// Ranges of offsets below the cut that were lost before they were archived: partition, from, to.
    pub holes: Vec<(PartitionId, i64, i64)>,
}

/// One published version.
#[derive(Clone, Debug)]
pub struct BatchVersion {
    /// The table's snapshot.
    pub snapshot: lake::Snapshot,
    /// Its facts.
    pub facts: Arc<BatchFacts>,
}

/// The batch views of one view definition.
#[derive(Clone, Debug)]
pub struct BatchViewStore {}

impl BatchViewStore {
    /// The table of a view definition. Does no IO.
    pub fn new(lake: &lake::Lake, view: Arc<ViewDefinition>) -> Self {
        let _ = (lake, view);
        todo!()
    }

    /// The newest published version; `None` before the first.
    pub async fn newest(&self) -> Result<Option<BatchVersion>, ServingError> {
        todo!()
    }

    /// The newest `count` versions, newest first; cheap where `known` is still the newest.
    pub async fn newest_versions(
        &self,
        count: usize,
        known: &[BatchVersion],
    ) -> Result<Vec<BatchVersion>, ServingError> {
        let _ = (count, known);
        todo!()
    }

    /// One version by its number.
    pub async fn version(&self, version: i64) -> Result<Option<BatchVersion>, ServingError> {
        let _ = version;
        todo!()
    }

    /// Publishes states in one commit on exactly `on` (`None`: before the first version).
    ///
    /// `rows` have `_bucket`, then the columns of `ViewDefinition::states`, sorted by `_bucket` and dimensions.
    /// They replace the rows of `replaced` buckets (`None`: of all buckets); other buckets are carried over.
    ///
    /// # Errors
    /// [`ServingError::Conflict`]: another version is the newest, or its cut is not below this one.
    pub async fn publish(
        &self,
        on: Option<&BatchVersion>,
        replaced: Option<&[TimestampMicros]>,
        rows: &[RecordBatch],
        facts: BatchFacts,
        nonce: u128,
    ) -> Result<BatchVersion, ServingError> {
        let _ = (on, replaced, rows, facts, nonce);
        todo!()
    }

    /// Reads all states of a version into memory, without `_bucket`: columns of `ViewDefinition::states`.
    ///
    /// # Errors
    /// [`ServingError::TooLarge`] where they need more than `limit_bytes`.
    pub async fn load(&self, version: &BatchVersion, limit_bytes: usize) -> Result<Vec<RecordBatch>, ServingError> {
        let _ = (version, limit_bytes);
        todo!()
    }
}
