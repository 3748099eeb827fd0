//! Objects to columns: one record, or one STRUCT inside it, spread over the columns that are declared for it.

use arrow::array::ArrayRef;
use arrow::datatypes::Fields;
use arrow::error::ArrowError;
use views::Unreadable;

use super::column_builder::Column;
use super::json::{Cursor, Place, RawString};
use super::reject::{Read, Rejection};
use crate::RecordsError;

/// The columns of an object and how its keys find them.
#[derive(Debug)]
pub(super) struct Object {
    pub columns: Vec<Column>,
    keys: Keys,
    // The object that gave each column last: equal to `current` means given in this one.
    given_in: Vec<u64>,
    // The keys that differ from a column's name in case alone.
    near: Vec<Near>,
    current: u64,
}

/// Where the value of a key stands that differs from a column's name in case alone.
#[derive(Clone, Copy, Debug, Default)]
struct Near {
    /// The object that gave it.
    object: u64,
    /// How many such keys that object has.
    keys: usize,
    /// Where the value of the last one begins.
    value: Place,
}

impl Object {
    /// Columns for `declared` fields; arrays are made with the nullability of `stored`.
    pub fn new(declared: &Fields, stored: &Fields, unreadable: Unreadable) -> Result<Self, RecordsError> {
        let columns: Vec<Column> = declared
            .iter()
            .zip(stored)
            .map(|(declared, stored)| Column::new(declared, stored, unreadable))
            .collect::<Result<_, _>>()?;
        let keys = Keys::new(columns.iter().map(|column| column.name.as_str()));
        let count = columns.len();
        Ok(Self { columns, keys, given_in: vec![0; count], near: vec![Near::default(); count], current: 0 })
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
                Found::Exact(at) => {
                    self.read_column(at, cursor)?;
                    given += 1;
                }
                Found::Near(at) => {
                    self.note_near(at, cursor.place());
                    cursor.skip()?;
                }
                Found::Nothing => cursor.skip()?,
            }
        }
        if given < self.columns.len() { self.fill_missing(cursor) } else { Ok(()) }
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

    fn note_near(&mut self, at: usize, value: Place) {
        let known = &mut self.near[at];
        let keys = if known.object == self.current { known.keys + 1 } else { 1 };
        *known = Near { object: self.current, keys, value };
    }

    /// The columns of which no key has the name: from the only key that differs in case alone, or else the
    /// default or null.
    fn fill_missing(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        let end = cursor.place();
        for (at, column) in self.columns.iter_mut().enumerate() {
            if self.given_in[at] == self.current {
                continue;
            }
            let near = self.near[at];
            if near.object == self.current && near.keys == 1 {
                cursor.go_back(near.value);
                column.read(cursor).map_err(|rejection| rejection.within(&column.name))?;
            } else {
                column.read_missing().map_err(|rejection| rejection.within(&column.name))?;
            }
        }
        cursor.go_back(end);
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

    fn find(&mut self, key: RawString<'_>) -> Found {
        if !key.is_escaped {
            return self.column(key.raw.as_bytes());
        }
        let mut unescaped = std::mem::take(&mut self.unescaped);
        unescaped.clear();
        key.append_to(&mut unescaped);
        let found = self.column(&unescaped);
        self.unescaped = unescaped;
        found
    }

    fn column(&self, key: &[u8]) -> Found {
        let Some(candidates) = self.by_length.get(key.len()) else { return Found::Nothing };
        if let Some((_, at)) = candidates.iter().find(|(name, _)| name.as_bytes() == key) {
            return Found::Exact(*at);
        }
        let mut near = candidates.iter().filter(|(name, _)| name.as_bytes().eq_ignore_ascii_case(key));
        match (near.next(), near.next()) {
            (Some((_, at)), None) => Found::Near(*at),
            _ => Found::Nothing,
        }
    }
}

/// The column that a key belongs to.
enum Found {
    /// It has the key's name.
    Exact(usize),
    /// Its name differs from the key in the case of ASCII letters, and no other column's does.
    Near(usize),
    Nothing,
}
