//! A scan of a plan over columns only, put over what a query reads.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::datasource::provider_as_source;
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::logical_expr::logical_plan::{TableScan, TableScanBuilder};

/// The same scan (name, filters, limit) over another table.
pub(crate) fn same_scan(scan: &TableScan, table: Arc<dyn TableProvider>) -> Result<LogicalPlan> {
    let builder = TableScanBuilder::new(scan.table_name.clone(), provider_as_source(table));
    let builder = builder.with_filters(scan.filters.clone()).with_fetch(scan.fetch);
    Ok(LogicalPlan::TableScan(builder.build()?))
}
