//! Removal of what nobody needs any more: old versions of views, and files that no version names.
//!
//! Guarantee: only what has been out of use for the whole grace is deleted. A failure is logged and tried again at
//! the next cleanup: left-over files cost space, never rightness.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use lake::{Vacuumed, Version};
use records::master::MasterDataset;
use serving_layer::BatchViewStore;
use views::SourceDefinition;

use crate::BatchError;
use crate::BatchParts;

/// Expires old versions of every view, keeping the newest `keep`, and removes orphaned files of all tables.
pub(crate) async fn clean(parts: &BatchParts, keep: usize, grace: Duration) {
    for view in &parts.pipeline.views {
        let store = BatchViewStore::new(&parts.lake, Arc::clone(view));
        let cleaned = store.expire(keep.max(2), grace, parts.clock.now()).await;
        tell(view.name.as_str(), cleaned.map_err(BatchError::from));
    }
    for source in &parts.pipeline.sources {
        tell(source.name.as_str(), clean_master(parts, source, keep, grace).await);
    }
}

/// Files that a compaction replaced go once no version in the log names them: the newest `keep` versions stay, and every
/// version that was the newest within the grace, so that a recompute or a worker that reads one finds all its files.
async fn clean_master(
    parts: &BatchParts,
    source: &Arc<SourceDefinition>,
    keep: usize,
    grace: Duration,
) -> Result<Vacuumed, BatchError> {
    let master = MasterDataset::new(&parts.lake, Arc::clone(source));
    let Some(newest) = master.open().await? else { return Ok(Vacuumed::default()) };
    let table = newest.snapshot.table();
    let older = i64::try_from(keep).unwrap_or(i64::MAX);
    let oldest = Version(newest.snapshot.version().0.saturating_sub(older).max(0));
    // The log may have been cut above it already; then only orphans are left to find.
    let is_readable = table.open_at(oldest).await.map_err(records::RecordsError::from)?.is_some();
    let oldest = if is_readable { oldest } else { newest.snapshot.version() };
    let now = UNIX_EPOCH + Duration::from_micros(u64::try_from(parts.clock.now().0).unwrap_or(0));
    Ok(table.vacuum(oldest, grace, now).await.map_err(records::RecordsError::from)?)
}

fn tell(name: &str, cleaned: Result<Vacuumed, BatchError>) {
    match cleaned {
        Ok(removed) if removed.objects + removed.log_objects > 0 => {
            let (objects, bytes) = (removed.objects + removed.log_objects, removed.size_bytes);
            tracing::info!(table = name, objects, bytes, "old files removed");
        }
        Ok(_) => tracing::debug!(table = name, "no old files to remove"),
        Err(error) => tracing::warn!(table = name, %error, "old files could not be removed"),
    }
}
