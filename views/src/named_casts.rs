//! Casts in the names of aggregates.
//!
//! In: a call of an aggregate as the engine reads it from SQL. Out: the same with `CAST(x AS T)` in its arguments and
//! its filter as a function, which is a cast again as soon as the plan is guarded or optimized.
//! Why so: the engine names a call after its arguments and leaves casts out of names. `sum(n)` and
//! `sum(CAST(n AS DECIMAL(38, 0)))` would be two columns of one name, and a query with both is refused.

use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::functions::core::expr_fn::{arrow_cast, arrow_try_cast};
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawAggregateExpr, RawWindowExpr};
use datafusion::logical_expr::{Expr, lit};

use crate::or_null::is_constant;

/// Keeps apart what differs by a cast alone.
#[derive(Debug)]
pub(crate) struct NamedCasts;

impl ExprPlanner for NamedCasts {
    fn plan_aggregate(&self, call: RawAggregateExpr) -> Result<PlannerResult<RawAggregateExpr>> {
        let args = call.args.into_iter().map(named).collect::<Result<_>>()?;
        let filter = call.filter.map(|filter| named(*filter).map(Box::new)).transpose()?;
        Ok(PlannerResult::Original(RawAggregateExpr { args, filter, ..call }))
    }

    fn plan_window(&self, call: RawWindowExpr) -> Result<PlannerResult<RawWindowExpr>> {
        let args = call.args.into_iter().map(named).collect::<Result<_>>()?;
        let filter = call.filter.map(|filter| named(*filter).map(Box::new)).transpose()?;
        Ok(PlannerResult::Original(RawWindowExpr { args, filter, ..call }))
    }
}

fn named(expr: Expr) -> Result<Expr> {
    let named = expr.transform_up(|part| {
        // Some arguments must be constants when the call is planned; and these have their value for a name.
        if is_constant(&part) {
            return Ok(Transformed::no(part));
        }
        Ok(match part {
            Expr::Cast(cast) if is_spelled(cast.field.data_type()) => {
                Transformed::yes(arrow_cast(*cast.expr, lit(cast.field.data_type().to_string())))
            }
            Expr::TryCast(cast) if is_spelled(cast.field.data_type()) => {
                Transformed::yes(arrow_try_cast(*cast.expr, lit(cast.field.data_type().to_string())))
            }
            other => Transformed::no(other),
        })
    })?;
    Ok(named.data)
}

/// Whether the engine reads the type from its own text.
fn is_spelled(data_type: &DataType) -> bool {
    data_type.to_string().parse::<DataType>().is_ok_and(|read| read == *data_type)
}
