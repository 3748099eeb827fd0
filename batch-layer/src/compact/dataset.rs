//! Compaction of one master dataset: every merge that is due, each committed by itself.
//!
//! Guarantee: a merge that failed, or lost its race for good, changes nothing; those before it stay committed.
//! Processes that define the source otherwise do not read each other's rows again by turns (`newest.rs`).

use std::sync::Arc;

use lake::LakeError;
use positions::IdSource;
use records::RecordsError;
use records::decode::reading_of;
use records::master::{Compaction, MasterDataset, MasterSnapshot};
use views::SourceDefinition;

use super::newest::is_newest_reading;
use super::{choose_merges, rewrite};
use crate::metrics::{
    self, COMPACTION_FILES, COMPACTION_RACES, COMPACTION_ROWS, COMPACTION_SECONDS, COMPACTIONS, MASTER_FILES,
};
use crate::{BatchContext, BatchError, CompactSettings, RecomputeSettings};

/// How often a commit is tried behind others that came first.
const ATTEMPTS: usize = 16;

/// The outcome of one pass over one master dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Merges that were committed.
    pub merges: usize,
    /// Live files afterwards.
    pub files: usize,
}

/// Carries out every merge that is due in the newest version of one master dataset; stops at the first lost race.
///
/// # Errors
/// Those of log, store and engine; nothing was replaced by the merge at work.
pub async fn compact(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    settings: &CompactSettings,
    engine: &RecomputeSettings,
) -> Result<Compacted, BatchError> {
    let master = MasterDataset::new(&context.lake, Arc::clone(source));
    let Some(on) = master.open().await? else { return Ok(Compacted::default()) };
    let (mut on, reading) = prepare_reading(context, source, &master, on).await?;
    let mut merges = 0;
    for merge in choose_merges(on.snapshot.files(), reading, settings) {
        let began = context.clock.now();
        let replaced = match rewrite(source, &on, merge, engine, context.ids.as_ref()).await? {
            Some(compaction) => replace(&master, &on, &compaction, context.ids.as_ref()).await?.zip(Some(compaction)),
            None => None,
        };
        let Some((next, compaction)) = replaced else {
            tracing::debug!(source = %source.name, "somebody else changed the files first; compacting again later");
            metrics::count(COMPACTION_RACES, source.name.as_str(), 1);
            break;
        };
        report(source, &next, &compaction, context.clock.now().micros_since(began) as f64 / 1e6);
        on = next;
        merges += 1;
    }
    let files = on.snapshot.files().len();
    metrics::set_source(MASTER_FILES, source.name.as_str(), files as f64);
    Ok(Compacted { merges, files })
}

/// The version to go on from, and by what rows of other readings may be read again in it, if at all.
async fn prepare_reading(
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

/// Commits a compaction on `on`, or on the newest version where others came first; `None` where a file that it replaces
/// is not live there any more, or others came first too often: it must be dropped.
///
/// # Errors
/// As [`MasterDataset::compact`], without conflicts.
pub async fn replace(
    master: &MasterDataset,
    on: &MasterSnapshot,
    compaction: &Compaction,
    ids: &dyn IdSource,
) -> Result<Option<MasterSnapshot>, BatchError> {
    let mut on = on.clone();
    for _ in 0..ATTEMPTS {
        if on.snapshot.version() >= compaction.last {
            break;
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
fn report(source: &SourceDefinition, next: &MasterSnapshot, compaction: &Compaction, seconds: f64) {
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
