//! Views as SQL sees them: first as columns only, to plan with; then as plans over the states of one pin.
//!
//! Guarantee: `SELECT *` shows dimensions and finished measures; state columns exist only in a plan that `MEASURE()`
//! needs them for, under names that no query can come across.
//! Why in two steps: a plan over columns only can be rewritten before anything is read, and it does not depend on the
//! pin.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullEquality, ScalarValue, TableReference};
use datafusion::datasource::{MemTable, provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SessionState;
use datafusion::logical_expr::logical_plan::{TableScan, TableScanBuilder};
use datafusion::logical_expr::{Expr, JoinType, LogicalPlan, LogicalPlanBuilder, TableType, lit};
use datafusion::physical_plan::ExecutionPlan;
use views::{Pipeline, PlannedView, ViewDefinition};

use crate::answer::in_slices;
use crate::rows::Layer;
use crate::served::Served;

/// A view as columns only.
#[derive(Debug)]
pub(crate) struct ViewTable {
    /// The definition.
    pub view: PlannedView,
    /// Whether the state columns stand behind the measures.
    pub shows_states: bool,
    schema: SchemaRef,
}

impl ViewTable {
    fn new(view: PlannedView, shows_states: bool) -> Self {
        let mut fields: Vec<Arc<Field>> = view.answers.fields().iter().cloned().collect();
        if shows_states {
            let states = view.states.fields()[view.dimensions.len()..].iter().enumerate();
            fields.extend(states.map(|(index, field)| Arc::new(field.as_ref().clone().with_name(state_name(index)))));
        }
        Self { view, shows_states, schema: Arc::new(Schema::new(fields)) }
    }

    /// The table that a scan reads, where it is one of ours.
    pub(crate) fn of(scan: &TableScan) -> Option<Arc<Self>> {
        let provider = source_as_provider(&scan.source).ok()?;
        let any: Arc<dyn std::any::Any + Send + Sync> = provider;
        any.downcast().ok()
    }

    /// The same scan with the state columns.
    pub(crate) fn with_states(&self, scan: &TableScan) -> Result<LogicalPlan> {
        let table = provider_as_source(Arc::new(Self::new(self.view.clone(), true)));
        let builder = TableScanBuilder::new(scan.table_name.clone(), table).with_filters(scan.filters.clone());
        Ok(LogicalPlan::TableScan(builder.with_fetch(scan.fetch).build()?))
    }

    /// The columns that hold the states in a scan under the name `table`, in the order of the view's states.
    pub(crate) fn state_columns(&self, table: &TableReference) -> Vec<Column> {
        let count = self.view.states.fields().len() - self.view.dimensions.len();
        (0..count).map(|index| Column::new(Some(table.clone()), state_name(index))).collect()
    }
}

#[async_trait]
impl TableProvider for ViewTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        _projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Err(DataFusionError::Internal(format!("view {} was planned without its states", self.view.name)))
    }
}

/// The states of one view at one pin.
#[derive(Clone, Debug)]
pub(crate) struct Pinned(Vec<Vec<RecordBatch>>);

impl Pinned {
    pub(crate) fn new(served: &Served, layer: Layer) -> Self {
        let batch = served.batch.iter().filter(|_| layer != Layer::Realtime);
        let realtime = served.realtime.chunks().iter().filter(|_| layer != Layer::Batch);
        let slices = batch.chain(realtime).map(|states| in_slices(states.batch()).collect::<Vec<_>>());
        let parts = slices.filter(|slices| !slices.is_empty());
        Self(parts.collect())
    }

    fn scan(&self, view: &ViewDefinition) -> Result<LogicalPlan> {
        let partitions = if self.0.is_empty() { vec![Vec::new()] } else { self.0.clone() };
        let table = MemTable::try_new(view.states.clone(), partitions)?;
        LogicalPlanBuilder::scan("states", provider_as_source(Arc::new(table)), None)?.build()
    }
}

/// Makes all views known to the planner.
pub(crate) fn register(state: &SessionState, pipeline: &Pipeline) -> Result<()> {
    for view in &pipeline.views {
        let reference = TableReference::bare(view.name.as_str());
        let schema = state.schema_for_ref(reference)?;
        schema.register_table(view.name.to_string(), Arc::new(ViewTable::new(view.clone(), false)))?;
    }
    Ok(())
}

/// Replaces each scan of columns only by a plan over the pinned states.
pub(crate) fn put_in_states(plan: LogicalPlan, pinned: &BTreeMap<String, Pinned>) -> Result<LogicalPlan> {
    let used = column_names(&plan)?;
    let replaced = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::TableScan(scan) => match ViewTable::of(scan) {
            Some(table) => Ok(Transformed::yes(over_states(&table, scan, pinned, &used)?)),
            None => Err(DataFusionError::Internal(format!("{} is not a view", scan.table_name))),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    let recomputed =
        replaced.data.transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))?;
    Ok(recomputed.data)
}

fn over_states(
    table: &ViewTable,
    scan: &TableScan,
    pinned: &BTreeMap<String, Pinned>,
    used: &HashSet<String>,
) -> Result<LogicalPlan> {
    let view = &table.view;
    let pinned = pinned
        .get(view.name.as_str())
        .ok_or_else(|| DataFusionError::Internal(format!("view {} was not pinned", view.name)))?;
    let needs_measures = view.measures.iter().any(|measure| used.contains(&measure.name));
    let plan = match (table.shows_states, needs_measures) {
        (false, _) => finished(view, pinned)?,
        (true, false) => states_alone(view, pinned)?,
        (true, true) => both(view, pinned)?,
    };
    LogicalPlanBuilder::from(plan).alias(scan.table_name.clone())?.build()
}

/// One row per key: dimensions, finished measures.
fn finished(view: &PlannedView, pinned: &Pinned) -> Result<LogicalPlan> {
    let dimensions: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    let plan = view.plans.finish_plan(pinned.scan(view)?, &dimensions).map_err(engine_error)?;
    let columns: Vec<Expr> = (0..plan.schema().fields().len())
        .map(|index| {
            Expr::Column(Column::from(plan.schema().qualified_field(index))).alias(view.answers.field(index).name())
        })
        .collect();
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// One row per key: dimensions, nulls for the measures that nobody reads, states.
fn states_alone(view: &PlannedView, pinned: &Pinned) -> Result<LogicalPlan> {
    let plan = view.plans.merge_plan(pinned.scan(view)?, &[]).map_err(engine_error)?;
    let keys = view.dimensions.len();
    let column = |index: usize| Expr::Column(Column::from(plan.schema().qualified_field(index)));
    let mut columns: Vec<Expr> =
        view.dimensions.iter().enumerate().map(|(index, key)| column(index).alias(&key.name)).collect();
    for measure in &view.measures {
        columns.push(lit(ScalarValue::try_from(&measure.data_type)?).alias(&measure.name));
    }
    columns.extend((keys..view.states.fields().len()).map(|index| column(index).alias(state_name(index - keys))));
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// One row per key: dimensions, finished measures, states.
fn both(view: &PlannedView, pinned: &Pinned) -> Result<LogicalPlan> {
    let names = view.dimensions.iter().map(|dimension| &dimension.name);
    let keys = |table: &str| -> Vec<Column> {
        names.clone().map(|name| Column::new(Some(TableReference::bare(table)), name)).collect()
    };
    let finished = LogicalPlanBuilder::from(finished(view, pinned)?).alias("finished")?.build()?;
    let states = LogicalPlanBuilder::from(states_alone(view, pinned)?).alias("merged")?.build()?;
    let states_count = view.states.fields().len() - view.dimensions.len();
    let measures =
        view.answers.fields().iter().map(|field| Column::new(Some(TableReference::bare("finished")), field.name()));
    let hidden = (0..states_count).map(|index| Column::new(Some(TableReference::bare("merged")), state_name(index)));
    let columns = measures.chain(hidden).map(|column| {
        let name = column.name.clone();
        Expr::Column(column).alias(name)
    });
    let columns: Vec<Expr> = columns.collect();
    LogicalPlanBuilder::from(finished)
        .join_detailed(states, JoinType::Inner, (keys("finished"), keys("merged")), None, NullEquality::NullEqualsNull)?
        .project(columns)?
        .build()
}

fn column_names(plan: &LogicalPlan) -> Result<HashSet<String>> {
    let mut names = HashSet::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| {
                if let Expr::Column(column) = expr {
                    names.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(names)
}

fn state_name(index: usize) -> String {
    format!("_state_{index}")
}

fn engine_error(error: views::DefinitionError) -> DataFusionError {
    match error {
        views::DefinitionError::Engine(error) => error,
        other => DataFusionError::External(Box::new(other)),
    }
}
