//! Plans of views as other machines get them: through bytes, and run to the same states.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use ballista_engine::Codec;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::execution::session_state::SessionStateBuilder;
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::collect;
use datafusion_proto::bytes::{
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use views::PlannedView;

/// The states of events in two parts, by a plan that went through bytes.
pub async fn states_through_bytes(view: &PlannedView, events: &RecordBatch) -> Vec<RecordBatch> {
    let half = events.num_rows() / 2;
    let parts = vec![vec![events.slice(0, half)], vec![events.slice(half, events.num_rows() - half)]];
    let table = MemTable::try_new(Arc::clone(&view.source.events), parts).unwrap();
    let scan = LogicalPlanBuilder::scan("rows", provider_as_source(Arc::new(table)), None).unwrap().build().unwrap();
    let config = views::session_state().config().clone().with_target_partitions(2);
    let state = SessionStateBuilder::new_from_existing(views::session_state()).with_config(config).build();
    let plan = state.create_physical_plan(&view.plans.state_plan(scan, &[]).unwrap()).await.unwrap();
    let (codec, context) = (Codec::default(), state.task_ctx());
    let bytes = physical_plan_to_bytes_with_extension_codec(plan, &codec);
    let bytes = bytes.unwrap_or_else(|error| panic!("{}: {error}", view.sql));
    let plan = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &codec);
    let plan = plan.unwrap_or_else(|error| panic!("{}: {error}", view.sql));
    collect(plan, context).await.unwrap_or_else(|error| panic!("{}: {error}", view.sql))
}
