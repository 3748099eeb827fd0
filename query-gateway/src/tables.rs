//! Views as SQL sees them: first as columns only, to plan with; then as plans over the states of one pin.
//!
//! Guarantee: `SELECT *` shows dimensions and finished measures; state columns exist only in a plan that `MEASURE()`
//! needs them for, under names that no query can come across.
//! Why in two steps: a plan over columns only can be rewritten before anything is read, and it does not depend on the
//! pin.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, NullEquality, ScalarValue, TableReference};
use datafusion::datasource::{provider_as_source, source_as_provider};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::logical_expr::logical_plan::TableScan;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr, JoinType, LogicalPlan, LogicalPlanBuilder, TableProviderFilterPushDown, TableType, lit,
};
use datafusion::physical_plan::ExecutionPlan;
use views::{PlannedView, ViewDefinition};

use crate::exactness_table::{ExactnessReading, Reports};
use crate::fixed_table::FixedTable;
use crate::overflow::Overflowing;
use crate::refusal::Refusal;
use crate::rejected_table::{Reading, RejectedRows};
use crate::runs_reading::RunsReading;
use crate::runs_table::{RunTasks, Runs};
use crate::same_scan::same_scan;
use crate::system_table::SystemTable;
use crate::visible::{VisibleParts, VisibleStates};

/// A view as columns only.
#[derive(Debug)]
pub(crate) struct ViewTable {
    /// The definition.
    pub view: PlannedView,
    /// As queries name it: the view, or a batch version of it.
    name: String,
    /// Where the state columns stand behind the measures: a number that is theirs alone in a plan.
    exposure: Option<usize>,
    schema: SchemaRef,
}

impl ViewTable {
    /// A view under the name that a query gives it.
    pub(crate) fn named(name: impl Into<String>, view: PlannedView) -> Self {
        Self::new(name.into(), view, None)
    }

    fn new(name: String, view: PlannedView, exposure: Option<usize>) -> Self {
        let mut fields: Vec<Arc<Field>> = view.answers.fields().iter().cloned().collect();
        if let Some(exposure) = exposure {
            let states = view.states.fields()[view.dimensions.len()..].iter().enumerate();
            let named = |(index, field): (usize, &Arc<Field>)| {
                Arc::new(field.as_ref().clone().with_name(state_name(exposure, index)))
            };
            fields.extend(states.map(named));
        }
        Self { view, name, exposure, schema: Arc::new(Schema::new(fields)) }
    }

    /// The table that a scan reads, where it is one of ours.
    pub(crate) fn of(scan: &TableScan) -> Option<Arc<Self>> {
        let provider = source_as_provider(&scan.source).ok()?;
        let any: Arc<dyn std::any::Any + Send + Sync> = provider;
        any.downcast().ok()
    }

    /// The same scan with the state columns, and these in the order of the view's states. They are named after
    /// `exposure`, unless an earlier call has named them.
    pub(crate) fn with_states(&self, scan: &TableScan, exposure: usize) -> Result<(LogicalPlan, Vec<Column>)> {
        let exposure = self.exposure.unwrap_or(exposure);
        let plan = same_scan(scan, Arc::new(Self::new(self.name.clone(), self.view.clone(), Some(exposure))))?;
        let count = self.view.states.fields().len() - self.view.dimensions.len();
        let column = |index| Column::new(Some(scan.table_name.clone()), state_name(exposure, index));
        Ok((plan, (0..count).map(column).collect()))
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
        Err(Refusal::Defect(format!("view {} was planned without its states", self.view.name)).into())
    }
}

/// A view over its pinned states: to the query around it a table, so that nothing of how it is answered can meet a name
/// of the query.
#[derive(Debug)]
struct PinnedView {
    plan: LogicalPlan,
    schema: SchemaRef,
}

#[async_trait]
impl TableProvider for PinnedView {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        let support = |filter: &&Expr| {
            let is_own = !filter.contains_outer();
            if is_own { TableProviderFilterPushDown::Exact } else { TableProviderFilterPushDown::Unsupported }
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
        let mut plan = LogicalPlanBuilder::from(self.plan.clone());
        if let Some(filter) = conjunction(filters.iter().cloned()) {
            plan = plan.filter(filter)?;
        }
        if let Some(columns) = projection {
            let column = |at: &usize| Expr::Column(Column::from(self.plan.schema().qualified_field(*at)));
            plan = plan.project(columns.iter().map(column).collect::<Vec<_>>())?;
        }
        state.create_physical_plan(&plan.limit(0, limit)?.build()?).await
    }
}

/// The states of one view at one pin that the query sees.
#[derive(Clone, Debug)]
pub(crate) struct Pinned {
    /// What threads read side by side; one, in the order of the states, where there is one thread or the order shows.
    parts: VisibleParts,
    /// Whether answers follow the order in which states are merged.
    pub follows_merging: bool,
    /// What of it does not fit, once the query runs.
    pub overflowing: Overflowing,
    /// The memory of states that the query alone asks for, for as long as it runs.
    _held: Option<Arc<MemoryReservation>>,
}

impl Pinned {
    /// The states that are visible, for a query of one thread or of several.
    pub(crate) fn new(view: &PlannedView, states: VisibleStates<'_>, is_parallel: bool) -> Result<Self, ArrowError> {
        let follows_merging = view.plans.follows_merging();
        let parts = states.parts(is_parallel && !follows_merging)?;
        Ok(Self { parts, follows_merging, overflowing: Overflowing::new(view), _held: None })
    }

    /// The same, whose states count towards the memory of SQL.
    pub(crate) fn holding(self, memory: MemoryReservation) -> Self {
        Self { _held: Some(Arc::new(memory)), ..self }
    }

    /// Bytes of its largest row of states, about.
    pub(crate) fn largest_row(&self) -> usize {
        self.parts.largest_row
    }

    fn scan(&self, view: &ViewDefinition) -> Result<LogicalPlan> {
        // Under the view's own name: what the engine says of a column names it as the query could have.
        let name = TableReference::bare(view.name.as_str());
        LogicalPlanBuilder::scan(name, provider_as_source(self.parts.table(&view.states)?), None)?.build()
    }
}

/// What the tables of a query are read from.
pub(crate) struct Inputs {
    /// The states of each view, by the name of its table.
    pub pinned: BTreeMap<String, Pinned>,
    /// The rejected records.
    pub rejected: Arc<Reading>,
    /// The runs, and their tasks.
    pub runs: Arc<RunsReading>,
    /// The reports of exactness.
    pub reports: Arc<ExactnessReading>,
}

/// Replaces each table of columns only by one over the pinned states, or over what is read of
/// rejected records, runs and reports of exactness.
pub(crate) fn put_in(plan: LogicalPlan, inputs: &Inputs) -> Result<LogicalPlan> {
    let used = column_names(&plan)?;
    let is_fixed = |node: &LogicalPlan| matches!(node, LogicalPlan::TableScan(scan) if FixedTable::is_read_by(scan));
    let replaced = plan.transform_up_with_subqueries(|node| match &node {
        _ if is_fixed(&node) => Ok(Transformed::no(node)),
        LogicalPlan::TableScan(scan) => match (over_system(scan, inputs), ViewTable::of(scan)) {
            (Some(plan), _) => Ok(Transformed::yes(plan?)),
            (None, Some(table)) => Ok(Transformed::yes(over_states(&table, scan, &inputs.pinned, &used)?)),
            (None, None) => Err(Refusal::Defect(format!("{} is not a view", scan.table_name)).into()),
        },
        _ => Ok(Transformed::no(node)),
    })?;
    let recomputed =
        replaced.data.transform_up_with_subqueries(|node| node.recompute_schema().map(Transformed::yes))?;
    // What `MEASURE` merges stands in the query itself.
    inputs.pinned.values().try_fold(recomputed.data, |plan, pinned| pinned.overflowing.watch(plan))
}

/// A scan of a table of the system over what a query reads of it; `None`: it is one of another table.
fn over_system(scan: &TableScan, inputs: &Inputs) -> Option<Result<LogicalPlan>> {
    SystemTable::<RejectedRows>::over(&inputs.rejected, scan)
        .or_else(|| SystemTable::<Runs>::over(&inputs.runs, scan))
        .or_else(|| SystemTable::<RunTasks>::over(&inputs.runs, scan))
        .or_else(|| SystemTable::<Reports>::over(&inputs.reports, scan))
}

fn over_states(
    table: &ViewTable,
    scan: &TableScan,
    pinned: &BTreeMap<String, Pinned>,
    used: &HashSet<String>,
) -> Result<LogicalPlan> {
    let view = &table.view;
    let pinned = pinned.get(&table.name);
    let pinned = pinned.ok_or_else(|| Refusal::Defect(format!("view {} was not pinned", table.name)))?;
    let needs_measures = view.measures.iter().any(|measure| used.contains(&measure.name));
    let plan = match (table.exposure, needs_measures) {
        (None, _) => finished(view, pinned)?,
        (Some(exposure), false) => states_alone(view, pinned, exposure)?,
        (Some(exposure), true) => both(view, pinned, exposure)?,
    };
    let plan = pinned.overflowing.watch(plan)?;
    same_scan(scan, Arc::new(PinnedView { schema: plan.schema().inner().clone(), plan }))
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
fn states_alone(view: &PlannedView, pinned: &Pinned, exposure: usize) -> Result<LogicalPlan> {
    let plan = view.plans.merge_plan(pinned.scan(view)?, &[]).map_err(engine_error)?;
    let keys = view.dimensions.len();
    let column = |index: usize| Expr::Column(Column::from(plan.schema().qualified_field(index)));
    let mut columns: Vec<Expr> =
        view.dimensions.iter().enumerate().map(|(index, key)| column(index).alias(&key.name)).collect();
    for measure in &view.measures {
        columns.push(lit(ScalarValue::try_from(&measure.data_type)?).alias(&measure.name));
    }
    let states = keys..view.states.fields().len();
    columns.extend(states.map(|index| column(index).alias(state_name(exposure, index - keys))));
    LogicalPlanBuilder::from(plan).project(columns)?.build()
}

/// One row per key: dimensions, finished measures, states.
fn both(view: &PlannedView, pinned: &Pinned, exposure: usize) -> Result<LogicalPlan> {
    let names = view.dimensions.iter().map(|dimension| &dimension.name);
    let keys = |table: &str| -> Vec<Column> {
        names.clone().map(|name| Column::new(Some(TableReference::bare(table)), name)).collect()
    };
    let finished = LogicalPlanBuilder::from(finished(view, pinned)?).alias("finished")?.build()?;
    let states = LogicalPlanBuilder::from(states_alone(view, pinned, exposure)?).alias("merged")?.build()?;
    let states_count = view.states.fields().len() - view.dimensions.len();
    let measures =
        view.answers.fields().iter().map(|field| Column::new(Some(TableReference::bare("finished")), field.name()));
    let hidden =
        (0..states_count).map(|index| Column::new(Some(TableReference::bare("merged")), state_name(exposure, index)));
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
                if let Expr::Column(column) | Expr::OuterReferenceColumn(_, column) = expr {
                    names.insert(column.name.clone());
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(names)
}

/// No two exposures share a name, so that states of one view read twice stay apart whatever alias is put over both.
fn state_name(exposure: usize, index: usize) -> String {
    format!("_state_{exposure}_{index}")
}

fn engine_error(error: views::DefinitionError) -> DataFusionError {
    match error {
        views::DefinitionError::Engine(error) => error,
        other => DataFusionError::External(Box::new(other)),
    }
}
