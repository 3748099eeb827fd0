//! What the leader remembers in the journal: small values below a prefix, written where they change.

use std::collections::BTreeMap;

use serde_json::Value;
use workflow::State;

/// Values by their names, without the prefix.
pub(super) type Notes = BTreeMap<String, Value>;

/// What the journal holds below a prefix.
pub(super) fn noted(state: &State, prefix: &str) -> Notes {
    let below = state.notes.range(prefix.to_owned()..);
    let below = below.map_while(|(key, value)| Some((key.strip_prefix(prefix)?.to_owned(), value.clone())));
    below.collect()
}

/// What is to be written so that the journal holds `wanted` in the place of `before`; `null` forgets.
pub(super) fn difference(prefix: &str, before: &Notes, wanted: &Notes) -> Vec<(String, Value)> {
    let gone = before.keys().filter(|name| !wanted.contains_key(*name)).map(|name| (name, Value::Null));
    let new = wanted.iter().filter(|(name, value)| before.get(*name) != Some(*value));
    let all = gone.chain(new.map(|(name, value)| (name, value.clone())));
    all.map(|(name, value)| (format!("{prefix}{name}"), value)).collect()
}
