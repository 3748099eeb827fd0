//! The form of names and indexes in Redis.

use positions::Index;
use xxhash_rust::xxh3::xxh3_64;

use crate::ServingError;

const STAMP_CHARS: usize = 32;
const CHECKSUM_CHARS: usize = 16;

/// The stamp, which the scripts compare; a checksum of the rest; JSON. A flipped bit in a number is still JSON: without
/// the checksum it would be an index that says something else.
pub(super) fn encode_index(index: &Index) -> Vec<u8> {
    let json = serde_json::to_string(index).expect("an index holds numbers and hex text, which always serialise");
    let stamp = index.stamp.to_string();
    format!("{stamp}{}{json}", checksum(&stamp, &json)).into_bytes()
}

/// Reads what [`encode_index`] wrote; `key` is for the error.
pub(super) fn decode_index(bytes: &[u8], key: &str) -> Result<Index, ServingError> {
    let corrupt = |reason: String| ServingError::Corrupt { what: format!("redis key {key}"), reason };
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(error.to_string()))?;
    let parts = text.split_at_checked(STAMP_CHARS);
    let parts = parts.and_then(|(stamp, rest)| Some((stamp, rest.split_at_checked(CHECKSUM_CHARS)?)));
    let (stamp, (told, json)) = parts.ok_or_else(|| corrupt(format!("{} bytes are too few", bytes.len())))?;
    if checksum(stamp, json) != told {
        return Err(corrupt("the checksum is wrong".to_owned()));
    }
    serde_json::from_str(json).map_err(|error| corrupt(error.to_string()))
}

fn checksum(stamp: &str, json: &str) -> String {
    format!("{:016x}", xxh3_64(format!("{stamp}{json}").as_bytes()))
}

/// Names may hold anything in SQL; in a key only letters, digits, `_`, `-` and `.` stand for themselves, so that no
/// name can end the hash tag or look like another one.
pub(super) fn escape(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => escaped.push(char::from(byte)),
            byte => escaped.push_str(&format!("%{byte:02x}")),
        }
    }
    escaped
}
