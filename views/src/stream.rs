//! The table that stands for an event stream in the plan of a view, until the caller's input takes its place.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// An event stream, as the engine's SQL planner sees it.
#[derive(Debug)]
pub(crate) struct StreamTable {
    /// What SQL can name.
    pub(crate) schema: SchemaRef,
}

/// Whether a scan is that of an event stream.
pub(crate) fn is_stream(source: &Arc<dyn TableSource>) -> bool {
    source_as_provider(source).is_ok_and(|table| table.is::<StreamTable>())
}

#[async_trait]
impl TableProvider for StreamTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        _session: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        internal_err!("an event stream has no rows of its own")
    }
}
