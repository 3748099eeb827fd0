//! States of some buckets, merged into those of coarser ones.
//!
//! Guarantee: rows go from the scan through grouping and sorting in one stream, within the memory of the settings,
//! spilled beyond. On one thread, in the order of the files: the same version always gives the same states.
//! Why one thread: sums of floating-point numbers and some sketches follow the order in which states are merged, and
//! nobody waits for a folding.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::provider_as_source;
use datafusion::execution::{SendableRecordBatchStream, SessionState};
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, lit};
use datafusion::physical_plan::execute_stream;
use positions::TimestampMicros;
use serving_layer::BucketRanges;
use views::{PlannedView, column, utc_scalar};

use super::choose::Due;
use crate::master_columns::field;
use crate::recompute::GroupProgress;
use crate::{BatchError, RecomputeSettings, engine};

/// What a folding runs in: within the memory of the settings, on one thread.
pub(super) fn session(settings: &RecomputeSettings) -> Result<SessionState, BatchError> {
    Ok(engine::session(&RecomputeSettings { target_partitions: 1, ..settings.clone() })?)
}

/// The rows of `table`, states of the view by bucket, that are to be folded: merged by their new buckets and the
/// dimensions, in that order, with the same columns. `session` is one of [`session`].
pub(super) async fn merge(
    session: &SessionState,
    view: &PlannedView,
    table: Arc<dyn TableProvider>,
    due: &Due,
    progress: &GroupProgress,
) -> Result<SendableRecordBatchStream, BatchError> {
    let bucket = due.grains.bucket_expr(&field(column::BUCKET)).alias(column::BUCKET);
    let states = view.states.fields().iter().map(|state| field(state.name()).alias(state.name()));
    let rows = LogicalPlanBuilder::scan("states", provider_as_source(table), None)?
        .filter(is_in(&due.stretches))?
        .project(std::iter::once(bucket).chain(states))?
        .build()?;
    let merged = view.plans.merge_plan(rows, &[column::BUCKET])?;
    let dimensions = view.dimensions.iter().map(|dimension| dimension.name.as_str());
    let order = [column::BUCKET].into_iter().chain(dimensions).map(|name| field(name).sort(true, true));
    let plan = LogicalPlanBuilder::from(merged).sort(order)?.build()?;
    let plan = session.create_physical_plan(&plan).await?;
    progress.begin(view.name.as_str(), &plan);
    Ok(execute_stream(plan, session.task_ctx())?)
}

/// Whether a row is of one of a few stretches, none of which goes on to the end of time.
fn is_in(stretches: &BucketRanges) -> Expr {
    let limit = |at: TimestampMicros| lit(utc_scalar(Some(at)));
    let one = |(from, to): (TimestampMicros, TimestampMicros)| {
        let before = field(column::BUCKET).lt(limit(to));
        if from == TimestampMicros::MIN { before } else { before.and(field(column::BUCKET).gt_eq(limit(from))) }
    };
    stretches.iter().map(one).reduce(Expr::or).unwrap_or_else(|| lit(false))
}
