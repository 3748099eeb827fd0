//! What realtime had answered for the records between two cuts, while the runs of it last.
//!
//! Guarantee: the runs tile exactly from cut to cut in every partition of the log, so every record in between is in
//! once; otherwise there is a reason and nothing is compared.
//! Not here: which runs tile (`positions::tile_between`).

use arrow::array::RecordBatch;
use positions::{Counters, Cut, Index, PartitionId, Run, format_span, tile_between};
use serving_layer::{BlobKey, PartitionKey, ServingError, blob};

use super::uncompared::{Uncompared, too_large};
use crate::GatewayError;
use crate::attempt::ViewReader;
use crate::patience::within;
use crate::refresh::SourceReader;

/// Runs fetched at one time.
const FETCH_RUNS: usize = 64;

/// The realtime part of a comparison.
#[derive(Debug, Default)]
pub(super) struct Realtime {
    /// State rows of all runs, in no order.
    pub(super) states: Vec<RecordBatch>,
    /// What happened to their records.
    pub(super) counters: Counters,
}

/// The states of the runs between the cuts of two versions.
pub(super) async fn between(
    source: &SourceReader,
    reader: &ViewReader,
    (old, new): (&Cut, &Cut),
) -> Result<Realtime, Uncompared> {
    if old.incarnation() != new.incarnation() {
        return Err(Uncompared::For("the topic has begun another life in between".to_owned()));
    }
    let mut found = Realtime::default();
    let mut size_bytes = 0;
    let of_log = new.0.keys().copied().filter(|partition| !partition.is_imported());
    for partition in of_log.filter(|partition| old.offset(*partition) < new.offset(*partition)) {
        let index = read_index(source, reader, partition).await?;
        let index = index.ok_or_else(|| gone(partition, "the realtime store holds nothing of it"))?;
        let (from, to) = (old.position(partition, new.incarnation()), new.position(partition, new.incarnation()));
        let runs = tile_between(&index, reader.view.hash, from, to);
        let runs = runs.map_err(|gap| gone(partition, gap))?;
        found.counters += runs.iter().map(|run| run.counters).sum::<Counters>();
        let filled: Vec<&Run> =
            runs.into_iter().filter(|run| run.rows_of(reader.view.hash).is_some_and(|rows| rows > 0)).collect();
        for runs in filled.chunks(FETCH_RUNS) {
            for states in fetch(source, reader, (partition, runs)).await? {
                size_bytes += states.get_array_memory_size();
                found.states.push(states);
            }
            let limit_bytes = source.settings().exactness_memory_bytes;
            if size_bytes > limit_bytes {
                return Err(Uncompared::For(too_large(limit_bytes)));
            }
        }
    }
    Ok(found)
}

/// There will be no runs any more that were not there when the version was found.
fn gone(partition: PartitionId, why: impl ToString) -> Uncompared {
    let why = why.to_string();
    Uncompared::For(format!(
        "partition {partition}: realtime does not reach from cut to cut any more, or never did: {why}"
    ))
}

async fn read_index(
    source: &SourceReader,
    reader: &ViewReader,
    partition: PartitionId,
) -> Result<Option<Index>, Uncompared> {
    let failed = |reason| GatewayError::Unavailable { view: reader.view.name.to_string(), reason };
    Ok(source.read_index(partition).await.map_err(failed)?)
}

/// The decoded states of some runs of a partition.
async fn fetch(
    source: &SourceReader,
    reader: &ViewReader,
    (partition, runs): (PartitionId, &[&Run]),
) -> Result<Vec<RecordBatch>, Uncompared> {
    let key = PartitionKey::new(&source.source().name, partition);
    let keys: Vec<BlobKey> = runs.iter().map(|run| BlobKey { run: run.id, view: reader.view.hash }).collect();
    let limit = source.settings().store_timeout;
    let read = within(limit, source.store().get_blobs(&key, &keys)).await;
    let silent = || {
        let reason = format!("realtime store: no answer within {}", format_span(limit));
        GatewayError::Unavailable { view: reader.view.name.to_string(), reason }
    };
    let mut states = Vec::new();
    for bytes in read.ok_or_else(silent)?? {
        let bytes = bytes.ok_or_else(|| gone(partition, "a run has no blob any more"))?;
        match blob::decode(&bytes, &reader.view.states) {
            Ok(batches) => states.extend(batches),
            Err(error @ ServingError::Corrupt { .. }) => return Err(gone(partition, error)),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(states)
}
