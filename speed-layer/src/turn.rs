//! One turn over all partitions: polled records to chunks, to runs, into the store; then what keeps the index small and
//! fresh.
//!
//! ```text
//!  records --+
//!            +-> chunks --> runs --> per partition: drop what is covered, append, mark as right
//!  archived -+
//! ```
//!
//! Guarantee: partitions go through their steps side by side; one that fails holds up no other.
//! Not here: polling and pauses (`run.rs`), the steps (one file each), what follows from a failure (`policy.rs`).

use std::collections::BTreeMap;

use event_log::Record;
use futures::future::join_all;
use positions::PartitionId;
use tracing::error;

use crate::SpeedError;
use crate::aggregate::{Surroundings, aggregate};
use crate::append::append_pending;
use crate::chunk::Chunk;
use crate::context::Context;
use crate::cuts::PublishedCuts;
use crate::expire::expire_runs;
use crate::kept::look_for_blobs;
use crate::ownership::Ownership;
use crate::partition::{Partition, Running};
use crate::policy::{TurnFacts, conclude, is_large};
use crate::read::{chunks_of, read_archived};
use crate::schemas::{hold_back, readable};
use crate::touch::touch;

/// Takes in what was polled and does everything that follows from it.
///
/// # Errors
/// Fatal ones only.
pub(crate) async fn take_turn(
    context: &Context,
    ownership: &mut Ownership,
    records: Vec<Record>,
) -> Result<TurnFacts, SpeedError> {
    let bytes = records.iter().map(|record| record.payload.len()).sum();
    let is_large = is_large(&context.settings, records.len(), bytes);
    let is_polled = !records.is_empty();
    let mut has_archived = false;
    let (records, waiting) = readable(context, records);
    let sorted = chunks_of(context, &ownership.partitions, records);
    hold_back(ownership, waiting);
    match sorted {
        Ok(mut chunks) => {
            let archived = read_all_archived(context, ownership).await?;
            has_archived = !archived.is_empty();
            chunks.extend(archived);
            compute(context, ownership, &chunks).await;
        }
        Err(error) => note_defect(context, ownership, &error),
    }
    store_and_tend(context, ownership).await?;
    let is_caught_up = ownership.is_caught_up(context.now());
    Ok(TurnFacts { has_records: is_polled || has_archived, is_large, has_archived, is_caught_up })
}

/// Makes the chunks pending runs of their partitions.
async fn compute(context: &Context, ownership: &mut Ownership, chunks: &[Chunk]) {
    let border = context.border();
    let Ownership { cuts, partitions, .. } = &mut *ownership;
    let running = partitions.values_mut();
    let mut running: BTreeMap<PartitionId, &mut Running> =
        running.filter_map(|partition| Some((partition.id, partition.running_mut()?))).collect();
    let mut surroundings = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        let running = running.remove(&chunk.partition).expect("one chunk per running partition");
        let (mut cuts, holes) = (cuts.borders(chunk.partition), running.holes.clone());
        // The archive stands behind a hole before it has read the record that follows.
        cuts.extend(holes.iter().map(|hole| border.grid_floor(hole.to)));
        surroundings.push(Surroundings { cuts, copies: &mut running.copies, holes });
    }
    let computed = aggregate(context, chunks, &mut surroundings).await;
    match computed {
        Ok(computed) => {
            for (place, mut pending) in computed {
                let partition = partitions.get_mut(&chunks[place].partition);
                let running = partition.and_then(Partition::running_mut).expect("it was running a moment ago");
                pending.as_of = running.read_to_end_at;
                running.pending = Some(pending);
            }
        }
        Err(error) => note_defect(context, ownership, &error),
    }
}

fn note_defect(context: &Context, ownership: &mut Ownership, error: &SpeedError) {
    error!(%error, "a micro-batch cannot be computed; reading it again");
    ownership.restart_all(context);
}

async fn read_all_archived(context: &Context, ownership: &mut Ownership) -> Result<Vec<Chunk>, SpeedError> {
    let now = context.now();
    let due = ownership.partitions.values_mut().filter(|partition| partition.backoff.is_due(now));
    let reads = due.map(|partition| async move {
        let id = partition.id;
        let Some(running) = partition.running_mut().filter(|running| running.expired_below.is_some()) else {
            return Ok(None);
        };
        match read_archived(context, id, running).await {
            Ok(chunk) => Ok(chunk),
            Err(error) => conclude(context, partition, Err(error)).map(|()| None),
        }
    });
    let found: Result<Vec<Option<Chunk>>, SpeedError> = join_all(reads).await.into_iter().collect();
    Ok(found?.into_iter().flatten().collect())
}

async fn store_and_tend(context: &Context, ownership: &mut Ownership) -> Result<(), SpeedError> {
    let (cuts, now) = (&ownership.cuts, context.now());
    let due = ownership.partitions.values_mut().filter(|partition| partition.backoff.is_due(now));
    let steps = due.map(|partition| async move {
        let id = partition.id;
        let Some(running) = partition.running_mut() else { return Ok(()) };
        let tended = tend(context, id, running, cuts).await;
        conclude(context, partition, tended)
    });
    join_all(steps).await.into_iter().collect()
}

/// Drops, appends, looks for what is kept and touches, in this order: a store that is full has room again once runs are
/// dropped.
async fn tend(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    cuts: &PublishedCuts,
) -> Result<(), SpeedError> {
    expire_runs(context, partition, running, cuts).await?;
    append_pending(context, partition, running).await?;
    look_for_blobs(context, partition, running).await?;
    match running.read_to_end_at {
        Some(as_of) => touch(context, partition, running, as_of).await,
        None => Ok(()),
    }
}
