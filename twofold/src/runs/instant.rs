//! Instants as people write them, and as they are shown.

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat};
use positions::TimestampMicros;

/// Reads a date, which is its first instant in UTC, or an instant as RFC 3339 writes it.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_instant(text: &str) -> Result<TimestampMicros, String> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(TimestampMicros(date.and_time(NaiveTime::MIN).and_utc().timestamp_micros()));
    }
    let at = DateTime::parse_from_rfc3339(text).map(|at| TimestampMicros(at.timestamp_micros()));
    at.map_err(|_| {
        format!(
            "must be a date such as `2026-01-31`, whose first instant in UTC is meant, or an instant such as \
             `2026-01-31T12:00:00Z`, got `{text}`"
        )
    })
}

/// In UTC as RFC 3339, in milliseconds; `None` beyond what that can say.
pub fn instant_text(at: TimestampMicros) -> Option<String> {
    let at = DateTime::from_timestamp_micros(at.0)?;
    Some(at.to_rfc3339_opts(SecondsFormat::Millis, true))
}
