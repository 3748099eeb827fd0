//! Cursors: where the next page of an answer begins, carried by a client from one request to the next.
//!
//! Guarantee: a cursor goes on only with the order that it comes from; with any other view, definition, `by`, `order`
//! or `bucket` it is refused with what differs. Its key is compared and never decoded, so a forged one asks for other
//! rows, no more.
//! Not here: what a key is (`order.rs`).

use serde::{Deserialize, Serialize};
use views::ViewDefinition;

use crate::GatewayError;
use crate::order::OrderKey;

/// Longer texts are refused unread, and never made: they would fit into no URL.
const MAX_CURSOR_CHARS: usize = 32 * 1024;
/// Of what is in a cursor; another number means other contents.
const FORMAT: u8 = 1;
/// Parts what the key belongs to from the key.
const END: u8 = b'\n';

/// What a key belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scope {
    format: u8,
    view: String,
    definition: String,
    by: String,
    order: String,
    /// Spans that a time dimension is rolled up to; empty without.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    bucket: String,
}

impl Scope {
    /// Of an answer of `view` at this grain, in this order; `bucket` says the spans that it rolls up to.
    pub(crate) fn new(view: &ViewDefinition, by: &[String], order: &[OrderKey], bucket: Option<String>) -> Self {
        let keys: Vec<String> =
            order.iter().map(|key| format!("{}{}", if key.is_descending { "-" } else { "" }, key.column)).collect();
        Self {
            format: FORMAT,
            view: view.name.to_string(),
            definition: view.hash.to_string(),
            by: by.join(","),
            order: keys.join(","),
            bucket: bucket.unwrap_or_default(),
        }
    }

    /// As parameters of a request.
    fn written(&self) -> String {
        let bucket = if self.bucket.is_empty() { String::new() } else { format!("&bucket={}", self.bucket) };
        format!("by={}&order={}{bucket}", self.by, self.order)
    }

    /// The cursor for rows behind `key`: hex digits, safe in a URL. None where it would be too long for one.
    pub(crate) fn encode(&self, key: &[u8]) -> Option<String> {
        let mut bytes = serde_json::to_vec(self).ok()?;
        bytes.push(END);
        bytes.extend_from_slice(key);
        let is_short = bytes.len() * 2 <= MAX_CURSOR_CHARS;
        is_short.then(|| bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The key of a cursor that belongs here.
    ///
    /// # Errors
    /// [`GatewayError::BadRequest`]: the text is no cursor, or one of another answer.
    pub(crate) fn decode(&self, text: &str) -> Result<Vec<u8>, GatewayError> {
        let (of, key) = read(text).ok_or_else(|| {
            GatewayError::bad_with_hint("`cursor` is not a cursor", "pass on the `next` of an answer unchanged")
        })?;
        let begin_again = "leave out `cursor` to begin with the first page";
        if of.view != self.view {
            let reason = format!("`cursor` is of view {}, and this request asks view {}", of.view, self.view);
            return Err(GatewayError::bad_with_hint(reason, begin_again));
        }
        if (of.definition.as_str(), of.format) != (self.definition.as_str(), self.format) {
            let reason = format!("`cursor` is of an earlier definition of view {}", self.view);
            return Err(GatewayError::bad_with_hint(reason, begin_again));
        }
        if of != *self {
            let (of, asked) = (of.written(), self.written());
            let reason = format!("`cursor` goes on with `{of}`, and this request asks `{asked}`");
            let hint = "repeat the request that gave the cursor, with `cursor` added, or leave out `cursor`";
            return Err(GatewayError::bad_with_hint(reason, hint));
        }
        Ok(key)
    }
}

fn read(text: &str) -> Option<(Scope, Vec<u8>)> {
    if text.len() > MAX_CURSOR_CHARS || !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    let digits = (0..text.len()).step_by(2).map(|at| text.get(at..at + 2));
    let bytes: Vec<u8> = digits.map(|digits| u8::from_str_radix(digits?, 16).ok()).collect::<Option<_>>()?;
    let end = bytes.iter().position(|byte| *byte == END)?;
    let (scope, key) = bytes.split_at(end);
    Some((serde_json::from_slice(scope).ok()?, key.get(1..)?.to_vec()))
}
