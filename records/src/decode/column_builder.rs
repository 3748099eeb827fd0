//! One growing column: values read from JSON by the rules of its declared type.
//!
//! Guarantee: whatever a failed or interrupted read left behind, `truncate` brings the column back to its first rows.
//! Why so: Arrow's own builders cannot take back a half-read row; plain vectors can, and become arrays without a copy.

use arrow::array::ArrayRef;
use arrow::array::builder::NullBufferBuilder;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;

use super::arrays::to_array;
use super::cells::Cells;
use super::json::Cursor;
use super::reject::{Read, Rejection};
use crate::RecordsError;

/// A column under construction.
#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub is_nullable: bool,
    pub cells: Cells,
    declared: DataType,
    nulls: NullBufferBuilder,
    stored: FieldRef,
}

impl Column {
    /// An empty column that checks against `declared` and becomes an array of the type of `stored`.
    ///
    /// # Errors
    /// A type that JSON cannot be decoded to: a defect of whoever made the definition.
    pub fn new(declared: &FieldRef, stored: &FieldRef) -> Result<Self, RecordsError> {
        let cells = Cells::new(declared, stored)?;
        Ok(Self {
            name: declared.name().clone(),
            is_nullable: declared.is_nullable(),
            cells,
            declared: declared.data_type().clone(),
            nulls: NullBufferBuilder::new(0),
            stored: stored.clone(),
        })
    }

    /// Appends one value.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        if cursor.peek()? != b'n' {
            self.cells.read(cursor, &self.declared)?;
            self.nulls.append_non_null();
            return Ok(());
        }
        cursor.literal("null")?;
        if !self.is_nullable {
            return Err(Rejection::NoValue { column: String::new() }.into());
        }
        self.push_null();
        Ok(())
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        self.cells.push_null();
        self.nulls.append_null();
    }

    /// Whether the last value is null.
    pub fn is_last_null(&self) -> bool {
        self.nulls.len().checked_sub(1).is_none_or(|last| !self.nulls.is_valid(last))
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.nulls.len()
    }

    /// Goes back to the first `rows` values.
    pub fn truncate(&mut self, rows: usize) {
        self.nulls.truncate(rows);
        self.cells.truncate(rows);
    }

    /// The array.
    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        let rows = self.nulls.len();
        to_array(self.cells, self.stored.data_type(), rows, self.nulls.build())
    }
}
