//! Position tokens: "as of what I have just sent", carried by a client from the collector to the gateway.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Offset, PartitionId, SourceName};

/// How far a client's own events reach, per source and partition. Opaque to clients; text is hex over JSON.
///
/// A token with a part that is not known, as a later version may write one, is refused and not read by half.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PositionToken {
    /// Per source and partition the offset behind the client's last event.
    #[serde(rename = "s")]
    pub sources: BTreeMap<SourceName, BTreeMap<PartitionId, Offset>>,
}

/// A text that is not a position token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a position token: {reason}; pass on the `token` of a collector answer unchanged")]
pub struct BadToken {
    reason: String,
}

/// Longer texts are refused unread.
const MAX_TOKEN_CHARS: usize = 64 * 1024;

impl PositionToken {
    /// Notes that an event was stored in `[.., offset)` of a partition; the largest offset stays.
    pub fn cover(&mut self, source: &SourceName, partition: PartitionId, offset: Offset) {
        let at = self.sources.entry(source.clone()).or_default().entry(partition).or_default();
        *at = (*at).max(offset);
    }

    /// The union of two tokens: at least as far as both.
    pub fn merge(&mut self, other: &PositionToken) {
        for (source, partitions) in &other.sources {
            for (partition, offset) in partitions {
                self.cover(source, *partition, *offset);
            }
        }
    }

    /// The textual form: safe in a URL and in a header.
    pub fn encode(&self) -> String {
        let json = serde_json::to_vec(self).expect("maps of names and numbers always serialise");
        json.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Reads the textual form.
    ///
    /// # Errors
    /// [`BadToken`]: the caller's input is wrong.
    pub fn decode(text: &str) -> Result<Self, BadToken> {
        let bad = |reason: &str| BadToken { reason: reason.to_owned() };
        if text.len() > MAX_TOKEN_CHARS || !text.len().is_multiple_of(2) || !text.is_ascii() {
            return Err(bad("wrong length or characters"));
        }
        let bytes: Result<Vec<u8>, _> =
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16)).collect();
        let bytes = bytes.map_err(|_| bad("a character is not a hex digit"))?;
        serde_json::from_slice(&bytes).map_err(|error| bad(&error.to_string()))
    }
}
