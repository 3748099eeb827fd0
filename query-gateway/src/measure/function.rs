//! The function `MEASURE` as the planner sees it; it is rewritten before it could run.

use arrow::datatypes::DataType;
use datafusion::common::plan_err;
use datafusion::error::Result;
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Expr, Signature, Volatility};

/// Its name in plans.
pub(super) const NAME: &str = "measure";

/// The function.
pub(crate) fn function() -> AggregateUDF {
    AggregateUDF::new_from_impl(MeasureFunction { signature: Signature::any(1, Volatility::Immutable) })
}

/// Whether an expression of an aggregate is a call of it.
pub(super) fn is_grouped(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::AggregateFunction(call) if call.func.name() == NAME)
}

/// Whether an expression of a window is a call of it.
pub(super) fn is_window(expr: &Expr) -> bool {
    matches!(bare(expr), Expr::WindowFunction(call) if call.fun.name() == NAME)
}

/// The expression under aliases.
pub(super) fn bare(expr: &Expr) -> &Expr {
    match expr {
        Expr::Alias(alias) => bare(&alias.expr),
        _ => expr,
    }
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
