//! A client's clock, which may be days off: by how much, the time tells at which the client says that it sends.
//!
//! ```text
//!  X-Sent-At, `sent_at` or the envelope's `sentAt` --> SentAt --(when the request came)--> shift of every event's time
//! ```
//!
//! Guarantee: pure. A shift is a fact of the request and is stored with each of its events; both layers add it to the
//! event's time. Who an event is depends on its time as sent, so an event that is sent again, with another clock or a
//! moment later, is a copy.
//! Not here: how a shift is applied (`records::decode`).
//! Why so: a request is under way for a while, and that is no error of a clock (`collector.clock_tolerance`). A clock
//! that is off by more than any device's is more likely a mistake, which would move events to where nobody looks for
//! them (`collector.max_clock_shift`).

use std::fmt;
use std::time::Duration;

use axum::http::HeaderMap;
use positions::calendar::date_of;
use positions::{TimestampMicros, format_span};

use crate::body::bad_body;
use crate::config::CollectorSettings;
use edge::{Problem, ProblemKind};
use records::decode::{instant_of_number, instant_of_text};

const HEADER: &str = "x-sent-at";
/// The parameter, for clients that can set no header.
pub(super) const PARAMETER: &str = "sent_at";
/// How an envelope may call it.
pub(super) const KEYS: [&str; 2] = ["sentAt", "sent_at"];

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Longer ones are shown by their beginning.
const SHOWN_CHARS: usize = 60;

/// When a client says that it sent a request, and where it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SentAt {
    at: TimestampMicros,
    place: Place,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Header,
    Parameter,
    Envelope,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "the header X-Sent-At",
            Self::Parameter => "the parameter `sent_at`",
            Self::Envelope => "`sentAt` of the body",
        })
    }
}

impl Place {
    fn problem(self, detail: String) -> Problem {
        match self {
            Self::Envelope => bad_body(detail),
            Self::Header | Self::Parameter => {
                Problem::new(ProblemKind::BadRequest, format!("{detail}; nothing was stored"))
            }
        }
    }

    fn twice(self) -> Problem {
        self.problem(format!("{self} is given twice"))
    }

    fn unreadable(self, text: &str) -> Problem {
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        let hint = match self {
            Self::Parameter => "write 2026-01-31T12:00:00Z, or milliseconds since 1970; percent-encode a + as %2B",
            Self::Header | Self::Envelope => "write 2026-01-31T12:00:00Z, or milliseconds since 1970",
        };
        self.problem(format!("{self} is no time: `{shown}`")).with_hint(hint)
    }

    fn read(self, text: &str) -> Result<SentAt, Problem> {
        instant_of_text(text).map(|at| SentAt { at, place: self }).ok_or_else(|| self.unreadable(text))
    }
}

impl SentAt {
    /// What header or parameter say; the header, where both do.
    ///
    /// # Errors
    /// 400 for what is no time, and for two headers.
    pub fn of_request(headers: &HeaderMap, parameter: Option<&str>) -> Result<Option<Self>, Problem> {
        let mut values = headers.get_all(HEADER).iter();
        let header = values.next().map(|value| Place::Header.read(value.to_str().unwrap_or("not readable")));
        if values.next().is_some() {
            return Err(Place::Header.twice());
        }
        let parameter = parameter.map(|text| Place::Parameter.read(text)).transpose()?;
        Ok(header.transpose()?.or(parameter))
    }

    /// What an envelope says: the values of [`KEYS`] as they are written, of which there may be one. Null says nothing.
    ///
    /// # Errors
    /// 400 for what is no time, and for two of them.
    pub fn of_envelope(values: &[&str]) -> Result<Option<Self>, Problem> {
        let place = Place::Envelope;
        match values {
            [] | ["null"] => Ok(None),
            [value] => match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
                // No form of an instant needs an escape.
                Some(text) => place.read(text).map(Some),
                None if value.starts_with(['{', '[', 't', 'f']) => Err(place.unreadable(value)),
                None => {
                    let read = instant_of_number(value).map(|at| Self { at, place });
                    read.map(Some).ok_or_else(|| place.unreadable(value))
                }
            },
            _ => Err(place.twice()),
        }
    }

    /// What is to be added to the times of the request's events, in microseconds, a whole number of milliseconds;
    /// `None` where the client's clock is right as far as anybody can tell.
    ///
    /// # Errors
    /// 400 beyond `max_clock_shift`, with the two times.
    pub fn shift(self, received: TimestampMicros, settings: &CollectorSettings) -> Result<Option<i64>, Problem> {
        let shift = received.micros_since(self.at);
        let apart = Duration::from_micros(shift.unsigned_abs());
        if apart > settings.max_clock_shift {
            return Err(self.too_far(received, apart, settings.max_clock_shift));
        }
        Ok((apart > settings.clock_tolerance).then_some(shift - shift.rem_euclid(1_000)))
    }

    fn too_far(self, received: TimestampMicros, apart: Duration, limit: Duration) -> Problem {
        let detail = format!(
            "{} is {}, and the request came at {}: they are {} apart, more than {} (`collector.max_clock_shift`)",
            self.place,
            in_words(self.at),
            in_words(received),
            format_span(Duration::from_secs(apart.as_secs())),
            format_span(limit),
        );
        self.place
            .problem(detail)
            .with_hint("set the client's clock, or leave this time out: events then count at the times that they bear")
    }
}

/// An instant to the second, as RFC 3339 writes it.
fn in_words(at: TimestampMicros) -> String {
    let (date, second) = (date_of(at.0.div_euclid(DAY)), at.0.rem_euclid(DAY) / SECOND);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year, date.month, date.day)
}
