//! Compaction: small files of a master dataset become large ones, sorted by event time, with the very same rows.
//!
//! ```text
//!  newest version --> choose.rs: which files --> rewrite.rs: sorted, spilled --> replace: one commit, the same facts
//!                                                                                  ^   |
//!                                             refresh; every file still live? -----+---+ somebody committed first
//! ```
//!
//! In: the live files of a source. Out: fewer files. Guarantee: no answer changes. A compaction is committed on exactly
//! one predecessor that holds every file it replaces; killed at any step, or losing a race, it leaves files that nobody
//! sees. It never makes an archive drop rows: its commit moves no position.
//! Not here: the loop (`run.rs`), deleting what was replaced (`cleanup.rs`).
//! Why so: an archive may commit every second, a compaction takes longer: so it does not start again when it lost, but
//! commits the same files behind the newer version, where the same strict check decides again.

mod choose;
mod rewrite;

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::LakeError;
use positions::{IdSource, SourceName};
use records::RecordsError;
use records::master::{Compaction, MasterDataset, MasterSnapshot};
use views::SourceDefinition;

pub use choose::{Merge, choose_merges};
pub use rewrite::rewrite;

use crate::metrics::{
    self, COMPACTION_FAILURES, COMPACTION_FILES, COMPACTION_RACES, COMPACTION_ROWS, COMPACTION_SECONDS, COMPACTIONS,
    MASTER_FILES,
};
use crate::{BatchError, BatchParts, CompactSettings, RecomputeSettings};

/// How often a commit is tried behind others that came first.
const ATTEMPTS: usize = 16;

/// What came of a look at one master dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Compacted {
    /// Merges that were committed.
    pub merges: usize,
    /// Live files afterwards.
    pub files: usize,
}

/// Compacts the master datasets of all sources, one after the other; answers how many files each of them has. A failure
/// is logged and tried again in the next round: many files cost time, never rightness.
pub(crate) async fn compact_all(
    parts: &BatchParts,
    settings: &CompactSettings,
    engine: &RecomputeSettings,
) -> BTreeMap<SourceName, usize> {
    let mut files = BTreeMap::new();
    for source in parts.pipeline.sources.iter().filter(|_| settings.is_on) {
        let error = match compact(parts, source, settings, engine).await {
            Ok(compacted) => {
                files.insert(source.name.clone(), compacted.files);
                continue;
            }
            Err(error) => error,
        };
        metrics::count(COMPACTION_FAILURES, source.name.as_str(), 1);
        if error.is_retryable() {
            tracing::warn!(source = %source.name, %error, "compaction failed; the files stay as they are");
        } else {
            tracing::error!(source = %source.name, %error, "compaction failed; the files stay as they are");
        }
    }
    files
}

/// Carries out every merge that is due in the newest version of one master dataset; stops at the first lost race.
///
/// # Errors
/// Those of log, store and engine; nothing was replaced by the merge at work.
pub async fn compact(
    parts: &BatchParts,
    source: &Arc<SourceDefinition>,
    settings: &CompactSettings,
    engine: &RecomputeSettings,
) -> Result<Compacted, BatchError> {
    let master = MasterDataset::new(&parts.lake, Arc::clone(source));
    let Some(mut on) = master.open().await? else { return Ok(Compacted::default()) };
    let mut merges = 0;
    for merge in choose_merges(on.snapshot.files(), settings) {
        let began = parts.clock.now();
        let replaced = match rewrite(source, &on, merge, engine, parts.ids.as_ref()).await? {
            Some(compaction) => replace(&master, &on, &compaction, parts.ids.as_ref()).await?.zip(Some(compaction)),
            None => None,
        };
        let Some((next, compaction)) = replaced else {
            tracing::debug!(source = %source.name, "somebody else changed the files first; compacting again later");
            metrics::count(COMPACTION_RACES, source.name.as_str(), 1);
            break;
        };
        tell(source, &next, &compaction, parts.clock.now().micros_since(began) as f64 / 1e6);
        on = next;
        merges += 1;
    }
    let files = on.snapshot.files().len();
    metrics::set_source(MASTER_FILES, source.name.as_str(), files as f64);
    Ok(Compacted { merges, files })
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

fn tell(source: &SourceDefinition, next: &MasterSnapshot, compaction: &Compaction, seconds: f64) {
    let (name, version) = (source.name.as_str(), next.snapshot.version().0);
    let (old, new) = (compaction.old.len(), compaction.new.len());
    let rows = compaction.old.iter().map(|file| file.rows).sum();
    let bytes: u64 = compaction.new.iter().map(|file| file.size_bytes).sum();
    tracing::info!(source = name, version, files = old, into = new, rows, bytes, seconds, "master dataset compacted");
    metrics::count(COMPACTIONS, name, 1);
    metrics::count(COMPACTION_FILES, name, old as u64);
    metrics::count(COMPACTION_ROWS, name, rows);
    metrics::time_source(COMPACTION_SECONDS, name, seconds);
}
