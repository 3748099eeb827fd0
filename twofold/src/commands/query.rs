//! `twofold query`: asks a running system in SQL and draws the answer.

use std::fmt;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::client_of;
use crate::arguments::QueryArguments;
use crate::console::say;

/// Runs the command.
///
/// # Errors
/// Where no system answers, or it refuses the question.
pub async fn query(arguments: &QueryArguments) -> Result<()> {
    let client = client_of(&arguments.target)?;
    let answer = client.sql(&arguments.sql).await?;
    if arguments.json {
        say(&format!("{answer}\n"));
    } else {
        say(&draw_answer(&answer)?);
    }
    Ok(())
}

/// One row, its columns in the order of the answer: a JSON map of ours would sort them by name.
struct Row(Vec<(String, Value)>);

#[derive(serde::Deserialize)]
struct Answer {
    rows: Vec<Row>,
    #[serde(default)]
    columns: Vec<Column>,
    #[serde(default)]
    envelope: Value,
}

#[derive(serde::Deserialize)]
struct Column {
    name: String,
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
/// If the text is not an answer.
pub fn draw_answer(text: &str) -> Result<String> {
    let answer: Answer = serde_json::from_str(text).context("the answer has an unknown form")?;
    let noun = if answer.rows.len() == 1 { "row" } else { "rows" };
    let based_on = describe_envelope(&answer.envelope);
    Ok(format!("{}{} {noun}{based_on}\n", draw_rows(&answer), answer.rows.len()))
}

/// The rows under the names of their columns, which stand there without any row, too.
fn draw_rows(Answer { rows, columns, .. }: &Answer) -> String {
    let names: Vec<&str> = match rows.first() {
        Some(first) => first.0.iter().map(|(name, _)| name.as_str()).collect(),
        None => columns.iter().map(|column| column.name.as_str()).collect(),
    };
    if names.is_empty() {
        return String::new();
    }
    let mut table = Table::new();
    table.load_preset(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(names.iter());
    for row in rows {
        table.add_row(row.0.iter().map(|(_, value)| cell(value)));
    }
    for index in 0..names.len() {
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

/// A sentence per view that the answer draws on, and those on the rejected records that it read.
fn describe_envelope(envelope: &Value) -> String {
    let Some(fields) = envelope.as_object() else { return String::new() };
    let views: Vec<&Value> = match fields.get("views").and_then(Value::as_object) {
        Some(views) => views.values().collect(),
        None => vec![envelope],
    };
    let rejected = fields.get("rejected").and_then(Value::as_array).into_iter().flatten();
    let sentences = views.into_iter().map(describe_view).chain(rejected.map(describe_rejected));
    sentences.map(|sentence| format!("\n{sentence}")).collect()
}

/// Which rejected records of a source were read, and what is to be said of those that were not.
fn describe_rejected(extent: &Value) -> String {
    let field = |name: &str| extent.get(name).map(cell).unwrap_or_default();
    let reason = Some(field("reason")).filter(|reason| !reason.is_empty());
    let of_reason = reason.map_or_else(String::new, |reason| format!(" (those of reason {reason})"));
    let told =
        format!("source {}: {} of {} rejected records read{of_reason}", field("source"), field("rows"), field("total"));
    let notes = extent.get("notes").and_then(Value::as_array).into_iter().flatten();
    let notes = notes.chain(extent.get("withheld")).map(cell).filter(|note| !note.is_empty());
    [told].into_iter().chain(notes).collect::<Vec<_>>().join("; ")
}

fn describe_view(envelope: &Value) -> String {
    let field = |name: &str| envelope.get(name).map(cell).unwrap_or_default();
    let share = envelope.get("realtime_share").and_then(Value::as_f64).unwrap_or(0.0) * 100.0;
    let version = Some(field("version")).filter(|version| !version.is_empty());
    let of_batch = |records: String| version.as_ref().map_or_else(String::new, |_| format!(" with {records} records"));
    let batch =
        version.as_ref().map_or_else(|| "no batch version".to_owned(), |version| format!("batch version {version}"));
    let stale = envelope.get("stale").and_then(Value::as_bool).unwrap_or(false);
    let overflows = envelope.get("overflows").and_then(Value::as_object).into_iter().flat_map(|all| all.values());
    let part = |told: &Value, name: &str| told.get(name).map(cell).unwrap_or_default();
    let unfit: String =
        overflows.map(|told| format!("\n  NULL in {} groups: {}", part(told, "groups"), part(told, "hint"))).collect();
    // Who does not see all rows is not told how many records there are.
    let counts = envelope.get("batch_rows").map_or_else(String::new, |records| {
        format!(
            "{}, {} records ({share:.1} %) from realtime, {} late, {} rejected, {} copies",
            of_batch(cell(records)),
            field("realtime_rows"),
            field("late"),
            field("rejected"),
            field("copies"),
        )
    });
    let stale = if stale { ", STALE" } else { "" };
    format!("{}: {batch}{counts}, as of {}{stale}{unfit}", field("view"), field("as_of"))
}
