//! CloudEvents in binary mode, whose attributes stand beside their data: to the structured form, one object of both.
//!
//! ```text
//!  attributes, content type, data --> {"id": "7", "source": "/shop", ..., "data": ...}
//! ```
//!
//! In: attributes by their names, the type of the data, the data. Out: one JSON object (CloudEvents JSON event format).
//! Guarantee: pure; the same event gives the same bytes from whichever protocol, so that both layers and the archive
//! see one payload. Data stand there as they were written (JSON), as text, or in base64, and never look like
//! attributes.
//! Not here: how a protocol writes attributes (`kafka/record.rs`; the collector for HTTP); which of them an event must
//! have, which the columns of its source say, as for an event that was sent in the structured form.
//! Why so: decoding knows payloads alone. With this object a column of the source finds an attribute or a part of the
//! data by its path, whichever way the event came.
//!
//! # Source
//! CloudEvents 1.0.2: JSON event format, sections 2.1 and 3.1; Kafka and HTTP protocol bindings.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use serde::de::IgnoredAny;
use serde_json::Value;

/// The attribute that an event in binary mode is known by, without the prefix of its protocol.
pub const SPEC_VERSION: &str = "specversion";
/// The attribute that a protocol carries as the type of its content.
const CONTENT_TYPE: &str = "datacontenttype";
/// Editors put it before UTF-8, where it says nothing.
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// The data are not JSON, although their type says so: they cannot stand in an object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data of the CloudEvent are not JSON, which {content_type} says they are: {problem}")]
pub struct DataNotJson {
    content_type: String,
    problem: String,
}

/// How data stand in the object.
enum Kind {
    Json,
    Text,
    Bytes,
}

/// Whether content of this type is an event, or several, in the structured form already.
pub fn is_structured(content_type: &str) -> bool {
    const PREFIX: &str = "application/cloudevents";
    content_type.trim_start().get(..PREFIX.len()).is_some_and(|start| start.eq_ignore_ascii_case(PREFIX))
}

/// The structured form of an event in binary mode: its attributes by name, each a string, and its data. One that is
/// given twice stands there twice, and the decoder says what becomes of that.
///
/// Data are `data` as JSON where their type is JSON (`application/json`, `text/json`, `+json`) or none is given; `data`
/// as a string where it is text (`text/...`, XML) in UTF-8; `data_base64` otherwise. Empty data are none.
///
/// # Errors
/// [`DataNotJson`]: send other data with their own type.
pub fn structured<'a>(
    mut attributes: Vec<(&'a str, &'a str)>,
    content_type: Option<&'a str>,
    data: &[u8],
) -> Result<Bytes, DataNotJson> {
    let content_type = content_type.filter(|content_type| !content_type.trim().is_empty());
    let data = data_member(content_type, data)?;
    attributes.extend(content_type.map(|content_type| (CONTENT_TYPE, content_type)));
    attributes.sort_by_key(|(name, _)| *name);
    let members = attributes.into_iter().map(|(name, value)| format!("{}:{}", quoted(name), quoted(value)));
    let members: Vec<String> = members.chain(data).collect();
    Ok(Bytes::from(format!("{{{}}}", members.join(","))))
}

/// The data with their key; `None` where there are none.
fn data_member(content_type: Option<&str>, data: &[u8]) -> Result<Option<String>, DataNotJson> {
    if data.is_empty() {
        return Ok(None);
    }
    let in_base64 = || format!(r#""data_base64":"{}""#, BASE64_STANDARD.encode(data));
    let member = match kind_of(content_type) {
        Kind::Json => format!(r#""data":{}"#, json_text(data).map_err(|problem| not_json(content_type, problem))?),
        Kind::Text => {
            std::str::from_utf8(data).map_or_else(|_| in_base64(), |text| format!(r#""data":{}"#, quoted(text)))
        }
        Kind::Bytes => in_base64(),
    };
    Ok(Some(member))
}

fn kind_of(content_type: Option<&str>) -> Kind {
    // An event without a type of its data has JSON data (JSON event format, 3.1).
    let Some(content_type) = content_type else { return Kind::Json };
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.split_once('/') {
        Some((_, subtype)) if subtype == "json" || subtype.ends_with("+json") => Kind::Json,
        Some(("text", _)) => Kind::Text,
        Some((_, subtype)) if subtype == "xml" || subtype.ends_with("+xml") => Kind::Text,
        _ => Kind::Bytes,
    }
}

/// Exactly one JSON value, as written; only its grammar is looked at.
fn json_text(data: &[u8]) -> Result<&str, String> {
    let data = data.strip_prefix(BYTE_ORDER_MARK).unwrap_or(data);
    let text = std::str::from_utf8(data).map_err(|error| format!("not UTF-8 at byte {}", error.valid_up_to()))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| error.to_string())?;
    Ok(text.trim_ascii())
}

fn not_json(content_type: Option<&str>, problem: String) -> DataNotJson {
    DataNotJson { content_type: content_type.unwrap_or("the lack of a type").to_owned(), problem }
}

/// A text as a JSON string.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
