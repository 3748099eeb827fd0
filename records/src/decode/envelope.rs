//! What a record holds around its events: a cursor is led to where they begin.
//!
//! In: a cursor at the start of a text. Out: the cursor before an event or an array of events.
//! Guarantee: what stands around the events has been checked to be JSON; nothing of it is kept.

use views::Envelope;

use super::json::{Cursor, Place};
use super::reject::{Read, Rejection, shorten};

/// Leads a cursor to the events of a record; returns whether the text around them, and so the whole text, was checked.
pub(super) fn enter(envelope: &Envelope, cursor: &mut Cursor<'_>) -> Read<bool> {
    match envelope {
        Envelope::None => Ok(false),
        Envelope::At(path) => enter_path(path, cursor),
        Envelope::Debezium => enter_change(cursor).map(|()| true),
    }
}

/// A record without the first key is an event itself, or several.
fn enter_path(path: &[String], cursor: &mut Cursor<'_>) -> Read<bool> {
    let start = cursor.place();
    let mut found = Found::Nothing;
    if cursor.peek()? == b'{' {
        found = find(path, cursor)?;
    }
    match found {
        Found::Nothing => {
            cursor.go_back(start);
            Ok(false)
        }
        Found::Some => Err(problem(format!("nothing stands at {}", path.join(".")))),
        Found::Whole(place) => {
            expect_end(cursor)?;
            cursor.go_back(place);
            Ok(true)
        }
    }
}

/// How far a path leads.
enum Found {
    Nothing,
    /// Not to its end.
    Some,
    /// To a value that begins there.
    Whole(Place),
}

/// Reads over an object and notes where the value of a path begins in it.
fn find(path: &[String], cursor: &mut Cursor<'_>) -> Read<Found> {
    let mut found = Found::Nothing;
    cursor.enter(b'{')?;
    let mut is_first = true;
    while let Some(key) = cursor.next_key(is_first)? {
        is_first = false;
        if path.first().is_none_or(|wanted| key.text() != *wanted) {
            cursor.skip()?;
            continue;
        }
        if !matches!(found, Found::Nothing) {
            return Err(problem(format!("the key {} is given twice", path[0])));
        }
        let value = cursor.place();
        found = match (path.len(), cursor.peek()?) {
            (1, _) => {
                cursor.skip()?;
                Found::Whole(value)
            }
            (_, b'{') => match find(&path[1..], cursor)? {
                Found::Whole(place) => Found::Whole(place),
                _ => Found::Some,
            },
            _ => {
                cursor.skip()?;
                Found::Some
            }
        };
    }
    Ok(found)
}

/// The parts of a change that matter.
#[derive(Default)]
struct Change {
    op: Option<String>,
    after: Option<Place>,
    /// Where the change itself stands, if its schema stands beside it.
    payload: Option<Place>,
}

fn enter_change(cursor: &mut Cursor<'_>) -> Read<()> {
    let mut change = read_change(cursor)?;
    expect_end(cursor)?;
    if let (None, Some(payload)) = (&change.op, change.payload) {
        cursor.go_back(payload);
        change = read_change(cursor)?;
    }
    match (change.op.as_deref(), change.after) {
        (Some("c" | "r"), Some(after)) => {
            cursor.go_back(after);
            Ok(())
        }
        (Some("c" | "r"), None) => Err(problem("the change has no `after`".to_owned())),
        (Some("u"), _) => Err(problem("the change is an update, and an event happens once".to_owned())),
        (Some("d"), _) => Err(problem("the change is a deletion, and an event happens once".to_owned())),
        (Some(op), _) => Err(problem(format!("the change is of kind {}, which is no insert", shorten(op)))),
        (None, _) => Err(problem("the record is no change of Debezium: it has no `op`".to_owned())),
    }
}

fn read_change(cursor: &mut Cursor<'_>) -> Read<Change> {
    let mut change = Change::default();
    cursor.enter(b'{')?;
    let mut is_first = true;
    while let Some(key) = cursor.next_key(is_first)? {
        is_first = false;
        let first = cursor.peek()?;
        let value = cursor.place();
        match &*key.text() {
            "op" if first == b'"' => {
                change.op = Some(cursor.string()?.text().into_owned());
                continue;
            }
            "after" if first == b'{' => change.after = Some(value),
            "payload" if first == b'{' => change.payload = Some(value),
            _ => {}
        }
        cursor.skip()?;
    }
    Ok(change)
}

fn expect_end(cursor: &mut Cursor<'_>) -> Read<()> {
    if cursor.is_at_end() { Ok(()) } else { Err(cursor.bad("expected nothing after the object")) }
}

fn problem(problem: String) -> Box<Rejection> {
    Rejection::Envelope { problem }.into()
}
