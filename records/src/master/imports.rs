//! Files of imported rows: written beside the table, and named by one commit when the last one is there.
//!
//! Guarantee: nobody sees a row before the commit. It is one commit on exactly the snapshot that it was given, which
//! may be newer than the one that the files were written on: rows of a partition that nobody else writes stay right
//! whatever others commit. The facts must count the rows of the files, and no partition may move back.
//! Not here: reading files and deciding what is in already (`batch-layer`, import), the list of them
//! (`../imported_list.rs`).
//! Why a file of its own for each part: an import of any size needs the memory of a few parts.

use arrow::record_batch::RecordBatch;
use futures::{Stream, StreamExt};
use lake::{Change, DataFile, FORMAT_WITH_IMPORTS, Packing, Version};
use positions::{Offset, PartitionId};

use super::{MasterDataset, MasterFacts, MasterSnapshot};
use crate::RecordsError;
use crate::imported_list::ImportedList;

/// How many versions others may commit while a file is imported: five hours at one a second.
const VERSIONS: i64 = 20_000;

/// In the names of such files, before the place of their first record.
const MARK: &str = "-import-";

fn name_of(nonce: u128, (partition, first): (PartitionId, Offset)) -> String {
    format!("{nonce:032x}{MARK}{}-{}", partition.0, first.0)
}

/// Where the first record of a file stands, if an import wrote it.
fn place_in(path: &str) -> Option<(PartitionId, Offset)> {
    let (_, place) = path.strip_suffix(".parquet")?.split_once(MARK)?;
    let (partition, first) = place.split_once('-')?;
    Some((PartitionId(partition.parse().ok()?), Offset(first.parse().ok()?)))
}

impl MasterSnapshot {
    /// Whether a file that an import wrote can be committed no more, as records stand in its place: be it that it was
    /// committed once and replaced since, that another import came first, or that it was read again after it was cut
    /// short. `None` for files that no import wrote.
    pub fn is_import_over(&self, path: &str) -> Option<bool> {
        let (partition, first) = place_in(path)?;
        let known = self.facts.partitions.get(&partition);
        Some(known.is_some_and(|known| first < known.archived.end.offset))
    }
}

impl MasterDataset {
    /// The list of the files that were imported.
    pub fn imported(&self) -> ImportedList {
        ImportedList::new(self.table.lake(), &self.source_name())
    }

    /// Writes rows, as they come, to a file that a version behind `on` may name. `on` must have all columns of the
    /// source ([`Self::with_all_columns`]); `nonce` is drawn for this file, whose first record stands at `first`.
    /// `None` where there are no rows.
    ///
    /// # Errors
    /// [`RecordsError::Lake`]: nothing was written that a reader sees.
    pub async fn write_imported(
        &self,
        on: &MasterSnapshot,
        nonce: u128,
        first: (PartitionId, Offset),
        mut rows: impl Stream<Item = RecordBatch> + Send + Unpin,
    ) -> Result<Option<DataFile>, RecordsError> {
        let Some(batch) = rows.next().await else { return Ok(None) };
        let last = Version(on.snapshot.version().0.saturating_add(VERSIONS));
        let (name, batch) = (name_of(nonce, first), on.as_stored(&batch)?);
        let mut writer = on.snapshot.file_writer_packed(Packing::Quick, last, &name, batch.schema())?;
        writer.write(&batch).await?;
        while let Some(batch) = rows.next().await {
            writer.write(&on.as_stored(&batch)?).await?;
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
