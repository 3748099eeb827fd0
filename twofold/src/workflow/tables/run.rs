//! The loop that looks after tables, each `batch.table_check_interval` and whenever the definitions change.
//!
//! Guarantee: it looks also while all runs are paused, or a recompute by hand holds others off: what is gone from the
//! store is to be known then, too. No row is read.
//! Why by every process with the batch role, and not by a task: each tells it in its own status.

use std::sync::Arc;

use batch_layer::{BatchContext, look_after, metrics};
use tokio::time::sleep;

use super::Tables;
use crate::definitions::Definitions;
use crate::wiring::SharedComponents;

/// Looks again and again, and tells `tables` what was found. Never ends by itself.
pub async fn look_after_tables(shared: SharedComponents, mut definitions: Definitions, tables: Arc<Tables>) {
    let interval = shared.config.batch.table_check_interval;
    let mut announced = None;
    loop {
        let set = definitions.current();
        if announced != Some(set.number) {
            metrics::announce_batch(&set.pipeline);
            announced = Some(set.number);
        }
        let context = BatchContext {
            lake: shared.lake.clone(),
            pipeline: set.pipeline,
            clock: Arc::clone(&shared.clock),
            ids: Arc::clone(&shared.ids),
        };
        tables.note(look_after(&context).await);
        tokio::select! {
            biased;
            () = definitions.changed() => {}
            () = sleep(interval) => {}
        }
    }
}
