//! Spans and sizes as people write them: `200ms`, `64MiB`.
//!
//! Guarantee: pure; what [`format_size`] writes, [`parse_size`] reads back unchanged.
//! Not here: how a span is written (`positions::format_span`).

use std::time::Duration;

use positions::{format_span, parse_span};

/// Unit, and how many bytes it has; the largest first.
const SIZE_UNITS: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// A longer span is a slip, and clocks cannot add it to the present.
const LONGEST_SPAN: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// Reads a span such as `200ms`, `30s`, `10 minutes` or `1 hour 30 minutes`, as everywhere in Twofold.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let span = parse_span(text).map_err(|error| error.refusal(text))?;
    let told = || format!("must be at most {}, got `{text}`", format_span(LONGEST_SPAN));
    if span <= LONGEST_SPAN { Ok(span) } else { Err(told()) }
}

/// Reads a size such as `512KiB`, `64MiB` or `1GiB`.
///
/// # Errors
/// A sentence that says what is expected.
pub fn parse_size(text: &str) -> Result<u64, String> {
    read(text, &SIZE_UNITS, "a size such as `512KiB`, `64MiB` or `1GiB`")
}

/// Writes a size in the largest unit that divides it.
pub fn format_size(bytes: u64) -> String {
    write(bytes, &SIZE_UNITS, "B")
}

fn read(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim();
    let per_unit = units.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size);
    match (number.parse::<u64>(), per_unit) {
        (Ok(number), Some(size)) => number.checked_mul(size).ok_or_else(|| format!("is too large, got `{text}`")),
        _ => Err(format!("must be {expected}, got `{text}`")),
    }
}

fn write(value: u64, units: &[(&str, u64)], smallest: &str) -> String {
    units
        .iter()
        .find(|(_, size)| value >= *size && value.is_multiple_of(*size))
        .map_or_else(|| format!("{value}{smallest}"), |(name, size)| format!("{}{name}", value / size))
}
