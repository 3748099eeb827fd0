//! The table of a master dataset: opened, created, appended to.
//!
//! Guarantee: an append is one commit on exactly the snapshot that it was given, and no partition moves back.
//! Not here: replacing files by others with the same rows (`compaction.rs`), reading rows (`snapshot.rs`).
//! Why so: a commit adds at most two files, on time and late, so that a scan of recent windows prunes old late rows by
//! the bounds of their files.

use std::sync::Arc;

use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use lake::{Change, DataFile, LakeError, Snapshot, Table, Version};
use views::SourceDefinition;

use super::{MasterFacts, MasterSnapshot};
use crate::RecordsError;
use crate::decode::{late_events, master_schema};

/// The master dataset of one source.
#[derive(Clone, Debug)]
pub struct MasterDataset {
    pub(super) table: Table,
    source: Arc<SourceDefinition>,
}

impl MasterDataset {
    /// The dataset of a source, in the folder `raw/<source>`. Does no IO.
    pub fn new(lake: &lake::Lake, source: Arc<SourceDefinition>) -> Self {
        Self { table: lake.table(&format!("raw/{}", source.name)), source }
    }

    /// Creates the table where it is missing and opens its newest version.
    ///
    /// # Errors
    /// [`RecordsError::Unusable`]: an existing table has other columns; the first difference is named.
    pub async fn create(&self) -> Result<MasterSnapshot, RecordsError> {
        let snapshot = self.table.create(master_schema(&self.source)).await?;
        self.wrap(snapshot)
    }

    /// Opens the newest version, or `None` where nothing was archived yet.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn open(&self) -> Result<Option<MasterSnapshot>, RecordsError> {
        self.table.open().await?.map(|snapshot| self.wrap(snapshot)).transpose()
    }

    /// One version by its number, as a batch view names the one that it was computed from.
    ///
    /// # Errors
    /// [`RecordsError::VersionGone`]: it is no longer kept. Never an incomplete version: what can be opened can be
    /// read.
    pub async fn open_at(&self, version: Version) -> Result<MasterSnapshot, RecordsError> {
        if let Some(snapshot) = self.table.open_at(version).await? {
            return self.wrap(snapshot);
        }
        let newest = self.table.open().await?.map(|newest| newest.version());
        Err(RecordsError::VersionGone { table: self.table.folder().to_owned(), version, newest })
    }

    /// The newest version, given one that was read before. Two small requests where nothing is new.
    ///
    /// # Errors
    /// [`RecordsError::Lake`]: the object store failed.
    pub async fn refresh(&self, known: &MasterSnapshot) -> Result<MasterSnapshot, RecordsError> {
        let snapshot = self.table.refresh(&known.snapshot).await?;
        if snapshot.version() == known.snapshot.version() { Ok(known.clone()) } else { self.wrap(snapshot) }
    }

    /// Appends decoded rows on exactly `on`. `facts` are those of the new version, computed from `on.facts`; they may
    /// change without rows (a hole). Rows stay in the order given.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`]: start again from the newest version. [`RecordsError::LedgerMismatch`]: the facts
    /// do not count these rows, a defect of the caller. [`RecordsError::Lake`] with `Unreachable`: it is unknown
    /// whether the append happened; open the newest version and compare its facts.
    pub async fn append(
        &self,
        on: &MasterSnapshot,
        rows: &[RecordBatch],
        facts: MasterFacts,
        nonce: u128,
    ) -> Result<MasterSnapshot, RecordsError> {
        let count: u64 = rows.iter().map(|batch| rows_of(batch.num_rows())).sum();
        self.check_facts(on, &facts, count)?;
        let (on_time, late) = split_late(rows)?;
        let (on_time, late) = futures::try_join!(
            self.write(on, format!("{nonce:032x}"), on_time),
            self.write(on, format!("{nonce:032x}-late"), late),
        )?;
        let add = on_time.into_iter().chain(late).collect();
        self.commit(on, Change { add, remove: Vec::new(), changes_data: true }, facts, nonce).await
    }

    /// Commits a change that was checked.
    pub(super) async fn commit(
        &self,
        on: &MasterSnapshot,
        change: Change,
        facts: MasterFacts,
        nonce: u128,
    ) -> Result<MasterSnapshot, RecordsError> {
        match self.table.commit(&on.snapshot, change, &facts, nonce).await {
            Ok(snapshot) => Ok(self.snapshot(snapshot, facts)),
            Err(LakeError::Conflict { table, .. }) => Err(RecordsError::Conflict { table }),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes one file, where there are rows for it.
    async fn write(
        &self,
        on: &MasterSnapshot,
        name: String,
        rows: Vec<RecordBatch>,
    ) -> Result<Option<DataFile>, RecordsError> {
        if rows.is_empty() {
            return Ok(None);
        }
        Ok(Some(on.snapshot.write_file(&name, &rows).await?))
    }

    /// Completes a snapshot with its facts, and refuses a table of other columns.
    fn wrap(&self, snapshot: Snapshot) -> Result<MasterSnapshot, RecordsError> {
        if let Some(difference) = difference(&master_schema(&self.source), &snapshot.schema()) {
            return Err(RecordsError::Unusable(format!(
                "master dataset of source {} has other columns than the source: {difference}; \
                 give the changed source another name, or move the table {} away",
                self.source.name,
                self.table.folder(),
            )));
        }
        let facts = snapshot.facts()?.unwrap_or_default();
        Ok(self.snapshot(snapshot, facts))
    }

    fn snapshot(&self, snapshot: Snapshot, facts: MasterFacts) -> MasterSnapshot {
        MasterSnapshot { snapshot, facts, source: self.source.clone() }
    }

    /// The facts must count the rows, and no partition may move back.
    fn check_facts(&self, on: &MasterSnapshot, facts: &MasterFacts, rows: u64) -> Result<(), RecordsError> {
        if facts.rows != on.facts.rows + rows {
            let table = self.table.folder().to_owned();
            return Err(RecordsError::LedgerMismatch { table, files: on.facts.rows + rows, commits: facts.rows });
        }
        for (partition, before) in &on.facts.partitions {
            let after = facts.partitions.get(partition);
            if after.is_none_or(|after| after.archived.end.offset < before.archived.end.offset) {
                return Err(RecordsError::Unusable(format!(
                    "an append to {} would move partition {partition} back below {}",
                    self.table.folder(),
                    before.archived.end.offset,
                )));
            }
        }
        Ok(())
    }
}

/// Divides rows into those on time (and rejected ones) and late ones; no empty batches.
fn split_late(rows: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), RecordsError> {
    let (mut on_time, mut late) = (Vec::new(), Vec::new());
    for batch in rows.iter().filter(|batch| batch.num_rows() > 0) {
        // A rejected record goes with those on time.
        let is_late = late_events(batch)?;
        match is_late.true_count() {
            0 => on_time.push(batch.clone()),
            count if count == batch.num_rows() => late.push(batch.clone()),
            _ => {
                late.push(filter_record_batch(batch, &is_late)?);
                on_time.push(filter_record_batch(batch, &arrow::compute::not(&is_late)?)?);
            }
        }
    }
    Ok((on_time, late))
}

/// The first difference between two lists of columns, in words.
fn difference(source: &SchemaRef, table: &Schema) -> Option<String> {
    for (at, field) in source.fields().iter().enumerate() {
        let Some(stored) = table.fields().get(at) else {
            return Some(format!("column {} is not in the table", field.name()));
        };
        if field.name() != stored.name() {
            return Some(format!("column {} is called {} in the table", field.name(), stored.name()));
        }
        if field.data_type() != stored.data_type() {
            let (now, then) = (field.data_type(), stored.data_type());
            return Some(format!("column {} is {now}, in the table it is {then}", field.name()));
        }
        if field.is_nullable() != stored.is_nullable() {
            return Some(format!("column {} differs in NOT NULL", field.name()));
        }
    }
    let surplus = table.fields().get(source.fields().len())?;
    Some(format!("column {} of the table is not in the source", surplus.name()))
}

fn rows_of(count: usize) -> u64 {
    u64::try_from(count).expect("rows fit into 64 bits")
}
