//! Days and instants from text and numbers, in the forms in which events are found to carry them.
//!
//! In: the text of a JSON string or number. Out: microseconds since 1970-01-01T00:00:00 UTC, or days since 1970-01-01.
//! Guarantee: pure, never panics; `None` means "this is no instant". No form can be read in two ways: where a day and a
//! month could be exchanged, or the zone is only an abbreviation other than UTC, it is no instant.
//! Digits beyond the microsecond are cut off. Years are 0000 to 9999.
//!
//! | form | example |
//! |---|---|
//! | RFC 3339, and of ISO 8601: a space for the `T`, no seconds, a comma before the fraction | `2026-01-31T12:00:00.5Z`, `2026-01-31 12:00:00,5` |
//! | offsets `+01:00`, `+0100`, `+01`, `Z`, ` UTC`, ` GMT`, also after a space; a zone in brackets behind one | `2026-01-31 12:00:00 +0000`, `...+01:00[Europe/Berlin]` |
//! | its abbreviation behind one in digits (Go, mail) | `2026-01-31 13:00:00 +0100 CET`, `... +0100 (CET)` |
//! | no offset | UTC |
//! | the basic form | `20260131T120000Z` |
//! | a day alone: its first instant | `2026-01-31`, `20260131` |
//! | dates of HTTP and mail (RFC 9110, RFC 5322) | `Sat, 31 Jan 2026 12:00:00 GMT` |
//! | a number: seconds, milliseconds, microseconds or nanoseconds since 1970 | `1769860800`, `1769860800.5`, `1769860800000` |
//! | the same as text, of 10, 13, 16 or 19 digits | `"1769860800000"` |
//!
//! Where a column declares a unit, a number is of that unit whatever its size, and other text is read as above; where
//! it declares a pattern, text of that pattern is read and nothing else.
//!
//! Why the unit of a number is told from its size: at most one of the four puts a number between 3 March 1973 and 20
//! November 2286, where each of them begins and ends at a power of ten. A number that none puts there is no instant; it
//! may be a day written as 20260131, or 20260131120000.

use positions::TimestampMicros;
use positions::calendar::{Date, day_of};
use views::{EpochUnit, TimeFormat};

use super::{json, scalar};

/// 0000-01-01.
const FIRST_DAY: i64 = -719_528;
/// 9999-12-31.
const LAST_DAY: i64 = 2_932_896;

const DAY: i64 = 86_400_000_000;
const MILLION: i128 = 1_000_000;
const MONTHS: [&[u8]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];
const WEEKDAYS: [&[u8]; 7] = [b"Mon", b"Tue", b"Wed", b"Thu", b"Fri", b"Sat", b"Sun"];

/// The instant that a text names outside of a payload, in any form in which a TIMESTAMP column takes a string.
pub fn instant_of_text(text: &str) -> Option<TimestampMicros> {
    timestamp(text).map(TimestampMicros)
}

/// The instant that a JSON number names, as a TIMESTAMP column takes it. `number`: as [`Cursor`](super::Cursor) reads
/// it.
pub fn instant_of_number(number: &str) -> Option<TimestampMicros> {
    epoch(number).map(TimestampMicros)
}

/// An instant from the text of a string.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    match calendar_day(text.as_bytes()) {
        Some((days, [])) => Some(days * DAY),
        Some((days, [b'T' | b't' | b' ', rest @ ..])) => time_of_day(days, rest),
        _ => http_date(text.as_bytes()).or_else(|| number_in_text(text)),
    }
}

/// An instant from a JSON number, in the unit that its size tells.
pub(crate) fn epoch(text: &str) -> Option<i64> {
    let (whole, millionths) = number(text)?;
    let unit = match whole.unsigned_abs() {
        100_000_000..10_000_000_000 => EpochUnit::Seconds,
        100_000_000_000..10_000_000_000_000 => EpochUnit::Millis,
        100_000_000_000_000..10_000_000_000_000_000 => EpochUnit::Micros,
        100_000_000_000_000_000.. => EpochUnit::Nanos,
        _ => return None,
    };
    micros_of(whole, millionths, unit)
}

/// An instant from a JSON string or number, written as its column declares.
pub(crate) fn timestamp_as(text: &str, format: &TimeFormat) -> Option<i64> {
    let instant = match format {
        TimeFormat::Pattern(pattern) => pattern.read(text)?,
        TimeFormat::Epoch(unit) if json::number_prefix(text.as_bytes()) == Some(text.len()) => {
            let (whole, millionths) = number(text)?;
            micros_of(whole, millionths, *unit)?
        }
        TimeFormat::Epoch(_) => timestamp(text)?,
    };
    (FIRST_DAY..=LAST_DAY).contains(&instant.div_euclid(DAY)).then_some(instant)
}

/// A DATE from a JSON string, written as its column declares: the day of an instant at midnight.
pub(crate) fn date_as(text: &str, format: &TimeFormat) -> Option<i32> {
    let instant = timestamp_as(text, format).filter(|micros| micros.rem_euclid(DAY) == 0)?;
    i32::try_from(instant.div_euclid(DAY)).ok()
}

fn micros_of(whole: i64, millionths: i64, unit: EpochUnit) -> Option<i64> {
    match unit {
        EpochUnit::Seconds => whole.checked_mul(1_000_000)?.checked_add(millionths),
        EpochUnit::Millis => whole.checked_mul(1_000)?.checked_add(millionths.div_euclid(1_000)),
        EpochUnit::Micros => Some(whole),
        EpochUnit::Nanos => Some(whole.div_euclid(1_000)),
    }
}

/// A number: its whole part and the millionths behind it, both of its sign.
fn number(text: &str) -> Option<(i64, i64)> {
    let (whole, millionths) = match text.contains(['e', 'E']) {
        true => {
            scalar::decimal(text, 25, 6).and_then(|all| Some((i64::try_from(all / MILLION).ok()?, all % MILLION)))?
        }
        false => plain_number(text)?,
    };
    Some((whole, i64::try_from(millionths).ok()?))
}

/// A DATE as days since 1970-01-01, from text: `2026-01-31`, `20260131`, or an instant at midnight UTC.
pub(crate) fn date(text: &str) -> Option<i32> {
    match calendar_day(text.as_bytes()) {
        Some((days, [])) => i32::try_from(days).ok(),
        _ => midnight(text),
    }
}

/// A DATE from a whole JSON number: the days since 1970-01-01, as Debezium and Arrow write them, in the years 0000 to
/// 9999. A number that was meant as `20260131` lies beyond.
pub(crate) fn date_of_days(text: &str) -> Option<i32> {
    scalar::integer(text, FIRST_DAY, LAST_DAY).and_then(|days| i32::try_from(days).ok())
}

/// The day of an instant at midnight UTC, given as text.
fn midnight(text: &str) -> Option<i32> {
    let Some((days, [b'T' | b't' | b' ', rest @ ..])) = calendar_day(text.as_bytes()) else { return None };
    let micros = time_of_day(days, rest).filter(|micros| micros.rem_euclid(DAY) == 0)?;
    i32::try_from(micros.div_euclid(DAY)).ok()
}

/// A number without exponent: its whole part and the millionths behind it, both of its sign.
fn plain_number(text: &str) -> Option<(i64, i128)> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    let millionths = digits.fold(0, |sum, digit| sum * 10 + i128::from(digit) - i128::from(b'0'));
    Some((whole.parse().ok()?, if whole.starts_with('-') { -millionths } else { millionths }))
}

/// A day as `YYYY-MM-DD` or `YYYYMMDD`, as its number, and what follows it.
fn calendar_day(text: &[u8]) -> Option<(i64, &[u8])> {
    let (century, rest) = two_digits(text, 99)?;
    let (year_of_century, rest) = two_digits(rest, 99)?;
    let extended = rest.strip_prefix(b"-");
    let (month, rest) = two_digits(extended.unwrap_or(rest), 12)?;
    let rest = if extended.is_some() { rest.strip_prefix(b"-")? } else { rest };
    let (day, rest) = two_digits(rest, 31)?;
    day_number(century * 100 + year_of_century, month, day).map(|days| (days, rest))
}

fn day_number(year: i64, month: i64, day: i64) -> Option<i64> {
    let date = Date { year, month, day };
    // Most days are in every month: only the last ones ask the calendar.
    if month == 0 || day == 0 || (day > 28 && day > Date::last_day(date.months())) {
        return None;
    }
    Some(day_of(date.months(), day))
}

/// What follows the `T`: `12:34:56.789+01:00` and shorter forms, or `123456Z`.
fn time_of_day(days: i64, text: &[u8]) -> Option<i64> {
    let (hour, rest) = two_digits(text, 23)?;
    let (minute, rest) = two_digits(after_colon(rest), 59)?;
    // A leap second counts as the first one of the next minute, as in every clock that does not know it.
    let (second, rest) = two_digits(after_colon(rest), 60).unwrap_or((0, rest));
    let (fraction, rest) = fraction_micros(rest)?;
    let offset_minutes = utc_offset_minutes(rest)?;
    let seconds = days * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    Some(seconds * 1_000_000 + fraction)
}

fn after_colon(text: &[u8]) -> &[u8] {
    text.strip_prefix(b":").unwrap_or(text)
}

/// `Sun, 01 Mar 2026 12:34:56 GMT`, the day of the week left out or not.
fn http_date(text: &[u8]) -> Option<i64> {
    let named = text.get(..3).is_some_and(|name| WEEKDAYS.iter().any(|day| day.eq_ignore_ascii_case(name)));
    let text = if named { text[3..].strip_prefix(b", ")? } else { text };
    let (day, rest) = two_digits(text, 31).or_else(|| one_digit(text))?;
    let rest = rest.strip_prefix(b" ")?;
    let (name, rest) = rest.split_at_checked(3)?;
    let month = MONTHS.iter().position(|month| month.eq_ignore_ascii_case(name))?;
    let (century, rest) = two_digits(rest.strip_prefix(b" ")?, 99)?;
    let (year_of_century, rest) = two_digits(rest, 99)?;
    let days = day_number(century * 100 + year_of_century, i64::try_from(month).ok()? + 1, day)?;
    // Unlike in ISO 8601, the zone must be written.
    let rest = rest.strip_prefix(b" ").filter(|rest| rest.contains(&b' '))?;
    time_of_day(days, rest)
}

/// A number in a string, as long as instants of today are in one of the units: shorter ones are years and days.
fn number_in_text(text: &str) -> Option<i64> {
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    let is_number =
        matches!(whole.len(), 10 | 13 | 16 | 19) && json::number_prefix(text.as_bytes()) == Some(text.len());
    if is_number { epoch(text) } else { None }
}

fn two_digits(text: &[u8], max: i64) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(2)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = i64::from(digits[0] - b'0') * 10 + i64::from(digits[1] - b'0');
    (value <= max).then_some((value, rest))
}

fn one_digit(text: &[u8]) -> Option<(i64, &[u8])> {
    let (digit, rest) = text.split_first()?;
    digit.is_ascii_digit().then(|| (i64::from(digit - b'0'), rest))
}

fn fraction_micros(text: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.' | b',', rest @ ..] = text else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(length);
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
    (length > 0).then(|| (padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')), rest))
}

fn utc_offset_minutes(text: &[u8]) -> Option<i64> {
    let text = without_zone_name(text.strip_prefix(b" ").filter(|rest| !rest.is_empty()).unwrap_or(text));
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] | b"UTC" | b"GMT" => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two_digits(rest, 23)?;
    let (minutes, rest) = match rest {
        [] => (0, rest),
        _ => two_digits(after_colon(rest), 59)?,
    };
    rest.is_empty().then_some(sign * (hours * 60 + minutes))
}

/// The offset before a zone in brackets (RFC 9557) or before its abbreviation (Go, RFC 5322), which only say where the
/// offset comes from. Without an offset before it nothing is taken away: the name alone would need a table of zones.
fn without_zone_name(text: &[u8]) -> &[u8] {
    let before = |byte: u8| text.iter().position(|other| *other == byte).filter(|at| *at > 0);
    let is_offset = text.starts_with(b"+") || text.starts_with(b"-");
    match (before(b'['), before(b' ')) {
        (Some(at), _) if text.ends_with(b"]") => &text[..at],
        (None, Some(at)) if is_offset && is_abbreviation(&text[at + 1..]) => &text[..at],
        _ => text,
    }
}

/// `CET` or `(CET)`.
fn is_abbreviation(text: &[u8]) -> bool {
    let inside = text.strip_prefix(b"(").and_then(|rest| rest.strip_suffix(b")")).unwrap_or(text);
    (2..=5).contains(&inside.len()) && inside.iter().all(u8::is_ascii_uppercase)
}
