//! The plans of a view: events to states, states to states, states to answers.
//!
//! All three are ordinary logical plans of ordinary aggregates, so any DataFusion engine can run them.
//! Guarantee: for every split of the events, `finish(merge(state(a), state(b))) == finish(state(a + b))` by class.
//! Not here: where the rows come from and where they go; running a plan over batches in memory (`compiled.rs`).

use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result as EngineResult, TableReference, plan_datafusion_err};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, LogicalPlanBuilder, Projection, cast, ident};
use positions::ViewName;

use crate::aggregate::{AggregateCall, ignores_copies, limited_state, nullable};
use crate::compiled::Compiled;
use crate::error::DefinitionError;
use crate::plan_cache::{PlanCache, PlanKey};
use crate::source::SourceDefinition;
use crate::stream::is_stream;

/// How the states of one view are computed, merged and finished.
#[derive(Debug)]
pub struct ViewPlans {
    /// The view, for messages.
    pub(crate) view: ViewName,
    /// The stream it aggregates.
    pub(crate) source: Arc<SourceDefinition>,
    /// What stands below the aggregate, type-coerced, over a scan of the source by its name.
    pub(crate) input: LogicalPlan,
    /// The name that the source's columns are qualified with in `input`.
    pub(crate) source_alias: TableReference,
    /// The names of the dimensions, and the group key of each, of the dimension's type.
    pub(crate) keys: Vec<(String, Expr)>,
    /// The aggregates, in the order of their state columns.
    pub(crate) aggregates: Vec<AggregateCall>,
    /// In the order of the SELECT list.
    pub(crate) measures: Vec<FinishedMeasure>,
    /// The schema of the states.
    pub(crate) states: SchemaRef,
    /// Limit on the state of one group, for unbounded aggregates.
    pub(crate) max_state_bytes: usize,
    /// What was compiled already.
    pub(crate) compiled: PlanCache,
}

/// A measure as it is made of finished aggregates.
#[derive(Debug)]
pub(crate) struct FinishedMeasure {
    /// Its name in the view.
    pub(crate) name: String,
    /// As SQL text, for people.
    pub(crate) text: String,
    /// Over finished aggregates, which it names by their state columns.
    pub(crate) expression: Expr,
}

impl ViewPlans {
    /// Events to states. `input` has the columns of `source.events` and those named in `extra_keys`.
    ///
    /// Out: the extra keys in their order, then the columns of `states`; one row per distinct key. Rows are in no
    /// order.
    ///
    /// # Errors
    /// [`DefinitionError`] if a column is missing from `input`: a defect of the caller.
    pub fn state_plan(&self, input: LogicalPlan, extra_keys: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let leaf = self.source_leaf(input, extra_keys)?;
        let below = replace_source(&self.input, &self.source_alias, &leaf, extra_keys)?;
        let extra = extra_keys.iter().map(|key| self.source_column(key));
        let keys = extra.chain(self.keys.iter().map(|(_, key)| key.clone())).collect();
        let calls = self.aggregates.iter().map(|call| call.state().alias(&call.column));
        let aggregate = aggregate(below, keys, calls.collect())?;
        self.name_states(aggregate, extra_keys)
    }

    /// States to states: merges rows of equal extra keys and dimensions. `input` and out: extra keys, then `states`.
    ///
    /// # Errors
    /// [`DefinitionError`] if a column is missing from `input`: a defect of the caller.
    pub fn merge_plan(&self, input: LogicalPlan, extra_keys: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let keys = extra_keys.iter().copied().chain(self.dimensions()).map(ident).collect();
        let calls = self.aggregates.iter().map(|call| call.merged_state(ident(&call.column)).alias(&call.column));
        let aggregate = aggregate(input, keys, calls.collect())?;
        self.name_states(aggregate, extra_keys)
    }

    /// States to answers at the grain of the dimensions named in `by`: those dimensions, then all finished measures.
    ///
    /// # Errors
    /// [`DefinitionError`] if `by` names no dimension of this view.
    pub fn finish_plan(&self, input: LogicalPlan, by: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        for name in by {
            self.check_dimension(name)?;
        }
        let keys = by.iter().map(|name| ident(*name)).collect();
        let calls = self.aggregates.iter().map(|call| call.merged(ident(&call.column)).alias(&call.column));
        let aggregate = aggregate(input, keys, calls.collect())?;
        let mut answers = output_columns(&aggregate, by.iter().copied(), 0);
        answers.extend(self.measures.iter().map(|measure| measure.expression.clone().alias(&measure.name)));
        Ok(LogicalPlan::Projection(Projection::try_new(answers, Arc::new(aggregate))?))
    }

    /// States to whether a measure does not fit its type, at the grain of the dimensions named in `by`: one BOOLEAN for
    /// each measure that may be NULL for that reason, by its name; no column where there is none.
    ///
    /// # Errors
    /// [`DefinitionError`] if `by` names no dimension of this view.
    pub fn overflow_plan(&self, input: LogicalPlan, by: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        for name in by {
            self.check_dimension(name)?;
        }
        let keys = by.iter().map(|name| ident(*name)).collect();
        let overflows = |call: &AggregateCall| Some(call.overflows(ident(&call.column))?.alias(&call.column));
        let calls: Vec<Expr> = self.aggregates.iter().filter_map(overflows).collect();
        let may_overflow = |name: &&str| self.aggregates.iter().any(|call| call.column == *name && call.may_overflow());
        let mut measures = Vec::new();
        for measure in &self.measures {
            let columns = self.measure_states(&measure.name)?;
            let any = columns.into_iter().filter(may_overflow).map(ident).reduce(Expr::or);
            measures.extend(any.map(|any| any.alias(&measure.name)));
        }
        let aggregate = aggregate(input, keys, calls)?;
        Ok(LogicalPlan::Projection(Projection::try_new(measures, Arc::new(aggregate))?))
    }

    /// The measures that may be NULL because their value does not fit its type.
    pub fn may_overflow(&self) -> impl Iterator<Item = &str> {
        let overflows = move |measure: &&FinishedMeasure| {
            let used = measure.expression.column_refs();
            let mut calls = self.aggregates.iter().filter(|call| call.may_overflow());
            calls.any(|call| used.iter().any(|column| column.name == call.column))
        };
        self.measures.iter().filter(overflows).map(|measure| measure.name.as_str())
    }

    /// [`Self::state_plan`] with one extra key, whose column follows those of the source's events. Compiled at the
    /// first call; all clones of the definition share it.
    ///
    /// # Errors
    /// [`DefinitionError`] if planning fails.
    pub async fn compile_states_by(&self, key: FieldRef) -> Result<Compiled, DefinitionError> {
        let fields: Vec<FieldRef> = self.source.events.fields().iter().cloned().chain([key.clone()]).collect();
        let input = Arc::new(Schema::new(fields));
        let compiling = Compiled::new(input, |scan| self.state_plan(scan, &[key.name()]));
        self.compiled.get(PlanKey::StatesBy(Arc::clone(&key)), compiling).await
    }

    /// [`Self::merge_plan`] without extra keys, compiled as [`Self::compile_states_by`].
    ///
    /// # Errors
    /// [`DefinitionError`] if planning fails.
    pub async fn compile_merge(&self) -> Result<Compiled, DefinitionError> {
        let compiling = Compiled::new(Arc::clone(&self.states), |scan| self.merge_plan(scan, &[]));
        self.compiled.get(PlanKey::Merge, compiling).await
    }

    /// [`Self::finish_plan`] at the grain of the dimensions named in `by`, compiled as [`Self::compile_states_by`].
    ///
    /// # Errors
    /// [`DefinitionError`] if `by` names no dimension of this view.
    pub async fn compile_finish(&self, by: &[&str]) -> Result<Compiled, DefinitionError> {
        let compiling = Compiled::new(Arc::clone(&self.states), |scan| self.finish_plan(scan, by));
        let by = by.iter().map(|name| (*name).to_owned()).collect();
        self.compiled.get(PlanKey::Finish(by), compiling).await
    }

    /// [`Self::overflow_plan`], compiled as [`Self::compile_states_by`].
    ///
    /// # Errors
    /// [`DefinitionError`] if `by` names no dimension of this view.
    pub async fn compile_overflows(&self, by: &[&str]) -> Result<Compiled, DefinitionError> {
        let compiling = Compiled::new(Arc::clone(&self.states), |scan| self.overflow_plan(scan, by));
        let by = by.iter().map(|name| (*name).to_owned()).collect();
        self.compiled.get(PlanKey::Overflows(by), compiling).await
    }

    /// The state columns that a measure is finished from.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such measure.
    pub fn measure_states(&self, measure: &str) -> Result<Vec<&str>, DefinitionError> {
        let used = self.measure(measure)?.expression.column_refs();
        let columns = self.aggregates.iter().map(|call| call.column.as_str());
        Ok(columns.filter(|column| used.iter().any(|reference| reference.name == *column)).collect())
    }

    /// Whether answers may differ, within the class of a measure, where equal states are merged in another order or
    /// tree: one with floating-point sums or a sketch whose compaction follows it.
    pub fn follows_merging(&self) -> bool {
        self.aggregates.iter().any(AggregateCall::follows_merging)
    }

    /// The aggregate call that merges states and finishes them: an aggregate expression for any Aggregate node.
    ///
    /// `states` is an expression of the type of the state column.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such state column.
    pub fn merge_expr(&self, state_column: &str, states: Expr) -> Result<Expr, DefinitionError> {
        Ok(self.call(state_column)?.merged(states))
    }

    /// [`Self::merge_expr`] whose value may be asked for after each state: what a window needs whose frame grows. Costs
    /// more where it is asked once.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such state column.
    pub fn running_expr(&self, state_column: &str, states: Expr) -> Result<Expr, DefinitionError> {
        Ok(self.call(state_column)?.running(states))
    }

    /// Whether a state of the measure that is merged twice counts once: true for least, greatest, first, last and
    /// distinct values, false for counts, sums and percentiles.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such measure.
    pub fn measure_ignores_copies(&self, measure: &str) -> Result<bool, DefinitionError> {
        let calls = self.measure_states(measure)?.into_iter().map(|state| self.call(state));
        Ok(calls.collect::<Result<Vec<_>, _>>()?.into_iter().all(|call| ignores_copies(&call.aggregate)))
    }

    /// A measure over its finished aggregates: what stands above the Aggregate node. `finished` gives the expression
    /// for the value of each of [`Self::measure_states`], as [`Self::merge_expr`] finished it.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such measure.
    pub fn measure_expr(&self, measure: &str, finished: impl Fn(&str) -> Expr) -> Result<Expr, DefinitionError> {
        let replaced = self.measure(measure)?.expression.clone().transform(|expr| {
            Ok(match expr {
                Expr::Column(column) => Transformed::yes(finished(&column.name)),
                other => Transformed::no(other),
            })
        })?;
        Ok(replaced.data)
    }

    fn dimensions(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| name.as_str())
    }

    fn call(&self, state_column: &str) -> Result<&AggregateCall, DefinitionError> {
        let found = self.aggregates.iter().find(|call| call.column == state_column);
        Ok(found.ok_or_else(|| plan_datafusion_err!("view {} has no state {state_column}", self.view))?)
    }

    fn measure(&self, name: &str) -> Result<&FinishedMeasure, DefinitionError> {
        let found = self.measures.iter().find(|measure| measure.name == name);
        Ok(found.ok_or_else(|| plan_datafusion_err!("view {} has no measure {name}", self.view))?)
    }

    fn check_dimension(&self, name: &str) -> Result<(), DefinitionError> {
        if self.dimensions().any(|dimension| dimension == name) {
            return Ok(());
        }
        let known = self.dimensions().map(str::to_owned).collect();
        Err(DefinitionError::UnknownDimension { view: self.view.to_string(), name: name.to_owned(), known })
    }

    fn source_column(&self, name: &str) -> Expr {
        Expr::Column(Column::new(Some(self.source_alias.clone()), name))
    }

    /// The caller's input as the view's source: exactly the declared columns and the extra keys, of declared types.
    fn source_leaf(&self, input: LogicalPlan, extra_keys: &[&str]) -> EngineResult<LogicalPlan> {
        let mut columns = Vec::new();
        for field in self.source.events.fields() {
            let (qualifier, given) = input.schema().qualified_field_with_unqualified_name(field.name())?;
            let column = Expr::Column(Column::new(qualifier.cloned(), given.name()));
            let is_same = given.data_type() == field.data_type();
            let column = if is_same { column } else { cast(column, field.data_type().clone()) };
            columns.push(column.alias(field.name()));
        }
        for key in extra_keys.iter().filter(|key| self.source.events.index_of(key).is_err()) {
            let (qualifier, given) = input.schema().qualified_field_with_unqualified_name(key)?;
            columns.push(Expr::Column(Column::new(qualifier.cloned(), given.name())).alias(*key));
        }
        LogicalPlanBuilder::from(input).project(columns)?.alias(self.source.name.as_str())?.build()
    }

    /// Names the output of an aggregation over states: extra keys, dimensions, states within their limit.
    fn name_states(&self, aggregate: LogicalPlan, extra_keys: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let keys = output_columns(&aggregate, extra_keys.iter().copied().chain(self.dimensions()), 0);
        let group: Vec<(String, Expr)> = self
            .dimensions()
            .zip(&keys[extra_keys.len()..])
            .map(|(dimension, key)| (dimension.to_owned(), key.clone().unalias()))
            .collect();
        let columns = self.aggregates.iter().map(|call| call.column.as_str());
        let states = output_columns(&aggregate, columns, keys.len());
        let states = self.aggregates.iter().zip(states).map(|(call, state)| {
            if !call.is_limited() {
                return state;
            }
            let (view, column) = (self.view.as_str(), &call.column);
            limited_state(state.unalias(), view, column, self.max_state_bytes, group.clone()).alias(column)
        });
        let columns = keys.iter().cloned().chain(states).collect();
        Ok(LogicalPlan::Projection(Projection::try_new(columns, Arc::new(aggregate))?))
    }
}

fn aggregate(input: LogicalPlan, keys: Vec<Expr>, calls: Vec<Expr>) -> EngineResult<LogicalPlan> {
    Ok(LogicalPlan::Aggregate(Aggregate::try_new(Arc::new(input), keys, calls)?))
}

/// The output fields of a plan from `first` on, under new names and all nullable.
fn output_columns<'a>(plan: &LogicalPlan, names: impl Iterator<Item = &'a str>, first: usize) -> Vec<Expr> {
    names
        .enumerate()
        .map(|(index, name)| {
            let (qualifier, field) = plan.schema().qualified_field(first + index);
            let column = Expr::Column(Column::new(qualifier.cloned(), field.name()));
            let column = if field.is_nullable() { column } else { nullable(column) };
            column.alias(name)
        })
        .collect()
}

/// The plan with the scan of the source replaced, and the extra keys passed through every projection above it.
fn replace_source(
    plan: &LogicalPlan,
    source_alias: &TableReference,
    leaf: &LogicalPlan,
    extra_keys: &[&str],
) -> EngineResult<LogicalPlan> {
    if let LogicalPlan::TableScan(scan) = plan {
        return Ok(if is_stream(&scan.source) { leaf.clone() } else { plan.clone() });
    }
    let inputs = plan
        .inputs()
        .into_iter()
        .map(|input| replace_source(input, source_alias, leaf, extra_keys))
        .collect::<EngineResult<Vec<_>>>()?;
    let mut exprs = plan.expressions();
    if let LogicalPlan::Projection(_) = plan {
        for key in extra_keys {
            let column = Column::new(Some(source_alias.clone()), *key);
            if inputs[0].schema().has_column(&column) && !plan.schema().has_column(&column) {
                exprs.push(Expr::Column(column));
            }
        }
    }
    plan.with_new_exprs(exprs, inputs)
}
