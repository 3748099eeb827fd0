//! Whether the blobs of a generation are still there: what nobody merges again nobody would miss.
//!
//! Guarantee: a blob that the store has lost is noticed within a while, and its partition is read again from the first
//! record on. Above batch views the next version heals the gap, and nothing is asked for.
//! Not here: what follows from a loss (`policy.rs`).

use std::collections::HashSet;
use std::time::Duration;

use positions::{PartitionId, Run, RunId, micros};
use serving_layer::{BlobKey, named_blobs};

use crate::context::Context;
use crate::merge::look_for_parts;
use crate::partition::Running;
use crate::{SpeedError, StoredPart};

/// Between two looks: no bytes of blobs are read for them.
const INTERVAL: Duration = Duration::from_secs(10);

/// Looks for the blobs of a partition of a generation, if that is due.
///
/// # Errors
/// [`SpeedError::Lost`]: one is gone. Others: try again.
pub(crate) async fn look_for_blobs(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
) -> Result<(), SpeedError> {
    let now = context.now();
    let is_recent = running.looked_at.is_some_and(|at| (0..micros(INTERVAL)).contains(&now.micros_since(at)));
    if context.components.generation().is_none() || is_recent {
        return Ok(());
    }
    let keys: Vec<BlobKey> = named_blobs(&running.index).into_iter().collect();
    let found = context.components.store.has_blobs(&context.key(partition), &keys).await;
    let found = found.map_err(|error| SpeedError::of_stored(partition, StoredPart::Blob, error))?;
    running.looked_at = Some(now);
    let missing = keys.iter().zip(found).filter(|(_, is_there)| !is_there).map(|(key, _)| key.run);
    let missing: HashSet<RunId> = missing.collect();
    if missing.is_empty() {
        return Ok(());
    }
    let lost = running.index.runs.iter().filter(|run| missing.contains(&run.id)).cloned();
    let lost: Vec<Run> = lost.collect();
    look_for_parts(context, partition, running, &lost).await
}
