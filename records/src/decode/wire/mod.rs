//! Payloads that name their schema: Avro and Protobuf as the serializers of Confluent's schema registry write them.
//!
//! ```text
//!  byte 0 | id, 4 bytes, big endian | Avro: the datum   | Protobuf: path of the message, then the message
//!                    |                       |
//!                 Schemas --> Schema --------+--> JSON text --> the one decoder
//! ```
//!
//! In: a payload, and the schemas that are known by their ids. Out: JSON text that says the same.
//! Guarantee: pure; the same schema and payload give the same text, keys in the order of the schema (of a Protobuf map:
//! sorted). What is written is bounded by [`MAX_PAYLOAD_BYTES`](super::MAX_PAYLOAD_BYTES) and
//! [`MAX_DEPTH`](super::MAX_DEPTH), whatever the payload says of its own sizes.
//! Not here: where schemas come from (`registry/`), columns (`object.rs` and its neighbours).
//! Why JSON text in between: one set of rules for columns, mapping and leniency, whatever the format.
//!
//! | Avro | Protobuf | JSON |
//! |---|---|---|
//! | null, boolean, int, long | bool, integers | the same, 64 bits as a number |
//! | float, double | float, double | the shortest number that reads back; `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | string, enum, uuid | string; enum by its name, a number without one | text |
//! | bytes, fixed | bytes | text, base64 |
//! | decimal | `confluent.type.Decimal` | a number with all its digits |
//! | date | | `"2026-01-31"` |
//! | timestamp-millis, -micros, -nanos | `google.protobuf.Timestamp` | `"2026-01-31T12:00:00.123Z"` |
//! | local-timestamp-... | | the same without `Z` |
//! | time-millis, time-micros, duration | | as the type below: a number, base64 |
//! | | `google.protobuf.Duration` | `"1.500000000s"` |
//! | record, map | message, map | object |
//! | array | repeated | array |
//! | union | wrappers, `Value`, `Struct`, `ListValue` | the bare value |
//! | | a field with presence that is not set | no key |

mod avro;
mod avro_schema;
mod frame;
mod json_text;
mod protobuf;
mod schemas;
mod stored;
mod waiting;

pub use frame::schema_id;
pub(crate) use frame::{HEADER_BYTES, named_id};
pub use schemas::{Schema, Schemas};
pub use stored::{SchemaKind, SchemaReference, StoredSchema};
pub(crate) use waiting::first_missing;
pub use waiting::{Waiting, first_waiting, split_readable};
