//! What an answer has that was not expected, and the other way round.
//!
//! Guarantee: pure. Exact measures are compared exactly, floating sums up to rounding, sketches within their bound, or
//! all of them by the tolerance that the test names.

use serde::Serialize;
use serde_json::Value;
use views::ViewDefinition;

use super::expected::{Expected, Row, describe_group, group_of};
use super::history::Kind;
use super::value::{Tolerance, is_same};

/// What a view answered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answered {
    /// Its rows.
    pub rows: Vec<Row>,
    /// What the envelope says of records that could not be read.
    pub rejected: u64,
    /// Of late events.
    pub late: u64,
    /// Of copies that are in no row.
    pub copies: u64,
}

/// One thing that is not as expected.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "what", rename_all = "lowercase")]
pub enum Difference {
    /// A row that the answer lacks.
    Missing {
        /// The row.
        row: Row,
    },
    /// A row that nobody expects.
    Unexpected {
        /// The row.
        row: Row,
    },
    /// A value of a row.
    Value {
        /// Its group, in words.
        group: String,
        /// The measure.
        measure: String,
        /// Its class.
        class: &'static str,
        /// As expected.
        expected: Value,
        /// As answered.
        found: Value,
    },
    /// A number that the envelope tells.
    Count {
        /// Its member there.
        member: &'static str,
        /// As expected.
        expected: u64,
        /// As answered.
        found: u64,
    },
}

/// All that is not as expected, rows in the order of their groups. `added`: copies that the history added.
pub fn differences(
    view: &ViewDefinition,
    expected: &Expected,
    answered: &Answered,
    kind: Kind,
    added: u64,
) -> Vec<Difference> {
    let mut differences = Vec::new();
    let mut left = expected.rows.clone();
    let mut unexpected = Vec::new();
    for row in &answered.rows {
        match left.remove(&group_of(row, view)) {
            Some(wanted) => compare_row(view, expected, (row, &wanted), &mut differences),
            None => unexpected.push(Difference::Unexpected { row: row.clone() }),
        }
    }
    differences.extend(left.into_values().map(|row| Difference::Missing { row }));
    differences.extend(unexpected);
    // A history of a seed brings events later than they are written.
    let late = if matches!(kind, Kind::Mixed { .. }) { None } else { expected.late };
    let counts = [
        ("rejected", expected.rejected, answered.rejected),
        ("late", late, answered.late),
        ("copies", expected.copies.map(|copies| copies + added), answered.copies),
    ];
    for (member, expected, found) in counts {
        match expected {
            Some(expected) if expected != found => differences.push(Difference::Count { member, expected, found }),
            _ => {}
        }
    }
    differences
}

fn compare_row(view: &ViewDefinition, expected: &Expected, (row, wanted): (&Row, &Row), to: &mut Vec<Difference>) {
    for measure in &view.measures {
        let Some(value) = wanted.get(&measure.name) else { continue };
        let found = row.get(&measure.name).unwrap_or(&Value::Null);
        let tolerance = Tolerance::of(measure.class, expected.tolerance.get(&measure.name).copied());
        if !is_same(found, value, &measure.data_type, tolerance) {
            to.push(Difference::Value {
                group: describe_group(row, view),
                measure: measure.name.clone(),
                class: measure.class.as_str(),
                expected: value.clone(),
                found: found.clone(),
            });
        }
    }
}
