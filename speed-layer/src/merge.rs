//! Merging: runs that lie side by side become one, so that readers fetch few blobs.
//!
//! ```text
//!  choose --> fetch, merge, write blobs --> swap
//!             (beside the turns)            (between two turns)
//! ```
//!
//! Guarantee: the merged run covers exactly what its parts covered, for the same views; no border and no cut known at
//! its swap is crossed. A merge whose parts are gone changes nothing; one that is given up leaves blobs that expire.
//! Not here: which runs (`positions::choose_merge`), that states may be merged at all (`views::plan`), when
//! (`merging.rs`).

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use positions::{DefinitionHash, Index, IndexRefusal, Offset, PartitionId, Run, RunId, RunView, choose_merge};
use serving_layer::{BlobKey, blob};
use tracing::debug;

use crate::context::Context;
use crate::index::change_index;
use crate::partition::Running;
use crate::plans::{CompiledView, view_error};
use crate::{SpeedError, StoredPart, metrics};

/// A merge that has come to its end.
pub(crate) struct EndedMerge {
    pub partition: PartitionId,
    parts: Vec<Run>,
    /// The merged run, its blobs written; `None` where a blob of a part is gone.
    merged: Result<Option<Run>, SpeedError>,
}

/// The merge that is due in an index, if there is one; it borrows nothing, so that it can be done beside the turns.
pub(crate) fn due_merge(
    context: &Arc<Context>,
    partition: PartitionId,
    index: &Index,
    cuts: &BTreeSet<Offset>,
) -> Option<impl Future<Output = EndedMerge> + Send + use<>> {
    let parts = index.runs[pick(context, &index.runs, cuts)?].to_vec();
    let context = context.clone();
    Some(async move {
        let merged = merge_runs(&context, partition, &parts).await;
        EndedMerge { partition, parts, merged }
    })
}

/// Puts the merged run where its parts stand.
///
/// # Errors
/// Try again later, or restart the partition, as the variant says.
pub(crate) async fn take_in(
    context: &Context,
    running: &mut Running,
    cuts: &BTreeSet<Offset>,
    ended: EndedMerge,
) -> Result<(), SpeedError> {
    let EndedMerge { partition, parts, merged } = ended;
    let is_cut = parts[1..].iter().any(|part| cuts.contains(&part.from.offset));
    match merged? {
        Some(merged) if !is_cut => swap(context, partition, running, &parts, merged).await,
        Some(_) => Ok(()),
        None => look_for_parts(context, partition, running, &parts).await,
    }
}

async fn swap(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    parts: &[Run],
    merged: Run,
) -> Result<(), SpeedError> {
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
            Ok(())
        }
        Err(SpeedError::Refused { refusal: IndexRefusal::RunsGone, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A blob of a part is gone: the part was dropped or merged, by us or by another worker, or the store has lost it. An
/// index that still names the parts has named them all along. Its stamp tells nothing of that: another worker may have
/// marked it meanwhile, and will again before the next look.
///
/// # Errors
/// [`SpeedError::Lost`]: the last. Others: try again.
pub(crate) async fn look_for_parts(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    parts: &[Run],
) -> Result<(), SpeedError> {
    if !names_all(&running.index, parts) {
        return Ok(());
    }
    let stored = context.components.store.read_index(&context.key(partition)).await;
    let stored = stored.map_err(|error| SpeedError::of_stored(partition, StoredPart::Index, error))?;
    let stored = stored.ok_or(SpeedError::Lost { partition, part: StoredPart::Index })?;
    if names_all(&stored, parts) {
        return Err(SpeedError::Lost { partition, part: StoredPart::Blob });
    }
    running.index = stored;
    Ok(())
}

fn names_all(index: &Index, parts: &[Run]) -> bool {
    parts.iter().all(|part| index.runs.iter().any(|run| run.id == part.id))
}

/// Runs of views that this worker does not know cannot be merged without losing them: only what follows the last such
/// run is considered.
fn pick(context: &Context, runs: &[Run], cuts: &BTreeSet<Offset>) -> Option<Range<usize>> {
    let is_known = |held: &RunView| context.plans.iter().any(|plans| plans.definition.hash == held.view);
    let first = runs.iter().rposition(|run| !run.views.iter().all(is_known)).map_or(0, |last| last + 1);
    let range = choose_merge(&runs[first..], context.settings.merge_fan_in, cuts)?;
    Some(range.start + first..range.end + first)
}

async fn merge_runs(context: &Context, partition: PartitionId, parts: &[Run]) -> Result<Option<Run>, SpeedError> {
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
        let Some(found) = fetch(context, partition, parts, view).await? else { return Ok(None) };
        let (rows, bytes) = merge_states(partition, plans_of(context, view), found).await?;
        merged.views.push(RunView { view, rows });
        blobs.extend(bytes.map(|bytes| (BlobKey { run: merged.id, view }, bytes)));
    }
    let (key, time_to_live) = (context.key(partition), context.settings.blob_time_to_live);
    context.components.store.put_blobs(&key, blobs, time_to_live).await?;
    Ok(Some(merged))
}

fn plans_of(context: &Context, view: DefinitionHash) -> &CompiledView {
    let found = context.plans.iter().find(|plans| plans.definition.hash == view);
    found.expect("only runs whose views are all known were picked")
}

/// The blobs of a view; `None` where one is gone.
async fn fetch(
    context: &Context,
    partition: PartitionId,
    parts: &[Run],
    view: DefinitionHash,
) -> Result<Option<Vec<Bytes>>, SpeedError> {
    let key = context.key(partition);
    let filled = parts.iter().filter(|run| run.rows_of(view).is_some_and(|rows| rows > 0));
    let keys: Vec<BlobKey> = filled.map(|run| BlobKey { run: run.id, view }).collect();
    let found = context.components.store.get_blobs(&key, &keys).await;
    let found = found.map_err(|error| SpeedError::of_stored(partition, StoredPart::Blob, error))?;
    Ok(found.into_iter().collect())
}

/// The states of several blobs of a view as one: how many rows, and their blob where there are any.
///
/// # Errors
/// What the blobs or the plan of the view fail with.
pub(crate) async fn merge_states(
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
