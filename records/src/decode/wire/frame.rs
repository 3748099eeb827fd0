//! What stands before a payload that names its schema: byte 0 and the id.
//!
//! # Source
//! Confluent Platform, "Schema Registry: Wire format".

use positions::SchemaId;
use views::SourceDefinition;

use crate::decode::schema::MAX_PAYLOAD_BYTES;

/// Bytes before what the schema describes.
pub(crate) const HEADER_BYTES: usize = 5;

/// The schema without which a payload cannot be read; `None` where it needs none: because it names none, because it is
/// rejected whatever the schema says, or because the source's payloads are JSON.
pub fn schema_id(source: &SourceDefinition, payload: &[u8]) -> Option<SchemaId> {
    let id = named_id(payload).filter(|_| source.format.has_schemas() && payload.len() <= MAX_PAYLOAD_BYTES);
    id.filter(|id| !source.reject_schemas.contains(id))
}

/// The id behind the byte 0 with which a payload begins that names its schema.
pub(crate) fn named_id(payload: &[u8]) -> Option<SchemaId> {
    match payload {
        [0, a, b, c, d, ..] => Some(SchemaId(u32::from_be_bytes([*a, *b, *c, *d]))),
        _ => None,
    }
}
