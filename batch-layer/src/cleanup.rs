//! Removal of what nobody needs any more: old versions of views, old sets of definitions, tables of definitions that no
//! set names, and files that none names.
//!
//! Guarantee: only what has been out of use for the whole grace is deleted, and nothing that the caller says is being
//! read. What is left over costs space, never correctness.
//! Not here: when to clean up, and who takes which step (runs of the workflow do).

use std::sync::Arc;
use std::time::Duration;

use lake::{Vacuumed, Version};
use records::RecordsError;
use records::master::MasterDataset;
use serving_layer::BatchViewStore;
use serving_layer::exactness::ExactnessStore;
use serving_layer::registry::DefinitionRegistry;
use views::{PlannedView, SourceDefinition};

use crate::{BatchContext, BatchError};

/// What stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The newest versions, and sets of definitions; at least 2.
    pub versions: usize,
    /// What was in use within this time.
    pub grace: Duration,
    /// The oldest version of the master dataset that somebody reads, with all later ones, as far as they are there.
    pub read: Option<Version>,
}

/// Deletes what only old versions of a view need, files of lost publications, and old reports of its exactness.
///
/// # Errors
/// Those of the store: call again.
pub async fn clean_view(context: &BatchContext, view: &PlannedView, kept: Kept) -> Result<Vacuumed, BatchError> {
    let (store, now) = (BatchViewStore::new(&context.lake, view.clone()), context.clock.now());
    let mut cleaned = store.expire(kept.versions, kept.grace, now).await?;
    cleaned += ExactnessStore::new(&context.lake, view).expire(kept.grace, now).await?;
    Ok(cleaned)
}

/// Deletes files that a compaction replaced, and those of imports in whose place others stand, once no version in the
/// log names them. What is kept stays, and so does every version that was the newest within the grace: a recompute or a
/// worker that reads one finds all its files.
///
/// # Errors
/// Those of the store: call again.
pub async fn clean_master(
    context: &BatchContext,
    source: &Arc<SourceDefinition>,
    kept: Kept,
) -> Result<Vacuumed, BatchError> {
    let master = MasterDataset::new(&context.lake, Arc::clone(source));
    let Some(newest) = master.open().await? else { return Ok(Vacuumed::default()) };
    let table = newest.snapshot.table();
    let oldest = newest.snapshot.version().oldest_of_newest(kept.versions);
    // The log may have been cut above some already; above all of them, only orphans are left to find.
    let mut found = newest.snapshot.version();
    for wanted in [kept.read.map(|read| read.min(oldest)), Some(oldest)].into_iter().flatten() {
        if table.open_at(wanted).await.map_err(RecordsError::from)?.is_some() {
            found = wanted;
            break;
        }
    }
    let grace = (kept.grace, context.clock.now().system_time());
    let is_given_up = |path: &str| newest.is_import_over(path) == Some(true);
    Ok(table.vacuum_given_up(found, grace, &is_given_up).await.map_err(RecordsError::from)?)
}

/// Deletes old sets of definitions, and static files that none names.
///
/// # Errors
/// Those of the store: call again.
pub async fn clean_definitions(context: &BatchContext, kept: Kept) -> Result<Vacuumed, BatchError> {
    let registry = DefinitionRegistry::new(&context.lake);
    Ok(registry.clean(kept.versions, kept.grace, context.clock.now()).await?)
}
