//! Expiry: runs that batch versions cover leave the index; their blobs follow after a grace.
//!
//! Guarantee: no reader needs what is dropped: every view has a version that tiles above it and has been known for the
//! courtesy delay. The head stays, so nothing is ever appended twice.
//! Not here: what is needed (`cuts.rs`), deleting blobs (the store).

use positions::PartitionId;
use tracing::debug;

use crate::context::Context;
use crate::cuts::PublishedCuts;
use crate::index::change_index;
use crate::partition::Running;
use crate::{SpeedError, metrics};

/// Drops the runs of a partition that no reader needs any more, if there are any.
///
/// # Errors
/// Try again, or restart the partition, as the variant says.
pub(crate) async fn expire_runs(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    cuts: &PublishedCuts,
) -> Result<(), SpeedError> {
    let below = cuts.unneeded_below(partition, &running.index, context.now(), context.settings.courtesy);
    let dropped = running.index.runs.iter().filter(|run| run.to.offset <= below).count();
    if dropped == 0 {
        return Ok(());
    }
    change_index(context, partition, &mut running.index, |index, stamp| Ok(index.drop_below(stamp, below))).await?;
    metrics::count(metrics::DROPPED_RUNS, &context.components.source.name, dropped as u64);
    debug!(%partition, %below, dropped, "runs dropped that batch versions cover");
    Ok(())
}
