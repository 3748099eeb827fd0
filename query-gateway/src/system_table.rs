//! A table of the system: columns only while a query is planned, and read once the query runs.
//!
//! Guarantee: nothing is read where a query does not name the table; conditions on the columns that it is narrowed by
//! reach whoever reads.
//! Not here: what is read, and for whom (`rejected_table.rs`, `runs_table.rs`, `exactness_table.rs`).

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::datasource::{MemTable, source_as_provider};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::{Expr, LogicalPlan, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use crate::refusal::Refusal;
use crate::same_scan::same_scan;
use crate::scan_conditions::tested_column;

/// What a table of the system holds.
#[async_trait]
pub(crate) trait SystemRows: fmt::Debug + Send + Sync + 'static {
    /// What a query reads them from.
    type Reading: fmt::Debug + Send + Sync + 'static;
    /// Their name in words.
    const WHAT: &'static str;
    /// Conditions on one of these columns alone say what need not be read.
    const NARROWED_BY: &'static [&'static str];

    /// The columns.
    fn schema() -> SchemaRef;

    /// What a scan of these columns, by their places, needs under these conditions, which are tested behind it again.
    async fn read(
        reading: &Self::Reading,
        state: &dyn Session,
        scan: (Option<&Vec<usize>>, &[Expr]),
    ) -> Result<Vec<RecordBatch>>;
}

/// See the module.
#[derive(Debug)]
pub(crate) struct SystemTable<K: SystemRows> {
    schema: SchemaRef,
    /// What a query reads; `None`: columns only, to plan with.
    reading: Option<Arc<K::Reading>>,
}

impl<K: SystemRows> SystemTable<K> {
    /// The table as columns only.
    pub(crate) fn columns_only() -> Arc<Self> {
        Arc::new(Self { schema: K::schema(), reading: None })
    }

    /// The same scan over what a query reads; `None`: it is one of another table.
    pub(crate) fn over(reading: &Arc<K::Reading>, scan: &TableScan) -> Option<Result<LogicalPlan>> {
        let is_ours = source_as_provider(&scan.source).is_ok_and(|provider| provider.is::<Self>());
        let table = || Self { schema: K::schema(), reading: Some(Arc::clone(reading)) };
        is_ours.then(|| same_scan(scan, Arc::new(table())))
    }
}

#[async_trait]
impl<K: SystemRows> TableProvider for SystemTable<K> {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| match tested_column(filter) {
            Some(column) if K::NARROWED_BY.contains(&column) => TableProviderFilterPushDown::Inexact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(support).collect())
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let Some(reading) = &self.reading else {
            return Err(Refusal::Defect(format!("{} were planned without being read", K::WHAT)).into());
        };
        let rows = K::read(reading, state, (projection, filters)).await?;
        MemTable::try_new(self.schema(), vec![rows])?.scan(state, projection, &[], limit).await
    }
}
