//! Appending: blobs first, then one swap of the index that names them.
//!
//! Guarantee: the pending runs of a partition become visible together, exactly once, or not at all. A crash between
//! blobs and swap leaves blobs that expire by themselves; a lost reply is recognised by the run ids on the next
//! attempt.
//! Not here: what follows from a failure (`policy.rs`).

use positions::{DefinitionNumber, Index, IndexRefusal, IndexStamp, PartitionId, Run};

use crate::context::Context;
use crate::index::change_index;
use crate::partition::Running;
use crate::pending::PendingRuns;
use crate::{SpeedError, metrics};

/// How often one attempt writes the blobs: they may expire before the swap.
const MAX_WRITES: usize = 2;

/// Stores the pending runs of a partition, if there are any.
///
/// # Errors
/// The pending runs stay: try again, or restart the partition, as the variant says.
pub(crate) async fn append_pending(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
) -> Result<(), SpeedError> {
    let Some(pending) = running.pending.as_mut() else { return Ok(()) };
    for _ in 0..MAX_WRITES {
        if !pending.is_written {
            write_blobs(context, partition, pending).await?;
            pending.is_written = true;
        }
        let decide = |index: &Index, stamp| append_all(index, stamp, context.definitions(), pending);
        if change_index(context, partition, &mut running.index, decide).await? {
            count(context, &pending.runs);
            running.unmerged += pending.runs.len();
            running.marked_at = running.marked_at.max(pending.as_of);
            running.position = pending.runs.last().map_or(running.position, |run| run.to);
            running.read_from = running.read_from.max(running.position.offset);
            running.pending = None;
            return Ok(());
        }
        pending.is_written = false;
    }
    Err(SpeedError::Contended { partition })
}

async fn write_blobs(context: &Context, partition: PartitionId, pending: &PendingRuns) -> Result<(), SpeedError> {
    let (key, time_to_live) = (context.key(partition), context.settings.blob_time_to_live);
    Ok(context.components.store.put_blobs(&key, pending.blobs.clone(), time_to_live).await?)
}

/// Appends run after run; where all of them are in the index already it is returned as it is.
fn append_all(
    index: &Index,
    stamp: IndexStamp,
    definitions: DefinitionNumber,
    pending: &PendingRuns,
) -> Result<Index, IndexRefusal> {
    let as_of = pending.as_of.unwrap_or(index.as_of).max(index.as_of);
    pending.runs.iter().try_fold(index.clone(), |index, run| index.append(stamp, definitions, run.clone(), as_of))
}

fn count(context: &Context, runs: &[Run]) {
    let source = &context.components.source.name;
    for run in runs {
        metrics::count(metrics::RUNS, source, 1);
        metrics::count(metrics::RECORDS, source, run.counters.rows);
        metrics::count(metrics::REJECTED, source, run.counters.rejected);
        metrics::count(metrics::COPIES, source, run.counters.copies);
        metrics::count(metrics::LATE, source, run.counters.late);
    }
}
