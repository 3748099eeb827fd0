//! Both zeros are one also where the engine compares floating numbers by their bits: `CASE x WHEN 0.0` and
//! `nullif(x, 0.0)`. Its operators and keys take them for one already.
//!
//! In: type-coerced expressions. Out: the same, under the same names, whose operands are in the one form that group
//! keys have (`float_key.rs`). Guarantee: a second pass changes nothing.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, Result};
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::utils::merge_schema;
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use crate::float_key::{float_key, without_float_key};

/// Compares floating numbers as values. It belongs behind the rules that resolve types.
#[derive(Debug)]
pub(crate) struct OneZero;

impl AnalyzerRule for OneZero {
    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        let mended = plan.transform_up_with_subqueries(|node| {
            let schema = merge_schema(&node.inputs());
            node.map_expressions(|expr| expr.transform_up(|part| Ok(by_value(part, &schema))))
        });
        Ok(mended?.data)
    }

    fn name(&self) -> &'static str {
        "one_zero"
    }
}

fn by_value(part: Expr, schema: &DFSchema) -> Transformed<Expr> {
    let is_floating = |expr: &Expr| expr.get_type(schema).is_ok_and(|known| known.is_floating());
    let is_open = |expr: &Expr| is_floating(expr) && without_float_key(expr).is_none();
    match part {
        Expr::Case(Case { expr: Some(operand), when_then_expr, else_expr }) if is_open(&operand) => {
            let keyed = |value: Expr| Box::new(if is_open(&value) { float_key(value) } else { value });
            let arms = when_then_expr.into_iter().map(|(value, then)| (keyed(*value), then)).collect();
            Transformed::yes(Expr::Case(Case { expr: Some(keyed(*operand)), when_then_expr: arms, else_expr }))
        }
        Expr::ScalarFunction(ScalarFunction { func, args })
            if func.name() == "nullif" && args.first().is_some_and(is_open) =>
        {
            let args = args.into_iter().map(|value| if is_open(&value) { float_key(value) } else { value }).collect();
            Transformed::yes(Expr::ScalarFunction(ScalarFunction { func, args }))
        }
        other => Transformed::no(other),
    }
}
