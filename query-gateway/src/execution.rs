//! A plan that is run to its end on the thread of its caller, within the limits of an answer.
//!
//! Guarantee: the rest of the process goes on, however long the engine works without a pause: nothing of the plan runs
//! on the runtime of the process. It ends at the next pause once nobody waits for it any more.
//! Not here: pauses (`buffered.rs`), how long one waits (`sql.rs`).
//! Why so: a join makes many rows of few, and may do so without letting others run. Two such queries would stop a
//! process of two threads, its timers too.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::error::DataFusionError;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use views::DefinitionError;

use crate::{GatewayError, GatewaySettings, running};

/// What a plan may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    parts: usize,
    rows: usize,
    bytes: usize,
}

impl Limits {
    /// Those of the settings, for a plan of so many parts.
    pub(crate) fn new(settings: &GatewaySettings, parts: usize) -> Self {
        Self { parts, rows: settings.max_rows, bytes: settings.sql_result_bytes }
    }
}

/// All rows of a plan; `None` where it was given up before. Blocks, for as long as the plan takes; not to be called
/// where others run in turn.
///
/// # Errors
/// What the engine says goes through `refuse`; an answer that is too large.
pub(crate) fn run_plan(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    limits: Limits,
    given_up: &CancellationToken,
    refuse: impl Fn(DataFusionError) -> GatewayError,
) -> Result<Option<RecordBatch>, GatewayError> {
    let collecting = collect(plan, context, limits, refuse);
    runtime(limits.parts, given_up)?.block_on(given_up.run_until_cancelled(collecting)).transpose()
}

/// One thread where a plan has one part: its tasks take turns in the same order each time.
fn runtime(parts: usize, given_up: &CancellationToken) -> Result<Runtime, GatewayError> {
    let mut builder = if parts > 1 { Builder::new_multi_thread() } else { Builder::new_current_thread() };
    let given_up = given_up.clone();
    builder.on_thread_start(move || running::set(&given_up));
    let built = builder.worker_threads(parts.max(1)).enable_time().build();
    Ok(built.map_err(|error| DefinitionError::Engine(DataFusionError::IoError(error)))?)
}

async fn collect(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<TaskContext>,
    limits: Limits,
    refuse: impl Fn(DataFusionError) -> GatewayError,
) -> Result<RecordBatch, GatewayError> {
    let schema = plan.schema();
    let mut stream = execute_stream(plan, context).map_err(&refuse)?;
    let (mut batches, mut rows, mut bytes) = (Vec::new(), 0, 0);
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(&refuse)?;
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
        if rows > limits.rows || bytes > limits.bytes {
            let reason = format!("the answer has more than {} rows or {} bytes", limits.rows, limits.bytes);
            return Err(GatewayError::TooLarge { reason, hint: "add LIMIT, or aggregate further".to_owned() });
        }
        batches.push(batch);
    }
    Ok(concat_batches(&schema, &batches)?)
}
