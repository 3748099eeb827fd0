//! A body to its events: each one a slice of the body, byte for byte as sent.
//!
//! Guarantee: pure; every event of the body is in the result exactly once, or the whole body is refused.
//! Why so: what can be set apart as one record is a record, good or bad, and never costs its neighbours; what cannot be
//! set apart (broken JSON around the events) is refused as a whole, so that nothing is stored by half. How events are
//! set apart is what the content type says, never a guess: a stray bracket in one line costs that line alone.

use bytes::Bytes;

use crate::body::{Form, bad_body};
use edge::{Problem, ProblemKind};
use records::decode::Cursor;
use records::decode::{MAX_DEPTH, Rejection};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// One event of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The element of the array, or the number of the line, from 0; empty lines count, though they are not events.
    pub index: usize,
    /// The event as sent.
    pub payload: Bytes,
}

/// Sets the events of a body apart.
///
/// # Errors
/// 400 for an empty body or broken JSON, 413 for more than `max_events`.
pub(super) fn split(body: &Bytes, form: Form, max_events: usize) -> Result<Vec<Sent>, Problem> {
    // Files made on Windows start with this mark; a JSON text may be read without it (RFC 8259, 8.1).
    let body = &body.strip_prefix(BYTE_ORDER_MARK).map_or_else(|| body.clone(), |rest| body.slice_ref(rest));
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    let events = match (first, form) {
        (None, _) => return Err(bad_body("the body is empty".to_owned())),
        (_, Form::Lines) => Ok(lines(body, max_events)),
        (Some(b'['), Form::Json) => json(body, max_events, array),
        (_, Form::Json) => json(body, max_events, sequence),
    }?;
    if events.len() > max_events {
        return Err(too_many(max_events));
    }
    Ok(events)
}

// All of these stop after one event too many: the caller refuses the body then.
fn lines(body: &Bytes, max_events: usize) -> Vec<Sent> {
    let lines = body.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).enumerate();
    let events = lines.filter(|(_, line)| !line.is_empty());
    events.map(|(index, line)| Sent { index, payload: body.slice_ref(line) }).take(max_events + 1).collect()
}

type Splitter = fn(&mut Cursor<'_>, &mut Vec<(usize, usize)>, usize) -> Result<(), Box<Rejection>>;

fn json(body: &Bytes, max_events: usize, splitter: Splitter) -> Result<Vec<Sent>, Problem> {
    let text = std::str::from_utf8(body)
        .map_err(|error| bad_body(format!("the body is not UTF-8 at byte {}", error.valid_up_to())))?;
    // One level for the array around the events.
    let mut cursor = Cursor::new(text, MAX_DEPTH + 1);
    let mut spans = Vec::new();
    splitter(&mut cursor, &mut spans, max_events).map_err(|rejection| {
        let hint = "with `application/x-ndjson`, one event a line, a broken event costs only itself";
        bad_body(format!("event {} of the body: {rejection}", spans.len())).with_hint(hint)
    })?;
    let event = |(index, (from, to))| Sent { index, payload: body.slice(from..to) };
    Ok(spans.into_iter().enumerate().map(event).collect())
}

fn array(cursor: &mut Cursor<'_>, spans: &mut Vec<(usize, usize)>, max_events: usize) -> Result<(), Box<Rejection>> {
    cursor.enter(b'[')?;
    while cursor.next_element(spans.is_empty())? {
        skip_one(cursor, spans)?;
        if spans.len() > max_events {
            return Ok(());
        }
    }
    if cursor.is_at_end() { Ok(()) } else { Err(cursor.bad("expected nothing after the array")) }
}

fn sequence(cursor: &mut Cursor<'_>, spans: &mut Vec<(usize, usize)>, max_events: usize) -> Result<(), Box<Rejection>> {
    while !cursor.is_at_end() && spans.len() <= max_events {
        if cursor.peek()? != b'{' {
            return Err(cursor.bad("expected an object"));
        }
        skip_one(cursor, spans)?;
    }
    Ok(())
}

fn skip_one(cursor: &mut Cursor<'_>, spans: &mut Vec<(usize, usize)>) -> Result<(), Box<Rejection>> {
    cursor.peek()?;
    let from = cursor.at();
    cursor.skip()?;
    spans.push((from, cursor.at()));
    Ok(())
}

fn too_many(limit: usize) -> Problem {
    let detail = format!("more than {limit} events in one request; nothing was stored");
    Problem::new(ProblemKind::TooManyEvents, detail)
        .with_hint("send fewer events in one request")
        .with_member("limit", limit)
}
