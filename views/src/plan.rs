//! The plans of a view: events to states, states to states, states to answers.
//!
//! All three are ordinary logical plans of ordinary aggregates, so any DataFusion engine can run them.
//! Guarantee: for every split of the events, `finish(merge(state(a), state(b))) == finish(state(a + b))` by class.
//! Not here: where the rows come from and where they go; running a plan over batches in memory (`compiled.rs`).

use std::collections::BTreeSet;
use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result as EngineResult, TableReference, plan_datafusion_err};
use datafusion::logical_expr::expr::AggregateFunctionParams;
use datafusion::logical_expr::{
    Aggregate, AggregateUDF, Expr, LogicalPlan, LogicalPlanBuilder, Projection, cast, ident,
};

use crate::aggregate::{Combinator, StoredAggregate, combinator, limited_state, nullable};
use crate::fallible::guarded_parts;
use crate::{AggregateClass, DefinitionError, ViewDefinition};

/// The planned parts of a view that the SQL reader hands over.
#[derive(Debug)]
pub struct ViewParts {
    /// What stands below the aggregate, type-coerced, over a scan of the source by its name.
    pub(crate) input: LogicalPlan,
    /// The name that the source's columns are qualified with in `input`.
    pub(crate) source_alias: TableReference,
    /// The group key of each dimension, in their order, of the dimension's type.
    pub(crate) keys: Vec<Expr>,
    /// The aggregates, in the order of their state columns.
    pub(crate) aggregates: Vec<AggregatePart>,
    /// Per measure the expression over finished aggregates, which it names by their state columns.
    pub(crate) posts: Vec<Expr>,
}

/// One aggregate call of a view.
#[derive(Debug)]
pub(crate) struct AggregatePart {
    /// The state column.
    pub(crate) column: String,
    /// Its arguments, sort keys among them where the order matters.
    pub(crate) arguments: Vec<Expr>,
    /// `FILTER (WHERE ...)`.
    pub(crate) filter: Option<Expr>,
    /// What merging guarantees.
    pub(crate) class: AggregateClass,
    /// The planned aggregate.
    pub(crate) aggregate: Arc<StoredAggregate>,
}

impl AggregatePart {
    fn call(&self, kind: Combinator, arguments: Vec<Expr>, filter: Option<Expr>) -> Expr {
        let function: Arc<AggregateUDF> = Arc::new(combinator(kind, Arc::clone(&self.aggregate)));
        let params = AggregateFunctionParams {
            args: arguments,
            distinct: false,
            filter: filter.map(Box::new),
            order_by: vec![],
            null_treatment: None,
        };
        Expr::AggregateFunction(datafusion::logical_expr::expr::AggregateFunction { func: function, params })
    }
}

impl ViewDefinition {
    /// Events to states. `input` has the columns of `source.events` and those named in `extra_keys`.
    ///
    /// Out: the extra keys in their order, then the columns of `states`; one row per distinct key. Rows are in no order.
    ///
    /// # Errors
    /// [`DefinitionError`] if a column is missing from `input`: a defect of the caller.
    pub fn state_plan(&self, input: LogicalPlan, extra_keys: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let leaf = self.source_leaf(input, extra_keys)?;
        let below = replace_source(&self.parts.input, &self.parts, &leaf, extra_keys)?;
        let extra = extra_keys.iter().map(|key| self.source_column(key));
        let keys = extra.chain(self.parts.keys.iter().cloned()).collect();
        let calls =
            self.parts.aggregates.iter().map(|part| {
                part.call(Combinator::State, part.arguments.clone(), part.filter.clone()).alias(&part.column)
            });
        let aggregate = aggregate(below, keys, calls.collect())?;
        self.name_states(aggregate, extra_keys)
    }

    /// States to states: merges rows of equal extra keys and dimensions. `input` and out: extra keys, then `states`.
    ///
    /// # Errors
    /// [`DefinitionError`] if a column is missing from `input`: a defect of the caller.
    pub fn merge_plan(&self, input: LogicalPlan, extra_keys: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let dimensions = self.dimensions.iter().map(|dimension| dimension.name.as_str());
        let keys = extra_keys.iter().copied().chain(dimensions).map(ident).collect();
        let calls = self
            .parts
            .aggregates
            .iter()
            .map(|part| part.call(Combinator::MergeState, vec![ident(&part.column)], None).alias(&part.column));
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
        let calls = self
            .parts
            .aggregates
            .iter()
            .map(|part| part.call(Combinator::Merge, vec![ident(&part.column)], None).alias(&part.column));
        let aggregate = aggregate(input, keys, calls.collect())?;
        let mut answers = output_columns(&aggregate, by.iter().copied(), 0);
        for (measure, post) in self.measures.iter().zip(&self.parts.posts) {
            answers.push(post.clone().alias(&measure.name));
        }
        Ok(LogicalPlan::Projection(Projection::try_new(answers, Arc::new(aggregate))?))
    }

    /// The state columns that a measure is finished from.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such measure.
    pub fn measure_states(&self, measure: &str) -> Result<Vec<&str>, DefinitionError> {
        let post = self.post(measure)?;
        let used = post.column_refs();
        let columns = self.parts.aggregates.iter().map(|part| part.column.as_str());
        Ok(columns.filter(|column| used.iter().any(|reference| reference.name == *column)).collect())
    }

    /// The aggregate call that merges states and finishes them: an aggregate expression for any Aggregate node.
    ///
    /// `states` is an expression of the type of the state column.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such state column.
    pub fn merge_expr(&self, state_column: &str, states: Expr) -> Result<Expr, DefinitionError> {
        let part = self.parts.aggregates.iter().find(|part| part.column == state_column);
        let part = part.ok_or_else(|| plan_datafusion_err!("view {} has no state {state_column}", self.name))?;
        Ok(part.call(Combinator::Merge, vec![states], None))
    }

    /// A measure over its finished aggregates: what stands above the Aggregate node. `finished` gives the expression
    /// for the value of each of [`Self::measure_states`], as [`Self::merge_expr`] finished it.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such measure.
    pub fn measure_expr(&self, measure: &str, finished: impl Fn(&str) -> Expr) -> Result<Expr, DefinitionError> {
        let replaced = self.post(measure)?.clone().transform(|expr| {
            Ok(match expr {
                Expr::Column(column) => Transformed::yes(finished(&column.name)),
                other => Transformed::no(other),
            })
        })?;
        Ok(replaced.data)
    }

    /// A measure as one expression over `merge` calls: [`Self::measure_expr`] over [`Self::merge_expr`].
    ///
    /// `column` gives the expression of a state column. The calls are nested in the expression: a planner that wants
    /// an Aggregate node below takes the two apart with the functions above.
    ///
    /// # Errors
    /// [`DefinitionError`] if the view has no such measure.
    pub fn finish_measure_expr(&self, measure: &str, column: impl Fn(&str) -> Expr) -> Result<Expr, DefinitionError> {
        let states = self.measure_states(measure)?;
        let calls = states
            .into_iter()
            .map(|state| Ok((state.to_owned(), self.merge_expr(state, column(state))?)))
            .collect::<Result<std::collections::BTreeMap<_, _>, DefinitionError>>()?;
        self.measure_expr(measure, |state| calls[state].clone())
    }

    /// The expressions of the view that can fail on a row, as SQL: each is NULL there, and the row counts as such.
    ///
    /// Those of measures made of several aggregates stand last, as the whole measure.
    ///
    /// # Errors
    /// None that the engine is known to have.
    pub fn fallible_parts(&self) -> Result<Vec<String>, DefinitionError> {
        let mut exprs = self.parts.keys.clone();
        self.parts.input.apply(|node| {
            exprs.extend(node.expressions());
            Ok(TreeNodeRecursion::Continue)
        })?;
        for part in &self.parts.aggregates {
            exprs.extend(part.arguments.iter().chain(&part.filter).cloned());
        }
        let mut found = Vec::new();
        for expr in &exprs {
            found.extend(guarded_parts(expr)?);
        }
        for (measure, post) in self.measures.iter().zip(&self.parts.posts) {
            if !guarded_parts(post)?.is_empty() {
                found.push(measure.expression.clone());
            }
        }
        let mut seen = BTreeSet::new();
        found.retain(|part| seen.insert(part.clone()));
        Ok(found)
    }

    fn post(&self, measure: &str) -> Result<&Expr, DefinitionError> {
        let index = self.measures.iter().position(|known| known.name == measure);
        let index = index.ok_or_else(|| plan_datafusion_err!("view {} has no measure {measure}", self.name))?;
        Ok(&self.parts.posts[index])
    }

    fn check_dimension(&self, name: &str) -> Result<(), DefinitionError> {
        if self.dimensions.iter().any(|dimension| dimension.name == name) {
            return Ok(());
        }
        let known = self.dimensions.iter().map(|dimension| dimension.name.clone()).collect();
        Err(DefinitionError::UnknownDimension { view: self.name.to_string(), name: name.to_owned(), known })
    }

    fn source_column(&self, name: &str) -> Expr {
        Expr::Column(Column::new(Some(self.parts.source_alias.clone()), name))
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
        let dimensions = self.dimensions.iter().map(|dimension| dimension.name.as_str());
        let keys = output_columns(&aggregate, extra_keys.iter().copied().chain(dimensions), 0);
        let group: Vec<(String, Expr)> = self
            .dimensions
            .iter()
            .zip(&keys[extra_keys.len()..])
            .map(|(dimension, key)| (dimension.name.clone(), key.clone().unalias()))
            .collect();
        let columns = self.parts.aggregates.iter().map(|part| part.column.as_str());
        let states = output_columns(&aggregate, columns, keys.len());
        let states = self.parts.aggregates.iter().zip(states).map(|(part, state)| match part.class {
            AggregateClass::Unbounded => {
                limited_state(state.unalias(), &part.column, self.max_state_bytes, group.clone()).alias(&part.column)
            }
            _ => state,
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
    parts: &ViewParts,
    leaf: &LogicalPlan,
    extra_keys: &[&str],
) -> EngineResult<LogicalPlan> {
    if let LogicalPlan::TableScan(scan) = plan {
        let is_source = scan.source.is::<crate::pipeline::StreamTable>();
        return Ok(if is_source { leaf.clone() } else { plan.clone() });
    }
    let inputs = plan
        .inputs()
        .into_iter()
        .map(|input| replace_source(input, parts, leaf, extra_keys))
        .collect::<EngineResult<Vec<_>>>()?;
    let mut exprs = plan.expressions();
    if let LogicalPlan::Projection(_) = plan {
        for key in extra_keys {
            let column = Column::new(Some(parts.source_alias.clone()), *key);
            if inputs[0].schema().has_column(&column) && !plan.schema().has_column(&column) {
                exprs.push(Expr::Column(column));
            }
        }
    }
    plan.with_new_exprs(exprs, inputs)
}
