//! Merges beside the turns: which one is next, when it must be waited for, what follows from its end.
//!
//! Guarantee: a partition begins no merge while the one that it began is under way, and runs never become more than a
//! few times the fan-in beyond what merging leaves. A merge that fails holds up no append.
//! Why beside: merging large states takes longer than a linger, and an event that comes meanwhile must not wait for it.
//! Not here: merging (`merge.rs`), starting tasks and waiting for them (`run.rs`).

use std::sync::Arc;

use positions::TimestampMicros;
use tracing::warn;

use crate::SpeedError;
use crate::context::Context;
use crate::merge::{EndedMerge, due_merge, take_in};
use crate::ownership::Ownership;
use crate::partition::{Partition, Running};
use crate::policy::{can_put_off_merge, conclude};

/// So many merges may be due in a partition before its appends wait for them.
const MOST_DUE: usize = 4;

/// The merge to begin now: of the partition with the most runs to merge.
pub(crate) fn next_merge(
    context: &Arc<Context>,
    ownership: &mut Ownership,
) -> Option<impl Future<Output = EndedMerge> + Send + use<>> {
    let (cuts, now) = (&ownership.cuts, context.now());
    let partitions = ownership.partitions.values_mut().filter(|partition| partition.backoff.is_due(now));
    let mut running: Vec<_> =
        partitions.filter_map(|partition| Some((partition.id, partition.running_mut()?))).collect();
    running.sort_by_key(|(_, running)| std::cmp::Reverse(running.unmerged));
    running.into_iter().filter(|(_, running)| is_free(running, now)).find_map(|(partition, running)| {
        let due = due_merge(context, partition, &running.index, &cuts.borders(partition));
        running.is_merging = due.is_some();
        if due.is_none() {
            running.unmerged = 0;
        }
        due
    })
}

fn is_free(running: &Running, now: TimestampMicros) -> bool {
    !running.is_merging && running.merge_backoff.is_due(now)
}

/// Whether runs come faster than they are merged: then a merge must end before more are appended.
pub(crate) fn must_wait(context: &Context, ownership: &Ownership) -> bool {
    let most = context.settings.merge_fan_in.saturating_mul(MOST_DUE);
    ownership.partitions.values().filter_map(Partition::running).any(|running| running.unmerged >= most)
}

/// Takes in a merge that has ended.
///
/// # Errors
/// Fatal ones only.
pub(crate) async fn note_merge(
    context: &Context,
    ownership: &mut Ownership,
    ended: EndedMerge,
) -> Result<(), SpeedError> {
    let id = ended.partition;
    let cuts = ownership.cuts.borders(id);
    // Given away or started again meanwhile: then the parts may still stand in the index, or not.
    let Some(partition) = ownership.partitions.get_mut(&id) else { return Ok(()) };
    let Some(running) = partition.running_mut() else { return Ok(()) };
    running.is_merging = false;
    let before = running.index.runs.len();
    match take_in(context, running, &cuts, ended).await {
        Ok(()) => {
            running.unmerged = running.unmerged.saturating_sub(before.saturating_sub(running.index.runs.len()));
            running.merge_backoff.note_success();
            Ok(())
        }
        Err(error) if can_put_off_merge(&error) => {
            warn!(partition = %id, %error, "runs cannot be merged; appends go on");
            running.merge_backoff.note_failure(context.now(), context.settings.backoff);
            Ok(())
        }
        Err(error) => conclude(context, partition, Err(error)),
    }
}
