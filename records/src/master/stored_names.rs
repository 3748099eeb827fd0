//! Under which names a table holds the columns of its source.
//!
//! A Delta table has one type per column, and does not tell upper from lower case. So a column of the source that the
//! table holds under its name otherwise (another type, other fields, other letters) is stored beside it, as `name__2`,
//! or the next number that is free or fits; what was stored before stays as it is.
//! In: the columns of the source, and those of the table. Out: which names stand for each other.
//! Guarantee: the same source and table give the same names, and so do all later versions of that table: columns are
//! only added, and the first name that fits goes on to fit. Pure.
//! Why pairs that stand for each other: renaming is then its own reverse, and no two columns ever bear one name.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::Column as ColumnName;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::projection::ProjectionExec;

/// Names that stand for each other: that of a column of the source, and that of the column which holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct StoredNames(BTreeMap<String, String>);

impl StoredNames {
    /// Those of a source whose event has `columns`, in a table, whether or not it has all of them yet.
    pub(super) fn of(columns: &[FieldRef], table: &Schema) -> Self {
        let is_declared = |name: &str| columns.iter().any(|column| column.name().eq_ignore_ascii_case(name));
        let mut names = BTreeMap::new();
        for column in columns {
            let fits = |name: &str| match table.fields().iter().find(|held| held.name().eq_ignore_ascii_case(name)) {
                None => true,
                Some(held) => held.name() == name && held.data_type() == column.data_type(),
            };
            if fits(column.name()) {
                continue;
            }
            let others = (2_u32..).map(|number| format!("{}__{number}", column.name()));
            if let Some(stored) = others.filter(|name| !is_declared(name)).find(|name| fits(name)) {
                names.insert(column.name().clone(), stored.clone());
                names.insert(stored, column.name().clone());
            }
        }
        Self(names)
    }

    /// Whether every column is stored under its own name.
    pub(super) fn is_plain(&self) -> bool {
        self.0.is_empty()
    }

    /// The other name of a column.
    pub(super) fn other<'a>(&'a self, name: &'a str) -> &'a str {
        self.0.get(name).map_or(name, String::as_str)
    }

    /// The same columns under their other names: as they are stored, or as the source calls them.
    pub(super) fn rename(&self, schema: &SchemaRef) -> SchemaRef {
        if self.is_plain() {
            return Arc::clone(schema);
        }
        let rename = |field: &FieldRef| match self.0.get(field.name()) {
            None => Arc::clone(field),
            Some(name) => Arc::new(field.as_ref().clone().with_name(name)),
        };
        Arc::new(Schema::new(schema.fields().iter().map(rename).collect::<Vec<_>>()))
    }
}

/// A table whose columns bear the names that the source gives them.
#[derive(Debug)]
pub(super) struct Renamed {
    pub(super) names: StoredNames,
    /// As the columns are stored.
    pub(super) table: Arc<dyn TableProvider>,
}

#[async_trait]
impl TableProvider for Renamed {
    fn schema(&self) -> SchemaRef {
        self.names.rename(&self.table.schema())
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
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let filters = filters.iter().map(|filter| stored_filter(&self.names, filter)).collect::<Result<Vec<_>>>()?;
        let stored = self.table.scan(state, projection, &filters, limit).await?;
        let columns = stored.schema();
        let columns = columns.fields().iter().enumerate().map(|(at, field)| {
            let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new(field.name(), at));
            (column, self.names.other(field.name()).to_owned())
        });
        Ok(Arc::new(ProjectionExec::try_new(columns.collect::<Vec<_>>(), stored)?))
    }
}

/// A filter as the stored columns are called.
fn stored_filter(names: &StoredNames, filter: &Expr) -> Result<Expr> {
    let renamed = filter.clone().transform(|expr| match expr {
        Expr::Column(column) => {
            let stored = names.other(&column.name).to_owned();
            Ok(Transformed::yes(Expr::Column(ColumnName { name: stored, ..column })))
        }
        other => Ok(Transformed::no(other)),
    })?;
    Ok(renamed.data)
}
