//! Files of imported rows: written beside the table, and named by one commit when the last one is there.
//!
//! Guarantee: nobody sees a row before the commit. It is one commit on exactly the snapshot that it was given, which
//! may be newer than the one that the files were written on: rows of a partition that nobody else writes stay right
//! whatever others commit. The facts must count the rows of the files, and no partition may move back.
//! Not here: reading files and deciding what is in already (`batch-layer`, import), the list of them
//! (`../imported_list.rs`).
//! Why a file of its own for each part: an import of any size needs the memory of a few parts.

use arrow::record_batch::RecordBatch;
use lake::{Change, DataFile, FORMAT_WITH_IMPORTS, Packing, Version};

use super::{MasterDataset, MasterFacts, MasterSnapshot};
use crate::RecordsError;
use crate::imported_list::ImportedList;

/// How many versions others may commit while a file is imported: five hours at one a second.
const VERSIONS: i64 = 20_000;

/// How the names of such files end.
const MARK: &str = "-import";

/// Whether a file of a master dataset was written by an import.
pub fn is_file_of_import(path: &str) -> bool {
    path.strip_suffix(".parquet").is_some_and(|name| name.ends_with(MARK))
}

impl MasterDataset {
    /// The list of the files that were imported.
    pub fn imported(&self) -> ImportedList {
        ImportedList::new(self.table.lake(), &self.source_name())
    }

    /// Writes rows to a file that a version behind `on` may name. `on` must have all columns of the source
    /// ([`Self::with_all_columns`]); `nonce` is drawn for this file.
    ///
    /// # Errors
    /// [`RecordsError::Lake`]: nothing was written that a reader sees.
    pub async fn write_imported(
        &self,
        on: &MasterSnapshot,
        nonce: u128,
        rows: &[RecordBatch],
    ) -> Result<Option<DataFile>, RecordsError> {
        let Some(first) = rows.first() else { return Ok(None) };
        let last = Version(on.snapshot.version().0.saturating_add(VERSIONS));
        let name = format!("{nonce:032x}{MARK}");
        let mut writer = on.snapshot.file_writer_packed(Packing::Quick, last, &name, on.as_stored(first)?.schema())?;
        for batch in rows {
            writer.write(&on.as_stored(batch)?).await?;
        }
        Ok(Some(writer.finish().await?))
    }

    /// Commits files that [`Self::write_imported`] wrote on exactly `on`; `facts` are those of the new version. Before
    /// the first, the lake is noted as one that older builds refuse: they know nothing of the list, and their commits
    /// would lose it.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub async fn append_imported(
        &self,
        on: &MasterSnapshot,
        files: Vec<DataFile>,
        facts: MasterFacts,
        nonce: u128,
    ) -> Result<MasterSnapshot, RecordsError> {
        self.check_facts(on, &facts, files.iter().map(|file| file.rows).sum())?;
        if on.facts.imports.is_none() {
            self.table.lake().raise_format(FORMAT_WITH_IMPORTS).await?;
        }
        self.commit(on, Change { add: files, remove: Vec::new(), changes_data: true }, facts, nonce).await
    }
}
