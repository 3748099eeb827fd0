//! Touching: an index without new runs is marked as still right, so that readers see how fresh it is.
//!
//! Guarantee: at the as-of instant the log had nothing behind the head. There is at most one write per interval, and at
//! least one, so that a lost index is noticed on an idle partition too, whatever clock wrote it last.

use positions::{Index, PartitionId, TimestampMicros, micros};

use crate::SpeedError;
use crate::context::Context;
use crate::index::change_index;
use crate::partition::Running;

/// Marks the index of an idle partition as right at `as_of`, if the last mark is old or carries older definitions.
///
/// # Errors
/// Try again, or restart the partition, as the variant says.
pub(crate) async fn touch(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    as_of: TimestampMicros,
) -> Result<(), SpeedError> {
    let (definitions, head) = (context.definitions(), running.position);
    // The stored instant may come from a clock that is ahead of ours: then our own last mark counts.
    let marked_at = if running.index.as_of <= as_of { Some(running.index.as_of) } else { running.marked_at };
    let is_due = marked_at.is_none_or(|at| as_of.micros_since(at) >= micros(context.settings.touch));
    if !is_due && running.index.definitions == definitions {
        return Ok(());
    }
    let decide = |index: &Index, stamp| index.touch(stamp, definitions, head, as_of.max(index.as_of));
    change_index(context, partition, &mut running.index, decide).await?;
    running.marked_at = Some(as_of);
    Ok(())
}
