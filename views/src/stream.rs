//! The tables that stand in the plan of a view for rows which come from elsewhere: an event stream, until the caller's
//! input takes its place, and the items of an array, until `unnest.rs` has put its own plan there.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::datasource::source_as_provider;
use datafusion::logical_expr::{Expr, TableSource, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// Rows from elsewhere, as the engine's SQL planner sees them.
#[derive(Debug)]
pub(crate) struct Placeholder {
    /// What SQL can name.
    schema: SchemaRef,
    /// What its rows are.
    rows: Rows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rows {
    Events,
    Items,
}

impl Placeholder {
    /// An event stream.
    pub(crate) fn of_events(schema: SchemaRef) -> Self {
        Self { schema, rows: Rows::Events }
    }

    /// The items of an array, in a column of this name.
    pub(crate) fn of_items(column: &str, item: DataType) -> Self {
        Self { schema: Arc::new(Schema::new(vec![Field::new(column, item, true)])), rows: Rows::Items }
    }
}

/// Whether a scan is that of an event stream.
pub(crate) fn is_stream(source: &Arc<dyn TableSource>) -> bool {
    is_of(source, Rows::Events)
}

/// Whether a scan stands for the items of an array.
pub(crate) fn is_items(source: &Arc<dyn TableSource>) -> bool {
    is_of(source, Rows::Items)
}

fn is_of(source: &Arc<dyn TableSource>, rows: Rows) -> bool {
    source_as_provider(source)
        .is_ok_and(|table| table.downcast_ref::<Placeholder>().is_some_and(|table| table.rows == rows))
}

#[async_trait]
impl TableProvider for Placeholder {
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
        internal_err!("what stands for rows from elsewhere has none of its own")
    }
}
