//! Keys of a payload that may be meant for a declared column which the payload gives nothing.
//!
//! In: a source, some of its columns, one payload. Out: those columns to whose names a key comes near, each with it.
//! Guarantee: pure, and bounded whatever the payload; what a record is read as does not depend on it.
//! Not here: which keys a column takes (`object.rs`), what comes near (`views::Spelling`).
//! Why so: a column under a slightly other name is NULL in every row, or rejects each for NOT NULL, and no error says
//! that the value is there.

use std::collections::BTreeSet;

use views::{SourceDefinition, Spelling};

use super::json::Cursor;
use super::reject::Read;
use super::schema::{MAX_DEPTH, MAX_PAYLOAD_BYTES};

/// Keys of a payload that are looked at.
const MAX_KEYS: usize = 1_000;
/// Longer keys are passed over, as written: the name of a column has at most 200 bytes.
const MAX_KEY_BYTES: usize = 256;

/// The keys of `payload` that come near to the names of the `wanted` columns, which are given by their places among the
/// declared ones. A column of which the payload has the key, if only as null, has none; nor does a key count that
/// another declared column takes. Keys that no definition can name are left out.
///
/// Cost: the text is read over once, and each key compared with each wanted column.
pub fn near_keys(source: &SourceDefinition, wanted: &BTreeSet<usize>, payload: &[u8]) -> Vec<(usize, String)> {
    // What is no object is rejected, and its reason says so.
    let keys = top_level_keys(payload).unwrap_or_default();
    let declared = source.declared.fields();
    let is_taken = |key: &String| declared.iter().any(|column| column.name().eq_ignore_ascii_case(key));
    let is_free = |key: &&String| !is_taken(key) && is_nameable(key);
    let free: Vec<(&String, Spelling)> = keys.iter().filter(is_free).map(|key| (key, Spelling::of(key))).collect();
    let mut found = Vec::new();
    for at in wanted.iter().copied() {
        let Some(name) = declared.get(at).map(|column| column.name()) else { continue };
        // One alone is taken, of several none is.
        let same: Vec<&String> = keys.iter().filter(|key| key.eq_ignore_ascii_case(name)).collect();
        if same.len() == 1 || keys.contains(name) {
            continue;
        }
        let spelling = Spelling::of(name);
        let near = free.iter().filter(|(_, spelled)| spelling.is_near(spelled)).map(|(key, _)| *key);
        found.extend(same.into_iter().chain(near).map(|key| (at, key.clone())));
    }
    found
}

/// Whether a pipeline file can say the key without escapes.
fn is_nameable(key: &str) -> bool {
    !key.chars().any(|letter| letter.is_control() || "\"'`\\".contains(letter))
}

fn top_level_keys(payload: &[u8]) -> Read<BTreeSet<String>> {
    let payload: &[u8] = if payload.len() > MAX_PAYLOAD_BYTES { &[] } else { payload };
    let mut cursor = Cursor::new(std::str::from_utf8(payload).unwrap_or_default(), MAX_DEPTH);
    cursor.enter(b'{')?;
    let mut keys = BTreeSet::new();
    for number in 0..MAX_KEYS {
        let Some(key) = cursor.next_key(number == 0)? else { break };
        if key.raw.len() <= MAX_KEY_BYTES {
            keys.insert(key.text().into_owned());
        }
        cursor.skip()?;
    }
    Ok(keys)
}
