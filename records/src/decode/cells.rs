//! The values of a column, by kind, and how JSON becomes them.
//!
//! Not here: nulls (`column_builder.rs`), parsing text (`scalar.rs`, `instant.rs`), making arrays (`arrays.rs`).

use std::borrow::Cow;

use arrow::datatypes::{DataType, Field, FieldRef, TimeUnit};
use views::{TimeFormat, Unreadable, is_json, map_value, sql_name};

use super::column_builder::Column;
use super::json::Cursor;
use super::object::Object;
use super::reject::{Read, Rejection, shorten};
use super::{instant, scalar};
use crate::RecordsError;

/// Values, with a placeholder at every null.
#[derive(Debug)]
pub(super) enum Cells {
    Boolean(Vec<bool>),
    Integer {
        values: Vec<i64>,
        min: i64,
        max: i64,
    },
    Double(Vec<f64>),
    Float(Vec<f64>),
    Decimal {
        values: Vec<i128>,
        precision: u8,
        scale: i8,
    },
    Text {
        bytes: Vec<u8>,
        ends: Vec<i32>,
    },
    /// Any value, as it is written.
    Json {
        bytes: Vec<u8>,
        ends: Vec<i32>,
    },
    Date {
        values: Vec<i32>,
        format: Option<TimeFormat>,
    },
    Timestamp {
        values: Vec<i64>,
        format: Option<TimeFormat>,
    },
    Struct {
        object: Box<Object>,
        rows: usize,
    },
    List {
        items: Box<Column>,
        ends: Vec<i32>,
    },
    Map {
        entries: Box<Entries>,
        ends: Vec<i32>,
    },
}

/// Keys and values of maps, one map behind the other.
#[derive(Debug)]
pub(super) struct Entries {
    pub keys: Vec<u8>,
    pub key_ends: Vec<i32>,
    pub values: Column,
}

impl Cells {
    /// No values yet. `format`: how instants and days are written, where their form does not tell.
    pub fn new(
        declared: &FieldRef,
        stored: &FieldRef,
        unreadable: Unreadable,
        format: Option<&TimeFormat>,
    ) -> Result<Self, RecordsError> {
        let integer = |min, max| Self::Integer { values: Vec::new(), min, max };
        Ok(match (declared.data_type(), stored.data_type()) {
            (DataType::Boolean, _) => Self::Boolean(Vec::new()),
            (DataType::Int8, _) => integer(i8::MIN.into(), i8::MAX.into()),
            (DataType::Int16, _) => integer(i16::MIN.into(), i16::MAX.into()),
            (DataType::Int32, _) => integer(i32::MIN.into(), i32::MAX.into()),
            (DataType::Int64, _) => integer(i64::MIN, i64::MAX),
            (DataType::Float32, _) => Self::Float(Vec::new()),
            (DataType::Float64, _) => Self::Double(Vec::new()),
            (DataType::Decimal128(precision, scale), _) => {
                Self::Decimal { values: Vec::new(), precision: *precision, scale: *scale }
            }
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _) if is_json(declared) => {
                Self::Json { bytes: Vec::new(), ends: Vec::new() }
            }
            (DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View, _) => {
                Self::Text { bytes: Vec::new(), ends: Vec::new() }
            }
            (DataType::Date32, _) => Self::Date { values: Vec::new(), format: format.cloned() },
            (DataType::Timestamp(TimeUnit::Microsecond, _), _) => {
                Self::Timestamp { values: Vec::new(), format: format.cloned() }
            }
            (DataType::Struct(declared), DataType::Struct(stored)) => {
                Self::Struct { object: Box::new(Object::new(declared, stored, unreadable)?), rows: 0 }
            }
            (DataType::List(declared), DataType::List(stored)) => {
                Self::List { items: Box::new(Column::new(declared, stored, unreadable, None)?), ends: Vec::new() }
            }
            (DataType::Map(keyed, _), DataType::Map(stored, _)) => {
                let values = map_value(keyed).zip(map_value(stored)).ok_or_else(|| unusable(declared))?;
                let values = Column::new(values.0, values.1, unreadable, None)?;
                let entries = Entries { keys: Vec::new(), key_ends: Vec::new(), values };
                Self::Map { entries: Box::new(entries), ends: Vec::new() }
            }
            _ => return Err(unusable(declared)),
        })
    }

    /// Appends one value that is not null.
    ///
    /// `declared` is only quoted: the column is of that type.
    pub fn read(&mut self, cursor: &mut Cursor<'_>, declared: &DataType) -> Read<()> {
        let first = cursor.peek()?;
        match self {
            Self::Struct { object, rows } if first == b'{' => {
                object.read(cursor)?;
                *rows += 1;
                Ok(())
            }
            Self::List { items, ends } if first == b'[' => read_list(items, ends, cursor),
            Self::Map { entries, ends } if first == b'{' => read_map(entries, ends, cursor),
            Self::Text { bytes, ends } if first == b'"' => {
                cursor.string()?.append_to(bytes);
                ends.push(bytes.len() as i32);
                Ok(())
            }
            Self::Json { bytes, ends } => {
                let start = cursor.at();
                cursor.skip()?;
                bytes.extend_from_slice(cursor.since(start).as_bytes());
                ends.push(bytes.len() as i32);
                Ok(())
            }
            scalar => scalar.read_scalar(first, cursor, declared),
        }
    }

    /// Appends a placeholder.
    pub fn push_null(&mut self) {
        match self {
            Self::Boolean(values) => values.push(false),
            Self::Integer { values, .. } | Self::Timestamp { values, .. } => values.push(0),
            Self::Double(values) | Self::Float(values) => values.push(0.0),
            Self::Decimal { values, .. } => values.push(0),
            Self::Text { ends, .. } | Self::Json { ends, .. } => ends.push(last_end(ends)),
            Self::List { ends, .. } | Self::Map { ends, .. } => ends.push(last_end(ends)),
            Self::Date { values, .. } => values.push(0),
            Self::Struct { object, rows } => {
                object.push_null();
                *rows += 1;
            }
        }
    }

    /// Goes back to the first `count` values.
    pub fn truncate(&mut self, count: usize) {
        match self {
            Self::Boolean(values) => values.truncate(count),
            Self::Integer { values, .. } | Self::Timestamp { values, .. } => values.truncate(count),
            Self::Double(values) | Self::Float(values) => values.truncate(count),
            Self::Decimal { values, .. } => values.truncate(count),
            Self::Date { values, .. } => values.truncate(count),
            Self::Text { bytes, ends } | Self::Json { bytes, ends } => {
                ends.truncate(count);
                bytes.truncate(last_end(ends) as usize);
            }
            Self::List { items, ends } => {
                ends.truncate(count);
                items.truncate(last_end(ends) as usize);
            }
            Self::Map { entries, ends } => {
                ends.truncate(count);
                entries.truncate(last_end(ends) as usize);
            }
            Self::Struct { object, rows } => {
                object.truncate(count);
                *rows = count.min(*rows);
            }
        }
    }

    /// How many values inside these became null because they did not fit.
    pub fn misfits(&self) -> u64 {
        match self {
            Self::Struct { object, .. } => object.columns.iter().map(Column::misfits).sum(),
            Self::List { items, .. } => items.misfits(),
            Self::Map { entries, .. } => entries.values.misfits(),
            _ => 0,
        }
    }

    /// The bytes by which an event id is known: those of the text, or the decimal digits of the integer.
    pub fn append_last_id(&self, id: &mut Vec<u8>) {
        match self {
            Self::Text { bytes, ends } => {
                let start = ends.len().checked_sub(2).map_or(0, |before| ends[before]);
                id.extend_from_slice(&bytes[start as usize..last_end(ends) as usize]);
            }
            Self::Integer { values, .. } => {
                id.extend_from_slice(values.last().copied().unwrap_or_default().to_string().as_bytes());
            }
            _ => {}
        }
    }

    fn read_scalar(&mut self, first: u8, cursor: &mut Cursor<'_>, declared: &DataType) -> Read<()> {
        let start = cursor.at();
        let text = match first {
            b'"' => cursor.string()?.text(),
            _ => {
                cursor.skip()?;
                Cow::Borrowed(cursor.since(start))
            }
        };
        let kind = Kind::of(first);
        let pushed = kind.and_then(|kind| self.push_scalar(&text, kind));
        pushed.ok_or_else(|| wrong_type(declared, self.format(), cursor.since(start)))
    }

    /// How instants or days are written, where the column says so.
    fn format(&self) -> Option<&TimeFormat> {
        match self {
            Self::Date { format, .. } | Self::Timestamp { format, .. } => format.as_ref(),
            _ => None,
        }
    }

    /// A value that is written otherwise than the type is, but can mean nothing else, is taken.
    fn push_scalar(&mut self, text: &str, kind: Kind) -> Option<()> {
        let is_number = kind == Kind::Number;
        match self {
            Self::Boolean(values) => values.push(scalar::boolean(text)?),
            Self::Integer { values, min, max } => values.push(scalar::integer(text, *min, *max)?),
            Self::Double(values) => values.push(scalar::double(text)?),
            Self::Float(values) => values.push(scalar::float(text)?),
            Self::Decimal { values, precision, scale } => values.push(scalar::decimal(text, *precision, *scale)?),
            Self::Text { bytes, ends } => {
                bytes.extend_from_slice(text.as_bytes());
                ends.push(bytes.len() as i32);
            }
            Self::Date { values, format: Some(format) } => values.push(instant::date_as(text, format)?),
            Self::Date { values, .. } if is_number => values.push(instant::date_of_days(text)?),
            Self::Date { values, .. } => values.push(instant::date(text)?),
            Self::Timestamp { values, format: Some(format) } => values.push(instant::timestamp_as(text, format)?),
            Self::Timestamp { values, .. } if is_number => values.push(instant::epoch(text)?),
            Self::Timestamp { values, .. } => values.push(instant::timestamp(text)?),
            Self::Json { .. } | Self::Struct { .. } | Self::List { .. } | Self::Map { .. } => return None,
        }
        Some(())
    }
}

fn unusable(declared: &Field) -> RecordsError {
    let (name, data_type) = (declared.name(), declared.data_type());
    RecordsError::Unusable(format!("column {name} has type {data_type}, which events cannot have"))
}

/// What a scalar is in JSON.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    String,
    Number,
    Boolean,
}

impl Kind {
    /// By its first byte; `None` for objects and arrays.
    fn of(first: u8) -> Option<Self> {
        match first {
            b'"' => Some(Self::String),
            b't' | b'f' => Some(Self::Boolean),
            b'-' | b'0'..=b'9' => Some(Self::Number),
            _ => None,
        }
    }
}

fn read_list(items: &mut Column, ends: &mut Vec<i32>, cursor: &mut Cursor<'_>) -> Read<()> {
    cursor.enter(b'[')?;
    let mut count = 0;
    while cursor.next_element(count == 0)? {
        items.read(cursor).map_err(|rejection| rejection.within(&format!("[{count}]")))?;
        count += 1;
    }
    ends.push(items.len() as i32);
    Ok(())
}

fn read_map(entries: &mut Entries, ends: &mut Vec<i32>, cursor: &mut Cursor<'_>) -> Read<()> {
    cursor.enter(b'{')?;
    let first = entries.key_ends.len();
    while let Some(key) = cursor.next_key(entries.key_ends.len() == first)? {
        key.append_to(&mut entries.keys);
        entries.key_ends.push(entries.keys.len() as i32);
        entries.values.read(cursor).map_err(|rejection| rejection.within(&shown_key(&key.text())))?;
    }
    if let Some(key) = entries.given_twice(first) {
        let column = shown_key(&String::from_utf8_lossy(key));
        return Err(Rejection::GivenTwice { column }.into());
    }
    ends.push(entries.key_ends.len() as i32);
    Ok(())
}

/// The start of a key, for the path to a value: events may have any.
fn shown_key(key: &str) -> String {
    const MAX_CHARS: usize = 60;
    key.chars().take(MAX_CHARS).map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

impl Entries {
    fn truncate(&mut self, count: usize) {
        self.key_ends.truncate(count);
        self.keys.truncate(last_end(&self.key_ends) as usize);
        self.values.truncate(count);
    }

    /// A key that there is more than once from entry `first` on: nobody can know which value was meant.
    fn given_twice(&self, first: usize) -> Option<&[u8]> {
        // Up to so many are compared faster than they are sorted.
        const FEW: usize = 16;
        let mut places = first..self.key_ends.len();
        if places.len() <= FEW {
            let is_known = |at: &usize| (first..*at).any(|before| self.key(before) == self.key(*at));
            return places.find(is_known).map(|at| self.key(at));
        }
        let mut keys: Vec<&[u8]> = places.map(|at| self.key(at)).collect();
        keys.sort_unstable();
        keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
    }

    fn key(&self, at: usize) -> &[u8] {
        let start = at.checked_sub(1).map_or(0, |before| self.key_ends[before]);
        &self.keys[start as usize..self.key_ends[at] as usize]
    }
}

fn last_end(ends: &[i32]) -> i32 {
    ends.last().copied().unwrap_or_default()
}

fn wrong_type(declared: &DataType, format: Option<&TimeFormat>, found: &str) -> Box<Rejection> {
    let written = format.map(|format| format!(" written as '{}'", format.as_str()));
    let example = match declared {
        // A pattern takes none of the usual forms.
        _ if written.is_some() => "",
        DataType::Date32 => ", such as \"2026-01-31\"",
        DataType::Timestamp(..) => ", such as \"2026-01-31T12:00:00Z\" or 1769860800",
        // Where people look who wonder what no value at all is written as.
        _ if found == "\"\"" => " (no value is null, or no key)",
        _ => "",
    };
    let expected = format!("{}{example}{}", sql_name(declared), written.unwrap_or_default());
    Rejection::WrongType { column: String::new(), expected, found: shorten(found) }.into()
}
