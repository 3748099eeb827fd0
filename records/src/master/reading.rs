//! Reading archived rows by the rules of today, whatever rules decoded them when they were archived.
//!
//! In: files of a snapshot. Out: rows as [`decode`](crate::decode::decode) makes them of the same records now.
//! Guarantee: a row of the present rules is read as it is stored; of all others only what the record itself gave is
//! believed (partition, offset, timestamp, payload, clock shift), and they are decoded again. So both layers read a
//! record alike, also when the rules have changed between its archiving and now.
//! Why at each reading, and the table is left alone: versions of views that stand on it are read until they are
//! replaced, and whoever else reads the table sees what was archived.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::union::UnionExec;
use datafusion::scalar::ScalarValue;
use lake::DataFile;
use views::SourceDefinition;

use super::decode_exec::{DecodeExec, STORED};
use crate::decode::{column, master_schema, rules_of};

/// Whether a file may hold rows that other rules decoded than the present ones of the source, so that all its rows are
/// decoded again. The bounds of what is stored then say nothing about the columns of the event.
pub fn is_read_again(file: &DataFile, source: &SourceDefinition) -> bool {
    stored_rules(file) != Some(rules_of(source))
}

/// The rules that decoded all rows of a file, as `_schema` has them; `None` where it may be several.
pub fn stored_rules(file: &DataFile) -> Option<i32> {
    match file.bounds.get(column::SCHEMA) {
        Some((ScalarValue::Int32(least), ScalarValue::Int32(most), 0)) if least == most => *least,
        _ => None,
    }
}

/// Files of one snapshot as a table of the query engine.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) source: Arc<SourceDefinition>,
    /// Files that are read as they are.
    pub(super) current: Arc<dyn TableProvider>,
    /// Files whose rows are decoded again.
    pub(super) stored: Arc<dyn TableProvider>,
}

#[async_trait]
impl TableProvider for Reading {
    fn schema(&self) -> SchemaRef {
        master_schema(&self.source)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let current = self.current.scan(state, projection, filters, None).await?;
        let schema = self.stored.schema();
        let columns = STORED.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>, _>>()?;
        let told: Vec<Expr> = filters.iter().filter(|filter| is_of_the_record(filter)).cloned().collect();
        let stored = self.stored.scan(state, Some(&columns), &told, None).await?;
        let again = DecodeExec::new(self.source.clone(), stored, projection.cloned())?;
        UnionExec::try_new(vec![current, Arc::new(again)])
    }
}

/// Whether a filter asks only for what no rule has a say in.
fn is_of_the_record(filter: &Expr) -> bool {
    let columns = [views::column::PARTITION, views::column::OFFSET, views::column::TIMESTAMP];
    filter.column_refs().iter().all(|column| columns.contains(&column.name.as_str()))
}
