//! Spans of time as people write them: one grammar for pipeline options, the configuration and requests, read and
//! written.
//!
//! A span is a sum of whole numbers, each with its unit: `500ms`, `30s`, `10 minutes`, `1 hour 30 minutes`, `2d`. Case
//! and spaces around numbers and units do not matter.
//! Guarantee: pure; never panics; what [`format_span`] writes, [`parse_span`] reads back unchanged.
//! Not here: which spans an option takes.

use std::time::Duration;

/// What [`parse_span`] reads, as the end of a message that refuses something else.
pub const SPAN_EXAMPLES: &str = "a span of time such as '500ms', '30s', '10 minutes', '1 hour 30 minutes' or '2 days'";

/// Unit as it is written, and how many milliseconds it has; the largest first.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// A text that is not read as a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpanError {
    /// It is empty, lacks a number or a unit, or has a unit that is unknown.
    #[error("not {SPAN_EXAMPLES}")]
    Malformed,
    /// It has more milliseconds than 64 bits can count.
    #[error("too large")]
    TooLarge,
}

impl SpanError {
    /// What the text must be and what it is, for a message that begins with the name of what was given.
    pub fn refusal(self, text: &str) -> String {
        match self {
            Self::Malformed => format!("must be {SPAN_EXAMPLES}, got `{text}`"),
            Self::TooLarge => format!("is too large, got `{text}`"),
        }
    }
}

/// Reads a span of time.
///
/// # Errors
/// [`SpanError`]: correct the text.
pub fn parse_span(text: &str) -> Result<Duration, SpanError> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(SpanError::Malformed);
    }
    let mut total_millis = 0_u64;
    while !rest.is_empty() {
        let (number, tail) = split_while(rest, |letter| letter.is_ascii_digit());
        let (unit, tail) = split_while(tail.trim_start(), |letter| letter.is_ascii_alphabetic());
        let unit_millis = unit_millis(unit).filter(|_| !number.is_empty()).ok_or(SpanError::Malformed)?;
        let millis = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit_millis));
        total_millis = millis.and_then(|millis| total_millis.checked_add(millis)).ok_or(SpanError::TooLarge)?;
        rest = tail.trim_start();
    }
    Ok(Duration::from_millis(total_millis))
}

/// Writes a span in the largest unit that divides it; less than a millisecond is cut off.
pub fn format_span(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let unit = UNITS.iter().find(|(_, size)| millis >= *size && millis.is_multiple_of(*size));
    unit.map_or_else(|| format!("{millis}ms"), |(name, size)| format!("{}{name}", millis / size))
}

fn split_while(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|letter| !is_part(letter)).unwrap_or(text.len()))
}

fn unit_millis(unit: &str) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let written = match unit.as_str() {
        "millisecond" | "milliseconds" => "ms",
        "sec" | "second" | "seconds" => "s",
        "min" | "minute" | "minutes" => "m",
        "hour" | "hours" => "h",
        "day" | "days" => "d",
        written => written,
    };
    UNITS.iter().find(|(name, _)| *name == written).map(|(_, size)| *size)
}
