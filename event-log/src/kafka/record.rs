//! Kafka messages as records. Pure.
//!
//! The value of a message is the payload of its record, byte for byte. One that is a CloudEvent in binary mode becomes
//! that event in the structured form, here, before anybody sees the record: fingerprints, both layers and the archive
//! know one payload. Where it cannot, for attributes that are not UTF-8 or data that are not the JSON that they are
//! said to be, the value stays what it is, so that a record that is rejected for it keeps its bytes.

use bytes::Bytes;
use positions::{Offset, PartitionId, TimestampMicros};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};

use crate::cloud_event::{SPEC_VERSION, is_structured, structured};
use crate::{NewRecord, Record};

/// Header with the id of the event, where the payload has none.
const EVENT_ID: &str = "twofold-event-id";
/// Header with the correction of the client's clock: microseconds, decimal text.
const CLOCK_SHIFT: &str = "twofold-clock-shift";
/// What the attributes of a CloudEvent in binary mode begin with.
const ATTRIBUTE: &str = "ce_";
/// Header with the type of the value, in either mode of CloudEvents.
const CONTENT_TYPE: &str = "content-type";

/// The message as a record. A clock shift that is not a number is left out: the event counts as not corrected.
pub(super) fn read_message(message: &BorrowedMessage<'_>) -> Record {
    Record {
        partition: PartitionId(message.partition()),
        offset: Offset(message.offset()),
        timestamp: TimestampMicros(message.timestamp().to_millis().unwrap_or(0).saturating_mul(1_000)),
        payload: cloud_event(message).unwrap_or_else(|| Bytes::copy_from_slice(value(message))),
        event_id: header(message, EVENT_ID).map(Bytes::copy_from_slice),
        clock_shift: header(message, CLOCK_SHIFT).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()),
    }
}

fn value<'a>(message: &'a BorrowedMessage<'_>) -> &'a [u8] {
    message.payload().unwrap_or_default()
}

/// The structured form of a CloudEvent in binary mode; `None` for any other message, and where it has none.
fn cloud_event(message: &BorrowedMessage<'_>) -> Option<Bytes> {
    let headers = message.headers()?;
    let content_type = headers.iter().find(|header| header.key.eq_ignore_ascii_case(CONTENT_TYPE));
    let content_type = content_type.and_then(|header| header.value).map(std::str::from_utf8).transpose().ok()?;
    if content_type.is_some_and(is_structured) {
        return None;
    }
    let mut attributes = Vec::new();
    for header in headers.iter() {
        if let (Some(name), Some(value)) = (header.key.strip_prefix(ATTRIBUTE), header.value) {
            attributes.push((name, std::str::from_utf8(value).ok()?));
        }
    }
    let is_event = attributes.iter().any(|(name, _)| *name == SPEC_VERSION);
    if is_event { structured(attributes, content_type, value(message)).ok() } else { None }
}

fn header<'a>(message: &'a BorrowedMessage<'_>, name: &str) -> Option<&'a [u8]> {
    let headers = message.headers()?;
    headers.iter().find(|header| header.key == name)?.value
}

/// The headers that a record is sent with.
pub(super) fn headers_of(record: &NewRecord) -> Option<OwnedHeaders> {
    let shift = record.clock_shift?.to_string();
    let header = Header { key: CLOCK_SHIFT, value: Some(shift.as_str()) };
    Some(OwnedHeaders::new_with_capacity(1).insert(header))
}

/// A record's timestamp in Kafka's milliseconds. 0 would mean "now" to librdkafka, and negative ones are refused by
/// brokers, so the first millisecond of 1970 is the earliest.
pub(super) fn to_millis(timestamp: TimestampMicros) -> i64 {
    timestamp.0.div_euclid(1_000).max(1)
}
