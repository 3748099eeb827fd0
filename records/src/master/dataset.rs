//! The table of a master dataset: opened, created, appended to.
//!
//! Guarantee: an append is one commit on exactly the snapshot that it was given, and no partition moves back. Where the
//! source has columns that the table has not got, a commit that adds them goes before; columns are never taken away.
//! Not here: replacing files by others that hold the same records (`compaction.rs`), reading rows (`snapshot.rs`), what
//! columns are called in the table (`stored_names.rs`).
//! Why so: a commit adds at most two files, on time and late, so that a scan of recent windows prunes old late rows by
//! the bounds of their files.

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use lake::{Change, DataFile, LakeError, Snapshot, Table, Version};
use positions::SourceName;
use views::{SourceDefinition, sql_name};

use super::stored_names::StoredNames;
use super::{MasterFacts, MasterSnapshot};
use crate::decode::wire::Schemas;
use crate::decode::{master_schema, reading_of, split_late};
use crate::{ErasedList, RecordsError};

/// The master dataset of one source.
#[derive(Clone, Debug)]
pub struct MasterDataset {
    pub(super) table: Table,
    source: Arc<SourceDefinition>,
    /// The columns of decoded rows: those that the source declares, then ours.
    schema: SchemaRef,
    /// What rows of the source are read by now.
    reading: i32,
}

impl MasterDataset {
    /// The dataset of a source, in the folder `raw/<source>`. Does no IO.
    pub fn new(lake: &lake::Lake, source: Arc<SourceDefinition>) -> Self {
        let table = lake.table(&format!("raw/{}", source.name));
        Self { table, schema: master_schema(&source), reading: reading_of(&source), source }
    }

    /// The name of the source.
    pub(super) fn source_name(&self) -> SourceName {
        self.source.name.clone()
    }

    /// The list of what was erased of the source.
    pub fn erased(&self) -> ErasedList {
        ErasedList::new(self.table.lake(), &self.source.name)
    }

    /// Creates the table where it is missing and opens its newest version.
    ///
    /// # Errors
    /// [`RecordsError::Unusable`]: an existing table holds a column of the source otherwise, the first is named; or the
    /// table was moved to another folder beside this one.
    pub async fn create(&self) -> Result<MasterSnapshot, RecordsError> {
        if let Some(known) = self.find().await? {
            return Ok(known);
        }
        let snapshot = self.table.create(self.schema.clone()).await?;
        self.wrap(snapshot)
    }

    /// As [`Self::open`], where one that was moved is not taken for one that is not there yet.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn find(&self) -> Result<Option<MasterSnapshot>, RecordsError> {
        if let Some(known) = self.open().await? {
            return Ok(Some(known));
        }
        let Some(found) = self.table.moved_to().await? else { return Ok(None) };
        let (folder, source) = (self.table.folder(), &self.source.name);
        Err(RecordsError::Unusable(format!(
            "the master dataset of source {source} is not in {folder}, but in {found}: somebody renamed its folder; move \
             it back, or out of the lake where the source is to begin anew"
        )))
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
        let on = &self.with_all_columns(on, nonce).await?;
        let (on_time, late) = split_all(rows)?;
        let (on_time, late) = futures::try_join!(
            self.write(on, format!("{nonce:032x}"), on_time),
            self.write(on, format!("{nonce:032x}-late"), late),
        )?;
        let add = on_time.into_iter().chain(late).collect();
        self.commit(on, Change { add, remove: Vec::new(), changes_data: true }, facts, nonce).await
    }

    /// The snapshot with every column of the source: those that the table has not got are a commit of their own, with
    /// the same rows and facts.
    ///
    /// # Errors
    /// [`RecordsError::Conflict`]: somebody committed first; refresh and call again. [`RecordsError::Lake`]: the object
    /// store failed.
    pub async fn with_all_columns(&self, on: &MasterSnapshot, nonce: u128) -> Result<MasterSnapshot, RecordsError> {
        let (wanted, present) = (on.names.rename(&self.schema), on.snapshot.schema());
        if wanted.fields().iter().all(|field| present.index_of(field.name()).is_ok()) {
            return Ok(on.clone());
        }
        // Another one than that of the append, whose facts are others.
        match self.table.add_columns(&on.snapshot, &wanted, &on.facts, !nonce).await {
            Ok(snapshot) => Ok(self.snapshot(snapshot, on.facts.clone())),
            Err(LakeError::Conflict { table, .. }) => Err(RecordsError::Conflict { table }),
            Err(error) => Err(error.into()),
        }
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
    pub(super) async fn write(
        &self,
        on: &MasterSnapshot,
        name: String,
        rows: Vec<RecordBatch>,
    ) -> Result<Option<DataFile>, RecordsError> {
        if rows.is_empty() {
            return Ok(None);
        }
        let stored = rows.iter().map(|batch| on.as_stored(batch)).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(on.snapshot.write_file(&name, &stored).await?))
    }

    /// Completes a snapshot with its facts, and refuses a table that is none of this release.
    fn wrap(&self, snapshot: Snapshot) -> Result<MasterSnapshot, RecordsError> {
        if let Some(difference) = self.difference(&snapshot.schema()) {
            return Err(RecordsError::Unusable(format!(
                "the table {} is not the master dataset of source {}: {difference}; move it away, or give the source \
                 another name",
                self.table.folder(),
                self.source.name,
            )));
        }
        let facts = snapshot.facts()?.unwrap_or_default();
        Ok(self.snapshot(snapshot, facts))
    }

    fn snapshot(&self, snapshot: Snapshot, facts: MasterFacts) -> MasterSnapshot {
        let schemas = Schemas::of(&facts.schemas);
        let names = StoredNames::of(self.columns().0, &snapshot.schema());
        MasterSnapshot { snapshot, facts, schemas, names, source: self.source.clone(), reading: self.reading }
    }

    /// The columns that the source declares, and ours.
    fn columns(&self) -> (&[FieldRef], &[FieldRef]) {
        self.schema.fields().split_at(self.source.declared.fields().len())
    }

    /// The first column of ours that the table holds otherwise, in words. One that it has not got is added to it by the
    /// next append.
    fn difference(&self, table: &Schema) -> Option<String> {
        self.columns().1.iter().find_map(|field| {
            let stored = table.fields().iter().find(|stored| stored.name().eq_ignore_ascii_case(field.name()))?;
            let (now, then) = (sql_name(field.data_type()), sql_name(stored.data_type()));
            match stored {
                stored if stored.name() != field.name() => {
                    Some(format!("column {} is called {} there", field.name(), stored.name()))
                }
                stored if stored.data_type() != field.data_type() => {
                    Some(format!("column {} is {now}, and {then} there", field.name()))
                }
                stored if stored.is_nullable() != field.is_nullable() => {
                    Some(format!("column {} differs in NOT NULL", field.name()))
                }
                _ => None,
            }
        })
    }

    /// The facts must count the rows, and no partition may move back.
    pub(super) fn check_facts(&self, on: &MasterSnapshot, facts: &MasterFacts, rows: u64) -> Result<(), RecordsError> {
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
pub(super) fn split_all(rows: &[RecordBatch]) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), RecordsError> {
    let (mut on_time, mut late) = (Vec::new(), Vec::new());
    for batch in rows {
        let (of_time, of_late) = split_late(batch)?;
        on_time.push(of_time);
        late.push(of_late);
    }
    on_time.retain(|batch| batch.num_rows() > 0);
    late.retain(|batch| batch.num_rows() > 0);
    Ok((on_time, late))
}

fn rows_of(count: usize) -> u64 {
    u64::try_from(count).expect("rows fit into 64 bits")
}
