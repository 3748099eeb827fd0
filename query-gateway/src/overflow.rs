//! Totals that do not fit their type: NULL in their groups, and said in the answer.
//!
//! In: the states of an answer, and the answer. Out: per measure in how many groups, and the way out.
//! Guarantee: judged by the states that the answer was computed from. It costs a second pass over them, and only where
//! a measure that may overflow is NULL somewhere, or does not show it (`coalesce(sum(x), 0)`).

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, RecordBatch};
use serde::Serialize;
use views::PlannedView;

use crate::GatewayError;

/// A measure with totals that do not fit their type in some groups: NULL there, unless its definition puts something in
/// their place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overflow {
    /// In how many groups of the answer, those beyond its limit included.
    pub groups: u64,
    /// How to write it.
    pub hint: String,
}

/// The measures of `answer`, by `by`, whose totals are NULL where `states` have values; `answer` has all groups.
pub(crate) async fn find_overflows(
    view: &PlannedView,
    states: impl FnOnce() -> Result<Vec<RecordBatch>, GatewayError>,
    by: &[&str],
    answer: &RecordBatch,
) -> Result<BTreeMap<String, Overflow>, GatewayError> {
    let is_missing = |measure: &str| answer.column_by_name(measure).is_some_and(|column| column.null_count() > 0);
    if !view.plans.may_overflow().any(|measure| view.plans.hides_null(measure) || is_missing(measure)) {
        return Ok(BTreeMap::new());
    }
    let plan = view.plans.compile_overflows(by).await?;
    let mut found: BTreeMap<String, Overflow> = BTreeMap::new();
    for batch in plan.execute(states()?).await? {
        for (field, overflows) in batch.schema().fields().iter().zip(batch.columns()) {
            let groups = overflows.as_boolean().true_count() as u64;
            if groups > 0 {
                let overflow = || Overflow { groups: 0, hint: way_out(view, field.name()) };
                found.entry(field.name().clone()).or_insert_with(overflow).groups += groups;
            }
        }
    }
    Ok(found)
}

fn way_out(view: &PlannedView, measure: &str) -> String {
    let found = view.measures.iter().find(|found| found.name == measure);
    match found.filter(|found| found.data_type.is_decimal()) {
        Some(_) => format!("{measure} does not fit its type; aggregate CAST(x AS DOUBLE) instead of x"),
        None => format!("{measure} does not fit its type; aggregate CAST(x AS DECIMAL(38, 0)) instead of x"),
    }
}
