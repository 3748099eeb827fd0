//! Objects to columns: one event, or one STRUCT inside it, spread over the columns that are declared for it.

use arrow::array::ArrayRef;
use arrow::datatypes::Fields;
use arrow::error::ArrowError;
use views::{ColumnMapping, Unreadable};

use super::column_builder::Column;
use super::json::{Cursor, Place};
use super::keys::{Found, Keys};
use super::reject::{Read, Rejection};
use crate::RecordsError;

/// The columns of an object and the places in it where their values stand.
#[derive(Debug)]
pub(super) struct Object {
    pub columns: Vec<Column>,
    places: Level,
}

/// One object on the way to the columns: the event itself, or one that paths lead through.
#[derive(Debug)]
struct Level {
    keys: Keys,
    /// One for each key.
    slots: Vec<Slot>,
    /// Counts the objects that were read: what is marked with it belongs to the present one.
    current: u64,
}

/// What is read from the value of one key.
#[derive(Debug)]
struct Slot {
    /// The columns that are this value.
    columns: Vec<usize>,
    /// The columns that stand inside it.
    inside: Option<Level>,
    /// The object that gave the key last.
    given_in: u64,
    /// The keys that differ from this one in case alone.
    near: Near,
}

/// Where the value of a key stands that differs from a wanted one in case alone.
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
    /// Columns for `declared` fields, each read from the key of its name; arrays are made with the nullability of
    /// `stored`.
    pub fn new(declared: &Fields, stored: &Fields, unreadable: Unreadable) -> Result<Self, RecordsError> {
        Self::mapped(declared, stored, unreadable, &[])
    }

    /// The same, of an event whose columns are mapped; beyond the end of `mapping` by their names.
    pub fn mapped(
        declared: &Fields,
        stored: &Fields,
        unreadable: Unreadable,
        mapping: &[ColumnMapping],
    ) -> Result<Self, RecordsError> {
        let formats = mapping.iter().map(|mapping| mapping.format.as_ref()).chain(std::iter::repeat(None));
        let columns: Vec<Column> = declared
            .iter()
            .zip(stored)
            .zip(formats)
            .map(|((declared, stored), format)| Column::new(declared, stored, unreadable, format))
            .collect::<Result<_, _>>()?;
        let mut paths: Vec<(Vec<&str>, usize)> = Vec::with_capacity(columns.len());
        for (at, column) in columns.iter().enumerate() {
            let path = mapping.get(at).map(|mapping| mapping.path.as_slice()).filter(|path| !path.is_empty());
            let own_name = || vec![column.name.as_str()];
            paths.push((path.map_or_else(own_name, |path| path.iter().map(String::as_str).collect()), at));
        }
        let paths: Vec<(&[&str], usize)> = paths.iter().map(|(path, at)| (path.as_slice(), *at)).collect();
        let places = Level::new(&paths);
        Ok(Self { columns, places })
    }

    /// Appends one object. On an error the columns are uneven until [`Self::truncate`].
    pub fn read(&mut self, cursor: &mut Cursor<'_>) -> Read<()> {
        self.places.read(&mut self.columns, cursor)
    }

    /// Whether the last object gave none of the keys that columns are read from, in whatever case.
    pub fn is_strange(&self) -> bool {
        self.places.slots.iter().all(|slot| {
            slot.given_in != self.places.current && (slot.near.object != self.places.current || slot.near.keys == 0)
        })
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
}

impl Level {
    /// The places of columns, each given by the keys that lead to it from here: at least one.
    fn new(paths: &[(&[&str], usize)]) -> Self {
        let mut names: Vec<&str> = Vec::new();
        for (path, _) in paths {
            if !names.contains(&path[0]) {
                names.push(path[0]);
            }
        }
        let slot = |name: &&str| {
            let here = || paths.iter().filter(|(path, _)| path[0] == *name);
            let columns = here().filter(|(path, _)| path.len() == 1).map(|(_, at)| *at).collect();
            let inside: Vec<(&[&str], usize)> =
                here().filter(|(path, _)| path.len() > 1).map(|(path, at)| (&path[1..], *at)).collect();
            let inside = (!inside.is_empty()).then(|| Self::new(&inside));
            Slot { columns, inside, given_in: 0, near: Near::default() }
        };
        let slots = names.iter().map(slot).collect();
        Self { keys: Keys::new(names.into_iter()), slots, current: 0 }
    }

    fn read(&mut self, columns: &mut [Column], cursor: &mut Cursor<'_>) -> Read<()> {
        cursor.enter(b'{')?;
        self.current += 1;
        let mut given = 0;
        let mut is_first = true;
        while let Some(key) = cursor.next_key(is_first)? {
            is_first = false;
            match self.keys.find(key) {
                Found::Exact(at) => {
                    self.read_given(at, columns, cursor)?;
                    given += 1;
                }
                Found::Near(at) => {
                    self.note_near(at, cursor.place());
                    cursor.skip()?;
                }
                Found::Nothing => cursor.skip()?,
            }
        }
        if given < self.slots.len() { self.fill_missing(columns, cursor) } else { Ok(()) }
    }

    fn read_given(&mut self, at: usize, columns: &mut [Column], cursor: &mut Cursor<'_>) -> Read<()> {
        let slot = &mut self.slots[at];
        if slot.given_in == self.current {
            let column = columns[slot.first_column()].name.clone();
            return Err(Rejection::GivenTwice { column }.into());
        }
        slot.given_in = self.current;
        slot.read(columns, cursor)
    }

    fn note_near(&mut self, at: usize, value: Place) {
        let known = &mut self.slots[at].near;
        let keys = if known.object == self.current { known.keys + 1 } else { 1 };
        *known = Near { object: self.current, keys, value };
    }

    /// What no key of the very name gives: from the only key that differs in case alone, or else the default or null.
    fn fill_missing(&mut self, columns: &mut [Column], cursor: &mut Cursor<'_>) -> Read<()> {
        let end = cursor.place();
        for slot in &mut self.slots {
            if slot.given_in == self.current {
                continue;
            }
            if slot.near.object == self.current && slot.near.keys == 1 {
                cursor.go_back(slot.near.value);
                slot.read(columns, cursor)?;
            } else {
                slot.fill_missing_value(columns)?;
            }
        }
        cursor.go_back(end);
        Ok(())
    }
}

impl Slot {
    /// Reads a value for all columns that it holds; the cursor stands behind it afterwards.
    fn read(&mut self, columns: &mut [Column], cursor: &mut Cursor<'_>) -> Read<()> {
        let start = cursor.place();
        for (count, at) in self.columns.iter().enumerate() {
            if count > 0 {
                cursor.go_back(start);
            }
            let column = &mut columns[*at];
            column.read(cursor).map_err(|rejection| rejection.within(&column.name))?;
        }
        let Some(inside) = &mut self.inside else { return Ok(()) };
        cursor.go_back(start);
        if cursor.peek()? == b'{' {
            return inside.read(columns, cursor);
        }
        // Nothing stands inside of anything else.
        cursor.skip()?;
        inside.slots.iter().try_for_each(|slot| slot.fill_missing_value(columns))
    }

    fn fill_missing_value(&self, columns: &mut [Column]) -> Read<()> {
        for at in &self.columns {
            let column = &mut columns[*at];
            column.read_missing().map_err(|rejection| rejection.within(&column.name))?;
        }
        let inside = self.inside.iter().flat_map(|inside| &inside.slots);
        inside.into_iter().try_for_each(|slot| slot.fill_missing_value(columns))
    }

    /// A column that is read from this value or from inside it: every slot has one.
    fn first_column(&self) -> usize {
        let inside = || self.inside.as_ref().and_then(|inside| inside.slots.first()).map(Self::first_column);
        self.columns.first().copied().or_else(inside).unwrap_or_default()
    }
}
