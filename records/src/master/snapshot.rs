//! One version of a master dataset: what it holds, and how it is read.
//!
//! Guarantee: a snapshot never changes; what it names can be read until a cleanup drops its version.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{AsArray, BinaryArray};
use arrow::datatypes::{FieldRef, SchemaRef};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use datafusion::catalog::TableProvider;
use datafusion::error::DataFusionError;
use datafusion::prelude::{SessionConfig, SessionContext, col, ident, lit};
use datafusion::scalar::ScalarValue;
use futures::TryStreamExt;
use lake::{DataFile, LakeError, Snapshot};
use positions::{Offset, PartitionId, SchemaId};
use views::{SourceDefinition, column, default_of};

use super::MasterFacts;
use super::reading::{Reading, reading_of_file};
use super::stored_names::{Renamed, StoredNames};
use crate::RecordsError;
use crate::decode::wire::{Schemas, schema_id};
use crate::decode::{column as master_column, master_schema};

/// One version of a master dataset.
#[derive(Clone, Debug)]
pub struct MasterSnapshot {
    /// The table's snapshot.
    pub snapshot: Snapshot,
    /// Its facts; the default for a new table.
    pub facts: MasterFacts,
    /// Those of the facts, to read rows by.
    pub(super) schemas: Schemas,
    /// What the columns of the source are called in the table.
    pub(super) names: StoredNames,
    /// By whose definition rows are read.
    pub(super) source: Arc<SourceDefinition>,
    /// What rows of the source are read by now.
    pub(super) reading: i32,
}

impl MasterSnapshot {
    /// Compares the rows of the live files with the counts of the commits. Does no IO.
    ///
    /// # Errors
    /// [`RecordsError::LedgerMismatch`]: rows were doubled or lost.
    pub fn check_ledger(&self) -> Result<(), RecordsError> {
        let files = self.snapshot.files().iter().map(|file| file.rows).sum();
        if files == self.facts.rows {
            return Ok(());
        }
        let table = self.snapshot.table().folder().to_owned();
        Err(RecordsError::LedgerMismatch { table, files, commits: self.facts.rows })
    }

    /// A scan over all live files, columns as in `decode::master_schema`.
    ///
    /// # Errors
    /// None today: the files of a snapshot are live in it.
    pub fn scan(&self) -> Result<Arc<dyn TableProvider>, RecordsError> {
        self.scan_files(self.snapshot.files())
    }

    /// As [`Self::scan`], over some of the live files. Rows of another reading are decoded again.
    ///
    /// # Errors
    /// [`RecordsError::Lake`]: a file is not live in this snapshot.
    pub fn scan_files(&self, files: &[DataFile]) -> Result<Arc<dyn TableProvider>, RecordsError> {
        self.scan_as(master_schema(&self.source), files)
    }

    /// Some of the live files as they are stored, under the names that the source gives to the columns; in the order of
    /// the table.
    ///
    /// # Errors
    /// As [`Self::scan_files`].
    pub fn scan_stored(&self, files: &[DataFile]) -> Result<Arc<dyn TableProvider>, RecordsError> {
        let table = self.snapshot.scan(files)?;
        match self.names.is_plain() {
            true => Ok(table),
            false => Ok(Arc::new(Renamed { names: self.names.clone(), table })),
        }
    }

    /// The columns of the table, under the names that the source gives them.
    fn stored_schema(&self) -> SchemaRef {
        self.names.rename(&self.snapshot.schema())
    }

    /// What a column of the source is called in the table, and in the statistics of its files.
    pub fn stored_name<'a>(&'a self, column: &'a str) -> &'a str {
        self.names.other(column)
    }

    /// What there is to doubt before rows are read by the present definition of the source: columns that an event must
    /// have, and that the table has not got.
    pub fn doubts(&self) -> Vec<String> {
        let (present, rows) = (self.snapshot.schema(), self.facts.rows);
        let is_new = |field: &&FieldRef| {
            let is_asked_for = !field.is_nullable() && default_of(field).is_none();
            is_asked_for && rows > 0 && present.index_of(self.stored_name(field.name())).is_err()
        };
        let doubt = |field: &FieldRef| {
            format!(
                "column {} is new or of another type, and NOT NULL: of the {rows} records that are archived, those without \
                 such a value are rejected and count no more, until it is declared without NOT NULL, or with a DEFAULT",
                field.name()
            )
        };
        self.source.declared.fields().iter().filter(is_new).map(doubt).collect()
    }

    /// Rows under the names of the table.
    pub(super) fn as_stored(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(self.names.rename(&rows.schema()), rows.columns().to_vec())
    }

    /// As [`Self::scan_files`], with the columns of the table, in its order. Those that the source has no more are as
    /// they are stored: nobody can read them again.
    ///
    /// # Errors
    /// As [`Self::scan_files`]. [`RecordsError::Unusable`]: the table lacks a column of the source
    /// ([`MasterDataset::with_all_columns`](super::MasterDataset::with_all_columns) adds it).
    pub fn scan_whole(&self, files: &[DataFile]) -> Result<Arc<dyn TableProvider>, RecordsError> {
        let (wanted, present) = (master_schema(&self.source), self.stored_schema());
        if let Some(missing) = wanted.fields().iter().find(|field| present.index_of(field.name()).is_err()) {
            let (table, column) = (self.snapshot.table().folder(), missing.name());
            return Err(RecordsError::Unusable(format!("the table {table} has no column {column} yet")));
        }
        self.scan_as(present, files)
    }

    /// `schema`: of the source, or of the table where that has all of them.
    fn scan_as(&self, schema: SchemaRef, files: &[DataFile]) -> Result<Arc<dyn TableProvider>, RecordsError> {
        let (again, current): (Vec<DataFile>, Vec<DataFile>) =
            files.iter().cloned().partition(|file| self.is_read_again(file));
        if again.is_empty() && self.stored_schema().fields() == schema.fields() {
            return self.scan_stored(&current);
        }
        let scan = |files: &[DataFile]| match files {
            [] => Ok(None),
            files => self.scan_stored(files).map(Some),
        };
        let (source, schemas) = (self.source.clone(), self.schemas.clone());
        Ok(Arc::new(Reading { source, schemas, schema, current: scan(&current)?, stored: scan(&again)? }))
    }

    /// Whether a file may hold rows of another reading than the source's present one, so that all its rows are decoded
    /// again. The bounds of what is stored then say nothing about the columns of the event.
    pub fn is_read_again(&self, file: &DataFile) -> bool {
        reading_of_file(file) != Some(self.reading)
    }

    /// Whether any row is read again: then the counts of rejected and late records in the facts, which are those of
    /// the rules that archived the rows, are not those of the rows that are read.
    pub fn has_rows_read_again(&self) -> bool {
        self.snapshot.files().iter().any(|file| self.is_read_again(file))
    }

    /// The schemas that rows of another reading name: whoever reads them needs to know these. Reads the payloads of all
    /// files that may hold such rows.
    ///
    /// # Errors
    /// [`RecordsError::Lake`]: the object store failed; whether it may succeed later, it says.
    pub async fn schema_ids(&self) -> Result<BTreeSet<SchemaId>, RecordsError> {
        let files: Vec<DataFile> =
            self.snapshot.files().iter().filter(|file| self.is_read_again(file)).cloned().collect();
        let mut ids = BTreeSet::new();
        if files.is_empty() || !self.source.format.has_schemas() {
            return Ok(ids);
        }
        let failed = |error: DataFusionError| LakeError::engine(self.snapshot.table().folder(), error);
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let rows = context.read_table(self.snapshot.scan(&files)?).map_err(failed)?;
        let payloads = rows.select(vec![ident(master_column::PAYLOAD)]).map_err(failed)?;
        let mut batches = payloads.execute_stream().await.map_err(failed)?;
        while let Some(batch) = batches.try_next().await.map_err(failed)? {
            let payloads: &BinaryArray = batch.column(0).as_binary();
            ids.extend(payloads.iter().flatten().filter_map(|payload| schema_id(&self.source, payload)));
        }
        Ok(ids)
    }

    /// The rows of one partition in `[from, to)`, in offset order, whole columns. Reads the files whose bounds meet
    /// the range, and of those the row groups and pages that do; the caller bounds the range.
    ///
    /// # Errors
    /// [`RecordsError::Engine`], [`RecordsError::Lake`]: the object store failed.
    pub async fn read_range(
        &self,
        partition: PartitionId,
        from: Offset,
        to: Offset,
    ) -> Result<Vec<RecordBatch>, RecordsError> {
        let files: Vec<DataFile> =
            self.snapshot.files().iter().filter(|file| may_hold(file, partition, from, to)).cloned().collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let offset = col(format!("\"{}\"", column::OFFSET));
        let wanted = col(format!("\"{}\"", column::PARTITION))
            .eq(lit(partition.0))
            .and(offset.clone().gt_eq(lit(from.0)))
            .and(offset.clone().lt(lit(to.0)));
        let rows = context.read_table(self.scan_files(&files)?)?.filter(wanted)?;
        let item = col(format!("\"{}\"", master_column::ITEM));
        let batches = rows.sort(vec![offset.sort(true, false), item.sort(true, false)])?.collect().await?;
        Ok(batches.into_iter().filter(|batch| batch.num_rows() > 0).collect())
    }
}

/// Whether a file's bounds allow rows of the range.
pub(super) fn may_hold(file: &DataFile, partition: PartitionId, from: Offset, to: Offset) -> bool {
    let within = |name: &str, least: ScalarValue, most: ScalarValue| {
        file.bounds.get(name).is_none_or(|(min, max, _)| !(*max < least || *min > most))
    };
    let partition = ScalarValue::Int32(Some(partition.0));
    from < to
        && within(column::PARTITION, partition.clone(), partition)
        && within(column::OFFSET, ScalarValue::Int64(Some(from.0)), ScalarValue::Int64(Some(to.0 - 1)))
}
