//! Erasing: what is left of a record of which events were erased.
//!
//! In: a record as the log holds it, and which of its events are erased. Out: the record with a stone for its payload
//! (`positions::Stone`): without any event, or with an array of those that are left, each under its number.
//! Guarantee: pure, so both layers make the same of a record, whenever they read it; erasing twice is erasing once.
//! What stands around several events is erased with any of them. A record that nobody can divide is erased whole.
//! Not here: which events (`../erased_list.rs`), what decoding makes of a stone (`rows.rs`).

use std::collections::BTreeSet;

use bytes::Bytes;
use event_log::Record;
use positions::{Erased, ErasedItems, Stone};
use views::SourceDefinition;

use super::batch::rejected_rows;
use super::decoder::Decoder;
use super::envelope;
use super::json::Cursor;
use super::reject::Read;
use super::rows::{ERASED_EVENT, ERASED_REJECTED, MAX_REJECTED};
use super::schema::MAX_DEPTH;
use super::text::text_of;
use super::wire::{Schemas, first_missing};
use crate::RecordsError;

/// Replaces the records of which something was erased by what is left of them.
///
/// # Errors
/// [`RecordsError::SchemaMissing`]: without the schema nobody knows which events of a record are left; learn it and
/// call again.
pub fn leave_out(
    decoder: &Decoder,
    schemas: &Schemas,
    erased: &Erased,
    records: &mut [Record],
) -> Result<(), RecordsError> {
    if erased.is_empty() {
        return Ok(());
    }
    for record in records {
        let Some(items) = erased.of(record.partition, record.offset) else { continue };
        if *items != ErasedItems::All
            && let Some(missing) = first_missing(decoder.source(), schemas, std::slice::from_ref(record))
        {
            return Err(missing.because("it is not known here yet"));
        }
        *record = erase(decoder, schemas, record, items);
    }
    Ok(())
}

/// What is left of a record.
pub fn erase(decoder: &Decoder, schemas: &Schemas, record: &Record, items: &ErasedItems) -> Record {
    let rest = match items {
        ErasedItems::All => None,
        ErasedItems::Some(items) => rest_without(decoder, schemas, record, items),
    };
    let stone = Stone { fingerprint: record.fingerprint(), rest: rest.as_deref().unwrap_or_default().as_bytes() };
    let payload = Bytes::from(stone.to_payload());
    match rest {
        Some(_) => Record { payload, ..record.clone() },
        None => Record { payload, event_id: None, clock_shift: None, ..record.clone() },
    }
}

/// The events that are left, as an array; `None` where none is.
fn rest_without(decoder: &Decoder, schemas: &Schemas, record: &Record, items: &BTreeSet<i32>) -> Option<String> {
    let text = text_of(decoder.source(), schemas, &record.payload).ok()?;
    let is_stone = Stone::of(&record.payload).is_some();
    let events = events_of(decoder.source(), is_stone, &text).ok()?;
    let numbers = numbers_of(decoder, record, &events)?;
    let left = events.into_iter().zip(numbers).map(|(event, number)| match number {
        Some((number, false)) if items.contains(&number) => ERASED_EVENT,
        Some((number, true)) if items.contains(&number) => ERASED_REJECTED,
        _ => event,
    });
    let left: Vec<&str> = left.collect();
    left.iter().any(|event| ![ERASED_EVENT, ERASED_REJECTED].contains(event)).then(|| format!("[{}]", left.join(",")))
}

/// The text of the first event of a record, where its events can be told apart.
pub(crate) fn first_event(source: &SourceDefinition, schemas: &Schemas, payload: &[u8]) -> Option<String> {
    let text = text_of(source, schemas, payload).ok()?;
    let events = events_of(source, Stone::of(payload).is_some(), &text).ok()?;
    events.first().map(|event| (*event).to_owned())
}

/// The texts of the events of a record, in their order.
fn events_of<'a>(source: &SourceDefinition, is_stone: bool, text: &'a str) -> Read<Vec<&'a str>> {
    let mut cursor = Cursor::new(text, MAX_DEPTH);
    let is_checked = !is_stone && envelope::enter(&source.envelope, &mut cursor)?;
    let mut events = Vec::new();
    if cursor.peek()? == b'[' {
        cursor.enter(b'[')?;
        while cursor.next_element(events.is_empty())? {
            events.push(skip_event(&mut cursor)?);
        }
        return Ok(events);
    }
    events.push(skip_event(&mut cursor)?);
    while !is_checked && !cursor.is_at_end() {
        events.push(skip_event(&mut cursor)?);
    }
    Ok(events)
}

fn skip_event<'a>(cursor: &mut Cursor<'a>) -> Read<&'a str> {
    cursor.peek()?;
    let from = cursor.at();
    cursor.skip()?;
    Ok(cursor.since(from))
}

/// The number of each event among the rows of its record, and whether it is a rejected one, where there are so many
/// that it matters; `None` for one that is no row, of which there may be some where many were rejected.
fn numbers_of(decoder: &Decoder, record: &Record, events: &[&str]) -> Option<Vec<Option<(i32, bool)>>> {
    if events.len() <= MAX_REJECTED {
        return Some((1..).map(|number| Some((number, false))).take(events.len()).collect());
    }
    let fingerprint = record.fingerprint();
    let alone = events.iter().map(|event| {
        let rest = format!("[{event}]");
        let payload = Stone { fingerprint, rest: rest.as_bytes() }.to_payload();
        Record { payload: payload.into(), ..record.clone() }
    });
    let rows = decoder.decode(&alone.collect::<Vec<_>>()).ok()?;
    let rejected: BTreeSet<usize> = rejected_rows(&rows).ok()?.into_iter().collect();
    let (mut number, mut bad) = (0, 0);
    let numbers = events.iter().enumerate().map(|(at, event)| {
        let is_rejected = rejected.contains(&at) && *event != ERASED_EVENT;
        bad += usize::from(is_rejected);
        if is_rejected && bad > MAX_REJECTED {
            return None;
        }
        number += 1;
        Some((number, is_rejected))
    });
    Some(numbers.collect())
}
