//! `MEASURE` with GROUP BY or without: merges the states of each group.
//!
//! In: an aggregate with calls of `MEASURE`. Out: an aggregate that merges states, and above it a projection of the
//! same columns. A group whose rows all lack states, behind an outer join or a FILTER, gives what the measure gives for
//! no events.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::logical_plan::{Aggregate, Projection};
use datafusion::logical_expr::{Expr, LogicalPlan};

use super::expose::{Exposing, Merging};
use super::function::{bare, is_grouped};

/// Replaces the calls of one aggregate.
pub(super) fn rewrite(aggregate: &Aggregate, exposing: &mut Exposing) -> Result<LogicalPlan> {
    let mut input = aggregate.input.as_ref().clone();
    let mut inner: Vec<Expr> = Vec::new();
    let groups = aggregate.schema.fields().len() - aggregate.aggr_expr.len();
    let passed_on = |index: usize| Expr::Column(Column::from(aggregate.schema.qualified_field(index)));
    // The last group column of grouping sets is the engine's own, which `grouping()` is made of; no query names it.
    let is_sets = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
    let mut outer: Vec<Expr> = (0..groups - usize::from(is_sets)).map(passed_on).collect();
    // None with grouping sets: the largest of them puts all rows together.
    let fixed: Vec<&Column> = aggregate.group_expr.iter().filter_map(Expr::try_as_col).collect();
    for (index, expr) in aggregate.aggr_expr.iter().enumerate() {
        if !is_grouped(expr) {
            inner.push(expr.clone());
            outer.push(passed_on(groups + index));
            continue;
        }
        let call = checked(expr)?;
        let place = input.schema().index_of_column(call.column)?;
        let (exposed_input, exposed) = exposing.expose(&input, place, &fixed)?;
        input = exposed_input;
        let finished = exposed.finish(Merging::AtOnce)?;
        let name = aggregate.schema.field(groups + index).name().clone();
        outer.push(take_aggregates(finished, call.filter, &mut inner)?.alias(name));
    }
    let merged = Aggregate::try_new(Arc::new(input), aggregate.group_expr.clone(), inner)?;
    Ok(LogicalPlan::Projection(Projection::try_new(outer, Arc::new(LogicalPlan::Aggregate(merged)))?))
}

struct Call<'a> {
    column: &'a Column,
    filter: Option<&'a Expr>,
}

fn checked(expr: &Expr) -> Result<Call<'_>> {
    let Expr::AggregateFunction(AggregateFunction { params, .. }) = bare(expr) else {
        return plan_err!("MEASURE takes one measure of a view");
    };
    if params.distinct || !params.order_by.is_empty() || params.null_treatment.is_some() {
        return plan_err!("MEASURE takes no DISTINCT, ORDER BY or IGNORE NULLS: states are merged as a whole");
    }
    match params.args.as_slice() {
        [Expr::Column(column)] => Ok(Call { column, filter: params.filter.as_deref() }),
        _ => plan_err!("MEASURE takes the plain name of one measure of a view"),
    }
}

/// Moves the aggregates of an expression into `inner`, each with the filter, and puts columns where they stood.
fn take_aggregates(expr: Expr, filter: Option<&Expr>, inner: &mut Vec<Expr>) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| match expr {
        Expr::AggregateFunction(mut call) => {
            let name = format!("_measure_{}", inner.len());
            call.params.filter = filter.cloned().map(Box::new);
            inner.push(Expr::AggregateFunction(call).alias(&name));
            Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(replaced.data)
}
