//! `twofold query`: asks a running system in SQL and draws the answer.

use std::fmt;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use crate::arguments::QueryArguments;
use crate::client::Client;

/// Runs the command.
///
/// # Errors
/// Where no system answers, or it refuses the question.
pub async fn query(arguments: &QueryArguments) -> Result<()> {
    let client = Client::find(arguments.target.address.as_deref(), &arguments.target.data_dir)?;
    let answer = client.sql(&arguments.sql).await?;
    if arguments.json {
        println!("{answer}");
    } else {
        print!("{}", draw_answer(&answer)?);
    }
    Ok(())
}

/// One row, its columns in the order of the answer: a JSON map of ours would sort them by name.
struct Row(Vec<(String, Value)>);

#[derive(serde::Deserialize)]
struct Answer {
    rows: Vec<Row>,
    #[serde(default)]
    envelope: Value,
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(RowVisitor)
    }
}

struct RowVisitor;

impl<'de> Visitor<'de> for RowVisitor {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Row, M::Error> {
        let mut columns = Vec::new();
        while let Some(column) = map.next_entry()? {
            columns.push(column);
        }
        Ok(Row(columns))
    }
}

/// An answer as a table, and a line that says what it is based on.
///
/// # Errors
/// If the text is no answer.
pub fn draw_answer(text: &str) -> Result<String> {
    let answer: Answer = serde_json::from_str(text).context("the answer has an unknown form")?;
    let noun = if answer.rows.len() == 1 { "row" } else { "rows" };
    let based_on = describe_envelope(&answer.envelope);
    Ok(format!("{}{} {noun}{based_on}\n", draw_rows(&answer.rows), answer.rows.len()))
}

fn draw_rows(rows: &[Row]) -> String {
    let Some(first) = rows.first() else { return String::new() };
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(first.0.iter().map(|(name, _)| name));
    for row in rows {
        table.add_row(row.0.iter().map(|(_, value)| cell(value)));
    }
    for index in 0..first.0.len() {
        let is_numeric = rows.iter().any(|row| row.0.get(index).is_some_and(|(_, value)| value.is_number()));
        if let Some(column) = table.column_mut(index).filter(|_| is_numeric) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    format!("{table}\n")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The scalar fields of the envelope, and of each view's envelope where the answer draws on several.
fn describe_envelope(envelope: &Value) -> String {
    let Some(fields) = envelope.as_object() else { return String::new() };
    let views = fields.get("views").and_then(Value::as_object);
    let told: Vec<String> = match views {
        Some(views) => views.iter().map(|(view, one)| format!("{view}: {}", scalars(one))).collect(),
        None => vec![scalars(envelope)],
    };
    format!("; {}", told.join("; "))
}

fn scalars(envelope: &Value) -> String {
    let fields = envelope.as_object().into_iter().flatten();
    let told: Vec<String> = fields
        .filter(|(_, value)| !value.is_object() && !value.is_array() && !value.is_null())
        .map(|(name, value)| format!("{name} {}", cell(value)))
        .collect();
    told.join(", ")
}
