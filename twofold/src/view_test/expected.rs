//! The rows that a test expects of a view, checked against its columns.
//!
//! Guarantee: every expected row names all dimensions, instants as such, no column that the view lacks, and no group
//! twice. A measure that a row leaves out is not compared in it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};
use views::ViewDefinition;

use super::texts::{ExpectText, Folders};
use super::value::{canonical, may_be};

/// The most rows of an expectation, and of the answer that is held against it.
pub const MAX_ROWS: usize = 10_000;

/// A row of JSON.
pub type Row = Map<String, Value>;

/// What a test expects.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Expected {
    /// By group.
    pub rows: BTreeMap<Vec<String>, Row>,
    /// Records that could not be read, where that is expected.
    pub rejected: Option<u64>,
    /// Late events, as the events are written.
    pub late: Option<u64>,
    /// Events that were left out as copies, as they are written.
    pub copies: Option<u64>,
    /// How far a measure may be off, where the test says so.
    pub tolerance: BTreeMap<String, f64>,
}

impl Expected {
    pub(super) fn read(text: ExpectText, view: &ViewDefinition, folders: &Folders) -> Result<Self> {
        let rows = folders.text(text.rows.as_deref(), text.file.as_deref(), "rows").context("expect")?;
        let rows = rows.context("expect: it has neither `rows` nor `file`; `rows = ''` expects none")?;
        for (name, most) in &text.tolerance {
            let known = view.measures.iter().any(|measure| measure.name == *name);
            ensure!(
                known,
                "expect: tolerance names `{name}`, which is no measure of the view: it has {}",
                measures(view)
            );
            ensure!(*most >= 0.0 && most.is_finite(), "expect: the tolerance of `{name}` is no number from 0 on");
        }
        let mut groups = BTreeMap::new();
        for (number, row) in rows_of(&rows)?.into_iter().enumerate() {
            check_columns(&row, view).with_context(|| format!("expect: row {}", number + 1))?;
            if let Some(twice) = groups.insert(group_of(&row, view), row) {
                let group = describe_group(&twice, view);
                bail!("expect: row {} is a second one of group {group}", number + 1);
            }
        }
        let ExpectText { rejected, late, copies, tolerance, .. } = text;
        Ok(Self { rows: groups, rejected, late, copies, tolerance })
    }
}

/// The values of the dimensions, each in one writing.
pub(super) fn group_of(row: &Row, view: &ViewDefinition) -> Vec<String> {
    let value = |name: &str| row.get(name).unwrap_or(&Value::Null);
    view.dimensions.iter().map(|dimension| canonical(value(&dimension.name), &dimension.data_type)).collect()
}

/// A group as people read it: `page="/", minute="2026-01-01T12:00:00Z"`.
pub(super) fn describe_group(row: &Row, view: &ViewDefinition) -> String {
    let value = |name: &str| row.get(name).unwrap_or(&Value::Null);
    let named: Vec<String> =
        view.dimensions.iter().map(|dimension| format!("{}={}", dimension.name, value(&dimension.name))).collect();
    if named.is_empty() { "of everything".to_owned() } else { named.join(", ") }
}

/// An array of objects, or one object after another.
fn rows_of(text: &str) -> Result<Vec<Row>> {
    let rows: Result<Vec<Row>, serde_json::Error> = match text.trim_start().starts_with('[') {
        true => serde_json::from_str(text),
        false => serde_json::Deserializer::from_str(text).into_iter::<Row>().collect(),
    };
    let rows = rows.context("expect: rows are JSON objects, a line each or in one array")?;
    ensure!(rows.len() <= MAX_ROWS, "expect: there are {} rows, more than {MAX_ROWS}", rows.len());
    Ok(rows)
}

fn check_columns(row: &Row, view: &ViewDefinition) -> Result<()> {
    for name in row.keys() {
        let known = view.answers.field_with_name(name).is_ok();
        ensure!(known, "`{name}` is no column of the view: it has {}", columns(view));
    }
    for dimension in &view.dimensions {
        let name = &dimension.name;
        let Some(value) = row.get(name) else {
            bail!("dimension `{name}` is missing: a row names all of them, null where it is that");
        };
        ensure!(
            may_be(value, &dimension.data_type),
            "dimension `{name}` is no instant such as \"2026-01-01T12:00:00Z\", but {value}"
        );
    }
    Ok(())
}

fn columns(view: &ViewDefinition) -> String {
    let names: Vec<&str> = view.answers.fields().iter().map(|field| field.name().as_str()).collect();
    names.join(", ")
}

fn measures(view: &ViewDefinition) -> String {
    let names: Vec<&str> = view.measures.iter().map(|measure| measure.name.as_str()).collect();
    names.join(", ")
}
