//! A payload to the JSON text that is decoded, whatever the format of the source.
//!
//! In: payload bytes, and the schemas that are known. Out: text; borrowed where the payload is text already.
//! Guarantee: pure; a payload without an id is read without schemas.
//! Not here: what the text says (`json.rs`, `object.rs`), how schemas read payloads (`wire`).
//! Why JSON objects are taken in sources of other formats: what is sent over HTTP is JSON, and no serializer of a
//! schema registry begins a payload with a brace.

use std::borrow::Cow;

use positions::Stone;
use views::{SourceDefinition, SourceFormat};

use super::reject::{Read, Rejection, shorten};
use super::schema::MAX_PAYLOAD_BYTES;
use super::wire::{HEADER_BYTES, Schemas, named_id};

/// The text of a payload.
pub(super) fn text_of<'a>(source: &SourceDefinition, schemas: &Schemas, payload: &'a [u8]) -> Read<Cow<'a, str>> {
    if let Some(stone) = Stone::of(payload) {
        return if stone.rest.is_empty() { Err(Rejection::Erased.into()) } else { utf8(stone.rest, 0) };
    }
    if payload.is_empty() {
        return Err(Rejection::Empty.into());
    }
    if payload.len() > MAX_PAYLOAD_BYTES {
        return Err(Rejection::TooLarge { bytes: payload.len() }.into());
    }
    match named_id(payload) {
        Some(_) if source.format == SourceFormat::Json => utf8(payload, HEADER_BYTES),
        Some(id) if source.reject_schemas.contains(&id) => {
            Err(Rejection::UnknownSchema { id, why: "which the source's option reject_schemas names" }.into())
        }
        Some(id) => schemas.schema(id)?.to_json(payload),
        None if source.format.has_schemas() && !begins_object(payload) => Err(no_schema(source, payload)),
        None => utf8(payload, 0),
    }
}

fn utf8(payload: &[u8], from: usize) -> Read<Cow<'_, str>> {
    let text = std::str::from_utf8(&payload[from..]);
    text.map(Cow::Borrowed).map_err(|error| Rejection::NotUtf8 { at: from + error.valid_up_to() }.into())
}

/// Whether a payload is JSON, or a try at it: its first letter is a brace.
fn begins_object(payload: &[u8]) -> bool {
    let text = payload.strip_prefix("\u{feff}".as_bytes()).unwrap_or(payload);
    text.trim_ascii_start().first() == Some(&b'{')
}

fn no_schema(source: &SourceDefinition, payload: &[u8]) -> Box<Rejection> {
    const SHOWN_BYTES: usize = 60;
    let start = &payload[..payload.len().min(SHOWN_BYTES)];
    let found = shorten(&String::from_utf8_lossy(start));
    Rejection::NoSchema { format: source.format.as_str(), found }.into()
}
