//! Objects to columns: one record, or one STRUCT inside it, spread over the columns that are declared for it.

use arrow::array::ArrayRef;
use arrow::datatypes::Fields;
use arrow::error::ArrowError;

use super::column_builder::Column;
use super::json::{Cursor, RawString};
use super::reject::{Read, Rejection};
use crate::RecordsError;

/// The columns of an object and how its keys find them.
#[derive(Debug)]
pub(super) struct Object {
    pub columns: Vec<Column>,
    keys: Keys,
    // The object that gave each column last: equal to `current` means given in this one.
    given_in: Vec<u64>,
    current: u64,
}

impl Object {
    /// Columns for `declared` fields; arrays are made with the nullability of `stored`.
    pub fn new(declared: &Fields, stored: &Fields) -> Result<Self, RecordsError> {
        let columns: Vec<Column> = declared
            .iter()
            .zip(stored)
            .map(|(declared, stored)| Column::new(declared, stored))
            .collect::<Result<_, _>>()?;
        let keys = Keys::new(columns.iter().map(|column| column.name.as_str()));
        Ok(Self { given_in: vec![0; columns.len()], columns, keys, current: 0 })
    }

    /// Appends one object. On an error the columns are uneven until [`Self::truncate`].
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        cursor.enter(b'{')?;
        self.current += 1;
        let mut given = 0;
        let mut is_first = true;
        while let Some(key) = cursor.next_key(is_first)? {
            is_first = false;
            match self.keys.find(key) {
                Some(at) => {
                    self.read_column(at, cursor)?;
                    given += 1;
                }
                None => cursor.skip()?,
            }
        }
        if given < self.columns.len() { self.fill_missing() } else { Ok(()) }
    }

    /// Appends a row of nulls, whatever is declared: for a rejected record, or inside a null STRUCT.
    pub fn push_null(&mut self) {
        self.columns.iter_mut().for_each(Column::push_null);
    }

    /// Goes back to the first `rows` rows.
    pub fn truncate(&mut self, rows: usize) {
        self.columns.iter_mut().for_each(|column| column.truncate(rows));
    }

    /// The arrays of all columns.
    pub fn finish(self) -> Result<Vec<ArrayRef>, ArrowError> {
        self.columns.into_iter().map(Column::finish).collect()
    }

    fn read_column(&mut self, at: usize, cursor: &mut Cursor<'_>) -> Read<()> {
        let column = &mut self.columns[at];
        if self.given_in[at] == self.current {
            return Err(Rejection::GivenTwice { column: column.name.clone() }.into());
        }
        self.given_in[at] = self.current;
        column.read(cursor).map_err(|rejection| rejection.within(&column.name))
    }

    fn fill_missing(&mut self) -> Read<()> {
        for (column, given_in) in self.columns.iter_mut().zip(&self.given_in) {
            if *given_in == self.current {
                continue;
            }
            if !column.is_nullable {
                return Err(Rejection::NoValue { column: column.name.clone() }.into());
            }
            column.push_null();
        }
        Ok(())
    }
}

/// Finds the column of a key.
#[derive(Debug)]
struct Keys {
    // By length in bytes: few columns share one, so finding a key is one comparison, and most unknown keys cost none.
    by_length: Vec<Vec<(Box<str>, usize)>>,
    unescaped: Vec<u8>,
}

impl Keys {
    fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let mut by_length: Vec<Vec<(Box<str>, usize)>> = Vec::new();
        for (at, name) in names.enumerate() {
            if by_length.len() <= name.len() {
                by_length.resize_with(name.len() + 1, Vec::new);
            }
            by_length[name.len()].push((name.into(), at));
        }
        Self { by_length, unescaped: Vec::new() }
    }

    fn find(&mut self, key: RawString<'_>) -> Option<usize> {
        if !key.is_escaped {
            return self.column(key.raw.as_bytes());
        }
        let mut unescaped = std::mem::take(&mut self.unescaped);
        unescaped.clear();
        // A key that is not text cannot be the name of a column.
        let found = key.append_to(&mut unescaped).ok().and_then(|()| self.column(&unescaped));
        self.unescaped = unescaped;
        found
    }

    fn column(&self, key: &[u8]) -> Option<usize> {
        self.by_length.get(key.len())?.iter().find(|(name, _)| name.as_bytes() == key).map(|(_, at)| *at)
    }
}
