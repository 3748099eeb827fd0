//! Instants written by a pattern that a pipeline file declares, such as `%d.%m.%Y %H:%M:%S`.
//!
//! Guarantee: pure; what a pattern does not say completely is refused with the pattern, not guessed with each event.
//! Without an offset in the text it is in UTC, without a time of day it is the first instant of the day.

use std::fmt::{self, Write as _};

use chrono::format::{Fixed, Item, Parsed, StrftimeItems, parse};
use chrono::{DateTime, NaiveTime, Utc};

/// 2024-10-11T14:15:16Z: no two of its numbers are equal.
const PROBE: i64 = 1_728_656_116;

/// A pattern in the words of `strftime`.
#[derive(Clone)]
pub struct TimePattern {
    text: String,
    items: Vec<Item<'static>>,
}

impl TimePattern {
    /// The pattern, if it says a day and, where it says a time of day, its hour and minute.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let items = StrftimeItems::new(text).parse_to_owned();
        let items = items.map_err(|_| format!("`{text}` is neither a unit nor a pattern of strftime"))?;
        if items.iter().any(|item| matches!(item, Item::Fixed(Fixed::TimezoneName))) {
            return Err("the name of a zone (%Z) does not tell an offset".to_owned());
        }
        let pattern = Self { text: text.to_owned(), items };
        let read_back = |second: i64| {
            let written = pattern.write(second)?;
            Some((pattern.read(&written)? / 1_000_000, written))
        };
        let (Some((read, written)), Some((_, next_hour))) = (read_back(PROBE), read_back(PROBE + 3_600)) else {
            return Err(format!("`{text}` does not say a whole day"));
        };
        let to_minute = PROBE - PROBE % 60;
        if read == PROBE || read == to_minute || (written == next_hour && read == PROBE - PROBE % 86_400) {
            return Ok(pattern);
        }
        Err(format!("`{text}` does not say a whole instant"))
    }

    /// Microseconds since 1970 in UTC; `None` where the text is not of this pattern.
    pub fn read(&self, text: &str) -> Option<i64> {
        let mut parsed = Parsed::new();
        parse(&mut parsed, text, self.items.iter()).ok()?;
        if let Ok(instant) = parsed.to_datetime() {
            return Some(instant.timestamp_micros());
        }
        if let Ok(instant) = parsed.to_naive_datetime_with_offset(0) {
            return Some(instant.and_utc().timestamp_micros());
        }
        // Patterns with a part of a time of day were refused.
        Some(parsed.to_naive_date().ok()?.and_time(NaiveTime::MIN).and_utc().timestamp_micros())
    }

    /// As a pipeline file writes it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// An instant as the pattern writes it.
    fn write(&self, second: i64) -> Option<String> {
        let instant: DateTime<Utc> = DateTime::from_timestamp(second, 0)?;
        let mut text = String::new();
        // Some patterns can only be read.
        write!(text, "{}", instant.format_with_items(self.items.iter())).ok()?;
        Some(text)
    }
}

impl PartialEq for TimePattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for TimePattern {}

impl fmt::Debug for TimePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}
