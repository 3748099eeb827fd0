//! What a merge does to a master dataset: the version that it begins on, its commit, and what is told of it.
//!
//! Guarantee: a merge that failed, or lost its race for good, changes nothing; those before it stay committed.
//! Processes that define the source otherwise do not read each other's rows again by turns (`newest.rs`).
//! Not here: which merges, and their order (`step.rs`), the files (`rewrite.rs`).

use std::sync::Arc;

use lake::LakeError;
use positions::IdSource;
use records::RecordsError;
use records::decode::reading_of;
use records::master::{Compaction, MasterDataset, MasterSnapshot};
use serving_layer::{MayCommit, ServingError};
use views::SourceDefinition;

use super::newest::is_newest_reading;
use crate::metrics::{self, COMPACTION_FILES, COMPACTION_ROWS, COMPACTION_SECONDS, COMPACTIONS};
use crate::{BatchContext, BatchError};

/// How often a commit is tried behind others that came first.
const ATTEMPTS: usize = 16;

/// The version to go on from, and by what rows of other readings may be read again in it, if at all.
pub(super) async fn prepare_reading(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    master: &MasterDataset,
    on: MasterSnapshot,
) -> Result<(MasterSnapshot, Option<i32>), BatchError> {
    let may_read_again = on.has_rows_read_again() && is_newest_reading(context, source).await?;
    // Rows are sorted by columns that an old table may lack, also where they stay as they are.
    match master.with_all_columns(&on, context.ids.next_id()).await {
        Ok(next) => Ok((next, may_read_again.then(|| reading_of(source)))),
        // Another time: what somebody just committed may be of another reading, too.
        Err(RecordsError::Conflict { .. }) => Ok((master.refresh(&on).await?, None)),
        Err(error) => Err(error.into()),
    }
}

/// Commits a compaction on `on`, or on the newest version where others came first, as long as `may_commit` says so,
/// which is asked directly before each try; `None` where a file that it replaces is not live there any more, or others
/// came first too often: it must be dropped.
///
/// # Errors
/// As [`MasterDataset::compact`], without conflicts; [`BatchError::Serving`] with `Withdrawn` where `may_commit` says
/// no.
pub async fn replace(
    master: &MasterDataset,
    on: &MasterSnapshot,
    compaction: &Compaction,
    ids: &dyn IdSource,
    may_commit: &MayCommit<'_>,
) -> Result<Option<MasterSnapshot>, BatchError> {
    let mut on = on.clone();
    for _ in 0..ATTEMPTS {
        if on.snapshot.version() >= compaction.last {
            break;
        }
        if !may_commit().await {
            let view = on.snapshot.table().folder().to_owned();
            return Err(ServingError::Withdrawn { view }.into());
        }
        match master.compact(&on, compaction, ids.next_id()).await {
            Ok(next) => return Ok(Some(next)),
            Err(RecordsError::Conflict { .. }) => on = master.refresh(&on).await?,
            Err(RecordsError::Lake(LakeError::NotLive { .. })) => break,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// Log and metrics of one compaction.
pub(super) fn report(source: &SourceDefinition, next: &MasterSnapshot, compaction: &Compaction, seconds: f64) {
    let (name, version) = (source.name.as_str(), next.snapshot.version().0);
    let (old, new) = (compaction.old.len(), compaction.new.len());
    let rows = compaction.old.iter().map(|file| file.rows).sum();
    let bytes: u64 = compaction.new.iter().map(|file| file.size_bytes).sum();
    let done = if compaction.recount.is_some() { "read again" } else { "compacted" };
    tracing::info!(source = name, version, files = old, into = new, rows, bytes, seconds, "master dataset {done}");
    metrics::count(COMPACTIONS, name, 1);
    metrics::count(COMPACTION_FILES, name, old as u64);
    metrics::count(COMPACTION_ROWS, name, rows);
    metrics::time_source(COMPACTION_SECONDS, name, seconds);
}
