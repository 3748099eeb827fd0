//! The answer: `finish(batch states (+) run states)` at the asked grain, in the asked order.
//!
//! In: the visible states of batch and realtime, filters, the dimensions to keep, which rows. Out: one page of
//! dimensions and finished measures.
//! Guarantee: every visible state row of the pin that passes the filters is merged exactly once. Many rows are tested,
//! and answers of many groups merged, sorted and cut to pages, beside the threads of the process; tests end once nobody
//! waits for the answer.
//! Not here: reading requests (`rows.rs`), order and pages (`order.rs`), gaps (`gaps.rs`), SQL (`sql.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StructArray};
use arrow::compute::take;
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use tokio_util::sync::CancellationToken;
use views::{Compiled, PlannedView};

use crate::filter::Filter;
use crate::gaps::Gaps;
use crate::keys::match_keys;
use crate::local_bins::LocalBins;
use crate::order::{Page, Wanted, page};
use crate::overflow::{Overflow, find_overflows};
use crate::patience::LARGE_ROWS;
use crate::visible::{Narrowed, VisibleStates};
use crate::{GatewayError, patience};

/// The column that holds the batch part of each measure.
const BATCH_PART: &str = "_batch";
/// The column that holds the realtime part of each measure.
const REALTIME_PART: &str = "_realtime";

/// The most values that the tests of one request look at, or steps along texts that are held against a pattern: some
/// ten seconds.
const MOST_LOOKS: usize = 1 << 32;
/// To find the local span that an instant falls into takes as long as so many comparisons.
const LOOKS_OF_A_SPAN: usize = 16;

/// What to compute from the states.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Tests on dimensions.
    pub filters: Vec<Filter>,
    /// The dimensions to keep.
    pub by: Vec<String>,
    /// Local spans that a time dimension is rolled up to.
    pub bins: Option<LocalBins>,
    /// Bins of time to add where nothing came.
    pub gaps: Option<Gaps>,
    /// Which rows, and in which order.
    pub wanted: Wanted,
    /// Whether each row also shows its batch and its realtime part.
    pub shows_parts: bool,
}

/// Answers a question; and says which measures are NULL because they do not fit their type.
pub(crate) async fn answer(
    view: &PlannedView,
    layers: VisibleStates<'_>,
    question: &Question,
) -> Result<(Page, BTreeMap<String, Overflow>), GatewayError> {
    let all = finish(view, layers, question).await?;
    let by: Vec<&str> = question.by.iter().map(String::as_str).collect();
    let overflows = find_overflows(view, selected(layers, question), &by, &all).await?;
    Ok((shown(view, layers, question, all).await?, overflows))
}

/// The page of an answer that is shown, with the parts of its rows if those are asked for.
async fn shown(
    view: &PlannedView,
    layers: VisibleStates<'_>,
    question: &Question,
    all: RecordBatch,
) -> Result<Page, GatewayError> {
    let is_large = all.num_rows() > LARGE_ROWS;
    let top = patience::in_turn(is_large, turn_to_page(all, question.clone())).await?;
    if !question.shows_parts {
        return Ok(top);
    }
    let batch = finish(view, layers.without_realtime(), question).await?;
    let realtime = finish(view, layers.without_batch(), question).await?;
    let keys = question.by.len();
    debug_assert_eq!(top.rows.num_columns(), keys + view.measures.len(), "an answer is dimensions, then measures");
    let is_large = batch.num_rows() + realtime.num_rows() > LARGE_ROWS;
    let rows = patience::in_turn(is_large, add_parts(top.rows, keys, batch, realtime)).await?;
    Ok(Page { rows, ..top })
}

/// The page that is asked for of all groups, those that are missing among them.
async fn turn_to_page(all: RecordBatch, question: Question) -> Result<Page, GatewayError> {
    let all = match &question.gaps {
        Some(gaps) => gaps.fill(&all, question.by.len())?,
        None => all,
    };
    Ok(page(&all, &question.by, &question.wanted)?)
}

async fn add_parts(
    rows: RecordBatch,
    keys: usize,
    batch: RecordBatch,
    realtime: RecordBatch,
) -> Result<RecordBatch, GatewayError> {
    let with_batch = add_part(&rows, keys, BATCH_PART, &batch)?;
    Ok(add_part(&with_batch, keys, REALTIME_PART, &realtime)?)
}

/// The states that a question is about.
async fn selected(layers: VisibleStates<'_>, question: &Question) -> Result<Vec<RecordBatch>, GatewayError> {
    let (narrowed, bins) = (layers.narrow(&question.filters)?, question.bins.clone());
    let looks = narrowed.looks();
    if looks > MOST_LOOKS {
        let reason =
            format!("the tests of the request would have to look at {looks} values, the limit is {MOST_LOOKS}");
        let hint = "test a dimension that stands in front for one value, or with fewer values, % and _".to_owned();
        return Err(GatewayError::TooLarge { reason, hint });
    }
    let of_bins = if bins.is_some() { narrowed.rows().saturating_mul(LOOKS_OF_A_SPAN) } else { 0 };
    let given_up = CancellationToken::new();
    let _waiting = given_up.clone().drop_guard();
    patience::in_turn(looks.saturating_add(of_bins) > LARGE_ROWS, select(narrowed, bins, given_up)).await
}

async fn select(
    narrowed: Narrowed,
    bins: Option<LocalBins>,
    given_up: CancellationToken,
) -> Result<Vec<RecordBatch>, GatewayError> {
    let states = narrowed.passing(|| !given_up.is_cancelled())?;
    match bins {
        Some(bins) => bins.apply(states),
        None => Ok(states),
    }
}

async fn finish(
    view: &PlannedView,
    layers: VisibleStates<'_>,
    question: &Question,
) -> Result<RecordBatch, GatewayError> {
    let states = selected(layers, question).await?;
    let by: Vec<&str> = question.by.iter().map(String::as_str).collect();
    let plan = view.plans.compile_finish(&by).await?;
    let rows: usize = states.iter().map(RecordBatch::num_rows).sum();
    patience::in_turn(rows > LARGE_ROWS, run(plan, states)).await
}

async fn run(plan: Compiled, states: Vec<RecordBatch>) -> Result<RecordBatch, GatewayError> {
    Ok(plan.execute_whole(states).await?)
}

/// Adds a column that shows, for each row of `rows`, the measures of the same key in `part`; null where it has none.
fn add_part(rows: &RecordBatch, keys: usize, name: &str, part: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let matches = match_keys(&rows.columns()[..keys], &part.columns()[..keys], part.num_rows())?;
    let measures = &part.columns()[keys..];
    let values: Vec<ArrayRef> = measures.iter().map(|column| take(column, &matches, None)).collect::<Result<_, _>>()?;
    let fields: Fields = part.schema().fields()[keys..]
        .iter()
        .map(|field| Arc::new(Field::new(field.name(), field.data_type().clone(), true)))
        .collect();
    let column = StructArray::try_new(fields.clone(), values, None)?;
    let mut all_fields: Vec<Arc<Field>> = rows.schema().fields().iter().cloned().collect();
    all_fields.push(Arc::new(Field::new(name, DataType::Struct(fields), true)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(column));
    RecordBatch::try_new(Arc::new(Schema::new(all_fields)), columns)
}
