//! A view on trial: generated events through everything that the speed layer does with it, in memory.
//!
//! ```text
//!  events --state plan, by run--> states --blob--> merge plan --blob--> finish plan, as the gateway asks
//! ```
//!
//! Guarantee: what passes has its plans compiled, and a worker of this process uses those very ones; nothing is stored.
//! Not here: which events (`views::sample_events`), the recompute's own plan (`batch-layer`).
//! Why so: the engine accepts views that its optimizer then fails on. Told before a start, such a view costs a message;
//! told by a worker, its source.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array};
use arrow::record_batch::RecordBatch;
use positions::PartitionId;
use serving_layer::blob;
use views::{DefinitionError, PlannedView};

use crate::SpeedError;
use crate::aggregate::{input_schema, states_by_run};
use crate::merge::merge_states;
use crate::plans::{CompiledView, view_error};

/// The events fall into so many runs, which are then merged.
const RUNS: i32 = 2;

/// Runs all plans of a view over `events`, which have the columns of `SourceDefinition::events`.
///
/// # Errors
/// What the first plan fails with that cannot be built or run. A state beyond `max_state_bytes` is none: that says
/// something about the events, not about the view.
pub async fn try_view(view: &PlannedView, events: &RecordBatch) -> Result<(), SpeedError> {
    match run_plans(view, events).await {
        Err(SpeedError::View { error: DefinitionError::StateTooLarge { .. }, .. }) => Ok(()),
        outcome => outcome,
    }
}

async fn run_plans(view: &PlannedView, events: &RecordBatch) -> Result<(), SpeedError> {
    let plans = CompiledView::compile(view.clone()).await?;
    let runs: ArrayRef = Arc::new((0..RUNS).cycle().take(events.num_rows()).map(Some).collect::<Int32Array>());
    let columns = events.columns().iter().cloned().chain([runs]).collect();
    let rows = RecordBatch::try_new(input_schema(&view.source), columns)?;
    let mut blobs = Vec::new();
    let states = states_by_run(&plans, &[rows], RUNS as usize).await;
    // What expressions make of generated events is nothing to tell of.
    plans.state.take_failed();
    for states in states?.into_values() {
        blobs.push(blob::encode(&[states])?);
    }
    let (_, merged) = merge_states(PartitionId(0), &plans, blobs).await?;
    let states = merged.map_or(Ok(Vec::new()), |merged| blob::decode(&merged, &view.states))?;
    let dimensions: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    for by in [dimensions.as_slice(), &[]] {
        let finish = view.plans.compile_finish(by).await.map_err(|error| view_error(view, error))?;
        finish.execute(states.clone()).await.map_err(|error| view_error(view, error))?;
    }
    Ok(())
}
