//! CloudEvents in binary mode: the attributes are headers of the request, its body is the data.
//!
//! In: headers `ce-*` and `Content-Type`; later the body. Out: the event in the structured form, which is stored.
//! Guarantee: pure. A request without `ce-specversion` is no such event, nor is one whose type says that its body is in
//! the structured form.
//! Not here: what the object looks like (`event_log::cloud_event`), which attributes an event must have: the columns of
//! its source say it, as for an event in the structured form.
//! # Source
//! CloudEvents 1.0.2, HTTP protocol binding, section 3.1.

use std::borrow::Cow;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bytes::Bytes;

use crate::body::bad_body;
use crate::split::Sent;
use edge::{Problem, ProblemKind};
use event_log::cloud_event::{SPEC_VERSION, is_structured, structured};

const ATTRIBUTE: &str = "ce-";
/// Attributes that every event has: where one of them is given, a CloudEvent was meant.
const REQUIRED: [&str; 3] = ["id", "source", "type"];

/// The attributes of one event.
#[derive(Debug)]
pub(super) struct BinaryEvent {
    attributes: Vec<(String, String)>,
    content_type: Option<String>,
}

impl BinaryEvent {
    /// What the headers of a request say; `None` where it is no event in binary mode.
    ///
    /// # Errors
    /// 400 for a value that is not UTF-8, and for attributes without a version.
    pub fn of(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        let content_type = headers.get(header::CONTENT_TYPE);
        if content_type.is_some_and(|value| value.to_str().is_ok_and(is_structured)) {
            return Ok(None);
        }
        let mut attributes = Vec::new();
        for (name, value) in headers {
            if let Some(attribute) = name.as_str().strip_prefix(ATTRIBUTE) {
                attributes.push((attribute.to_owned(), attribute_text(name, value)?));
            }
        }
        let has = |wanted: &str| attributes.iter().any(|(name, _)| name == wanted);
        if !has(SPEC_VERSION) {
            let meant = REQUIRED.into_iter().find(|name| has(name));
            return meant.map_or(Ok(None), |name| Err(without_version(name)));
        }
        let content_type = content_type.map(|value| text_of(&header::CONTENT_TYPE, value.as_bytes().to_vec()));
        let content_type = content_type.transpose()?;
        Ok(Some(Self { attributes, content_type }))
    }

    /// The event with its data.
    ///
    /// # Errors
    /// 400 for data that are not the JSON that their type says they are.
    pub fn with_data(&self, data: &[u8]) -> Result<Sent, Problem> {
        let attributes = self.attributes.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let payload: Bytes = structured(attributes, self.content_type.as_deref(), data).map_err(|error| {
            bad_body(error.to_string()).with_hint("send other data with their own Content-Type: text, or any bytes")
        })?;
        Ok(Sent { index: 0, is_line: false, payload })
    }
}

/// The value of an attribute: without quotes, as older senders wrote them, then percent-decoded once.
fn attribute_text(name: &HeaderName, value: &HeaderValue) -> Result<String, Problem> {
    text_of(name, percent_decoded(&unquoted(value.as_bytes())))
}

/// A quoted string (RFC 7230, 3.2.6) to its content; any other value as it is.
fn unquoted(value: &[u8]) -> Cow<'_, [u8]> {
    let Some(inside) = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")) else {
        return Cow::Borrowed(value);
    };
    let (mut content, mut is_escaped) = (Vec::with_capacity(inside.len()), false);
    for byte in inside {
        is_escaped = *byte == b'\\' && !is_escaped;
        if !is_escaped {
            content.push(*byte);
        }
    }
    Cow::Owned(content)
}

/// A percent sign without two digits behind it stands for itself.
fn percent_decoded(value: &[u8]) -> Vec<u8> {
    let digit = |at: usize| value.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let (mut decoded, mut at) = (Vec::with_capacity(value.len()), 0);
    while let Some(byte) = value.get(at) {
        match (digit(at + 1), digit(at + 2)) {
            (Some(high), Some(low)) if *byte == b'%' => {
                // Two digits of four bits.
                decoded.push(((high << 4) | low) as u8);
                at += 3;
            }
            _ => {
                decoded.push(*byte);
                at += 1;
            }
        }
    }
    decoded
}

fn text_of(name: &HeaderName, value: Vec<u8>) -> Result<String, Problem> {
    let refused = |_| {
        bad_header(format!("the header {name} is not UTF-8"))
            .with_hint("write the UTF-8 bytes of other characters than ASCII as %XX")
    };
    String::from_utf8(value).map_err(refused)
}

fn without_version(name: &str) -> Problem {
    bad_header(format!("the header {ATTRIBUTE}{name} tells of a CloudEvent, and the header ce-specversion is missing"))
        .with_hint("send `ce-specversion: 1.0`, or the whole event as `Content-Type: application/cloudevents+json`")
}

fn bad_header(detail: String) -> Problem {
    Problem::new(ProblemKind::BadRequest, format!("{detail}; nothing was stored"))
}
