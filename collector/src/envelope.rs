//! Envelopes: one object around the events of a body, with the time at which they were sent beside them.
//!
//! ```text
//!  {"sentAt": T, "batch": [A, B]}  --(events_at 'batch')-->  {"batch":A}, {"batch":B}, sent at T
//! ```
//!
//! In: a body, and the path of keys to the events, as the source says it (`events_at`). Out: one payload for each
//! event.
//! Guarantee: pure; every event of an envelope is in the result exactly once, as it was written. A body that is not
//! exactly one object with an array or an object at that place is no envelope, and is set apart as any other.
//! Why so: events of one request are then keyed, limited and answered for one by one, as those of an array are. Why
//! each keeps the keys around it: the source says where an event stands in a payload, and the log should hold payloads
//! of one shape, whichever way they came.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::Value;
use views::{SourceDefinition, path_of_key};

use crate::sent_at::KEYS;
use crate::split::Sent;
use records::decode::{Cursor, MAX_DEPTH, Place, Rejection};

/// A longer key is none that a person would name in a pipeline.
const MAX_NAMED_BYTES: usize = 60;

/// A body that was taken apart.
#[derive(Debug)]
pub(super) struct Envelope<'a> {
    /// One more than allowed where there are too many.
    pub events: Vec<Sent>,
    /// The values of [`KEYS`] at its top, as they are written.
    pub sent_at: Vec<&'a str>,
}

/// What stands at the place of the events.
enum EventsPlace {
    Object,
    /// Where its elements begin and end.
    Array(Vec<(usize, usize)>),
}

/// Takes a body apart; `None` where it is no envelope, as for every source whose payloads are events (no `path`).
pub(super) fn open<'a>(body: &'a Bytes, path: &[String], max_events: usize) -> Option<Envelope<'a>> {
    if path.is_empty() {
        return None;
    }
    let text = std::str::from_utf8(body).ok()?;
    // One level for the array around the events.
    let mut reader = Reader { cursor: Cursor::new(text, MAX_DEPTH + 1), places: Vec::new(), sent_at: Vec::new() };
    reader.cursor.peek().ok()?;
    let from = reader.cursor.at();
    reader.read(path, true, max_events).ok()?;
    let whole = from..reader.cursor.at();
    if !reader.cursor.is_at_end() || reader.places.len() > 1 {
        return None;
    }
    let events = match reader.places.pop()? {
        EventsPlace::Object => vec![Sent { index: 0, is_line: false, payload: body.slice(whole) }],
        EventsPlace::Array(spans) => events(text, &spans, path),
    };
    Some(Envelope { events, sent_at: reader.sent_at })
}

/// Each element within the keys of the path.
fn events(text: &str, spans: &[(usize, usize)], path: &[String]) -> Vec<Sent> {
    let before: String = path.iter().map(|key| format!("{{{}:", Value::from(key.as_str()))).collect();
    let after = "}".repeat(path.len());
    let payload = |(from, to): (usize, usize)| Bytes::from([before.as_str(), &text[from..to], after.as_str()].concat());
    let event = |(index, span): (usize, &(usize, usize))| Sent { index, is_line: false, payload: payload(*span) };
    spans.iter().enumerate().map(event).collect()
}

/// Reads one body.
struct Reader<'a> {
    cursor: Cursor<'a>,
    /// Several where an object gives a key of the path twice.
    places: Vec<EventsPlace>,
    sent_at: Vec<&'a str>,
}

impl Reader<'_> {
    /// One object, on the way to where `path` leads.
    fn read(&mut self, path: &[String], is_top: bool, max_events: usize) -> Result<(), Box<Rejection>> {
        let (next, rest) = path.split_first().map_or(("", path), |(next, rest)| (next.as_str(), rest));
        self.cursor.enter(b'{')?;
        let mut is_first = true;
        while let Some(key) = self.cursor.next_key(is_first)? {
            is_first = false;
            let key = key.text();
            let first = self.cursor.peek()?;
            let from = self.cursor.at();
            match first {
                b'{' if *key == *next && !rest.is_empty() => self.read(rest, false, max_events)?,
                b'{' if *key == *next => {
                    self.cursor.skip()?;
                    self.places.push(EventsPlace::Object);
                }
                b'[' if *key == *next && rest.is_empty() => self.read_array(max_events)?,
                _ => self.cursor.skip()?,
            }
            if is_top && KEYS.contains(&&*key) {
                self.sent_at.push(self.cursor.since(from));
            }
        }
        Ok(())
    }

    /// Notes no more than one element too many: the caller refuses the body then.
    fn read_array(&mut self, max_events: usize) -> Result<(), Box<Rejection>> {
        let mut spans = Vec::new();
        let mut is_first = true;
        self.cursor.enter(b'[')?;
        while self.cursor.next_element(is_first)? {
            is_first = false;
            self.cursor.peek()?;
            let from = self.cursor.at();
            self.cursor.skip()?;
            if spans.len() <= max_events {
                spans.push((from, self.cursor.at()));
            }
        }
        self.places.push(EventsPlace::Array(spans));
        Ok(())
    }
}

/// Where the events of a payload may stand that has no column of its source at its top: the first key of an object, or
/// of an array that begins with one. `None` where nothing says so.
pub(super) fn place_of_events(source: &SourceDefinition, payload: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(std::str::from_utf8(payload).ok()?, MAX_DEPTH);
    let members = members(&mut cursor)?;
    let is_column = |key: &str| source.declared.fields().iter().any(|field| field.name().eq_ignore_ascii_case(key));
    if members.iter().any(|member| is_column(&member.key)) {
        return None;
    }
    let is_place = |member: &Member<'_>| {
        let value = member.value;
        let holds_object = value.strip_prefix('[').unwrap_or(value).trim_start().starts_with('{');
        holds_object && member.key.len() <= MAX_NAMED_BYTES && !member.key.contains('"')
    };
    members.into_iter().find(is_place).map(|member| member.key.into_owned())
}

/// Whether a payload looks like a change as Debezium writes it, with its schema beside it or not.
pub(super) fn is_change(payload: &[u8]) -> bool {
    let looks_so = |members: &[Member<'_>]| {
        members.iter().filter(|member| ["op", "before", "after"].contains(&&*member.key)).count() >= 2
    };
    let Ok(text) = std::str::from_utf8(payload) else { return false };
    let mut cursor = Cursor::new(text, MAX_DEPTH);
    let Some(top) = members(&mut cursor) else { return false };
    let inside = top.iter().rfind(|member| member.key == "payload" && member.value.starts_with('{'));
    let inside = inside.and_then(|member| {
        cursor.go_back(member.place);
        members(&mut cursor)
    });
    looks_so(&top) || inside.is_some_and(|inside| looks_so(&inside))
}

/// A key of an object, and its value as it is written.
struct Member<'a> {
    key: Cow<'a, str>,
    place: Place,
    value: &'a str,
}

/// The members of the object that comes next; `None` where that is no object.
fn members<'a>(cursor: &mut Cursor<'a>) -> Option<Vec<Member<'a>>> {
    let mut members = Vec::new();
    cursor.enter(b'{').ok()?;
    while let Some(key) = cursor.next_key(members.is_empty()).ok()? {
        cursor.peek().ok()?;
        let (from, place) = (cursor.at(), cursor.place());
        cursor.skip().ok()?;
        members.push(Member { key: key.text(), place, value: cursor.since(from) });
    }
    Some(members)
}

/// The option of a source that says that its events stand at a key.
pub(super) fn option_for(key: &str) -> String {
    format!("events_at '{}'", path_of_key(key))
}
