//! A table whose rows are known while a query is planned: names of views, and series.
//!
//! Guarantee: beside views and rejected records the only tables that a plan may scan; small, in memory, and read-only.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::ExecutionPlan;

/// See the module.
#[derive(Debug)]
pub(crate) struct FixedTable(MemTable);

impl FixedTable {
    /// A table of these rows.
    pub(crate) fn new(rows: RecordBatch) -> Result<Arc<Self>> {
        Ok(Arc::new(Self(MemTable::try_new(rows.schema(), vec![vec![rows]])?)))
    }

    /// Whether a scan reads one of these.
    pub(crate) fn is_read_by(scan: &TableScan) -> bool {
        source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<Self>())
    }
}

#[async_trait]
impl TableProvider for FixedTable {
    fn schema(&self) -> SchemaRef {
        self.0.schema()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.scan(state, projection, filters, limit).await
    }
}
