//! What a declared column says beyond its Arrow type, as metadata of its field: that its text is JSON, and its DEFAULT.
//!
//! Guarantee: pure. Fields of `SourceDefinition::declared` alone bear it, JSON also inside STRUCT, ARRAY and MAP;
//! stored types and what plans read know nothing of it.
//! Why so: JSON is stored as text, which every reader of Delta tables understands; decoding alone tells it from
//! VARCHAR.

use arrow::datatypes::{DataType, Field};

/// Metadata key of the declared type, where Arrow has none of its own for it.
const TYPE: &str = "twofold.type";
const JSON: &str = "json";
/// Metadata key of the value for a missing key, as JSON text.
const DEFAULT: &str = "twofold.default";

/// Whether a column of text takes any JSON value, and keeps it as it is written.
pub fn is_json(field: &Field) -> bool {
    field.metadata().get(TYPE).is_some_and(|name| name == JSON)
}

/// What a missing key stands for, as JSON text that the column itself takes; `None`: NULL, where that is allowed.
pub fn default_of(field: &Field) -> Option<&str> {
    field.metadata().get(DEFAULT).map(String::as_str)
}

/// The field, a VARCHAR, declared as JSON.
pub fn as_json(field: Field) -> Field {
    with(field, TYPE, JSON)
}

/// The field with a value for a missing key, as JSON text.
pub fn with_default(field: Field, json: &str) -> Field {
    with(field, DEFAULT, json)
}

fn with(field: Field, key: &str, value: &str) -> Field {
    let mut metadata = field.metadata().clone();
    metadata.insert(key.to_owned(), value.to_owned());
    field.with_metadata(metadata)
}

/// Whether the column is JSON, or holds some.
pub(crate) fn holds_json(field: &Field) -> bool {
    match field.data_type() {
        DataType::List(inside) | DataType::Map(inside, _) => holds_json(inside),
        DataType::Struct(fields) => fields.iter().any(|field| holds_json(field)),
        _ => is_json(field),
    }
}

/// What a definition or a reading depends on beside a column's name, type and NOT NULL; empty for most columns. What is
/// inside STRUCT, ARRAY and MAP the text of the type tells.
pub fn declared_extras(field: &Field) -> String {
    let json = if is_json(field) { " json" } else { "" };
    let default = default_of(field).map_or(String::new(), |value| format!(" default {value:?}"));
    format!("{json}{default}")
}
