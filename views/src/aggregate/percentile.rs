//! What the percentile functions have in common: a value and a percentile, and the rank that a call asks for.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::physical_expr::expressions::Literal;

use crate::sql_name::sql_name;

/// The types that a value and a percentile are cast to. `sketched_as` gives that of a value, if it is one of those that
/// the function `takes`.
pub(super) fn coerce_types(
    function: &str,
    arguments: &[DataType],
    (takes, sketched_as): (&str, impl Fn(&DataType) -> Option<DataType>),
) -> Result<Vec<DataType>> {
    let [value, _] = arguments else {
        return plan_err!("'{function}' takes a value and a percentile, not {} arguments", arguments.len());
    };
    match sketched_as(value) {
        Some(sketched) => Ok(vec![sketched, DataType::Float64]),
        None => plan_err!("'{function}' does not take {}; it takes {takes}", sql_name(value)),
    }
}

/// The percentile of a call as a rank in ascending order.
pub(super) fn rank_of(function: &str, arguments: &AccumulatorArgs) -> Result<f64> {
    if arguments.is_distinct {
        return plan_err!("{function} cannot be made of distinct values: write `percentile_cont(DISTINCT x, 0.5)`");
    }
    let literal = arguments.exprs.get(1).and_then(|percentile| percentile.downcast_ref::<Literal>());
    let Some(ScalarValue::Float64(Some(percentile))) = literal.map(Literal::value) else {
        return plan_err!("the percentile of {function} must be a number between 0 and 1, not an expression");
    };
    if !(0.0..=1.0).contains(percentile) {
        return plan_err!("the percentile of {function} must lie between 0 and 1, not at {percentile}");
    }
    let is_descending = arguments.order_bys.first().is_some_and(|order| order.options.descending);
    Ok(if is_descending { 1.0 - percentile } else { *percentile })
}
