//! Finished values in one written form: what a receipt is a digest of, and what two computations are compared by.
//!
//! In: an answer. Out: a line of JSON for each row, without measures that are not exact, and the values of those apart.
//! Guarantee: pure. Equal rows give equal lines, whatever order they are in, and rows that differ in a bit of an exact
//! value give other ones: the lines are those of an answer over HTTP with `integers=text`, sorted by their bytes.
//! Not here: the digest itself, and what becomes of it (`twofold/src/receipt.rs`).

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use views::{AggregateClass, ViewDefinition};

use crate::json::{Integers, Writing, rows_to_json};
use crate::{GatewayError, GatewaySettings};

/// Rows of an answer as they are compared.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FinishedRows {
    /// Dimensions and exact measures of each row as a JSON object, members in the order of the answer, without blanks;
    /// sorted by their bytes.
    pub lines: Vec<String>,
    /// The other measures, where the view has any.
    pub approximate: Vec<ApproximateRow>,
}

/// The measures of one row that are not exact.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ApproximateRow {
    /// The dimensions of the row, as an answer over HTTP writes them.
    pub group: Map<String, Value>,
    /// The measures, likewise.
    pub values: Map<String, Value>,
}

impl FinishedRows {
    /// Those of an answer of a view.
    ///
    /// # Errors
    /// [`GatewayError::TooLarge`]: a row is longer than an answer may be.
    pub fn of(view: &ViewDefinition, rows: &RecordBatch) -> Result<Self, GatewayError> {
        let schema = rows.schema();
        let class = |name: &str| view.measures.iter().find(|measure| measure.name == name).map(|measure| measure.class);
        let is_approximate = |at: usize| class(schema.field(at).name()).is_some_and(|class| !is_exact(class));
        let is_dimension = |at: usize| class(schema.field(at).name()).is_none();
        let columns = 0..schema.fields().len();
        let exact = rows.project(&columns.clone().filter(|at| !is_approximate(*at)).collect::<Vec<usize>>())?;
        let measures: Vec<usize> = columns.clone().filter(|at| is_approximate(*at)).collect();
        let groups = rows.project(&columns.filter(|at| is_dimension(*at)).collect::<Vec<usize>>())?;
        let mut lines = (0..rows.num_rows()).map(|row| line_of(&exact, row)).collect::<Result<Vec<_>, _>>()?;
        lines.sort_unstable();
        let mut approximate = Vec::new();
        if !measures.is_empty() {
            let measures = rows.project(&measures)?;
            for row in 0..rows.num_rows() {
                approximate.push(ApproximateRow { group: map_of(&groups, row)?, values: map_of(&measures, row)? });
            }
        }
        Ok(Self { lines, approximate })
    }
}

/// Whether values of a class are the same bit for bit, however they were computed.
fn is_exact(class: AggregateClass) -> bool {
    match class {
        AggregateClass::Exact | AggregateClass::Unbounded => true,
        AggregateClass::Float | AggregateClass::Sketch { .. } => false,
    }
}

/// One row as a JSON object.
fn line_of(rows: &RecordBatch, row: usize) -> Result<String, GatewayError> {
    let writing = Writing { integers: Integers::Text, max_bytes: GatewaySettings::default().max_answer_bytes };
    let text = rows_to_json(&rows.slice(row, 1), writing)?;
    let inside = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    Ok(inside.unwrap_or(&text).to_owned())
}

fn map_of(rows: &RecordBatch, row: usize) -> Result<Map<String, Value>, GatewayError> {
    let line = line_of(rows, row)?;
    Ok(serde_json::from_str(&line).expect("what is written as an object is read as one"))
}
