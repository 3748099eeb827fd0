//! What the tables of commands have in common: their look, and how values of an answer are read and written.

use comfy_table::{CellAlignment, ContentArrangement, Table, TableComponent, presets};
use serde_json::Value;

/// A table without rows.
pub(super) fn new_table(header: &[&str]) -> Table {
    let mut table = Table::new();
    // Without lines between columns a source with all its numbers fits into a hundred letters.
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY).remove_style(TableComponent::HorizontalLines);
    table.remove_style(TableComponent::MiddleIntersections).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table.column_iter_mut().for_each(|column| {
        column.set_padding((0, 1));
    });
    table
}

/// Aligns columns of numbers.
pub(super) fn align_right(table: &mut Table, columns: impl IntoIterator<Item = usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

/// The elements of a member; none where it is not there.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A member as [`cell`] writes it.
pub(super) fn field(value: &Value, name: &str) -> String {
    value.get(name).map(cell).unwrap_or_default()
}

/// Text without quotes, instants to the second, nothing for null.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => to_the_second(text),
        other => other.to_string(),
    }
}

/// `2026-01-31T12:00:00.123Z` as `2026-01-31T12:00:00Z`; any other text as it is.
fn to_the_second(text: &str) -> String {
    let is_instant = text.ends_with('Z') && text.as_bytes().get(10) == Some(&b'T');
    let seconds = text.get(..19).filter(|_| is_instant);
    seconds.map_or_else(|| text.to_owned(), |seconds| format!("{seconds}Z"))
}
