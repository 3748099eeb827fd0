//! Columns of decoded rows, by name and type.
//!
//! Guarantee: a column that is missing or of another type is an error that names it, never a panic.

use arrow::array::Array;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

/// The column called `name` as an array of type `T`.
pub(crate) fn typed<'a, T: 'static>(rows: &'a RecordBatch, name: &str) -> Result<&'a T, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("column {name} is missing"));
    let found = rows.column_by_name(name).ok_or_else(missing)?;
    let wrong = || ArrowError::SchemaError(format!("column {name} is of type {}", found.data_type()));
    found.as_any().downcast_ref().ok_or_else(wrong)
}
