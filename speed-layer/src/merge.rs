//! Merging: runs that lie side by side become one, so that readers fetch few blobs.
//!
//! Guarantee: the merged run covers exactly what its parts covered, for the same views; no border and no published cut
//! is crossed. A merge whose parts are gone changes nothing.
//! Not here: which runs (`positions::choose_merge`), that states may be merged at all (`views::plan`).

use std::collections::BTreeSet;
use std::ops::Range;

use bytes::Bytes;
use positions::{DefinitionHash, Index, IndexRefusal, Offset, PartitionId, Run, RunId, RunView};
use serving_layer::{BlobKey, blob};
use tracing::debug;

use crate::context::Context;
use crate::index::change_index;
use crate::partition::Running;
use crate::plans::{CompiledView, view_error};
use crate::{SpeedError, StoredPart, metrics};

/// Merges once, if there is something to merge; returns whether the index was changed.
///
/// # Errors
/// Try again later, or restart the partition, as the variant says.
pub(crate) async fn merge_once(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    cuts: &BTreeSet<Offset>,
) -> Result<bool, SpeedError> {
    let Some(range) = pick(context, &running.index.runs, cuts) else { return Ok(false) };
    let parts = running.index.runs[range].to_vec();
    let Some((merged, blobs)) = merge_runs(context, partition, running, &parts).await? else { return Ok(false) };
    let (key, time_to_live) = (context.key(partition), context.settings.blob_time_to_live);
    context.components.store.put_blobs(&key, blobs, time_to_live).await?;
    let replaced: Vec<RunId> = parts.iter().map(|run| run.id).collect();
    let decide = |index: &Index, stamp| {
        // A lost reply: the swap before this one was ours.
        let is_done = index.runs.iter().any(|run| run.id == merged.id);
        if is_done { Ok(index.clone()) } else { index.merge(stamp, &replaced, merged.clone()) }
    };
    match change_index(context, partition, &mut running.index, decide).await {
        Ok(is_stored) => {
            metrics::count(metrics::MERGES, &context.components.source.name, u64::from(is_stored));
            debug!(%partition, parts = parts.len(), from = %merged.from.offset, to = %merged.to.offset, "runs merged");
            Ok(is_stored)
        }
        Err(SpeedError::Refused { refusal: IndexRefusal::RunsGone, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Runs of views that this worker does not know cannot be merged without losing them: only what follows the last such run
/// is considered.
fn pick(context: &Context, runs: &[Run], cuts: &BTreeSet<Offset>) -> Option<Range<usize>> {
    let is_known = |held: &RunView| context.plans.iter().any(|plans| plans.definition.hash == held.view);
    let first = runs.iter().rposition(|run| !run.views.iter().all(is_known)).map_or(0, |last| last + 1);
    let range = positions::choose_merge(&runs[first..], context.settings.merge_fan_in, cuts)?;
    Some(range.start + first..range.end + first)
}

/// The merged run and its blobs; `None` where the parts are not in the store any more because the index has changed.
async fn merge_runs(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    parts: &[Run],
) -> Result<Option<(Run, Vec<(BlobKey, Bytes)>)>, SpeedError> {
    let (first, last) = (&parts[0], &parts[parts.len() - 1]);
    let mut merged = Run {
        id: context.draw_run_id(),
        from: first.from,
        to: last.to,
        views: Vec::with_capacity(first.views.len()),
        counters: parts.iter().map(|run| run.counters).sum(),
        starts_at_border: first.starts_at_border,
    };
    let mut blobs = Vec::with_capacity(first.views.len());
    for view in first.views.iter().map(|held| held.view) {
        let Some(found) = fetch(context, partition, running, parts, view).await? else { return Ok(None) };
        let (rows, bytes) = merge_states(partition, plans_of(context, view), found).await?;
        merged.views.push(RunView { view, rows });
        blobs.extend(bytes.map(|bytes| (BlobKey { run: merged.id, view }, bytes)));
    }
    Ok(Some((merged, blobs)))
}

fn plans_of(context: &Context, view: DefinitionHash) -> &CompiledView {
    let found = context.plans.iter().find(|plans| plans.definition.hash == view);
    found.expect("only runs whose views are all known were picked")
}

/// The blobs of a view. Where one is gone the index is read again: another worker may have merged the runs.
async fn fetch(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    parts: &[Run],
    view: DefinitionHash,
) -> Result<Option<Vec<Bytes>>, SpeedError> {
    let key = context.key(partition);
    let filled = parts.iter().filter(|run| run.rows_of(view).is_some_and(|rows| rows > 0));
    let keys: Vec<BlobKey> = filled.map(|run| BlobKey { run: run.id, view }).collect();
    let unreadable = |part| move |error| SpeedError::of_stored(partition, part, error);
    let found = context.components.store.get_blobs(&key, &keys).await.map_err(unreadable(StoredPart::Blob))?;
    let found: Option<Vec<Bytes>> = found.into_iter().collect();
    if found.is_some() {
        return Ok(found);
    }
    let stored = context.components.store.read_index(&key).await.map_err(unreadable(StoredPart::Index))?;
    match stored.ok_or(SpeedError::Lost { partition, part: StoredPart::Index })? {
        stored if stored.stamp != running.index.stamp => {
            running.index = stored;
            Ok(None)
        }
        _ => Err(SpeedError::Lost { partition, part: StoredPart::Blob }),
    }
}

async fn merge_states(
    partition: PartitionId,
    plans: &CompiledView,
    found: Vec<Bytes>,
) -> Result<(u64, Option<Bytes>), SpeedError> {
    let view = &plans.definition;
    let mut states = Vec::with_capacity(found.len());
    for bytes in &found {
        let decoded = blob::decode(bytes, &view.states);
        states.extend(decoded.map_err(|error| SpeedError::of_stored(partition, StoredPart::Blob, error))?);
    }
    if states.is_empty() {
        return Ok((0, None));
    }
    let merged = plans.merge.execute(states).await.map_err(|error| view_error(view, error))?;
    let rows = merged.iter().map(|batch| batch.num_rows() as u64).sum();
    let merged = arrow::compute::concat_batches(&plans.merge.output_schema(), &merged)?;
    let merged = arrow::record_batch::RecordBatch::try_new(view.states.clone(), merged.columns().to_vec())?;
    Ok((rows, (rows > 0).then(|| blob::encode(&[merged])).transpose()?))
}
