//! Starting a partition: where to go on, checked against the log, with the copies that lie before.
//!
//! Guarantee: from the returned state on, runs tile with a serving version of every view that has one; the record
//! before the position is the one that was read; nothing is written before both are known.
//! Not here: the rule itself (`positions::choose_start`), which cuts count (`cuts.rs`), copies (`prime.rs`).

use positions::{
    Fingerprint, Incarnation, Index, IndexStamp, PartitionId, Position, Start, TimestampMicros, choose_start,
};
use records::master::MasterSnapshot;
use serving_layer::{ServingError, Swap};
use tracing::{error, info};

use crate::context::Context;
use crate::cuts::PublishedCuts;
use crate::index::change_index;
use crate::partition::Running;
use crate::prime::prime;
use crate::{SpeedError, metrics};

/// Starts a partition. Without `keeps_index` the stored index is replaced, because it names a blob that is gone, or may
/// hold what was erased. `published_without`: up to which entry of the list of what was erased versions are without it.
///
/// # Errors
/// Nothing was started: try again, unless the error is fatal. [`SpeedError::NextLife`]: this worker belongs to a former
/// life of the topic.
pub(crate) async fn start(
    context: &Context,
    partition: PartitionId,
    cuts: &PublishedCuts,
    published_without: u64,
    keeps_index: bool,
) -> Result<Running, SpeedError> {
    let erased = context.load_erased().await?;
    let master = context.master().await?;
    check_life(context, master.as_ref(), cuts)?;
    let stored = read_or_discard(context, partition).await?;
    let checked = stored.as_ref().map_or(Ok(()), |stored| stored.check_definitions(context.definitions()));
    checked.map_err(|refusal| SpeedError::Refused { partition, refusal })?;
    // An index of an earlier life of the topic says nothing about this one.
    let index = stored.as_ref().filter(|index| keeps_index && index.head.incarnation >= cuts.incarnation());
    let serving = cuts.serving(partition, index);
    let start = choose_start(index, &serving, Position::start(cuts.incarnation()));
    let position = start.position();
    check_topic(context, master.as_ref(), (partition, position)).await?;
    let copies = prime(context, master.as_ref(), (partition, position)).await?;
    // Runs that are kept were made before this start: they are without what every version is without.
    let (index, without) = match (start, index) {
        (Start::Continue(_), Some(index)) => (index.clone(), published_without),
        (Start::Jump(to), Some(index)) => (jump(context, partition, index.clone(), to).await?, published_without),
        _ => (create(context, partition, stored.as_ref().map(|index| index.stamp), position).await?, erased),
    };
    // Erased meanwhile: what was primed may hold it, and nothing was appended yet.
    if context.load_erased().await? != erased {
        return Err(SpeedError::Contended { partition });
    }
    metrics::count(metrics::STARTS, &context.components.source.name, 1);
    info!(source = %context.components.source.name, %partition, ?start, copies = copies.len(), "partition started");
    Ok(Running::new(index, position, copies, without))
}

/// A life begins in realtime when every view has a batch version of it, so that what lies below its start is answered
/// for. Views that were added later, and have no version yet, are not waited for. A generation is read in the first
/// life only: nothing else holds what lies below a later one.
fn check_life(context: &Context, master: Option<&MasterSnapshot>, cuts: &PublishedCuts) -> Result<(), SpeedError> {
    let own = context.log.life();
    let present = master.map_or(Incarnation(0), |master| master.facts.life.incarnation);
    if present != own.incarnation {
        return Err(SpeedError::NextLife { own: own.incarnation, present });
    }
    if context.components.generation().is_some() && present != Incarnation(0) {
        return Err(SpeedError::LaterLife { source_name: context.components.source.name.to_string(), present });
    }
    if cuts.are_of(present) { Ok(()) } else { Err(SpeedError::NotPublished { incarnation: present }) }
}

/// The record before the position must be the one that was read. Where there is none, the archive tells which topic
/// this is: an empty store must not be filled from one topic beside batch views of another.
async fn check_topic(
    context: &Context,
    master: Option<&MasterSnapshot>,
    (partition, position): (PartitionId, Position),
) -> Result<(), SpeedError> {
    let archived = match position.fingerprint {
        Fingerprint(0) => master.and_then(|master| archived_end(master, partition, position.incarnation)),
        _ => None,
    };
    let (partition, position) = archived.unwrap_or((partition, position));
    Ok(context.log.check_fingerprint(&context.components.source.topic, partition, &position).await?)
}

/// How far the archive has got in this life of the topic: in the partition, or else in another one.
fn archived_end(
    master: &MasterSnapshot,
    partition: PartitionId,
    incarnation: Incarnation,
) -> Option<(PartitionId, Position)> {
    let ends = master.facts.of_log().map(|(partition, known)| (*partition, known.archived.end));
    let known = ends.filter(|(_, end)| end.fingerprint != Fingerprint(0) && end.incarnation == incarnation);
    known.min_by_key(|(one, _)| *one != partition)
}

/// The stored index. One that cannot be read will never be readable again: it is discarded and counts as absent.
async fn read_or_discard(context: &Context, partition: PartitionId) -> Result<Option<Index>, SpeedError> {
    let (store, key) = (&context.components.store, context.key(partition));
    match store.read_index(&key).await {
        Err(error @ ServingError::Corrupt { .. }) => {
            error!(source = %key.source, %partition, %error, "index discarded; its runs are computed again from the least cut");
            store.discard_corrupt_index(&key).await?;
            Ok(store.read_index(&key).await?)
        }
        read => Ok(read?),
    }
}

async fn create(
    context: &Context,
    partition: PartitionId,
    replaced: Option<IndexStamp>,
    position: Position,
) -> Result<Index, SpeedError> {
    let definitions = context.definitions();
    let index = Index::new(context.draw_stamp(), definitions, position, known_as_of(context, position));
    let key = context.key(partition);
    match context.components.store.swap_index(&key, replaced, &index, context.settings.grace).await? {
        Swap::Done => Ok(index),
        Swap::Lost(_) | Swap::MissingBlobs(_) => Err(SpeedError::Contended { partition }),
    }
}

async fn jump(context: &Context, partition: PartitionId, mut index: Index, to: Position) -> Result<Index, SpeedError> {
    let (definitions, as_of) = (context.definitions(), known_as_of(context, to));
    let decide = |index: &Index, stamp| index.jump(stamp, definitions, to, as_of.max(index.as_of));
    let is_stored = change_index(context, partition, &mut index, decide).await?;
    if is_stored { Ok(index) } else { Err(SpeedError::Contended { partition }) }
}

/// As of when a position is known to be right before the log was read from it: its newest record, and never the future.
fn known_as_of(context: &Context, position: Position) -> TimestampMicros {
    TimestampMicros(position.max_timestamp.0.min(context.now().0).max(0))
}
