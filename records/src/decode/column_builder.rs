//! One growing column: values read from JSON by the rules of its declared type.
//!
//! Guarantee: whatever a failed or interrupted read left behind, `truncate` brings the column back to its first rows.
//! A value that cannot be read and becomes NULL leaves nothing but that, and is counted until its row is taken back.
//! Why so: Arrow's own builders cannot take back a half-read row; plain vectors can, and become arrays without a copy.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::builder::NullBufferBuilder;
use arrow::datatypes::{DataType, FieldRef};
use arrow::error::ArrowError;
use views::{TimeFormat, Unreadable, default_of};

use super::arrays::to_array;
use super::cells::Cells;
use super::json::{Cursor, Place};
use super::reject::{Read, Rejection};
use super::schema::MAX_DEPTH;
use crate::RecordsError;

/// A column under construction.
#[derive(Debug)]
pub(super) struct Column {
    pub name: String,
    pub is_nullable: bool,
    /// What becomes of a value that does not fit; one in a column that is NOT NULL always is an error.
    pub unreadable: Unreadable,
    pub cells: Cells,
    declared: DataType,
    nulls: NullBufferBuilder,
    // The rows that are null because their value did not fit, in their order: whoever takes rows back takes them, too.
    misfits: Vec<usize>,
    stored: FieldRef,
    /// What a missing key stands for, as JSON; none: null.
    default: Option<Arc<str>>,
}

impl Column {
    /// An empty column that checks against `declared` and becomes an array of the type of `stored`. `format`: how its
    /// instants or days are written.
    ///
    /// # Errors
    /// A type that JSON cannot be decoded to, or a default that the column cannot take: a defect of whoever made the
    /// definition.
    pub fn new(
        declared: &FieldRef,
        stored: &FieldRef,
        unreadable: Unreadable,
        format: Option<&TimeFormat>,
    ) -> Result<Self, RecordsError> {
        let cells = Cells::new(declared, stored, unreadable, format)?;
        let mut column = Self {
            name: declared.name().clone(),
            is_nullable: declared.is_nullable(),
            unreadable,
            cells,
            declared: declared.data_type().clone(),
            nulls: NullBufferBuilder::new(0),
            misfits: Vec::new(),
            stored: stored.clone(),
            default: default_of(declared).map(Arc::from),
        };
        column.check_default()?;
        Ok(column)
    }

    /// Appends one value.
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        if cursor.peek()? != b'n' {
            let start = cursor.place();
            if let Err(rejection) = self.cells.read(cursor, &self.declared) {
                return self.take_as_null(rejection, start, cursor);
            }
            self.nulls.append_non_null();
            return Ok(());
        }
        cursor.literal("null")?;
        if !self.is_nullable {
            return Err(Rejection::NoValue { column: String::new(), is_strange: false }.into());
        }
        self.push_null();
        Ok(())
    }

    /// Appends what a missing key stands for.
    pub fn read_missing(&mut self) -> Read<()> {
        if let Some(default) = self.default.clone() {
            return self.read(&mut Cursor::new(&default, MAX_DEPTH));
        }
        if !self.is_nullable {
            return Err(Rejection::NoValue { column: String::new(), is_strange: false }.into());
        }
        self.push_null();
        Ok(())
    }

    /// Appends a null.
    pub fn push_null(&mut self) {
        self.cells.push_null();
        self.nulls.append_null();
    }

    /// How many values became null because they did not fit, those inside this column's among them.
    pub fn misfits(&self) -> u64 {
        self.misfits.len() as u64 + self.cells.misfits()
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
        self.misfits.truncate(self.misfits.partition_point(|row| *row < rows));
    }

    /// The array.
    pub fn finish(self) -> Result<ArrayRef, ArrowError> {
        let rows = self.nulls.len();
        to_array(self.cells, self.stored.data_type(), rows, self.nulls.build())
    }

    /// Told before the first record, and not by each of them.
    fn check_default(&mut self) -> Result<(), RecordsError> {
        let Some(default) = self.default.clone() else { return Ok(()) };
        let unreadable = std::mem::replace(&mut self.unreadable, Unreadable::Reject);
        let outcome = self.read_missing();
        self.unreadable = unreadable;
        self.truncate(0);
        outcome.map_err(|rejection| {
            let rejection = rejection.within(&self.name);
            RecordsError::Unusable(format!("the default {default} of column {}: {rejection}", self.name))
        })
    }

    /// Appends a null for the value that begins at `start`, if it is JSON and does nothing worse than not to fit.
    #[cold]
    fn take_as_null(&mut self, rejection: Box<Rejection>, start: Place, cursor: &mut Cursor<'_>) -> Read<()> {
        // A value without what it must have, a field of a STRUCT, does not fit either.
        let is_misfit = matches!(*rejection, Rejection::WrongType { .. } | Rejection::NoValue { .. });
        if self.unreadable == Unreadable::Reject || !self.is_nullable || !is_misfit {
            return Err(rejection);
        }
        cursor.go_back(start);
        cursor.skip()?;
        let row = self.len();
        self.truncate(row);
        self.misfits.push(row);
        self.push_null();
        Ok(())
    }
}
