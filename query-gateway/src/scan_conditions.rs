//! What the conditions that the engine hands to a scan say of one column: which of its values need be read at all.
//!
//! Guarantee: pure; where that cannot be told, all values pass. The engine tests every condition behind the scan once
//! more.

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use datafusion::catalog::Session;
use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;

/// The one column that a condition tests, and nothing else.
pub(crate) fn tested_column(filter: &Expr) -> Option<&str> {
    let mut columns = filter.column_refs().into_iter();
    let column = columns.next().filter(|_| !filter.contains_outer())?;
    columns.next().is_none().then_some(column.name.as_str())
}

/// Of each of `values`, whether the conditions on `column` let it pass.
pub(crate) fn passing(
    state: &dyn Session,
    filters: &[Expr],
    column: &'static str,
    values: ArrayRef,
) -> Result<Vec<bool>> {
    let count = values.len();
    let of_column = filters.iter().filter(|filter| tested_column(filter) == Some(column));
    let Some(condition) = conjunction(of_column.cloned()) else { return Ok(vec![true; count]) };
    let values = RecordBatch::try_from_iter([(column, values)])?;
    let condition = state.create_physical_expr(condition, &DFSchema::try_from(values.schema())?)?;
    // A condition that fails on a value is told by the query itself, if it comes to a row with that value.
    let Ok(passes) = condition.evaluate(&values).and_then(|value| value.into_array(count)) else {
        return Ok(vec![true; count]);
    };
    let Some(passes) = passes.as_boolean_opt() else { return Ok(vec![true; count]) };
    Ok(passes.iter().map(|passes| passes == Some(true)).collect())
}
