//! `MEASURE` with OVER: merges the states of a frame that grows from the start of the partition.
//!
//! In: windows with calls of `MEASURE`. Out: windows that merge states, and above them a projection of the same
//! columns. A frame that also loses rows is refused: a state cannot be taken out of a merged one.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::logical_plan::{Projection, Window};
use datafusion::logical_expr::{Expr, LogicalPlan, WindowFunctionDefinition};

use super::expose::{Exposing, Merging};
use super::function::{bare, is_window};

/// Replaces the calls of one node of windows.
pub(super) fn rewrite(window: &Window, exposing: &mut Exposing) -> Result<LogicalPlan> {
    let mut input = window.input.as_ref().clone();
    let mut inner: Vec<Expr> = Vec::new();
    let below = window.input.schema().fields().len();
    let passed_on = |index: usize| Expr::Column(Column::from(window.schema.qualified_field(index)));
    let mut outer: Vec<Expr> = (0..below).map(passed_on).collect();
    for (index, expr) in window.window_expr.iter().enumerate() {
        if !is_window(expr) {
            inner.push(expr.clone());
            outer.push(passed_on(below + index));
            continue;
        }
        let (column, params) = checked(expr)?;
        let place = input.schema().index_of_column(column)?;
        let fixed: Vec<&Column> = params.partition_by.iter().filter_map(Expr::try_as_col).collect();
        let (exposed_input, exposed) = exposing.expose(&input, place, &fixed)?;
        input = exposed_input;
        let finished = exposed.finish(Merging::Running)?;
        let name = window.schema.field(below + index).name().clone();
        outer.push(take_aggregates(finished, params, &mut inner)?.alias(name));
    }
    let merged = Window::try_new(inner, Arc::new(input))?;
    Ok(LogicalPlan::Projection(Projection::try_new(outer, Arc::new(LogicalPlan::Window(merged)))?))
}

fn checked(expr: &Expr) -> Result<(&Column, &WindowFunctionParams)> {
    let Expr::WindowFunction(call) = bare(expr) else {
        return plan_err!("MEASURE takes one measure of a view");
    };
    let params = &call.params;
    if params.distinct || params.null_treatment.is_some() {
        return plan_err!("MEASURE takes no DISTINCT or IGNORE NULLS: states are merged as a whole");
    }
    if !params.window_frame.is_ever_expanding() {
        return plan_err!(
            "MEASURE with OVER takes frames that begin at UNBOUNDED PRECEDING: a state cannot be taken out of a merged \
             one; join the rows of each frame to what it is the frame of, and use MEASURE with GROUP BY"
        );
    }
    match params.args.as_slice() {
        [Expr::Column(column)] => Ok((column, params)),
        _ => plan_err!("MEASURE takes the plain name of one measure of a view"),
    }
}

/// Moves the aggregates of an expression into `inner`, as windows of the same frame, and puts columns where they stood.
fn take_aggregates(expr: Expr, params: &WindowFunctionParams, inner: &mut Vec<Expr>) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| match expr {
        Expr::AggregateFunction(call) => {
            let name = format!("_measure_{}", inner.len());
            let params = WindowFunctionParams { args: call.params.args, ..params.clone() };
            let window = WindowFunction { fun: WindowFunctionDefinition::AggregateUDF(call.func), params };
            inner.push(Expr::WindowFunction(Box::new(window)).alias(&name));
            Ok(Transformed::new(Expr::Column(Column::new_unqualified(name)), true, TreeNodeRecursion::Jump))
        }
        _ => Ok(Transformed::no(expr)),
    })?;
    Ok(replaced.data)
}
