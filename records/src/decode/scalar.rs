//! Numbers and instants from their text, without loss or not at all.
//!
//! Guarantee: pure, never panics; `None` means "this text is no such value" and nothing is rounded in silence, except
//! to the nearest floating-point number and, for instants, to the microsecond below.

use positions::calendar::{Date, day_of};

use super::json::number_prefix;

/// A BIGINT and its smaller kin: digits with an optional minus, within `[min, max]`. No fraction, no exponent.
pub(crate) fn integer(text: &str, min: i64, max: i64) -> Option<i64> {
    text.parse().ok().filter(|value| (min..=max).contains(value))
}

/// A DOUBLE: the nearest one to any JSON number; what would be infinite is refused.
pub(crate) fn double(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A FLOAT, rounded once from the text; what would be infinite is refused.
pub(crate) fn float(text: &str) -> Option<f64> {
    text.parse().ok().filter(|value: &f32| value.is_finite()).map(f64::from)
}

/// A DECIMAL as its unscaled integer: any JSON number, exponent included, that it holds without loss.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    if number_prefix(text.as_bytes()) != Some(text.len()) {
        return None;
    }
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or((1, mantissa), |rest| (-1, rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let dropped_zeros = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some(0);
    }
    let length = |text: &str| i64::try_from(text.len()).ok();
    let zeros = i64::from(exponent) - length(fraction)? + i64::try_from(dropped_zeros).ok()? + i64::from(scale);
    if zeros < 0 || length(significant)?.checked_add(zeros)? > i64::from(precision) {
        return None;
    }
    let factor = 10_i128.checked_pow(u32::try_from(zeros).ok()?)?;
    significant.parse::<i128>().ok()?.checked_mul(factor)?.checked_mul(sign)
}

/// A DATE as days since 1970-01-01: `YYYY-MM-DD`.
pub(crate) fn date(text: &str) -> Option<i32> {
    let (days, rest) = calendar_day(text.as_bytes())?;
    rest.is_empty().then_some(days)
}

/// A TIMESTAMP as microseconds since 1970-01-01T00:00:00 UTC: RFC 3339, also with a space for the `T`, an offset
/// without colon, or no offset at all (UTC). Digits beyond the microsecond are cut off.
pub(crate) fn timestamp(text: &str) -> Option<i64> {
    let (days, rest) = calendar_day(text.as_bytes())?;
    let rest = rest.strip_prefix(b"T").or(rest.strip_prefix(b"t")).or(rest.strip_prefix(b" "))?;
    let (hour, rest) = two_digits(rest, 23)?;
    let (minute, rest) = two_digits(rest.strip_prefix(b":")?, 59)?;
    // A leap second counts as the first one of the next minute, as in every clock that does not know it.
    let (second, rest) = two_digits(rest.strip_prefix(b":")?, 60)?;
    let (fraction, rest) = fraction_micros(rest)?;
    let offset_minutes = utc_offset_minutes(rest)?;
    let seconds = i64::from(days) * 86_400 + hour * 3_600 + (minute - offset_minutes) * 60 + second;
    Some(seconds * 1_000_000 + fraction)
}

/// A day as `YYYY-MM-DD`, as its number, and what follows it.
fn calendar_day(text: &[u8]) -> Option<(i32, &[u8])> {
    let (century, rest) = two_digits(text, 99)?;
    let (year_of_century, rest) = two_digits(rest, 99)?;
    let (month, rest) = two_digits(rest.strip_prefix(b"-")?, 12)?;
    let (day, rest) = two_digits(rest.strip_prefix(b"-")?, 31)?;
    let date = Date { year: century * 100 + year_of_century, month, day };
    // Most days are in every month: only the last ones ask the calendar.
    if month == 0 || day == 0 || (day > 28 && day > Date::last_day(date.months())) {
        return None;
    }
    i32::try_from(day_of(date.months(), day)).ok().map(|days| (days, rest))
}

fn two_digits(text: &[u8], max: i64) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(2)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let value = i64::from(digits[0] - b'0') * 10 + i64::from(digits[1] - b'0');
    (value <= max).then_some((value, rest))
}

fn fraction_micros(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (digits, rest) = rest.split_at(length);
    let padded = digits.iter().chain(std::iter::repeat(&b'0')).take(6);
    (length > 0).then(|| (padded.fold(0, |micros, digit| micros * 10 + i64::from(digit - b'0')), rest))
}

fn utc_offset_minutes(text: &[u8]) -> Option<i64> {
    let (sign, rest) = match text {
        [] | [b'Z' | b'z'] => return Some(0),
        [b'+', rest @ ..] => (1, rest),
        [b'-', rest @ ..] => (-1, rest),
        _ => return None,
    };
    let (hours, rest) = two_digits(rest, 23)?;
    let (minutes, rest) = two_digits(rest.strip_prefix(b":").unwrap_or(rest), 59)?;
    rest.is_empty().then_some(sign * (hours * 60 + minutes))
}
