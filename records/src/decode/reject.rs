//! Why a record was rejected: what stands in `_error`, and what a client of the collector is told.

use std::time::Duration;

use positions::{SchemaId, format_span};

use super::schema::MAX_PAYLOAD_BYTES;

/// What stands in `_error` of an event that was erased, and no other sentence begins so.
pub const ERASED: &str = "erased";

/// The result of reading a part of a record. Boxed: the good path should move no more than a pointer.
pub(crate) type Read<T> = Result<T, Box<Rejection>>;

/// Why one record cannot become an event. The text names the column and quotes the start of the offending text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// No payload: a tombstone, or a mistake.
    #[error("empty payload")]
    Empty,
    /// The event was erased, by `twofold erase`.
    #[error("{ERASED}")]
    Erased,
    /// The payload has more bytes than a record may have.
    #[error("too large: {bytes} bytes, the limit is {MAX_PAYLOAD_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The payload has more bytes as JSON than a record may have, or than its own bytes may become.
    #[error("too large: more than {limit} bytes as JSON, which is the limit for a payload of its size")]
    TooLargeAsJson {
        /// How many it may have.
        limit: usize,
    },
    /// A payload of a source whose payloads name their schemas names none, and is no JSON object either.
    #[error(
        "no schema: a payload of this {format} source begins with byte 0 and the id of its schema in 4 bytes, found \
         {found}; send it by a serializer of Confluent's schema registry, or as a JSON object"
    )]
    NoSchema {
        /// The format of the source.
        format: &'static str,
        /// How the payload begins.
        found: String,
    },
    /// The payload names a schema that stands for none.
    #[error("unknown schema: id {id}, {why}")]
    UnknownSchema {
        /// The id.
        id: SchemaId,
        /// Who says so.
        why: &'static str,
    },
    /// The payload names a schema that cannot be used.
    #[error("bad schema: id {id}: {problem}")]
    BadSchema {
        /// The id.
        id: SchemaId,
        /// What is wrong with it.
        problem: String,
    },
    /// The payload is not what its schema describes.
    #[error("bad payload at byte {at}: {problem}")]
    BadPayload {
        /// The byte offset in the payload.
        at: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The payload is not UTF-8 text.
    #[error("bad JSON at byte {at}: not UTF-8")]
    NotUtf8 {
        /// The first byte that is not.
        at: usize,
    },
    /// The payload is not exactly one JSON object.
    #[error("bad JSON at byte {at}: {problem}, found {found}")]
    BadJson {
        /// The byte offset in the payload.
        at: usize,
        /// What was expected.
        problem: &'static str,
        /// The text that stands there, shortened.
        found: String,
    },
    /// Objects and arrays are nested too deep.
    #[error("too deep: more than {limit} levels of nesting at byte {at}")]
    TooDeep {
        /// The byte offset in the payload.
        at: usize,
        /// How deep is allowed, usually [`MAX_DEPTH`](super::MAX_DEPTH).
        limit: usize,
    },
    /// A value does not fit the declared type.
    #[error("wrong type: column {column} is {expected}, found {found}")]
    WrongType {
        /// The column, with the path inside it.
        column: String,
        /// The declared type in SQL's words.
        expected: String,
        /// The offending text, shortened.
        found: String,
    },
    /// A NOT NULL column is null or missing.
    #[error("no value: {}column {column} is NOT NULL", hint(*is_strange))]
    NoValue {
        /// The column, with the path inside it.
        column: String,
        /// Whether the event has no field that is declared.
        is_strange: bool,
    },
    /// One object gives a declared column twice.
    #[error("ambiguous: column {column} is given twice")]
    GivenTwice {
        /// The column, with the path inside it.
        column: String,
    },
    /// The event-time column is null or missing.
    #[error("no event time: {}column {column} is null or missing", hint(*is_strange))]
    NoEventTime {
        /// The event-time column.
        column: String,
        /// Whether the event has no field that is declared.
        is_strange: bool,
    },
    /// The record is not wrapped as its source says, or what is wrapped is no new event.
    #[error("envelope: {problem}")]
    Envelope {
        /// What is wrong with it.
        problem: String,
    },
    /// One record holds too many events.
    #[error("too many: more than {limit} events in one record")]
    TooMany {
        /// How many are allowed.
        limit: usize,
    },
    /// The event time lies too far in the future of the record's timestamp.
    #[error("too far in the future: column {column} is {ahead:?} after the record, the limit is {}", format_span(*limit))]
    InFuture {
        /// The event-time column.
        column: String,
        /// How far.
        ahead: Duration,
        /// How far is allowed.
        limit: Duration,
    },
    /// The clock shift moves the event time out of what an instant can be.
    #[error("clock shift of {shift_micros} µs moves column {column} out of range")]
    ShiftOutOfRange {
        /// The event-time column.
        column: String,
        /// The shift.
        shift_micros: i64,
    },
    /// The decoder has a defect; the record is kept, so that it can be decoded again by a repaired one.
    #[error("decoder failed: {message}")]
    DecoderFailed {
        /// What the panic said.
        message: String,
    },
}

impl Rejection {
    /// A short name that never changes: one of [`REASON_KINDS`](super::REASON_KINDS). [`Reason`](super::Reason) tells
    /// it of the stored sentence.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Erased => ERASED,
            Self::TooLarge { .. } | Self::TooLargeAsJson { .. } => "too_large",
            Self::NoSchema { .. } => "no_schema",
            Self::UnknownSchema { .. } => "unknown_schema",
            Self::BadSchema { .. } => "bad_schema",
            Self::BadPayload { .. } => "bad_payload",
            Self::NotUtf8 { .. } | Self::BadJson { .. } => "bad_json",
            Self::TooDeep { .. } => "too_deep",
            Self::WrongType { .. } => "wrong_type",
            Self::NoValue { .. } => "no_value",
            Self::GivenTwice { .. } => "ambiguous",
            Self::NoEventTime { .. } => "no_event_time",
            Self::InFuture { .. } => "in_future",
            Self::Envelope { .. } => "envelope",
            Self::TooMany { .. } => "too_many",
            Self::ShiftOutOfRange { .. } => "clock_shift",
            Self::DecoderFailed { .. } => "decoder_failed",
        }
    }

    /// The column that the reason lies in, with the path inside it.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::WrongType { column, .. }
            | Self::NoValue { column, .. }
            | Self::GivenTwice { column }
            | Self::NoEventTime { column, .. }
            | Self::InFuture { column, .. }
            | Self::ShiftOutOfRange { column, .. } => Some(column.as_str()),
            _ => None,
        }
    }

    /// The same rejection, seen from one level further out: `outer` is the column or the list that holds the place.
    pub(crate) fn within(mut self: Box<Self>, outer: &str) -> Box<Self> {
        if let Self::WrongType { column, .. } | Self::NoValue { column, .. } | Self::GivenTwice { column } =
            self.as_mut()
        {
            let separator = if column.is_empty() || column.starts_with('[') { "" } else { "." };
            *column = format!("{outer}{separator}{column}");
        }
        self
    }
}

/// What stands before the name of a column that has no value, where the event has none of the declared fields.
fn hint(is_strange: bool) -> &'static str {
    if is_strange {
        "no declared field stands at the top of the event (options events_at and envelope say where events stand), "
    } else {
        ""
    }
}

/// The start of an offending text, safe to log and to show.
pub(crate) fn shorten(text: &str) -> String {
    const MAX_CHARS: usize = 60;
    // More than is shown, and not the rest of a megabyte: a record may quote thousands of places.
    let text = &text[..text.floor_char_boundary(8 * MAX_CHARS)];
    if text.is_empty() {
        return "nothing".to_owned();
    }
    // The rest of a line says enough; the break behind it would show as a stray character.
    let line = text.split(['\n', '\r']).next().map(str::trim_end);
    let text = line.filter(|line| !line.is_empty()).unwrap_or(text);
    let mut short: String = text.chars().take(MAX_CHARS).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(MAX_CHARS).is_some() {
        short.push('…');
    }
    format!("`{short}`")
}
