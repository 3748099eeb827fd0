//! Removal of what nobody needs any more: old versions of views, old sets of definitions, and files that none names.
//!
//! Guarantee: only what has been out of use for the whole grace is deleted. A failure is logged and tried again at
//! the next cleanup: left-over files cost space, never correctness.

use std::sync::Arc;

use lake::Vacuumed;
use positions::TimestampMicros;
use records::RecordsError;
use records::master::MasterDataset;
use serving_layer::BatchViewStore;
use serving_layer::registry::DefinitionRegistry;
use views::SourceDefinition;

use crate::{BatchContext, BatchError, BatchSettings, FormerDefinitions};

/// The cleanups of one batch loop.
pub(crate) struct Cleanup<'a> {
    context: &'a BatchContext,
    settings: &'a BatchSettings,
    cleaned_at: TimestampMicros,
}

impl<'a> Cleanup<'a> {
    /// The first cleanup is due one interval from now.
    pub(crate) fn new(context: &'a BatchContext, settings: &'a BatchSettings) -> Self {
        Self { context, settings, cleaned_at: context.clock.now() }
    }

    /// Expires old versions of every view, former definitions among them, removes orphaned files of all tables, and old
    /// sets of definitions, where the last cleanup is at least one interval ago.
    pub(crate) async fn clean_if_due(&mut self, former: &dyn FormerDefinitions) {
        let now = self.context.clock.now();
        if now.micros_since(self.cleaned_at) < positions::micros(self.settings.cleanup_interval) {
            return;
        }
        self.cleaned_at = now;
        let (keep, grace) = (self.settings.keep_versions, self.settings.cleanup_grace);
        let sources = &self.context.pipeline.sources;
        let former: Vec<_> = sources.iter().flat_map(|source| former.views_of(&source.name)).collect();
        for view in self.context.pipeline.views.iter().chain(&former) {
            let store = BatchViewStore::new(&self.context.lake, view.clone());
            let cleaned = store.expire(keep, grace, self.context.clock.now()).await;
            log_cleaned(view.name.as_str(), cleaned.map_err(BatchError::from));
        }
        for source in &self.context.pipeline.sources {
            log_cleaned(source.name.as_str(), self.clean_master(source).await);
        }
        let registry = DefinitionRegistry::new(&self.context.lake);
        let cleaned = registry.clean(keep, grace, self.context.clock.now()).await;
        log_cleaned("definitions", cleaned.map_err(BatchError::from));
    }

    /// Deletes files that a compaction replaced, and those of imports in whose place others stand, once no version in
    /// the log names them. The newest `keep_versions` stay, and so does every version that was the newest within the
    /// grace: a recompute or a worker that reads one finds all its files.
    async fn clean_master(&self, source: &Arc<SourceDefinition>) -> Result<Vacuumed, BatchError> {
        let master = MasterDataset::new(&self.context.lake, Arc::clone(source));
        let Some(newest) = master.open().await? else { return Ok(Vacuumed::default()) };
        let table = newest.snapshot.table();
        let oldest = newest.snapshot.version().oldest_of_newest(self.settings.keep_versions);
        // The log may have been cut above it already; then only orphans are left to find.
        let is_readable = table.open_at(oldest).await.map_err(RecordsError::from)?.is_some();
        let oldest = if is_readable { oldest } else { newest.snapshot.version() };
        let grace = (self.settings.cleanup_grace, self.context.clock.now().system_time());
        let is_given_up = |path: &str| newest.is_import_over(path) == Some(true);
        Ok(table.vacuum_given_up(oldest, grace, &is_given_up).await.map_err(RecordsError::from)?)
    }
}

fn log_cleaned(name: &str, cleaned: Result<Vacuumed, BatchError>) {
    match cleaned {
        Ok(removed) if removed.objects + removed.log_objects > 0 => {
            let (objects, bytes) = (removed.objects + removed.log_objects, removed.size_bytes);
            tracing::info!(table = name, objects, bytes, "old files removed");
        }
        Ok(_) => tracing::debug!(table = name, "no old files to remove"),
        Err(error) => tracing::warn!(table = name, %error, "old files could not be removed"),
    }
}
