//! What a source has that it had not: columns, how they are read, and options.
//!
//! Not here: views (`difference.rs`).

use positions::format_span;

use super::changes::{ChangeKind, NamedChange, PartChange, PartKind, by_name, differs};
use crate::declared::{default_of, is_json};
use crate::source::SourceDefinition;
use crate::sql_name::sql_name;

/// What became of a source.
pub(super) fn source_change(former: Option<&SourceDefinition>, source: &SourceDefinition) -> NamedChange {
    let name = source.name.as_str();
    let Some(former) = former else { return NamedChange::new(name, ChangeKind::Added) };
    let mut parts = reading_parts(former, source);
    let kind = if parts.is_empty() { ChangeKind::Kept } else { ChangeKind::Changed };
    parts.extend(log_parts(former, source));
    if parts.is_empty() {
        return NamedChange::new(name, ChangeKind::Unchanged);
    }
    NamedChange { parts, ..NamedChange::new(name, kind) }
}

/// What decides what a record is read as: all views of the source are built anew where it differs.
pub(super) fn reading_parts(former: &SourceDefinition, source: &SourceDefinition) -> Vec<PartChange> {
    let (old, new) = (columns(former), columns(source));
    let mut parts = by_name(PartKind::Schema, &old, &new);
    let names =
        |columns: &[(String, String)]| columns.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    if parts.is_empty() {
        parts.extend(differs(PartKind::Schema, "", Some(names(&old)), Some(names(&new))));
    }
    let decides = decides_horizon(former, source);
    let options = |source: &SourceDefinition| -> Vec<(String, String)> {
        let ids: Vec<&str> = source.event_id_names().collect();
        let horizon = decides.then(|| ("horizon", format_span(source.horizon)));
        let named = [
            ("topic", source.topic.clone()),
            ("mode", source.mode.as_str().to_owned()),
            ("event_time", source.event_time_name().to_owned()),
            ("event_id", ids.join(", ")),
            ("late_after", format_span(source.late_after)),
            ("future_limit", format_span(source.future_limit)),
            ("strict", format!("{:?}", source.unreadable)),
            ("envelope", format!("{:?}", source.envelope)),
            ("format", source.format.as_str().to_owned()),
            ("reject_schemas", format!("{:?}", source.reject_schemas)),
        ];
        named.into_iter().chain(horizon).map(|(name, text)| (name.to_owned(), text)).collect()
    };
    parts.extend(by_name(PartKind::Reading, &options(former), &options(source)));
    parts
}

/// Whether the horizon decides for good which copies count: both are in kappa mode.
fn decides_horizon(former: &SourceDefinition, source: &SourceDefinition) -> bool {
    !former.is_recomputed() && !source.is_recomputed()
}

/// What the log and its borders are told, and no state depends on.
fn log_parts(former: &SourceDefinition, source: &SourceDefinition) -> Vec<PartChange> {
    let decides = decides_horizon(former, source);
    let options = |source: &SourceDefinition| -> Vec<(String, String)> {
        let partitions = source.partitions.map_or_else(|| "as they are".to_owned(), |written| written.to_string());
        let horizon = (!decides).then(|| ("horizon", format_span(source.horizon)));
        let named = [
            ("grid", source.border.grid.to_string()),
            ("gap", format_span(source.border.gap)),
            ("partitions", partitions),
        ];
        horizon.into_iter().chain(named).map(|(name, text)| (name.to_owned(), text)).collect()
    };
    by_name(PartKind::Option, &options(former), &options(source))
}

/// Declared columns by name: type, NULL or not, what is declared beside, and where the value stands.
fn columns(source: &SourceDefinition) -> Vec<(String, String)> {
    let columns = source.declared.fields().iter().zip(&source.mapping).map(|(field, mapping)| {
        let mut text = sql_name(field.data_type());
        if !field.is_nullable() {
            text.push_str(" NOT NULL");
        }
        if is_json(field) {
            text.push_str(" json");
        }
        if let Some(value) = default_of(field) {
            text.push_str(&format!(" DEFAULT {value}"));
        }
        if !mapping.path.is_empty() {
            text.push_str(&format!(" path {}", mapping.path.join(".")));
        }
        if let Some(format) = &mapping.format {
            text.push_str(&format!(" format {}", format.as_str()));
        }
        (field.name().clone(), text)
    });
    columns.collect()
}
