//! `MEASURE(name)`: rolls a measure up by merging its states, so that uniques and percentiles roll up correctly.
//!
//! ```text
//!  statement --order--> plan --marks: refused or unchanged--> plan --rewrite: states exposed, merged--> plan
//! ```
//!
//! In: a plan over views as columns only. Out: the same plan with each `MEASURE` replaced by the merge aggregates of
//! its measure over the view's state columns, which are carried up from the scan.
//! Guarantee: the output columns of every node above keep names and types. Each state of a view is merged at most once
//! into a value, or merging it again changes nothing. What cannot be rewritten is refused.
//!
//! | file | what it does |
//! |---|---|
//! | `function.rs` | the function as the planner sees it |
//! | `order.rs` | `ORDER BY MEASURE(x)` beside `MEASURE(x) AS x` |
//! | `marks.rs`, `adding.rs` | the refusal to add up what is not additive; which functions add |
//! | `grouped.rs`, `windows.rs` | `MEASURE` with GROUP BY or without, and with OVER |
//! | `expose.rs`, `unique.rs` | carries the states up; whether a join repeats them |

mod adding;
mod expose;
mod function;
mod grouped;
mod marks;
mod order;
mod unique;
mod windows;

use datafusion::common::plan_err;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::{Expr, LogicalPlan};

pub(crate) use function::function;
pub(crate) use marks::check_sums;
pub(crate) use order::name_order;

/// Replaces every `MEASURE` of a plan.
pub(crate) fn rewrite(plan: LogicalPlan) -> Result<LogicalPlan> {
    let mut exposing = expose::Exposing::default();
    let rewritten = plan.transform_up_with_subqueries(|node| match &node {
        LogicalPlan::Aggregate(aggregate) if aggregate.aggr_expr.iter().any(function::is_grouped) => {
            Ok(Transformed::yes(grouped::rewrite(aggregate, &mut exposing)?))
        }
        LogicalPlan::Window(window) if window.window_expr.iter().any(function::is_window) => {
            Ok(Transformed::yes(windows::rewrite(window, &mut exposing)?))
        }
        _ => Ok(Transformed::no(node)),
    })?;
    rewritten.data.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|expr| match expr {
                Expr::AggregateFunction(call) if call.func.name() == function::NAME => refuse_place(),
                Expr::WindowFunction(call) if call.fun.name() == function::NAME => refuse_place(),
                _ => Ok(TreeNodeRecursion::Continue),
            })
        })
    })?;
    Ok(rewritten.data)
}

fn refuse_place<T>() -> Result<T> {
    plan_err!("MEASURE is an aggregate: use it in SELECT, HAVING, QUALIFY or ORDER BY")
}
