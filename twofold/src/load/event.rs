//! What readers of files give: events, each with its place, and why one of them or the rest cannot be had.
//!
//! Guarantee: every event is one line of bytes without its end, as sent where the file holds it in one line. Whether it
//! is a good event is for the collector to say.

use std::fmt;

/// Where an event stands in its file; all numbers count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A line; of a row that spans several (CSV), the first.
    Line(u64),
    /// Of a JSON array, or of objects one after another: which one, and the line that it begins in.
    Element {
        /// Its number in the file.
        number: u64,
        /// Its first line.
        line: u64,
    },
    /// A row of a Parquet or Arrow file.
    Row(u64),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Element { number, line } => write!(f, "element {number} (line {line})"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// One event of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it stands.
    pub place: Place,
    /// The event, never empty and without a line end.
    pub json: Vec<u8>,
}

/// Why an event or the rest of a file cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// One event cannot be sent. The next call goes on behind it.
    #[error("{place}: {reason}, left out")]
    LeftOut {
        /// Where it stands.
        place: Place,
        /// What is wrong with it.
        reason: String,
    },
    /// The file cannot be read further. Nothing follows.
    #[error("reading failed {}: {reason}", describe_end(.after))]
    Ended {
        /// The last event that was read whole.
        after: Option<Place>,
        /// What the reader said.
        reason: String,
    },
}

fn describe_end(after: &Option<Place>) -> String {
    after.as_ref().map_or_else(|| "before the first event".to_owned(), |place| format!("after {place}"))
}

/// The events of a file in their order. Reading is synchronous: call it where blocking is allowed.
pub type Events = Box<dyn Iterator<Item = Result<Event, ReadError>>>;
