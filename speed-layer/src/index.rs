//! Changing the index of a partition: a pure rule of `positions::Index`, then one atomic swap.
//!
//! Guarantee: on `Ok(true)` the change stands in the store; a change that lost its swap is decided again on what is
//! stored now, so a lost reply is recognised and nothing is applied twice.
//! Not here: the rules (`positions::Index`), atomicity (`serving-layer`).

use positions::{Index, IndexRefusal, IndexStamp, PartitionId};
use serving_layer::Swap;

use crate::context::Context;
use crate::{SpeedError, StoredPart};

/// How many swaps in a row may be lost before a step gives up until the next turn.
const MAX_SWAPS: usize = 8;

/// Replaces `index` by what `decide` makes of it, here and in the store.
///
/// `decide` gets a fresh stamp; where it returns an index with the stamp it was given, nothing is left to do.
/// Returns false where the store misses blobs that the new index names: write them again.
///
/// # Errors
/// [`SpeedError::Refused`]: the rule does not allow the change; [`SpeedError::Lost`], [`SpeedError::Unreadable`]: there
/// is no index that could be changed; [`SpeedError::Contended`] and store errors: try again later.
pub(crate) async fn change_index(
    context: &Context,
    partition: PartitionId,
    index: &mut Index,
    decide: impl Fn(&Index, IndexStamp) -> Result<Index, IndexRefusal>,
) -> Result<bool, SpeedError> {
    let key = context.key(partition);
    for _ in 0..MAX_SWAPS {
        // Also for changes that look at no definitions: merging and dropping.
        let next = index
            .check_definitions(context.definitions())
            .and_then(|()| decide(index, context.draw_stamp()))
            .map_err(|refusal| SpeedError::Refused { partition, refusal })?;
        if next.stamp == index.stamp {
            return Ok(true);
        }
        let grace = context.settings.grace;
        let swapped = context.components.store.swap_index(&key, Some(index.stamp), &next, grace).await;
        match swapped.map_err(|error| SpeedError::of_stored(partition, StoredPart::Index, error))? {
            Swap::Done => {
                *index = next;
                return Ok(true);
            }
            Swap::Lost(Some(found)) => *index = found,
            Swap::Lost(None) => return Err(SpeedError::Lost { partition, part: StoredPart::Index }),
            Swap::MissingBlobs(_) => return Ok(false),
        }
    }
    Err(SpeedError::Contended { partition })
}
