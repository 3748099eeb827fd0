//! Reading archived rows as the source is read today, whatever rules and definition they were archived by.
//!
//! In: files of a snapshot. Out: rows as [`decode`](crate::decode::decode) makes them of the same records now.
//! Guarantee: a row of the present reading is read as it is stored; of all others only what the record itself gave is
//! believed (partition, offset, timestamp, payload, clock shift), and they are decoded again. So both layers read a
//! record alike, also when the rules or the source's columns have changed between its archiving and now.
//! Not here: putting such rows into the table in the place of what was stored (`compaction.rs`), which ends it.
//! Why at each reading until then: a source may be changed and changed back at any moment, and answers must not wait
//! for a table to be rewritten.

use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::scalar::ScalarValue;
use lake::DataFile;
use views::SourceDefinition;

use super::decode_exec::{DecodeExec, ReadBy, STORED};
use crate::decode::wire::Schemas;
use crate::decode::{Decoder, column, master_schema};

/// What all rows of a file were read by, or `None` where they differ or nothing says so.
pub fn reading_of_file(file: &DataFile) -> Option<i32> {
    match file.bounds.get(column::SCHEMA) {
        Some((ScalarValue::Int32(Some(least)), ScalarValue::Int32(Some(most)), 0)) if least == most => Some(*least),
        _ => None,
    }
}

/// Files of one snapshot as a table of the query engine.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) source: Arc<SourceDefinition>,
    /// What comes out: columns of the source, and of the table where it has more.
    pub(super) schema: SchemaRef,
    /// The schemas that rows name.
    pub(super) schemas: Schemas,
    /// Files that are read as they are, if there are any: with all columns of the source, perhaps in another order and
    /// beside others.
    pub(super) current: Option<Arc<dyn TableProvider>>,
    /// Files whose rows are decoded again, if there are any.
    pub(super) stored: Option<Arc<dyn TableProvider>>,
}

#[async_trait]
impl TableProvider for Reading {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
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
        let wanted = match projection {
            Some(projection) => Arc::new(self.schema.project(projection)?),
            None => self.schema.clone(),
        };
        let names: Vec<&str> = wanted.fields().iter().map(|field| field.name().as_str()).collect();
        let current = match &self.current {
            None => None,
            Some(current) => Some(current.scan(state, Some(&places(&current.schema(), &names)), filters, None).await?),
        };
        let Some(stored) = &self.stored else {
            let nothing = || Ok(Arc::new(EmptyExec::new(wanted.clone())) as Arc<dyn ExecutionPlan>);
            return current.map_or_else(nothing, Ok);
        };
        let told: Vec<Expr> = filters.iter().filter(|filter| is_of_the_record(filter)).cloned().collect();
        let own = master_schema(&self.source);
        let kept = names.iter().copied().filter(|name| own.index_of(name).is_err());
        let needed: Vec<&str> = STORED.into_iter().chain(kept).collect();
        let stored = stored.scan(state, Some(&places(&stored.schema(), &needed)), &told, None).await?;
        let by = ReadBy { decoder: Decoder::new(self.source.clone()), schemas: self.schemas.clone() };
        Ok(Arc::new(DecodeExec::new(by, stored, current, wanted)))
    }
}

/// Where columns of these names stand, as far as there are any.
fn places(schema: &Schema, names: &[&str]) -> Vec<usize> {
    names.iter().filter_map(|name| schema.index_of(name).ok()).collect()
}

/// Whether a filter asks only for what no rule has a say in.
fn is_of_the_record(filter: &Expr) -> bool {
    let columns = [views::column::PARTITION, views::column::OFFSET, views::column::TIMESTAMP];
    filter.column_refs().iter().all(|column| columns.contains(&column.name.as_str()))
}
