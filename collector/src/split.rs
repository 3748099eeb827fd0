//! A body to its events: each one a slice of the body, byte for byte as sent.
//!
//! Guarantee: pure; every event of the body is in the result exactly once, or the whole body is refused.
//! Why so: what can be set apart as one record is a record, good or bad, and never costs its neighbours; what cannot be
//! set apart (broken JSON around the events) is refused as a whole, so that nothing is stored by half. How events are
//! set apart is what the content type says: a stray bracket in one line costs that line alone. Only where it says
//! nothing the beginning of the body does, and a body that begins like neither is refused as a whole.

use bytes::Bytes;

use crate::body::bad_body;
use crate::foreign::refuse_foreign;
use crate::form::{Form, unsupported};
use edge::{Problem, ProblemKind};
use records::decode::Cursor;
use records::decode::{MAX_DEPTH, Rejection};

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const NEWLINE: u8 = b'\n';
/// Stands before each text of a sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

/// One event of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The element of the array, or the number of the line or of the text of a sequence, from 0; empty lines count,
    /// though they are not events. The elements of a line that is an array share its number.
    pub index: usize,
    /// Whether it stood on a line of its own.
    pub is_line: bool,
    /// The event as sent; within the keys of its envelope, where it came in one; in the structured form, where it is a
    /// CloudEvent that came in binary mode.
    pub payload: Bytes,
}

/// Sets the events of a body apart; without a `form`, by what it begins with.
///
/// # Errors
/// 400 for an empty body or broken JSON, 413 for more than `max_events`, 415 for what is plainly something else.
pub(super) fn split(body: &Bytes, form: Option<Form>, max_events: usize) -> Result<Vec<Sent>, Problem> {
    // Files made on Windows start with this mark; a JSON text may be read without it (RFC 8259, 8.1).
    let body = &body.strip_prefix(BYTE_ORDER_MARK).map_or_else(|| body.clone(), |rest| body.slice_ref(rest));
    let is_blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == RECORD_SEPARATOR;
    let Some(first) = body.iter().copied().find(|byte| !is_blank(byte)) else {
        return Err(bad_body("the body is empty".to_owned()));
    };
    refuse_foreign(body)?;
    let form = form.map_or_else(|| form_told_by(body), Ok)?;
    let splitter: Splitter = if first == b'[' { array } else { sequence };
    let events = match form {
        Form::Sequence if body.contains(&RECORD_SEPARATOR) => {
            let texts = body.trim_ascii_start();
            let texts = texts.strip_prefix(&[RECORD_SEPARATOR]).unwrap_or(texts);
            Ok(pieces(&body.slice_ref(texts), RECORD_SEPARATOR, max_events))
        }
        Form::Lines | Form::Sequence if goes_on(body) => {
            let whole = json(body, max_events, splitter);
            Ok(whole.unwrap_or_else(|_| pieces(body, NEWLINE, max_events)))
        }
        Form::Lines | Form::Sequence => Ok(pieces(body, NEWLINE, max_events)),
        Form::Json => json(body, max_events, splitter),
    }?;
    at_most(events, max_events)
}

/// The events, unless there are more of them.
///
/// # Errors
/// 413 for more.
pub(super) fn at_most(events: Vec<Sent>, max_events: usize) -> Result<Vec<Sent>, Problem> {
    if events.len() > max_events { Err(too_many(max_events)) } else { Ok(events) }
}

/// The form of a body whose type says nothing: lines where the first line is an object by itself, so that a broken one
/// after it costs only itself.
///
/// # Errors
/// 415 where it begins like no event.
fn form_told_by(body: &[u8]) -> Result<Form, Problem> {
    let body = body.trim_ascii();
    let is_object = |line: &[u8]| {
        std::str::from_utf8(line).is_ok_and(|line| {
            let mut cursor = Cursor::new(line, MAX_DEPTH);
            cursor.skip().is_ok() && cursor.is_at_end()
        })
    };
    match body.first() {
        Some(b'{') if body.split(|byte| *byte == NEWLINE).next().is_some_and(is_object) => Ok(Form::Lines),
        Some(b'{' | b'[') => Ok(Form::Json),
        _ => Err(unsupported("the Content-Type does not tell what the body is, and it begins with neither { nor [")),
    }
}

/// Whether the first line ends inside of what it begins: JSON that is written over several lines. None of these is an
/// event.
fn goes_on(body: &[u8]) -> bool {
    let line = body.trim_ascii_start().split(|byte| *byte == NEWLINE).next().unwrap_or_default().trim_ascii_end();
    matches!(line, [b'{' | b'[', ..]) && matches!(line, [.., b'{' | b'[' | b','])
}

// All of these stop after one event too many, or with the array that it is of: the caller refuses the body then.
fn pieces(body: &Bytes, separator: u8, max_events: usize) -> Vec<Sent> {
    let pieces = body.split(|byte| *byte == separator).map(<[u8]>::trim_ascii).enumerate();
    let mut events = Vec::new();
    for (index, piece) in pieces.filter(|(_, piece)| !piece.is_empty()) {
        if events.len() > max_events {
            break;
        }
        let payload = body.slice_ref(piece);
        match elements(&payload, max_events) {
            Some(elements) => events.extend(elements.into_iter().map(|event| Sent { index, ..event })),
            None => events.push(Sent { index, is_line: true, payload }),
        }
    }
    events
}

/// The events of a line that is an array, so that a bad one costs itself alone, and each is keyed by its own id.
fn elements(line: &Bytes, max_events: usize) -> Option<Vec<Sent>> {
    if !line.starts_with(b"[") {
        return None;
    }
    json(line, max_events, array).ok().filter(|events| !events.is_empty())
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
    let event = |(index, (from, to))| Sent { index, is_line: false, payload: body.slice(from..to) };
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
