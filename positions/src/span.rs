//! Spans of time as people write them: one grammar for pipeline options, the configuration and requests.
//!
//! A span is a sum of whole numbers, each with its unit: `500ms`, `30s`, `10 minutes`, `1 hour 30 minutes`, `2d`. Case
//! and spaces around numbers and units do not matter.
//! Guarantee: pure; never panics. Not here: which spans an option takes.

use std::time::Duration;

/// What [`parse_span`] reads, as the end of a message that refuses something else.
pub const SPAN_EXAMPLES: &str = "a span of time such as '500ms', '30s', '10 minutes', '1 hour 30 minutes' or '2 days'";

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

fn split_while(text: &str, is_part: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|letter| !is_part(letter)).unwrap_or(text.len()))
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit.to_ascii_lowercase().as_str() {
        "ms" | "millisecond" | "milliseconds" => 1,
        "s" | "sec" | "second" | "seconds" => 1_000,
        "m" | "min" | "minute" | "minutes" => 60_000,
        "h" | "hour" | "hours" => 3_600_000,
        "d" | "day" | "days" => 86_400_000,
        _ => return None,
    })
}
