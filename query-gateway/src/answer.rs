//! The answer: `finish(batch states (+) run states)` at the asked grain, in the asked order.
//!
//! In: sorted states of batch and realtime, filters, the dimensions to keep. Out: one batch of dimensions and finished
//! measures.
//! Guarantee: every state row of the pin that passes the filters is merged exactly once.
//! Not here: reading requests (`rows.rs`), SQL (`sql.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StructArray, UInt32Array};
use arrow::compute::{SortColumn, SortOptions, concat_batches, lexsort_to_indices, take, take_record_batch};
use arrow::datatypes::{DataType, Field, Fields, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use views::PlannedView;

use crate::GatewayError;
use crate::filter::{Filter, select};
use crate::states::SortedStates;

/// The column that holds the batch part of each measure.
const BATCH_PART: &str = "_batch";
/// The column that holds the realtime part of each measure.
const REALTIME_PART: &str = "_realtime";

const SLICE_ROWS: usize = 8_192;

/// The states of one pin, by layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LayerStates<'a> {
    /// The batch version.
    pub batch: Option<&'a SortedStates>,
    /// The runs, merged into chunks.
    pub realtime: &'a [Arc<SortedStates>],
}

/// One sort key of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OrderKey {
    /// The column of the answer.
    pub column: String,
    /// Largest first.
    pub is_descending: bool,
}

/// What to compute from the states.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Tests on dimensions.
    pub filters: Vec<Filter>,
    /// The dimensions to keep.
    pub by: Vec<String>,
    /// Sort keys; ties are broken by the dimensions.
    pub order: Vec<OrderKey>,
    /// At most this many rows.
    pub limit: usize,
    /// Whether each row also shows its batch and its realtime part.
    pub shows_parts: bool,
}

/// Answers a question.
pub(crate) async fn answer(
    view: &PlannedView,
    layers: LayerStates<'_>,
    question: &Question,
) -> Result<RecordBatch, GatewayError> {
    let all = finish(view, layers, question).await?;
    let top = sort_and_limit(&all, question)?;
    if !question.shows_parts {
        return Ok(top);
    }
    let batch = finish(view, LayerStates { realtime: &[], ..layers }, question).await?;
    let realtime = finish(view, LayerStates { batch: None, ..layers }, question).await?;
    let keys = question.by.len();
    debug_assert_eq!(top.num_columns(), keys + view.measures.len(), "an answer is dimensions, then measures");
    let with_batch = add_part(&top, keys, BATCH_PART, &batch)?;
    Ok(add_part(&with_batch, keys, REALTIME_PART, &realtime)?)
}

async fn finish(view: &PlannedView, layers: LayerStates<'_>, question: &Question) -> Result<RecordBatch, GatewayError> {
    let mut states = Vec::new();
    for sorted in layers.batch.into_iter().chain(layers.realtime.iter().map(Arc::as_ref)) {
        states.extend(in_slices(&select(sorted, &question.filters)?));
    }
    let by: Vec<&str> = question.by.iter().map(String::as_str).collect();
    let plan = view.plans.compile_finish(&by).await?;
    let finished = plan.execute(states).await?;
    Ok(concat_batches(&plan.output_schema(), &finished)?)
}

/// The rows in batches of the size that the engine works best with, and between which it lets others run.
pub(crate) fn in_slices(rows: &RecordBatch) -> impl Iterator<Item = RecordBatch> {
    let starts = (0..rows.num_rows()).step_by(SLICE_ROWS);
    starts.map(|start| rows.slice(start, SLICE_ROWS.min(rows.num_rows() - start)))
}

fn sort_and_limit(rows: &RecordBatch, question: &Question) -> Result<RecordBatch, ArrowError> {
    let asked = question.order.iter().map(|key| (key.column.as_str(), key.is_descending));
    let ties = question.by.iter().map(|dimension| (dimension.as_str(), false));
    let columns: Vec<SortColumn> = asked
        .chain(ties)
        .filter_map(|(name, descending)| {
            let values = rows.column_by_name(name)?.clone();
            Some(SortColumn { values, options: Some(SortOptions { descending, nulls_first: false }) })
        })
        .collect();
    if columns.is_empty() || rows.num_rows() <= 1 {
        return Ok(rows.slice(0, rows.num_rows().min(question.limit)));
    }
    take_record_batch(rows, &lexsort_to_indices(&columns, Some(question.limit))?)
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

fn match_keys(wanted: &[ArrayRef], found: &[ArrayRef], found_rows: usize) -> Result<UInt32Array, ArrowError> {
    if wanted.is_empty() {
        return Ok(UInt32Array::from(vec![(found_rows > 0).then_some(0)]));
    }
    let fields = wanted.iter().map(|column| SortField::new(column.data_type().clone())).collect();
    let converter = RowConverter::new(fields)?;
    let (wanted, found) = (converter.convert_columns(wanted)?, converter.convert_columns(found)?);
    let places: HashMap<&[u8], usize> = wanted.iter().enumerate().map(|(place, row)| (row.data(), place)).collect();
    let mut matches = vec![None; wanted.num_rows()];
    for (index, row) in (0..).zip(found.iter()) {
        if let Some(place) = places.get(row.data()) {
            matches[*place] = Some(index);
        }
    }
    Ok(UInt32Array::from(matches))
}
