//! Filters on dimensions, over sorted states.
//!
//! In: sorted states and tests on dimensions. Out: the rows that pass, in key order.
//! Guarantee: equality on the leading dimensions costs binary searches, whatever the size; other tests look at the rows
//! that are left, vectorised. Pure.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, Scalar};
use arrow::compute::kernels::cmp;
use arrow::compute::kernels::comparison::like;
use arrow::compute::{and_kleene, concat, filter_record_batch, is_not_null, is_null, or_kleene};
use arrow::error::ArrowError;
use datafusion::common::ScalarValue;
use datafusion::error::Result as EngineResult;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, InListExpr};

use crate::expression_cost::{like_weight, size_of};
use crate::states::{SortedStates, encode_prefix};

/// More values than these are looked up in a set: each of fewer costs a comparison with every row.
const FEW_VALUES: usize = 8;

/// What a dimension is tested for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Test {
    /// Equal to one of the values.
    AnyOf,
    /// Neither null nor equal to the value.
    Not,
    /// A text of this pattern, with the wildcards of SQL.
    Like,
    /// At or above the value.
    AtLeast,
    /// Above the value.
    Above,
    /// At or below the value.
    AtMost,
    /// Below the value.
    Below,
    /// Null.
    Null,
    /// Not null.
    NotNull,
}

/// One test of one dimension; filters are joined by "and".
#[derive(Clone, Debug)]
pub(crate) struct Filter {
    /// Index of the dimension.
    pub dimension: usize,
    /// The test.
    pub test: Test,
    /// Arrays of one value each, of the dimension's type.
    pub values: Vec<ArrayRef>,
}

/// The rows that binary searches leave, and the filters that these have not answered. Nothing is copied.
pub(crate) fn narrow(states: &SortedStates, filters: &[Filter]) -> Result<(RecordBatch, Vec<Filter>), ArrowError> {
    let mut lead: Vec<ArrayRef> = Vec::new();
    let mut answered: Vec<usize> = Vec::new();
    while let Some((index, value)) = equal_to(filters, lead.len()) {
        lead.push(value.clone());
        answered.push(index);
    }
    let rows = if lead.is_empty() { states.batch().clone() } else { states.with_prefix(&encode_prefix(&lead)?) };
    let left = filters.iter().enumerate().filter(|(index, _)| !answered.contains(index));
    Ok((rows, left.map(|(_, filter)| filter.clone()).collect()))
}

/// Those of some rows that pass all filters.
pub(crate) fn passing(rows: &RecordBatch, filters: &[Filter]) -> Result<RecordBatch, ArrowError> {
    if rows.num_rows() == 0 {
        return Ok(rows.clone());
    }
    match mask(rows, filters)? {
        Some(mask) => filter_record_batch(rows, &mask),
        None => Ok(rows.clone()),
    }
}

/// Which of some rows pass all filters: true where one does; `None` where there is no filter.
pub(crate) fn mask(rows: &RecordBatch, filters: &[Filter]) -> Result<Option<BooleanArray>, ArrowError> {
    let mut mask: Option<BooleanArray> = None;
    for filter in filters {
        let passes = evaluate(filter, rows.column(filter.dimension))?;
        mask = Some(match mask {
            Some(mask) => and_kleene(&mask, &passes)?,
            None => passes,
        });
    }
    Ok(mask)
}

/// Looks at values that a filter takes of these rows, about; of a pattern steps along the texts.
pub(crate) fn looks(filter: &Filter, rows: &RecordBatch) -> usize {
    match (filter.test, filter.values.as_slice()) {
        (Test::Like, [pattern]) => {
            let pattern = ScalarValue::try_from_array(pattern, 0).ok();
            let weight = pattern.as_ref().and_then(|pattern| pattern.try_as_str().flatten()).map_or(1, like_weight);
            size_of(rows.column(filter.dimension).as_ref()).saturating_mul(weight)
        }
        (_, values) => rows.num_rows().saturating_mul(values.len().clamp(1, FEW_VALUES)),
    }
}

/// The first filter that leaves one value of a dimension, and this value.
fn equal_to(filters: &[Filter], dimension: usize) -> Option<(usize, &ArrayRef)> {
    filters.iter().enumerate().find_map(|(index, filter)| match (filter.test, filter.values.as_slice()) {
        (Test::AnyOf, [value]) if filter.dimension == dimension => Some((index, value)),
        _ => None,
    })
}

fn evaluate(filter: &Filter, column: &ArrayRef) -> Result<BooleanArray, ArrowError> {
    let values = filter.values.iter().map(|value| Scalar::new(value.clone()));
    let compare = |test: fn(&dyn arrow::array::Datum, &dyn arrow::array::Datum) -> Result<BooleanArray, ArrowError>| {
        values.clone().try_fold(None::<BooleanArray>, |mask, value| {
            let passes = test(column, &value)?;
            Ok::<_, ArrowError>(Some(match mask {
                Some(mask) => or_kleene(&mask, &passes)?,
                None => passes,
            }))
        })
    };
    let mask = match filter.test {
        // Floating keys are compared by their order, which sets do not know.
        Test::AnyOf if filter.values.len() > FEW_VALUES && !column.data_type().is_floating() => {
            let is_any = is_any_of(column, &filter.values);
            Some(is_any.map_err(|error| ArrowError::ExternalError(Box::new(error)))?)
        }
        Test::AnyOf => compare(cmp::eq)?,
        Test::Not => compare(cmp::neq)?,
        Test::Like => compare(like)?,
        Test::AtLeast => compare(cmp::gt_eq)?,
        Test::Above => compare(cmp::gt)?,
        Test::AtMost => compare(cmp::lt_eq)?,
        Test::Below => compare(cmp::lt)?,
        Test::Null => Some(is_null(column)?),
        Test::NotNull => Some(is_not_null(column)?),
    };
    Ok(mask.unwrap_or_else(|| BooleanArray::from(vec![false; column.len()])))
}

/// Whether each value of a column is in a set; null where it is null.
fn is_any_of(column: &ArrayRef, values: &[ArrayRef]) -> EngineResult<BooleanArray> {
    const NAME: &str = "key";
    let values: Vec<&dyn Array> = values.iter().map(|value| value.as_ref()).collect();
    let rows = RecordBatch::try_from_iter([(NAME, column.clone())])?;
    let key = Arc::new(Column::new(NAME, 0));
    let is_any = InListExpr::try_new_from_array(key, concat(&values)?, false, rows.schema_ref())?;
    Ok(is_any.evaluate(&rows)?.into_array(rows.num_rows())?.as_boolean().clone())
}
