//! The query engine of one recompute: bounded memory, spilling to disk, deterministic settings.
//!
//! Guarantee: what does not fit into `memory_bytes` goes to the spill folder; beyond both, the recompute fails with
//! the name of the operator, and the published version stays.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::FairSpillPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::execution::session_state::SessionStateBuilder;
use lake::{FailedReads, has_store_failed};

use crate::error::lacks_room;
use crate::spans::keep_spans;
use crate::{BatchError, PlanEngine, RecomputeSettings};

/// A session state with the memory, the spill folder and the threads of `settings`.
pub(crate) fn session(settings: &RecomputeSettings) -> Result<SessionState> {
    session_for_rows(settings, 1)
}

/// As [`session`], for plans that `elsewhere` runs, if there is one.
pub(crate) fn session_for(settings: &RecomputeSettings, elsewhere: Option<&dyn PlanEngine>) -> Result<SessionState> {
    let here = session(settings)?;
    let Some(elsewhere) = elsewhere else { return Ok(here) };
    let config = elsewhere.prepare(here.config().clone());
    Ok(SessionStateBuilder::new_from_existing(here).with_config(config).build())
}

/// As [`session`], for rows of about `row_bytes` each.
pub(crate) fn session_for_rows(settings: &RecomputeSettings, row_bytes: usize) -> Result<SessionState> {
    keep_spans();
    let mode = match &settings.spill_folder {
        Some(folder) => DiskManagerMode::Directories(vec![folder.clone()]),
        None => DiskManagerMode::OsTmpDirectory,
    };
    let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(settings.spill_limit_bytes);
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(FairSpillPool::new(settings.memory_bytes)))
        .with_disk_manager_builder(disk)
        .build_arc()?;
    let base = views::session_state();
    // Every operator holds a few batches that no limit counts: they must be small against the memory.
    let batch_rows =
        (settings.memory_bytes >> 10).clamp(256, 8192).min((settings.memory_bytes >> 8) / row_bytes.max(1));
    let threads = settings.target_partitions.max(1);
    let mut config = base.config().clone().with_target_partitions(threads).with_batch_size(batch_rows.max(16));
    config = config.with_extension(Arc::new(FailedReads::default()));
    // The part that every sort sets aside for merging its spilled runs must leave room for the sort itself.
    let reserved = (settings.memory_bytes / 16).min(10 << 20);
    config.options_mut().execution.sort_spill_reservation_bytes = reserved;
    Ok(SessionStateBuilder::new_from_existing(base).with_config(config).with_runtime_env(runtime).build())
}

/// What failed in a session, by what led to it: where a file of the store could not be read, the engine is not to
/// blame.
pub(crate) fn told_apart(session: &SessionState, error: BatchError) -> BatchError {
    let has_failed = || session.config().get_extension::<FailedReads>().is_some_and(|reads| reads.is_any());
    match error {
        BatchError::Engine(error) if !lacks_room(&error) && (has_store_failed(&error) || has_failed()) => {
            BatchError::Unread(error)
        }
        error => error,
    }
}
