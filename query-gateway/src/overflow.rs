//! Totals that do not fit their type: NULL in their groups, and said in the answer.
//!
//! In: the states of an answer, and the answer; or the plan of an SQL query. Out: per measure in how many groups, and
//! the way out.
//! Guarantee: judged by the states that the answer was computed from. For rows it costs a second pass over them, and
//! only where a measure that may overflow is NULL somewhere, or does not show it (`coalesce(sum(x), 0)`); a query
//! counts while it finishes groups, wherever in it.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::LogicalPlan;
use serde::Serialize;
use views::{Compiled, OverflowCounts, PlannedView};

use crate::patience::LARGE_ROWS;
use crate::{GatewayError, patience};

/// A measure with totals that do not fit their type in some groups: NULL there, unless its definition puts something in
/// their place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Overflow {
    /// In how many groups: of the rows of an answer, those beyond its limit included; of SQL as often as the query
    /// finished one.
    pub groups: u64,
    /// How to write it.
    pub hint: String,
}

/// The measures of `answer`, by `by`, whose totals are NULL where `states` have values; `answer` has all groups.
pub(crate) async fn find_overflows(
    view: &PlannedView,
    states: impl Future<Output = Result<Vec<RecordBatch>, GatewayError>>,
    by: &[&str],
    answer: &RecordBatch,
) -> Result<BTreeMap<String, Overflow>, GatewayError> {
    let is_missing = |measure: &str| answer.column_by_name(measure).is_some_and(|column| column.null_count() > 0);
    if !view.plans.may_overflow().any(|measure| view.plans.hides_null(measure) || is_missing(measure)) {
        return Ok(BTreeMap::new());
    }
    let plan = view.plans.compile_overflows(by).await?;
    let states = states.await?;
    let rows: usize = states.iter().map(RecordBatch::num_rows).sum();
    let mut found: BTreeMap<String, Overflow> = BTreeMap::new();
    for batch in patience::in_turn(rows > LARGE_ROWS, run(plan, states)).await? {
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

async fn run(plan: Compiled, states: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, GatewayError> {
    Ok(plan.execute(states).await?)
}

/// The totals of one view that do not fit, while one SQL query runs.
#[derive(Clone, Debug)]
pub(crate) struct Overflowing {
    view: PlannedView,
    counts: Arc<OverflowCounts>,
}

impl Overflowing {
    /// None so far.
    pub(crate) fn new(view: &PlannedView) -> Self {
        Self { view: view.clone(), counts: Arc::default() }
    }

    /// The plan that also counts them.
    pub(crate) fn watch(&self, plan: LogicalPlan) -> EngineResult<LogicalPlan> {
        self.view.plans.count_overflows(plan, &self.counts)
    }

    /// Those that came across so far.
    pub(crate) fn found(&self) -> BTreeMap<String, Overflow> {
        let overflow = |(measure, groups): (&str, u64)| {
            (measure.to_owned(), Overflow { groups, hint: way_out(&self.view, measure) })
        };
        self.view.plans.overflowed(&self.counts).into_iter().map(overflow).collect()
    }
}

fn way_out(view: &PlannedView, measure: &str) -> String {
    let found = view.measures.iter().find(|found| found.name == measure);
    match found.filter(|found| found.data_type.is_decimal()) {
        Some(_) => format!("{measure} does not fit its type; aggregate CAST(x AS DOUBLE) instead of x"),
        None => format!("{measure} does not fit its type; aggregate CAST(x AS DECIMAL(38, 0)) instead of x"),
    }
}
