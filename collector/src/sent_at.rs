//! A client's clock, which may be days off: by how much, the time tells at which the client says that it sends.
//!
//! ```text
//!  X-Sent-At, `sent_at` or the envelope's `sentAt` --> SentAt --(when the request came)--> shift of every event's time
//! ```
//!
//! Guarantee: pure. A shift is a fact of the request and is stored with each of its events; both layers add it to the
//! event's time. Who an event is depends on its time as sent, so an event that is sent again, with another clock or a
//! moment later, is a copy. A time in the body never costs an event: where it cannot be gone by, the receipt says so.
//! Not here: how a shift is applied (`records::decode`).
//! Why so: a request is under way for a while, and that is no error of a clock (`collector.clock_tolerance`). A clock
//! that is off by more than any device's is more likely a mistake, which would move events to where nobody looks for
//! them (`collector.max_clock_shift`). Header and parameter are there for nothing else, so that what is wrong with them
//! is refused; `sentAt` is a word of the producer's own envelope, which may be an old one that is sent again.

use std::fmt;
use std::time::Duration;

use axum::http::HeaderMap;
use positions::calendar::date_of;
use positions::{TimestampMicros, format_span};

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
    fn twice(self) -> Unusable {
        Unusable { reason: format!("{self} is given twice"), hint: "give it once" }
    }

    fn unreadable(self, text: &str) -> Unusable {
        let shown: String = text.chars().take(SHOWN_CHARS).collect();
        let hint = match self {
            Self::Parameter => "write 2026-01-31T12:00:00Z, or milliseconds since 1970; percent-encode a + as %2B",
            Self::Header | Self::Envelope => "write 2026-01-31T12:00:00Z, or milliseconds since 1970",
        };
        Unusable { reason: format!("{self} is no time: `{shown}`"), hint }
    }

    fn read(self, text: &str) -> Result<SentAt, Unusable> {
        instant_of_text(text).map(|at| SentAt { at, place: self }).ok_or_else(|| self.unreadable(text))
    }
}

/// Why a time cannot be gone by, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unusable {
    reason: String,
    hint: &'static str,
}

/// What a body says of when it was sent.
pub(super) type SentInBody = Result<Option<SentAt>, Unusable>;

impl From<Unusable> for Problem {
    fn from(unusable: Unusable) -> Self {
        let detail = format!("{}; nothing was stored", unusable.reason);
        Self::new(ProblemKind::BadRequest, detail).with_hint(unusable.hint)
    }
}

/// What becomes of the times of a request's events.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Correction {
    /// What is to be added to them, in microseconds, a whole number of milliseconds; `None` where the client's clock is
    /// right as far as anybody can tell.
    pub shift: Option<i64>,
    /// Why the time that the body says is passed over.
    pub passed_over: Option<String>,
}

impl Correction {
    /// By what the request says (`asked`: header or parameter), else by what its body says.
    ///
    /// # Errors
    /// 400 where the request itself says a time beyond `max_clock_shift`, with the two times.
    pub fn new(
        asked: Option<SentAt>,
        of_body: SentInBody,
        received: TimestampMicros,
        settings: &CollectorSettings,
    ) -> Result<Self, Problem> {
        if let Some(asked) = asked {
            return Ok(Self { shift: asked.shift(received, settings)?, passed_over: None });
        }
        let shift = of_body.and_then(|sent_at| sent_at.map_or(Ok(None), |sent_at| sent_at.shift(received, settings)));
        Ok(match shift {
            Ok(shift) => Self { shift, passed_over: None },
            Err(unusable) => Self {
                shift: None,
                passed_over: Some(format!("{}; the events count at the times that they bear", unusable.reason)),
            },
        })
    }
}

impl SentAt {
    /// What header or parameter say; the header, where both do.
    ///
    /// # Errors
    /// For what is no time, and for two headers.
    pub fn of_request(headers: &HeaderMap, parameter: Option<&str>) -> Result<Option<Self>, Unusable> {
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
    /// For what is no time, and for two of them.
    pub fn of_envelope(values: &[&str]) -> SentInBody {
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

    /// What is to be added to the times of events, as [`Correction`] has it.
    ///
    /// # Errors
    /// Beyond `max_clock_shift`, with the two times.
    fn shift(self, received: TimestampMicros, settings: &CollectorSettings) -> Result<Option<i64>, Unusable> {
        let shift = received.micros_since(self.at);
        let apart = Duration::from_micros(shift.unsigned_abs());
        if apart > settings.max_clock_shift {
            return Err(self.too_far(received, apart, settings.max_clock_shift));
        }
        Ok((apart > settings.clock_tolerance).then_some(shift - shift.rem_euclid(1_000)))
    }

    fn too_far(self, received: TimestampMicros, apart: Duration, limit: Duration) -> Unusable {
        let reason = format!(
            "{} is {}, and the request came at {}: they are {} apart, more than {} (`collector.max_clock_shift`)",
            self.place,
            in_words(self.at),
            in_words(received),
            format_span(Duration::from_secs(apart.as_secs())),
            format_span(limit),
        );
        let hint = "set the client's clock, or leave this time out: events then count at the times that they bear";
        Unusable { reason, hint }
    }
}

/// An instant to the second, as RFC 3339 writes it.
fn in_words(at: TimestampMicros) -> String {
    let (date, second) = (date_of(at.0.div_euclid(DAY)), at.0.rem_euclid(DAY) / SECOND);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z", date.year, date.month, date.day)
}
