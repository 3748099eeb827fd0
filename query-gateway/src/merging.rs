//! Merging states in memory: of many batches at once, and chunk by chunk.
//!
//! Guarantee: the outcome depends on the states and on the order they are given in, on nothing else.
//! Not here: which states, in which order (`realtime.rs`, `lane.rs`, `versions.rs`).

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use views::{Compiled, ViewDefinition};

use crate::patience::LARGE_ROWS;
use crate::states::SortedStates;
use crate::{GatewayError, patience};

/// Chunks below this many rows are merged at once: searching many tiny ones costs more.
const SMALL_ROWS: usize = 256;

/// Merges state rows of equal dimensions and sorts them.
pub(crate) async fn merge_states(
    view: &ViewDefinition,
    merge: &Compiled,
    states: Vec<RecordBatch>,
) -> Result<Arc<SortedStates>, GatewayError> {
    let rows: usize = states.iter().map(RecordBatch::num_rows).sum();
    let merging = merge_and_sort(view.states.clone(), view.dimensions.len(), merge.clone(), states);
    patience::aside(rows > LARGE_ROWS, merging).await
}

async fn merge_and_sort(
    schema: SchemaRef,
    dimensions: usize,
    merge: Compiled,
    states: Vec<RecordBatch>,
) -> Result<Arc<SortedStates>, GatewayError> {
    let merged = merge.execute(states).await?;
    Ok(Arc::new(SortedStates::new(&schema, &merged, dimensions)?))
}

/// Adds a chunk to chunks of falling size, and merges the last two as long as they are not.
pub(crate) async fn push_merged(
    view: &ViewDefinition,
    merge: &Compiled,
    chunks: &mut Vec<Arc<SortedStates>>,
    added: Arc<SortedStates>,
) -> Result<(), GatewayError> {
    chunks.push(added);
    while let [.., left, right] = chunks.as_slice()
        && right.rows() * 2 >= left.rows().saturating_sub(SMALL_ROWS)
    {
        let both = vec![left.batch().clone(), right.batch().clone()];
        chunks.truncate(chunks.len() - 2);
        chunks.push(merge_states(view, merge, both).await?);
    }
    Ok(())
}
