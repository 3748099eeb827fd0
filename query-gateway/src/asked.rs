//! The groups that a request for an account asks for, apart from any gateway: over states that others computed, and
//! over the dimensions of single events.
//!
//! In: the parameters of a rows request without those that only say what is shown of it. Out: the answer over states,
//! and which groups pass.
//! Guarantee: pure. What a parameter means here is what it means for rows: the same code reads and answers both.
//! Not here: where states come from (a pin for `account.rs`, the master dataset for whoever verifies a receipt).

use std::cmp::Ordering;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use datafusion::logical_expr::{Expr, ident, lit};
use datafusion::scalar::ScalarValue;
use edge::Parameters;
use views::{PlannedView, ViewDefinition};

use crate::access::RowFilters;
use crate::answer::answer;
use crate::filter::{Filter, Test, mask};
use crate::rows::{Layer, ParsedRows, Wait, parse};
use crate::served::Served;
use crate::states::SortedStates;
use crate::visible::VisibleStates;
use crate::{GatewayError, GatewaySettings};

/// Rows that one account is of, at most.
pub const MOST_ROWS: usize = 1_000;

/// What says how an answer is shown, or names a part of it that nobody can compute again.
const NOT_TAKEN: [&str; 8] = ["limit", "order", "cursor", "fill", "parts", "layer", "version", "integers"];
/// What says when to answer, and nothing of which groups.
const WHEN: [&str; 3] = ["after", "timeout", "consistency"];

/// The groups that are asked for.
#[derive(Clone, Debug)]
pub struct AskedGroups {
    parameters: Vec<(String, String)>,
    parsed: ParsedRows,
}

impl AskedGroups {
    /// Reads parameters as those of rows: tests of dimensions, `from`, `to`, `range_of`, `by`, `bucket` and `tz`; and
    /// `consistency`, `after` and `timeout`, which say when.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`], naming what exists.
    pub fn parse(
        view: &PlannedView,
        parameters: &[(String, String)],
        settings: &GatewaySettings,
    ) -> Result<Self, GatewayError> {
        if let Some((name, _)) = parameters.iter().find(|(name, _)| NOT_TAKEN.contains(&name.as_str())) {
            let reason = format!("`{name}` says what is shown of an answer, and an account is of all of it");
            return Err(GatewayError::bad_with_hint(reason, "leave it out"));
        }
        let settings = GatewaySettings { default_rows: MOST_ROWS, max_rows: MOST_ROWS, ..settings.clone() };
        let parsed = parse(view, Parameters::new(parameters.to_vec()), &settings)?;
        let lasting = parameters.iter().filter(|(name, _)| !WHEN.contains(&name.as_str()));
        Ok(Self { parameters: lasting.cloned().collect(), parsed })
    }

    /// The parameters that say which groups: the same ones ask for them again, at any time.
    pub fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// The answer over these states, which have the columns of `ViewDefinition::states`: dimensions and finished
    /// measures of each group, in the order of the dimensions.
    ///
    /// # Errors
    /// [`GatewayError::TooLarge`]: more than [`MOST_ROWS`] groups. Others: a plan of the view failed.
    pub async fn answer(&self, view: &PlannedView, states: &[RecordBatch]) -> Result<RecordBatch, GatewayError> {
        let served = Served::of_states(SortedStates::new(&view.states, states, view.dimensions.len())?);
        self.answer_over(view, VisibleStates::new(&served, &RowFilters::none())).await
    }

    /// The same over states of a pin.
    pub(crate) async fn answer_over(
        &self,
        view: &PlannedView,
        states: VisibleStates<'_>,
    ) -> Result<RecordBatch, GatewayError> {
        let (page, _) = answer(view, states, &self.parsed.question).await?;
        if page.last.is_some() {
            let reason = format!("{} groups are asked for, and an account is of {MOST_ROWS} at most", page.groups);
            let hint = "test a dimension, shorten the range, or roll up with `by`".to_owned();
            return Err(GatewayError::TooLarge { reason, hint });
        }
        Ok(page.rows)
    }

    /// Which rows of dimensions, in the order of the view, are of groups that are asked for; no value is NULL.
    ///
    /// # Errors
    /// Only for a defect: other columns than the dimensions of the view.
    pub fn passes(&self, dimensions: &RecordBatch) -> Result<BooleanArray, ArrowError> {
        let all = || BooleanArray::from(vec![true; dimensions.num_rows()]);
        let passes = mask(dimensions, &self.parsed.question.filters)?;
        Ok(passes.map_or_else(all, |passes| passes.iter().map(|passes| Some(passes == Some(true))).collect()))
    }

    /// A condition on the dimensions that every group passes which is asked for, and perhaps others do: for a plan,
    /// which then reads less. `None`: every group passes.
    pub fn narrowing(&self, view: &ViewDefinition) -> Option<Expr> {
        let filters = self.parsed.question.filters.iter();
        filters.filter_map(|filter| condition(view, filter)).reduce(Expr::and)
    }

    /// Whether a file may hold states of groups that are asked for, given the least and the largest value of a column
    /// in it, by its name, where they are known.
    pub fn may_be_in(
        &self,
        view: &ViewDefinition,
        bounds: impl Fn(&str) -> Option<(ScalarValue, ScalarValue)>,
    ) -> bool {
        self.parsed.question.filters.iter().all(|filter| {
            let dimension = view.dimensions.get(filter.dimension);
            let ordered = dimension.filter(|dimension| !dimension.data_type.is_floating());
            let Some((least, largest)) = ordered.and_then(|dimension| bounds(&dimension.name)) else { return true };
            let values: Vec<ScalarValue> = filter.values.iter().filter_map(scalar).collect();
            match filter.test {
                Test::AnyOf => values.iter().any(|value| !(*value < least || *value > largest)),
                Test::AtLeast | Test::Above => {
                    values.iter().all(|value| largest.partial_cmp(value) != Some(Ordering::Less))
                }
                Test::AtMost | Test::Below => {
                    values.iter().all(|value| least.partial_cmp(value) != Some(Ordering::Greater))
                }
                Test::Not | Test::Like | Test::Null | Test::NotNull => true,
            }
        })
    }

    pub(crate) fn wait(&self) -> &Wait {
        &self.parsed.wait
    }

    pub(crate) fn layer(&self) -> Layer {
        self.parsed.layer
    }
}

/// A test as an expression. Floating keys are compared by an order of their own, which is left to the test.
fn condition(view: &ViewDefinition, filter: &Filter) -> Option<Expr> {
    let dimension = view.dimensions.get(filter.dimension).filter(|dimension| !dimension.data_type.is_floating())?;
    let column = ident(dimension.name.as_str());
    let values: Vec<Expr> = filter.values.iter().map(|value| scalar(value).map(lit)).collect::<Option<_>>()?;
    let first = values.first().cloned();
    match filter.test {
        Test::AnyOf => Some(column.in_list(values, false)),
        Test::AtLeast => Some(column.gt_eq(first?)),
        Test::Above => Some(column.gt(first?)),
        Test::AtMost => Some(column.lt_eq(first?)),
        Test::Below => Some(column.lt(first?)),
        Test::Not | Test::Like | Test::Null | Test::NotNull => None,
    }
}

fn scalar(value: &ArrayRef) -> Option<ScalarValue> {
    ScalarValue::try_from_array(value, 0).ok()
}
