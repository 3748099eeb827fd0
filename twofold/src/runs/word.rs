//! The words that values have in JSON, for tables.

use serde::Serialize;

/// The word that JSON has for a value that is one; nothing for any other.
pub fn word_of(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
