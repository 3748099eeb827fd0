//! States of one view, computed and committed as its next version.
//!
//! In: a task and what its group shares (`inputs.rs`). Out: one commit, or the news that another publisher was first.
//! Guarantee: rows go from the scan to the files in one stream, within the session's memory; before the commit nobody
//! sees them.

use datafusion::execution::SessionState;
use datafusion::logical_expr::{LogicalPlan, LogicalPlanBuilder};
use datafusion::physical_plan::execute_stream;
use positions::{Cut, TimestampMicros};
use serving_layer::{BatchFacts, ServingError};
use views::{column, count_failures};

use super::distinct::keep_first;
use super::inputs::Inputs;
use super::master_rows::{Buckets, MasterRows, ranges_between};
use super::task::{Outcome, Task};
use crate::BatchError;
use crate::master_columns::field;

/// Computes the states of `task` and publishes them with `facts`, under names made of `nonce`.
pub(crate) async fn publish_states(
    session: &SessionState,
    rows: &MasterRows<'_>,
    inputs: &Inputs,
    task: &Task,
    (facts, nonce): (BatchFacts, u128),
) -> Result<Outcome, BatchError> {
    let touched = inputs.touched(task.view.bucket);
    let plan = plan_states(rows, inputs, task, touched.as_ref())?;
    let states = execute_stream(session.create_physical_plan(&plan).await?, session.task_ctx())?;
    let replaced: Option<Vec<TimestampMicros>> = touched.map(|buckets| buckets.starts.into_iter().collect());
    match task.store.publish(task.previous.as_ref(), replaced.as_deref(), states, facts, nonce).await {
        Ok(version) => Ok(Outcome::Published(version)),
        Err(ServingError::Conflict { .. }) => Ok(Outcome::LostRace),
        Err(error) => Err(error.into()),
    }
}

/// Rows of the master dataset to states by bucket and dimensions, in that order.
fn plan_states(
    rows: &MasterRows<'_>,
    inputs: &Inputs,
    task: &Task,
    touched: Option<&Buckets>,
) -> Result<LogicalPlan, BatchError> {
    let mut events = rows.events(&ranges_between(&Cut::default(), &inputs.cut), touched)?;
    if !inputs.copies.places.is_empty() {
        events = events.filter(keep_first(&inputs.copies))?;
    }
    let columns = rows.source.events.fields().iter().map(|column| field(column.name()).alias(column.name()));
    let bucket = rows.bucket(task.view.bucket).alias(column::BUCKET);
    let events = events.project(columns.chain([bucket]))?.build()?;
    let states = count_failures(task.view.plans.state_plan(events, &[column::BUCKET])?, &task.failed)?;
    let dimensions = task.view.dimensions.iter().map(|dimension| dimension.name.as_str());
    let order = [column::BUCKET].into_iter().chain(dimensions).map(|name| field(name).sort(true, true));
    Ok(LogicalPlanBuilder::from(states).sort(order)?.build()?)
}
