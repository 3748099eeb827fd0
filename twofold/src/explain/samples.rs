//! Some events of a group, as they were sent.
//!
//! Guarantee: at most as many as asked for, each shown up to 4 KiB of its payload. Nothing of them is kept.

use anyhow::Result;
use arrow::array::{Array, AsArray};
use batch_layer::recompute::CountedEvent;
use records::decode::column;
use records::master::{MasterSnapshot, PayloadStart};

use crate::rejected_route::{MAX_PAYLOAD_BYTES, text_of};

/// An event as it was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Where it is.
    pub event: CountedEvent,
    /// How the payload of its record begins.
    pub payload: String,
    /// `utf-8`, or `base64` for other bytes.
    pub encoding: &'static str,
    /// Bytes of the whole payload.
    pub payload_bytes: usize,
}

/// The first `most` of these events, with the payloads of their records.
///
/// # Errors
/// The object store failed.
pub async fn samples_of(master: &MasterSnapshot, events: &[CountedEvent], most: usize) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for event in events.iter().take(most) {
        for rows in master.read_range(event.partition, event.offset, event.offset.next()).await? {
            let Some(payloads) = rows.column_by_name(column::PAYLOAD) else { continue };
            // The first row of a record has its payload.
            let payloads = payloads.as_binary::<i32>();
            let Some(payload) = (0..payloads.len()).find(|row| payloads.is_valid(*row)).map(|row| payloads.value(row))
            else {
                continue;
            };
            let (text, encoding) = text_of(&PayloadStart::of(payload, MAX_PAYLOAD_BYTES));
            samples.push(Sample { event: *event, payload: text, encoding, payload_bytes: payload.len() });
            break;
        }
    }
    Ok(samples)
}
