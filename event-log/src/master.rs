//! The master dataset: every record of a source, for ever, in one append-only table.
//!
//! Guarantee: an append succeeds only on the snapshot whose positions it continues; the ledger says whether the live
//! files hold what the commits say.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use serde::{Deserialize, Serialize};
use views::{Archived, Counters, Offset, PartitionId, SourceDefinition};

use crate::EventLogError;

/// What a commit says about one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedPartition {
    /// How far it is archived.
    pub archived: Archived,
    /// Everything since its start.
    pub counters: Counters,
}

/// A range of offsets that expired before they were archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hole {
    /// The partition.
    pub partition: PartitionId,
    /// The first offset lost.
    pub from: Offset,
    /// The first offset after it that was not.
    pub to: Offset,
}

/// The facts of every commit of a master dataset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MasterFacts {
    /// By partition.
    pub partitions: BTreeMap<PartitionId, ArchivedPartition>,
    /// All holes so far.
    pub holes: Vec<Hole>,
    /// Rows in all live files, as the commits count them.
    pub rows: u64,
}

/// The master dataset of one source.
#[derive(Clone, Debug)]
pub struct MasterDataset {}

/// One version of it.
#[derive(Clone, Debug)]
pub struct MasterSnapshot {
    /// The table's snapshot.
    pub snapshot: lake::Snapshot,
    /// Its facts; the default for a new table.
    pub facts: MasterFacts,
}

impl MasterDataset {
    /// The dataset of a source, in the folder `raw/<source>`. Does no IO.
    pub fn new(lake: &lake::Lake, source: Arc<SourceDefinition>) -> Self {
        let _ = (lake, source);
        todo!()
    }

    /// Creates the table where it is missing and opens its newest version.
    ///
    /// # Errors
    /// An existing table with other columns is refused, with the difference named.
    pub async fn create(&self) -> Result<MasterSnapshot, EventLogError> {
        todo!()
    }

    /// Opens the newest version, or `None` where nothing was archived yet.
    pub async fn open(&self) -> Result<Option<MasterSnapshot>, EventLogError> {
        todo!()
    }

    /// The newest version, given one that was read before.
    pub async fn refresh(&self, known: &MasterSnapshot) -> Result<MasterSnapshot, EventLogError> {
        let _ = known;
        todo!()
    }

    /// Appends decoded rows on exactly `on`. `facts` are those of the new version, computed from `on.facts`.
    ///
    /// # Errors
    /// [`EventLogError::Conflict`]: start again from the newest version.
    pub async fn append(
        &self,
        on: &MasterSnapshot,
        rows: &[RecordBatch],
        facts: MasterFacts,
        nonce: u128,
    ) -> Result<MasterSnapshot, EventLogError> {
        let _ = (on, rows, facts, nonce);
        todo!()
    }
}

impl MasterSnapshot {
    /// Compares the rows of the live files with the counts of the commits.
    ///
    /// # Errors
    /// [`EventLogError::LedgerMismatch`]: rows were doubled or lost.
    pub fn check_ledger(&self) -> Result<(), EventLogError> {
        todo!()
    }

    /// A scan over all live files, columns as in `decode::raw_schema`.
    pub fn scan(&self) -> Result<Arc<dyn TableProvider>, EventLogError> {
        todo!()
    }

    /// The rows of one partition in `[from, to)`, in offset order, whole columns.
    pub async fn read_range(
        &self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<RecordBatch>, EventLogError> {
        let _ = (partition, from, to);
        todo!()
    }
}
