//! The DEFAULT of a column: a constant of SQL to the JSON that decoding reads where a key is missing.
//!
//! In: the constant and the field that is declared. Out: JSON text, which the column itself takes as a payload's value.
//! Guarantee: what is taken here is written in the form of the type itself, which decoding (`records`) always takes;
//! all other forms that it takes of events are refused, for a file should say what it means.

use arrow::datatypes::{DataType, Field};
use datafusion::sql::sqlparser::ast::{Expr, UnaryOperator, Value};
use positions::calendar::Date;

use crate::article::with_article;
use crate::declared::is_json;
use crate::json::{is_value, number_prefix};
use crate::sql_name::declared_name;

/// A constant as it is written.
enum Literal {
    Text(String),
    Number(String),
    Truth(bool),
    Null,
}

/// The JSON that a missing key of the column stands for; `None` where that is NULL.
///
/// # Errors
/// What is wrong, and the way out.
pub(super) fn default_json(value: &Expr, field: &Field) -> Result<Option<String>, (String, String)> {
    let Some(literal) = literal(value) else {
        let hint = "write a text in single quotes, a number, TRUE, FALSE or NULL; what depends on other columns is \
                    given in a view: coalesce(column, value)";
        return Err(("a DEFAULT is a constant".to_owned(), hint.to_owned()));
    };
    if field.data_type().is_nested() {
        let message = format!("{} has no DEFAULT", with_article(&declared_name(field)));
        return Err((message, "give the value in a view: coalesce(column, value)".to_owned()));
    }
    if matches!(literal, Literal::Null) {
        if field.is_nullable() {
            return Ok(None);
        }
        let message = "a column that is NOT NULL has no DEFAULT NULL";
        return Err((message.to_owned(), "leave one of the two out".to_owned()));
    }
    json_of(&literal, field).map(Some).ok_or_else(|| {
        let message = format!("{} takes no such DEFAULT", with_article(&declared_name(field)));
        (message, format!("write {}", example(field)))
    })
}

fn literal(value: &Expr) -> Option<Literal> {
    let text = |value: &Value| match value {
        Value::SingleQuotedString(text) => Some(Literal::Text(text.clone())),
        _ => None,
    };
    match value {
        Expr::Nested(inner) => literal(inner),
        Expr::Value(value) => match &value.value {
            Value::Number(digits, _) => Some(Literal::Number(digits.to_string())),
            Value::Boolean(truth) => Some(Literal::Truth(*truth)),
            Value::Null => Some(Literal::Null),
            other => text(other),
        },
        // DATE '2026-01-31' and its like.
        Expr::TypedString(typed) => text(&typed.value.value),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => match literal(expr)? {
            Literal::Number(digits) if !digits.starts_with('-') => Some(Literal::Number(format!("-{digits}"))),
            _ => None,
        },
        _ => None,
    }
}

/// The JSON of a constant, if it is a value of the field's type.
fn json_of(literal: &Literal, field: &Field) -> Option<String> {
    let fits = match (field.data_type(), literal) {
        (DataType::Utf8, Literal::Text(json)) if is_json(field) => is_value(json) && json.trim() != "null",
        (DataType::Utf8, Literal::Number(digits)) if is_json(field) => is_number(digits),
        (DataType::Utf8, Literal::Truth(_)) if is_json(field) => true,
        (DataType::Utf8, Literal::Text(_)) => true,
        (DataType::Boolean, Literal::Truth(_)) => true,
        (DataType::Int16, Literal::Number(digits)) => is_whole(digits, i16::MIN.into(), i16::MAX.into()),
        (DataType::Int32, Literal::Number(digits)) => is_whole(digits, i32::MIN.into(), i32::MAX.into()),
        (DataType::Int64, Literal::Number(digits)) => is_whole(digits, i64::MIN, i64::MAX),
        (DataType::Float32, Literal::Number(digits)) => {
            is_number(digits) && digits.parse().is_ok_and(|number: f32| number.is_finite())
        }
        (DataType::Float64, Literal::Number(digits)) => {
            is_number(digits) && digits.parse().is_ok_and(|number: f64| number.is_finite())
        }
        (DataType::Decimal128(precision, scale), Literal::Number(digits)) => is_decimal(digits, *precision, *scale),
        (DataType::Date32, Literal::Text(text)) => is_day(text),
        (DataType::Timestamp(..), Literal::Text(text)) => is_instant(text),
        _ => false,
    };
    fits.then(|| match literal {
        Literal::Text(json) if is_json(field) => json.clone(),
        Literal::Text(text) => quoted(text),
        Literal::Number(digits) => digits.clone(),
        Literal::Truth(truth) => truth.to_string(),
        Literal::Null => "null".to_owned(),
    })
}

/// A value of the field's type, as SQL writes it.
fn example(field: &Field) -> String {
    let text = match field.data_type() {
        _ if is_json(field) => "the JSON in single quotes, such as '{\"a\": 1}'",
        DataType::Boolean => "TRUE or FALSE",
        DataType::Utf8 => "a text in single quotes, such as 'none'",
        DataType::Date32 => "a day in single quotes, such as '2026-01-31'",
        DataType::Decimal128(..) => "a number in digits that the column holds without loss, such as 0.5",
        data_type if data_type.is_floating() => "a number, such as 0.5",
        data_type if data_type.is_integer() => "a whole number that the column holds, such as 0",
        _ => "an instant in single quotes, such as '2026-01-31T12:00:00Z'",
    };
    text.to_owned()
}

fn is_number(digits: &str) -> bool {
    number_prefix(digits.as_bytes()) == Some(digits.len())
}

fn is_whole(digits: &str, least: i64, most: i64) -> bool {
    is_number(digits) && digits.parse().is_ok_and(|number: i64| (least..=most).contains(&number))
}

fn is_decimal(digits: &str, precision: u8, scale: i8) -> bool {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let whole = whole.trim_start_matches('-').trim_start_matches('0').len();
    let fraction = fraction.trim_end_matches('0').len();
    let (precision, scale) = (usize::from(precision), usize::from(scale.unsigned_abs()));
    is_number(digits) && !digits.contains(['e', 'E']) && fraction <= scale && whole + scale <= precision
}

/// A text between quotes, with the escapes that JSON asks for.
fn quoted(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => json.extend(['\\', character]),
            '\0'..' ' => json.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => json.push(character),
        }
    }
    json.push('"');
    json
}

/// Whether a text is a day of the calendar: `2026-01-31`.
fn is_day(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let (Some(year), Some(month), Some(day)) = (number(year, 4), number(month, 2), number(day, 2)) else {
        return false;
    };
    (1..=12).contains(&month) && (1..=Date::last_day(Date { year, month, day: 1 }.months())).contains(&day)
}

/// Whether a text is an instant: a day, or one with a time: `2026-01-31T12:00:00.5Z`, `2026-01-31 12:00+01:00`.
fn is_instant(text: &str) -> bool {
    match text.split_once(['T', ' ']) {
        None => is_day(text),
        Some((day, time)) => is_day(day) && is_time(time),
    }
}

fn is_time(text: &str) -> bool {
    let clock = text.strip_suffix('Z').unwrap_or_else(|| without_offset(text));
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let parts: Vec<&str> = clock.split(':').collect();
    let mut parts_and_limits = parts.iter().zip([23, 59, 59]);
    let is_clock = parts_and_limits.all(|(part, most)| number(part, 2).is_some_and(|part| part <= most));
    is_clock && matches!(parts.len(), 2 | 3) && !fraction.is_empty() && number(fraction, fraction.len()).is_some()
}

/// A time before its offset from UTC, such as `+01:00`; as it is where it has none.
fn without_offset(text: &str) -> &str {
    let at = text.rfind(['+', '-']).unwrap_or(text.len());
    let is_offset = text.get(at + 1..).and_then(|offset| offset.split_once(':')).is_some_and(|(hours, minutes)| {
        number(hours, 2).is_some_and(|hours| hours <= 23) && number(minutes, 2).is_some_and(|minutes| minutes <= 59)
    });
    if is_offset { &text[..at] } else { text }
}

/// The number of so many digits.
fn number(digits: &str, length: usize) -> Option<i64> {
    let is_plain = digits.len() == length && digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_plain)
}
