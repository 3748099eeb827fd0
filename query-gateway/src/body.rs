//! The body of an answer as JSON text: rows, envelope, columns, and what else is told of the rows.
//!
//! Guarantee: columns stand in every answer, also where there is no row, with their SQL types and in the order of the
//! rows' members.

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use serde::Serialize;
use views::sql_name;

use crate::GatewayError;
use crate::json::{Writing, rows_to_json};

/// A column of an answer.
#[derive(Serialize)]
struct Column {
    name: String,
    /// In the words of SQL.
    #[serde(rename = "type")]
    data_type: String,
}

/// What stands behind rows and envelope.
#[derive(Serialize)]
struct Tail<'a, T> {
    columns: Vec<Column>,
    #[serde(flatten)]
    more: &'a T,
}

/// The columns of an answer, in order.
fn columns_of(rows: &RecordBatch) -> Vec<Column> {
    let columns = rows.schema_ref().fields().iter();
    columns.map(|field| Column { name: field.name().clone(), data_type: type_name(field.data_type()) }).collect()
}

/// Refuses an answer with two columns of one name: a row is an object by the names of columns.
///
/// # Errors
/// `bad-request` with the name.
pub(crate) fn check_names(rows: &RecordBatch) -> Result<(), GatewayError> {
    let schema = rows.schema();
    let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => {
            let reason = format!("two columns of the answer are named `{}`", pair[0]);
            Err(GatewayError::bad_with_hint(reason, "name one of them with AS"))
        }
        None => Ok(()),
    }
}

/// `{"rows": [{...}], "envelope": {...}, "columns": [{...}], ...}`, with the members of `more` at the end.
///
/// # Errors
/// `too-large`; else only for a defect.
pub(crate) fn answer_body(
    rows: &RecordBatch,
    envelope: &impl Serialize,
    writing: Writing,
    more: &impl Serialize,
) -> Result<String, GatewayError> {
    let tail = Tail { columns: columns_of(rows), more };
    let envelope = serde_json::to_string(envelope).expect("envelopes are plain data with text keys");
    let tail = serde_json::to_string(&tail).expect("columns and their like are plain data with text keys");
    // Both objects become one.
    let tail = tail.trim_start_matches('{');
    let text = format!("{{\"rows\":{},\"envelope\":{envelope},{tail}", rows_to_json(rows, writing)?);
    writing.check(text.len()).map(|()| text)
}

/// The SQL name of a type; an SQL query may have columns of types that no view has.
fn type_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Null => "NULL".to_owned(),
        DataType::UInt8 => "TINYINT UNSIGNED".to_owned(),
        DataType::UInt16 => "SMALLINT UNSIGNED".to_owned(),
        DataType::UInt32 => "INT UNSIGNED".to_owned(),
        DataType::UInt64 => "BIGINT UNSIGNED".to_owned(),
        DataType::Date64 => "DATE".to_owned(),
        DataType::Time32(_) | DataType::Time64(_) => "TIME".to_owned(),
        DataType::LargeList(_) | DataType::FixedSizeList(..) => "ARRAY".to_owned(),
        other => sql_name(other),
    }
}
