//! The search of shards that were spilled, within the memory that the pool grants.
//!
//! Guarantee: what is read back is reserved first. A shard that does not fit is split by further bits of its keys,
//! again and again; the sightings of one event alone, which no bit divides, are met one by one. Where not even the
//! events themselves fit, the search fails with the pool's words, and the published version stays.
//! Why so: sorting a whole shard is the fast way, and with the default memory the only one taken.

use datafusion::execution::memory_pool::MemoryReservation;
use positions::Cut;

use super::resources::Resources;
use super::search::{Copies, Firsts, Sighting};
use super::shards::{SHARD_BITS, Shard, Shards};
use crate::BatchError;

/// Levels of division: as many as half a key has bits for.
const LEVELS: u32 = 64 / SHARD_BITS;

/// Searches shards one after the other; each is given as the parts that the streams hold of it.
pub(crate) async fn search_spilled(
    shards: Vec<Vec<Shard>>,
    resources: Resources,
    before: Option<Cut>,
) -> Result<Copies, BatchError> {
    let reservation = resources.reservation();
    let mut copies = Copies::default();
    let mut left: Vec<(Vec<Shard>, u32)> = shards.into_iter().map(|parts| (parts, 1)).collect();
    while let Some((parts, level)) = left.pop() {
        let rows = rows_in(&parts);
        if reservation.try_grow(rows * Sighting::BYTES).is_ok() {
            let mut sightings = read_all(parts, rows).await?;
            copies.search(&mut sightings, before.as_ref());
        } else if level < LEVELS {
            left.extend(split(parts, level, &resources).await?);
        } else {
            meet_all(parts, &mut copies, &reservation, before.as_ref()).await?;
        }
        reservation.free();
        // A search is pure computation: others on this thread get their turn between two shards.
        tokio::task::yield_now().await;
    }
    Ok(copies)
}

fn rows_in(parts: &[Shard]) -> usize {
    parts.iter().map(Shard::rows).sum()
}

async fn read_all(parts: Vec<Shard>, rows: usize) -> Result<Vec<Sighting>, BatchError> {
    let mut all = Vec::with_capacity(rows);
    for part in parts {
        part.read(|some| {
            all.extend(some);
            Ok(())
        })
        .await?;
    }
    Ok(all)
}

/// Divides one shard into smaller ones, each with the level that would divide it next.
async fn split(parts: Vec<Shard>, level: u32, resources: &Resources) -> Result<Vec<(Vec<Shard>, u32)>, BatchError> {
    let rows = rows_in(&parts);
    let mut shards = Shards::new(resources, level);
    for part in parts {
        part.read(|some| shards.push(some)).await?;
    }
    shards.spill()?;
    // What stays together is one event as a rule: no further level would divide it.
    let next = |shard: &Shard| if shard.rows() == rows { LEVELS } else { level + 1 };
    let found = shards.take().into_iter().filter(|shard| shard.rows() > 0);
    Ok(found
        .map(|shard| {
            let level = next(&shard);
            (vec![shard], level)
        })
        .collect())
}

/// Meets the sightings of a few events, however many copies they have.
async fn meet_all(
    parts: Vec<Shard>,
    copies: &mut Copies,
    reservation: &MemoryReservation,
    before: Option<&Cut>,
) -> Result<(), BatchError> {
    let mut firsts = Firsts::default();
    for part in parts {
        part.read(|some| {
            for sighting in some {
                if !firsts.knows(&sighting) {
                    reservation.try_grow(Firsts::BYTES)?;
                }
                copies.meet(sighting, &mut firsts, before);
            }
            Ok(())
        })
        .await?;
    }
    Ok(())
}
