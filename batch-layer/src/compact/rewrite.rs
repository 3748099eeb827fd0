//! Writing the files of a compaction: the rows of the old ones, sorted by event time.
//!
//! Guarantee: rows go from the scan through the sort to the file in one stream, within the memory of the settings,
//! spilled beyond. Every column is as it was; of rows that are read again, every column that the source has is as it is
//! read now, and what they count for is counted both ways. Nobody sees a file before it is committed, and any of the
//! next versions may still commit it.
//! Memory: the sort's, and the files in the making, which are together as large as one.
//! Why up to two files: rows that are read again may be late that were not, and late rows stay apart.

use arrow::record_batch::RecordBatch;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SessionState;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use lake::{DataFile, FileWriter, Version};
use positions::IdSource;
use records::RecordsError;
use records::decode::{column as master_column, split_late};
use records::master::{Compaction, Eraser, MasterSnapshot, Recount, RowCounts};
use views::{SourceDefinition, column};

use super::Merge;
use crate::master_columns::field;
use crate::recompute::GroupProgress;
use crate::{BatchError, RecomputeSettings, engine};

/// How many versions others may commit while a compaction is in progress: a quarter of an hour at one a second.
const VERSIONS: i64 = 1_000;

/// Upper bound on how much larger a row is in memory than in a file; it only sizes batches.
const INFLATION: u64 = 16;

/// Writes the files that replace those of `merge`, under names that hold `name`, which no other call has; `None` where
/// one of them is not live in `on`. Where rows are read again, `on` must have all columns of the source. `progress`
/// tells others how far it is.
///
/// # Errors
/// Those of store and engine; nothing was written that a reader sees.
pub async fn rewrite(
    source: &SourceDefinition,
    on: &MasterSnapshot,
    merge: Merge,
    (settings, name): (&RecomputeSettings, &str),
    progress: &GroupProgress,
) -> Result<Option<Compaction>, BatchError> {
    let rewritten = rewrite_with(source, on, merge, None, (settings, name, Some(progress))).await;
    progress.end();
    rewritten
}

/// As [`rewrite`], without what was erased, and under a name of its own; the rows of `merge` must be read again.
///
/// # Errors
/// As there.
pub(crate) async fn rewrite_erased(
    source: &SourceDefinition,
    on: &MasterSnapshot,
    merge: Merge,
    eraser: &Eraser,
    (settings, ids): (&RecomputeSettings, &dyn IdSource),
) -> Result<Option<Compaction>, BatchError> {
    let name = format!("{:032x}", ids.next_id());
    rewrite_with(source, on, merge, Some(eraser), (settings, &name, None)).await
}

async fn rewrite_with(
    source: &SourceDefinition,
    on: &MasterSnapshot,
    merge: Merge,
    eraser: Option<&Eraser>,
    (settings, name, progress): (&RecomputeSettings, &str, Option<&GroupProgress>),
) -> Result<Option<Compaction>, BatchError> {
    if !merge.files.iter().all(|file| on.snapshot.is_live(&file.path)) {
        return Ok(None);
    }
    let row_bytes = usize::try_from(merge.size_bytes() / merge.rows().max(1) * INFLATION).unwrap_or(usize::MAX);
    let session = engine::session_for_rows(settings, row_bytes)?;
    let last = Version(on.snapshot.version().0.saturating_add(VERSIONS));
    let files = Files::new(on, last, name.to_owned());
    let written = write_sorted(&session, source, (&merge, eraser), files, progress).await;
    let (new, read) = written.map_err(|error| engine::told_apart(&session, error))?;
    let recount = match merge.is_read_again {
        // That everything is erased is a commit of its own, behind the last file.
        true => {
            Some(Recount { stored: on.count_stored(&merge.files).await?, read, erased: on.facts.erased, imports: None })
        }
        false => None,
    };
    Ok(Some(Compaction { old: merge.files, new, last, recount }))
}

/// Writes the rows of a merge by event time; returns the files, and what the rows count for where they are read again.
async fn write_sorted(
    session: &SessionState,
    source: &SourceDefinition,
    (merge, eraser): (&Merge, Option<&Eraser>),
    mut files: Files<'_>,
    progress: Option<&GroupProgress>,
) -> Result<(Vec<DataFile>, RowCounts), BatchError> {
    let on = files.on;
    let table = match merge.is_read_again {
        true => on.scan_whole(&merge.files)?,
        false => on.scan_stored(&merge.files)?,
    };
    let event_time = source.event_time_name();
    // Places make the order total: the same rows always give the same file.
    let order =
        [event_time, column::PARTITION, column::OFFSET, master_column::ITEM].map(|name| field(name).sort(true, true));
    let plan = LogicalPlanBuilder::scan("master", provider_as_source(table), None)?.sort(order)?.build()?;
    let plan = session.create_physical_plan(&plan).await?;
    if let Some(progress) = progress {
        progress.begin(&format!("{} files", merge.files.len()), &plan);
    }
    let mut sorted = execute_stream(plan, session.task_ctx())?;
    let mut read = RowCounts::default();
    while let Some(batch) = sorted.try_next().await? {
        // Columns by position: the table may call them otherwise, and the engine NOT NULL what is nullable here.
        let columns = batch.columns().to_vec();
        let mut batch = RecordBatch::try_new(on.snapshot.schema(), columns).map_err(RecordsError::from)?;
        if let Some(eraser) = eraser {
            batch = eraser.erase(&batch)?;
        }
        if merge.is_read_again {
            read.add(&batch)?;
        }
        files.write(&batch).await?;
    }
    Ok((files.finish().await?, read))
}

/// The files in the making; none is begun before it has a row.
struct Files<'a> {
    on: &'a MasterSnapshot,
    last: Version,
    name: String,
    on_time: Option<FileWriter>,
    late: Option<FileWriter>,
}

impl<'a> Files<'a> {
    fn new(on: &'a MasterSnapshot, last: Version, name: String) -> Self {
        Self { on, last, name, on_time: None, late: None }
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<(), RecordsError> {
        let (on_time, late) = split_late(batch)?;
        if on_time.num_rows() > 0 {
            let begun = self.on_time.take();
            let writer = begun.map_or_else(|| self.begin(&self.name), Ok)?;
            self.on_time.insert(writer).write(&on_time).await?;
        }
        if late.num_rows() > 0 {
            let begun = self.late.take();
            let writer = begun.map_or_else(|| self.begin(&format!("{}-late", self.name)), Ok)?;
            self.late.insert(writer).write(&late).await?;
        }
        Ok(())
    }

    fn begin(&self, name: &str) -> Result<FileWriter, RecordsError> {
        Ok(self.on.snapshot.file_writer_until(self.last, name, self.on.snapshot.schema())?)
    }

    async fn finish(self) -> Result<Vec<DataFile>, RecordsError> {
        let mut files = Vec::new();
        for writer in [self.on_time, self.late].into_iter().flatten() {
            files.push(writer.finish().await?);
        }
        Ok(files)
    }
}
