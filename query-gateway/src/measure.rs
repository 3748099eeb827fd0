//! `MEASURE(name)`: rolls a measure up by merging its states, so that uniques and percentiles roll up correctly.
//!
//! In: a plan over views as columns only. Out: the same plan with each `MEASURE` replaced by the merge aggregates of
//! its measure over the view's state columns, which are carried up from the scan.
//! Guarantee: the output columns of every node above keep names and types. What cannot be rewritten is refused.
//! Also here: the refusal of `sum` over a measure whose values must not be summed.

use std::sync::Arc;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, plan_datafusion_err, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::logical_plan::{Aggregate, Projection, SubqueryAlias};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, Expr, JoinType, LogicalPlan, Signature, Volatility,
};
use views::PlannedView;

use crate::GatewayError;
use crate::tables::ViewTable;

const NAME: &str = "measure";

/// The function as the planner sees it; it is rewritten before it could run.
pub(crate) fn function() -> AggregateUDF {
    AggregateUDF::new_from_impl(MeasureFunction { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MeasureFunction {
    signature: Signature,
}

impl AggregateUDFImpl for MeasureFunction {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [one] => Ok(one.clone()),
            _ => plan_err!("MEASURE takes one measure of a view"),
        }
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        plan_err!("MEASURE takes a measure of a view, in a SELECT with or without GROUP BY")
    }
}

/// Replaces every `MEASURE` of a plan.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let rewritten = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(is_measure) => {
            Ok(Transformed::yes(rewrite_aggregate(aggregate)?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    rewritten.data.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| match expr {
                Expr::AggregateFunction(function) if function.func.name() == NAME => refuse_place(),
                Expr::WindowFunction(function) if function.fun.name() == NAME => refuse_place(),
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(rewritten.data)
}

fn refuse_place<T>() -> Result<T> {
    plan_err!("MEASURE is an aggregate: use it in SELECT, HAVING or ORDER BY, not with OVER")
}

/// Refuses `sum(measure)` where the values of the measure must not be added up.
pub(crate) fn check_sums(plan: &LogicalPlan) -> Result<(), GatewayError> {
    let mut refused = None;
    let visited = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(aggregate) = node {
            let found = aggregate.aggr_expr.iter().find_map(|expr| wrongly_summed(expr, &aggregate.input));
            refused = refused.take().or(found);
        }
        Ok(TreeNodeRecursion::Continue)
    });
    let reason = match (visited, refused) {
        (Ok(_), None) => return Ok(()),
        (Ok(_), Some(measure)) => measure,
        (Err(error), _) => return Err(GatewayError::Definition(error.into())),
    };
    Err(GatewayError::bad_with_hint(
        format!("values of `{reason}` must not be summed: it is not additive"),
        format!("use MEASURE({reason}), which merges the states behind the values"),
    ))
}

fn wrongly_summed(expr: &Expr, input: &LogicalPlan) -> Option<String> {
    let Expr::AggregateFunction(function) = bare(expr) else { return None };
    let argument = function.params.args.first().filter(|_| function.func.name() == "sum")?;
    let Expr::Column(column) = bare(argument) else { return None };
    let (view, index) = trace(input, input.schema().index_of_column(column).ok()?)?;
    let measure = view.measures.get(index.checked_sub(view.dimensions.len())?)?;
    (!measure.is_additive).then(|| measure.name.clone())
}

/// The expression under aliases and casts.
fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        Expr::Cast(cast) => bare(&cast.expr),
        _ => expr,
    }
}

fn is_measure(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::AggregateFunction(function) if function.func.name() == NAME)
}

/// The view and the column that an output column passes on unchanged, where it is one.
fn trace(plan: &LogicalPlan, index: usize) -> Option<(PlannedView, usize)> {
    match plan {
        LogicalPlan::TableScan(scan) => ViewTable::of(scan).map(|table| (table.view.clone(), index)),
        LogicalPlan::Projection(projection) => {
            let Expr::Column(column) = bare(projection.expr.get(index)?) else { return None };
            trace(&projection.input, projection.input.schema().index_of_column(column).ok()?)
        }
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti => trace(&join.right, index),
                _ if index < left => trace(&join.left, index),
                _ => trace(&join.right, index - left),
            }
        }
        LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Window(_) => trace(plan.inputs().first()?, index),
        _ => None,
    }
}

fn rewrite_aggregate(aggregate: &Aggregate) -> Result<LogicalPlan> {
    let mut input = aggregate.input.as_ref().clone();
    let mut inner: Vec<Expr> = Vec::new();
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let passed_on = |index: usize| Expr::Column(Column::from(aggregate.schema.qualified_field(index)));
    let mut outer: Vec<Expr> = (0..groups).map(passed_on).collect();
    for (index, expr) in aggregate.aggr_expr.iter().enumerate() {
        if !is_measure(expr) {
            inner.push(expr.clone());
            outer.push(passed_on(groups + index));
            continue;
        }
        let column = measure_column(expr)?;
        let place = input.schema().index_of_column(column)?;
        let (exposed, source) = expose(input, place)?;
        input = exposed;
        let finished = source.finish()?;
        let name = aggregate.schema.field(groups + index).name().clone();
        outer.push(take_aggregates(finished, &mut inner)?.alias(name));
    }
    let merged = Aggregate::try_new(Arc::new(input), aggregate.group_expr.clone(), inner)?;
    Ok(LogicalPlan::Projection(Projection::try_new(outer, Arc::new(LogicalPlan::Aggregate(merged)))?))
}

fn measure_column(expr: &Expr) -> Result<&Column> {
    let Expr::AggregateFunction(AggregateFunction { params, .. }) = bare(expr) else {
        return plan_err!("MEASURE takes one measure of a view");
    };
    if params.distinct || params.filter.is_some() || !params.order_by.is_empty() {
        return plan_err!("MEASURE takes no DISTINCT, FILTER or ORDER BY; use WHERE on dimensions");
    }
    match params.args.as_slice() {
        [Expr::Column(column)] => Ok(column),
        _ => plan_err!("MEASURE takes the plain name of one measure of a view"),
    }
}

/// Moves the aggregates of an expression into `inner`, and puts columns where they stood.
fn take_aggregates(expr: Expr, inner: &mut Vec<Expr>) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| match expr {
        Expr::AggregateFunction(_) => {
            let name = format!("_measure_{}", inner.len());
            inner.push(expr.alias(&name));
            Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(replaced.data)
}

/// A measure, and the columns that hold the states of its view.
struct Exposed {
    view: PlannedView,
    measure: usize,
    states: Vec<Column>,
}

impl Exposed {
    /// The measure from merged states, over the exposed columns.
    fn finish(&self) -> Result<Expr> {
        let view = &self.view;
        let measure = &view.measures[self.measure];
        let state = |name: &str| {
            let place = view.states.index_of(name).expect("a measure is finished from states of its own view");
            Expr::Column(self.states[place - view.dimensions.len()].clone())
        };
        view.plans.finish_measure_expr(&measure.name, state).map_err(|error| plan_datafusion_err!("{error}"))
    }
}

/// Carries the state columns of the view behind output column `index` up to the output.
fn expose(plan: LogicalPlan, index: usize) -> Result<(LogicalPlan, Exposed)> {
    match &plan {
        LogicalPlan::TableScan(scan) => {
            let table = ViewTable::of(scan).ok_or_else(|| plan_datafusion_err!("MEASURE takes a measure of a view"))?;
            let view = table.view.clone();
            let Some(measure) = index.checked_sub(view.dimensions.len()).filter(|at| *at < view.measures.len()) else {
                let known: Vec<&str> = view.measures.iter().map(|measure| measure.name.as_str()).collect();
                let name = plan.schema().field(index).name().clone();
                return plan_err!("{name} is a dimension of view {}; its measures: {}", view.name, known.join(", "));
            };
            let states = table.state_columns(&scan.table_name);
            let plan = if table.shows_states { plan.clone() } else { table.with_states(scan)? };
            Ok((plan, Exposed { view, measure, states }))
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let (input, exposed) = expose(alias.input.as_ref().clone(), index)?;
            let renamed = |column: &Column| Column::new(Some(alias.alias.clone()), column.name.clone());
            let states = exposed.states.iter().map(renamed).collect();
            let alias = SubqueryAlias::try_new(Arc::new(input), alias.alias.clone())?;
            Ok((LogicalPlan::SubqueryAlias(alias), Exposed { states, ..exposed }))
        }
        LogicalPlan::Projection(projection) => expose_projection(projection, index),
        LogicalPlan::Filter(_) | LogicalPlan::Sort(_) | LogicalPlan::Limit(_) => expose_input(&plan, 0, index),
        LogicalPlan::Join(join) => {
            let left = join.left.schema().fields().len();
            match join.join_type {
                JoinType::RightSemi | JoinType::RightAnti => expose_input(&plan, 1, index),
                _ if index < left => expose_input(&plan, 0, index),
                _ => expose_input(&plan, 1, index - left),
            }
        }
        _ => plan_err!(
            "MEASURE needs the rows of a view: between it and the view only WHERE, joins and plain columns may stand"
        ),
    }
}

fn expose_input(plan: &LogicalPlan, input: usize, index: usize) -> Result<(LogicalPlan, Exposed)> {
    let mut inputs: Vec<LogicalPlan> = plan.inputs().into_iter().cloned().collect();
    let (replaced, exposed) = expose(inputs[input].clone(), index)?;
    inputs[input] = replaced;
    Ok((plan.with_new_exprs(plan.expressions(), inputs)?, exposed))
}

fn expose_projection(projection: &Projection, index: usize) -> Result<(LogicalPlan, Exposed)> {
    let Some(Expr::Column(column)) = projection.expr.get(index).map(bare) else {
        return plan_err!("MEASURE takes a measure of a view, not an expression over one");
    };
    let place = projection.input.schema().index_of_column(column)?;
    let (input, exposed) = expose(projection.input.as_ref().clone(), place)?;
    let mut columns = projection.expr.clone();
    for state in &exposed.states {
        let column = Expr::Column(state.clone());
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    Ok((LogicalPlan::Projection(Projection::try_new(columns, Arc::new(input))?), exposed))
}
