//! Removal of copies: of all events with one key, the first by (partition, offset, number in the record) counts.
//!
//! ```text
//!  (key, place) streams --> shards.rs: scatter by key, spilled when memory is full
//!                           spilled.rs: read back within the memory limit, split again where that does not suffice
//!                           search.rs: per shard, sort by (key, place); all but the first of a key are copies
//!                           place.rs:  the copies as a set, one bit per offset
//!                           filter.rs: the set as a filter in the plan of every view
//! ```
//!
//! In: all events of whole buckets below a cut. Out: the places that are left out, and how many per partition.
//! Guarantee: the result is a function of the set of events alone, not of their order or of the memory at hand; too
//! little memory makes it slow, never wrong.
//! Why so: a key is 16 random bytes, so shards are even and small; and one bit per offset lets every view filter its
//! own scan without a join. An event without a key is never a copy and is not even read here.

mod filter;
mod place;
mod resources;
mod run;
mod search;
mod shards;
mod spilled;

use std::sync::Arc;

use datafusion::common::Column;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::logical_expr::{JoinType, LogicalPlan, LogicalPlanBuilder, lit};
use positions::Cut;
use records::decode::column as master_column;
use views::column;

pub(crate) use filter::keep_first;
pub use filter::{copies_of, keep_first_of};
pub(crate) use place::Place;
pub(crate) use search::Copies;

use crate::BatchError;
use crate::master_columns::field;
use resources::Resources;
use run::in_parallel;
use shards::{SHARDS, Shard, Shards};
use spilled::search_spilled;

/// How often a key occurs, and a key that occurs more than once, while they are searched.
const TIMES: &str = "_times";
const REPEATED: &str = "_repeated";

/// The key and the place of each event that has a key: four columns.
pub(crate) fn sightings(events: LogicalPlanBuilder) -> Result<LogicalPlanBuilder, BatchError> {
    let columns = [master_column::EVENT_KEY, column::PARTITION, column::OFFSET, master_column::ITEM].map(field);
    Ok(events.filter(field(master_column::EVENT_KEY).is_not_null())?.project(columns)?)
}

/// Those among them whose key occurs more than once: all that a search needs, and few, where many machines read many.
pub(crate) fn only_repeated(sightings: LogicalPlanBuilder) -> Result<LogicalPlan, BatchError> {
    let key = master_column::EVENT_KEY;
    let repeated = sightings
        .clone()
        .aggregate([field(key)], [count(lit(1_i64)).alias(TIMES)])?
        .filter(field(TIMES).gt(lit(1_i64)))?
        .project([field(key).alias(REPEATED)])?
        .build()?;
    let keys = (vec![Column::new_unqualified(key)], vec![Column::new_unqualified(REPEATED)]);
    Ok(sightings.join(repeated, JoinType::LeftSemi, keys, None)?.build()?)
}

/// Finds the copies among sightings, which must be those of all events of whole buckets, or [`only_repeated`] of them.
///
/// `before` is the cut of the version before this one, for the counters. Memory: 64 bytes per sighting, spilled beyond
/// the session's limit.
pub(crate) async fn find_copies(
    session: &SessionState,
    streams: Vec<SendableRecordBatchStream>,
    before: Option<&Cut>,
) -> Result<Copies, BatchError> {
    let resources = Resources { runtime: Arc::clone(session.runtime_env()) };
    let scatters = streams.into_iter().map(|stream| Shards::new(&resources, 0).fill(stream));
    let scattered: Vec<Shards> = in_parallel(scatters).await.into_iter().collect::<Result<_, _>>()?;
    search_all(scattered, &resources, before).await
}

/// Searches all shards, on as many threads as there were streams.
async fn search_all(
    mut scattered: Vec<Shards>,
    resources: &Resources,
    before: Option<&Cut>,
) -> Result<Copies, BatchError> {
    let threads = scattered.len().max(1);
    let has_spilled = scattered.iter().any(Shards::has_spilled);
    if has_spilled {
        // Shards are read back one at a time: what is still in memory must not stand in their way.
        scattered.iter_mut().try_for_each(Shards::spill)?;
    }
    let mut parts: Vec<_> = scattered.iter_mut().map(Shards::take).collect();
    let mut work: Vec<Vec<Vec<Shard>>> = (0..threads).map(|_| Vec::new()).collect();
    for number in (0..SHARDS).rev() {
        work[number % threads].push(parts.iter_mut().filter_map(Vec::pop).collect());
    }
    let found = if has_spilled {
        // Their reservations are empty, but would still count as users of the memory.
        drop(scattered);
        in_parallel(work.into_iter().map(|shards| search_spilled(shards, resources.clone(), before.cloned()))).await
    } else {
        // `scattered` still reserves the memory of what is searched here.
        in_parallel(work.into_iter().map(|shards| search_held(shards, before.cloned()))).await
    };
    let found: Vec<Copies> = found.into_iter().collect::<Result<_, _>>()?;
    Ok(found.into_iter().fold(Copies::default(), Copies::with))
}

/// Searches shards that are in memory.
async fn search_held(shards: Vec<Vec<Shard>>, before: Option<Cut>) -> Result<Copies, BatchError> {
    let mut copies = Copies::default();
    for parts in shards {
        let mut sightings: Vec<_> = parts.into_iter().flat_map(Shard::into_held).collect();
        copies.search(&mut sightings, before.as_ref());
        // A search is pure computation: others on this thread get their turn between two shards.
        tokio::task::yield_now().await;
    }
    Ok(copies)
}
