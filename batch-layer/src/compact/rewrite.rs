//! Writing the file of a compaction: the rows of the old ones, sorted by event time.
//!
//! Guarantee: rows go from the scan through the sort to the file in one stream, within the memory of the settings,
//! spilled beyond; every column as it was. Nobody sees the file before it is committed, and any of the next versions
//! may still commit it.
//! Memory: the sort's, and the file in the making.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::datasource::provider_as_source;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::execute_stream;
use futures::TryStreamExt;
use lake::{DataFile, FileWriter, Version};
use positions::IdSource;
use records::RecordsError;
use records::decode::column as master_column;
use records::master::{Compaction, MasterSnapshot};
use views::{SourceDefinition, column};

use super::Merge;
use crate::master_columns::field;
use crate::{BatchError, RecomputeSettings, engine};

/// How many versions others may commit while a compaction is in progress: a quarter of an hour at one a second.
const VERSIONS: i64 = 1_000;

/// Upper bound on how much larger a row is in memory than in a file; it only sizes batches.
const INFLATION: u64 = 16;

/// Writes the file that replaces those of `merge`; `None` where one of them is not live in `on`.
///
/// # Errors
/// Those of store and engine; nothing was written that a reader sees.
pub async fn rewrite(
    source: &SourceDefinition,
    on: &MasterSnapshot,
    merge: Merge,
    settings: &RecomputeSettings,
    ids: &dyn IdSource,
) -> Result<Option<Compaction>, BatchError> {
    let live = on.snapshot.files();
    let is_live = |file: &DataFile| live.binary_search_by(|other| other.path.cmp(&file.path)).is_ok();
    if !merge.files.iter().all(is_live) {
        return Ok(None);
    }
    let row_bytes = usize::try_from(merge.size_bytes() / merge.rows().max(1) * INFLATION).unwrap_or(usize::MAX);
    let session = engine::session_for_rows(settings, row_bytes)?;
    let table = provider_as_source(on.snapshot.scan(&merge.files).map_err(RecordsError::from)?);
    let event_time = source.event_time_name();
    // Places make the order total: the same rows always give the same file.
    let order =
        [event_time, column::PARTITION, column::OFFSET, master_column::ITEM].map(|name| field(name).sort(true, true));
    let plan = LogicalPlanBuilder::scan("master", table, None)?.sort(order)?.build()?;
    let sorted = execute_stream(session.create_physical_plan(&plan).await?, session.task_ctx())?;
    let last = Version(on.snapshot.version().0.saturating_add(VERSIONS));
    let name = format!("{:032x}", ids.next_id());
    let file = on.snapshot.file_writer_until(last, &name, on.snapshot.schema()).map_err(RecordsError::from)?;
    Ok(Some(Compaction { old: merge.files, new: vec![write(sorted, file, &on.snapshot.schema()).await?], last }))
}

/// Writes all rows into one file.
async fn write(
    mut rows: SendableRecordBatchStream,
    mut file: FileWriter,
    schema: &SchemaRef,
) -> Result<DataFile, BatchError> {
    while let Some(batch) = rows.try_next().await? {
        // Columns by position: the engine may call NOT NULL what is nullable here.
        let batch = RecordBatch::try_new(Arc::clone(schema), batch.columns().to_vec()).map_err(RecordsError::from)?;
        file.write(&batch).await.map_err(RecordsError::from)?;
    }
    Ok(file.finish().await.map_err(RecordsError::from)?)
}
