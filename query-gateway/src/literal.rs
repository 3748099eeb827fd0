//! Values of a parameter: from text to one value of a dimension's type. Pure.
//!
//! Instants are written as in SQL, those without an offset in local time of the request's zone; a date is its first
//! instant there. Or they are a whole number since 1970-01-01T00:00:00Z. Its size says its unit: what each unit can say
//! begins in 1973 and ends in the year 5138, or where 64 bits do (nanoseconds: 2262).
//!
//! | digits without sign | unit |
//! |---|---|
//! | 9 to 11, and `0` | seconds |
//! | 12 to 14 | milliseconds |
//! | 15 to 17 | microseconds |
//! | 18 and 19 | nanoseconds |
//!
//! Guarantee: what does not parse is refused. A number with fewer digits is: `20260131` is more likely a date. So is a
//! local time that clocks show twice or never.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, TimestampMicrosecondArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::FormatOptions;
use chrono::NaiveDate;
use datafusion::common::utils::normalize_float_zero;
use views::{sql_name, with_article};

use crate::GatewayError;
use crate::local_time::Zone;

const STRICT: CastOptions<'static> = CastOptions { safe: false, format_options: FormatOptions::new() };

/// One value of a dimension's type, from the text of the parameter `name`, in a request of this zone.
///
/// # Errors
/// [`GatewayError::BadRequest`] with an example.
pub(crate) fn parse_value(name: &str, text: &str, data_type: &DataType, zone: &Zone) -> Result<ArrayRef, GatewayError> {
    let source: ArrayRef = match data_type {
        DataType::Timestamp(_, _) => {
            let micros = match epoch_micros(text).or_else(|| start_of_date(text, zone)) {
                Some(micros) => micros,
                None => local_micros(name, text, data_type, zone)?,
            };
            Arc::new(TimestampMicrosecondArray::from(vec![micros]).with_timezone("UTC"))
        }
        _ => Arc::new(StringArray::from(vec![text])),
    };
    let value = cast_with_options(&source, data_type, &STRICT).map_err(|_| refusal(name, text, data_type))?;
    // Keys have one zero.
    if value.null_count() > 0 { Err(refusal(name, text, data_type)) } else { Ok(normalize_float_zero(&value)) }
}

/// The first instant of a date in the zone.
fn start_of_date(text: &str, zone: &Zone) -> Option<i64> {
    let is_date = text.len() == "2026-01-31".len() && text.starts_with(|first: char| first.is_ascii_digit());
    zone.start_of(text.parse::<NaiveDate>().ok().filter(|_| is_date)?)
}

/// The instant of a text, in the zone where the text has no offset.
fn local_micros(name: &str, text: &str, data_type: &DataType, zone: &Zone) -> Result<i64, GatewayError> {
    let local = DataType::Timestamp(TimeUnit::Microsecond, Some(zone.arrow_name()));
    let source = StringArray::from(vec![with_plus(text)]);
    if let Ok(instant) = cast_with_options(&source, &local, &STRICT) {
        return Ok(instant.as_primitive::<TimestampMicrosecondType>().value(0));
    }
    if cast_with_options(&source, data_type, &STRICT).is_err() {
        return Err(refusal(name, text, data_type));
    }
    let reason = format!("`{name}`: clocks of {} show `{text}` twice or not at all", zone.name());
    Err(GatewayError::bad_with_hint(reason, format!("write an offset behind it, as in `{text}Z`")))
}

fn refusal(name: &str, text: &str, data_type: &DataType) -> GatewayError {
    let example = match data_type {
        DataType::Timestamp(_, _) => "2026-01-31T12:00:00Z",
        DataType::Date32 | DataType::Date64 => "2026-01-31",
        DataType::Boolean => "true",
        _ => "42",
    };
    let expected = with_article(&sql_name(data_type));
    let reason = format!("`{name}` must be {expected} such as `{example}`, got `{text}`");
    match data_type {
        DataType::Timestamp(_, _) => GatewayError::bad_with_hint(
            reason,
            "write a date, a date and time with `Z` or an offset (a plus as %2B), or a whole number since 1970: \
             seconds of 9 to 11 digits, milliseconds of 12 to 14, microseconds of 15 to 17, nanoseconds of 18 or 19",
        ),
        _ => GatewayError::bad(reason),
    }
}

/// The instant that a whole number stands for.
fn epoch_micros(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let number: i64 = text.parse().ok()?;
    match (number, number.unsigned_abs().max(1).ilog10() + 1) {
        (0, _) => Some(0),
        (_, 9..=11) => number.checked_mul(1_000_000),
        (_, 12..=14) => number.checked_mul(1_000),
        (_, 15..=17) => Some(number),
        (_, 18..) => Some(number.div_euclid(1_000)),
        _ => None,
    }
}

/// The text with the plus of its offset back, which a URL turns into a blank: `2026-01-31T12:00:00 02:00`. A blank
/// before the time of day stays.
fn with_plus(text: &str) -> String {
    match text.rsplit_once(' ') {
        Some((time, offset)) if time.contains(':') && is_offset(offset) => format!("{time}+{offset}"),
        _ => text.to_owned(),
    }
}

fn is_offset(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= 2 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':')
}
