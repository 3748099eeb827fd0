//! Answers of any engine as rows of plain values, and whether two of them are the same.
//!
//! Guarantee: integers and decimals are compared exactly, by value, whatever their width or scale; where one engine
//! gives a double, up to rounding. Without an order rows are compared as a multiset.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate};
use serde_json::Value;

/// What the rounding of sums in another order may do, in parts of the larger value, or of 1.
const ROUNDING: f64 = 1e-9;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    Null,
    Truth(bool),
    Text(String),
    /// An integer or a decimal: its digits, without those that say nothing.
    Exact(String),
    Float(f64),
    /// Microseconds since 1970; of a date those of its midnight.
    Time(i64),
}

pub type Row = Vec<Cell>;

impl Cell {
    /// A value as the gateway writes it, by the SQL name of its type.
    fn of_type(value: &Value, data_type: &str) -> Self {
        match (value, data_type) {
            (Value::Null, _) => Self::Null,
            (Value::Bool(truth), _) => Self::Truth(*truth),
            (Value::Number(number), "DOUBLE" | "FLOAT") => Self::Float(number.as_f64().unwrap()),
            (Value::Number(number), _) => Self::exact(&number.to_string()),
            (Value::String(text), "DATE") => Self::date(text),
            (Value::String(text), "TIMESTAMP") => Self::instant(text),
            (Value::String(text), name) if name.starts_with("DECIMAL") => Self::exact(text),
            (Value::String(text), "DOUBLE" | "FLOAT") => Self::Float(text.to_lowercase().parse().unwrap()),
            (Value::String(text), _) => Self::Text(text.clone()),
            (other, name) => panic!("a value of type {name} that no query asks for: {other}"),
        }
    }

    /// A value as `scripts/duckdb/answer.py` writes it.
    fn of_duckdb(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(truth) => Self::Truth(*truth),
            Value::Number(number) => Self::Float(number.as_f64().unwrap()),
            Value::String(text) => Self::Text(text.clone()),
            tagged => {
                let text = |tag: &str| tagged[tag].as_str();
                let exact = text("exact").map(Self::exact);
                let date = text("date").map(Self::date);
                exact.or(date).unwrap_or_else(|| Self::instant(text("instant").expect("a tag that is known")))
            }
        }
    }

    fn exact(digits: &str) -> Self {
        let short = if digits.contains('.') { digits.trim_end_matches('0').trim_end_matches('.') } else { digits };
        Self::Exact(if short == "-0" { "0".to_owned() } else { short.to_owned() })
    }

    fn date(text: &str) -> Self {
        let date: NaiveDate = text.parse().unwrap();
        Self::Time(date.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp_micros())
    }

    fn instant(text: &str) -> Self {
        Self::Time(DateTime::parse_from_rfc3339(text).unwrap().timestamp_micros())
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Exact(digits) => Some(digits.parse().unwrap()),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Float(_), _) | (_, Self::Float(_)) => {
                let (Some(one), Some(two)) = (self.number(), other.number()) else { return false };
                let both_nan = one.is_nan() && two.is_nan();
                both_nan || one == two || (one - two).abs() <= ROUNDING * one.abs().max(two.abs()).max(1.0)
            }
            _ => self == other,
        }
    }
}

/// The rows of an answer of the gateway.
pub fn rows_of(json: &str) -> Vec<Row> {
    let answer: Value = serde_json::from_str(json).unwrap();
    let columns = answer["columns"].as_array().unwrap();
    let row = |row: &Value| {
        let cell = |column: &Value| {
            let (name, data_type) = (column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
            Cell::of_type(&row[name], data_type)
        };
        columns.iter().map(cell).collect()
    };
    answer["rows"].as_array().unwrap().iter().map(row).collect()
}

/// The rows of an answer of DuckDB.
pub fn rows_of_duckdb(rows: &Value) -> Vec<Row> {
    let row = |row: &Value| row.as_array().unwrap().iter().map(Cell::of_duckdb).collect();
    rows.as_array().unwrap().iter().map(row).collect()
}

/// What is different, in words.
pub fn difference(ours: &[Row], theirs: &[Row], is_ordered: bool) -> Option<String> {
    if ours.len() != theirs.len() {
        return Some(format!("{} rows, not {}: {:?} and {:?}", ours.len(), theirs.len(), ours.first(), theirs.first()));
    }
    if is_ordered {
        let mut pairs = ours.iter().zip(theirs).enumerate();
        return pairs
            .find(|(_, (one, two))| !is_same_row(one, two))
            .map(|(at, (one, two))| format!("row {at} is {one:?}, not {two:?}"));
    }
    // Numbers that are a double somewhere are no keys: they are nearly the same.
    let rows = ours.iter().chain(theirs);
    let floats = rows.flat_map(|row| row.iter().enumerate().filter(|(_, cell)| matches!(cell, Cell::Float(_))));
    let floats: BTreeSet<usize> = floats.map(|(column, _)| column).collect();
    let key = |row: &Row| {
        let exact = row.iter().enumerate().filter(|(column, _)| !floats.contains(column));
        format!("{:?}", exact.map(|(_, cell)| cell).collect::<Vec<_>>())
    };
    let mut left: BTreeMap<String, Vec<&Row>> = BTreeMap::new();
    for row in theirs {
        left.entry(key(row)).or_default().push(row);
    }
    for row in ours {
        let candidates = left.entry(key(row)).or_default();
        match candidates.iter().position(|candidate| is_same_row(row, candidate)) {
            Some(place) => {
                candidates.swap_remove(place);
            }
            None => {
                let other = candidates.first().copied().or_else(|| left.values().flatten().next().copied());
                return Some(format!("a row {row:?} that is not there, but for example {other:?}"));
            }
        }
    }
    None
}

fn is_same_row(one: &[Cell], two: &[Cell]) -> bool {
    one.len() == two.len() && one.iter().zip(two).all(|(one, two)| one.is_same(two))
}

#[test]
fn what_differs_in_more_than_rounding_is_found() {
    let row =
        |text: &str, exact: &str, float: f64| vec![Cell::Text(text.to_owned()), Cell::exact(exact), Cell::Float(float)];
    let ours = [row("a", "1.50", 0.1), row("a", "1.50", 3.0), row("b", "2", -0.0)];
    let same = [row("b", "2.00", 0.0), row("a", "1.5", 3.0 + 1e-12), row("a", "1.5", 0.1)];
    assert_eq!(difference(&ours, &same, false), None);
    assert!(difference(&ours, &same, true).is_some(), "another order");
    assert!(difference(&ours, &same[1..], false).is_some(), "a row less");
    for other in [row("b", "2.01", 0.0), row("b", "2", 1e-6), row("c", "2", 0.0), row("a", "1.5", 0.1)] {
        let others = [other, same[1].clone(), same[2].clone()];
        assert!(difference(&ours, &others, false).is_some(), "{others:?}");
    }
    let alone = |cell: Cell| [vec![cell]];
    assert_eq!(difference(&alone(Cell::exact("0.50")), &alone(Cell::Float(0.5)), false), None);
    assert!(difference(&alone(Cell::Null), &alone(Cell::Float(0.0)), false).is_some());
    assert!(difference(&alone(Cell::Text("1".to_owned())), &alone(Cell::exact("1")), false).is_some());
}
