//! Kafka messages as records. Pure.

use bytes::Bytes;
use positions::{Offset, PartitionId, TimestampMicros};
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Header, Headers, OwnedHeaders};

use crate::{NewRecord, Record};

/// Header with the id of the event, where the payload has none.
const EVENT_ID: &str = "twofold-event-id";
/// Header with the correction of the client's clock: microseconds, decimal text.
const CLOCK_SHIFT: &str = "twofold-clock-shift";

/// The message as a record. A clock shift that is not a number is left out: the event counts as not corrected.
pub(super) fn read_message(message: &BorrowedMessage<'_>) -> Record {
    Record {
        partition: PartitionId(message.partition()),
        offset: Offset(message.offset()),
        timestamp: TimestampMicros(message.timestamp().to_millis().unwrap_or(0).saturating_mul(1_000)),
        payload: message.payload().map_or_else(Bytes::new, Bytes::copy_from_slice),
        event_id: header(message, EVENT_ID).map(Bytes::copy_from_slice),
        clock_shift: header(message, CLOCK_SHIFT).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok()),
    }
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
