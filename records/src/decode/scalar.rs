//! Numbers and truth values from their text, without loss or not at all.
//!
//! Guarantee: pure, never panics; `None` means "this text is no such value" and nothing is rounded in silence, except
//! to the nearest floating-point number.
//! Not here: days and instants (`instant.rs`).

use super::json::number_prefix;

/// A BOOLEAN: `true` and `false` as JSON, Python and SQL write them, or 1 and 0.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "True" | "TRUE" => Some(true),
        "false" | "0" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// A BIGINT and its smaller kin: a JSON number that is whole, however it is written, within `[min, max]`.
pub(crate) fn integer(text: &str, min: i64, max: i64) -> Option<i64> {
    // Most are plain digits; the largest has 19 of them, so what needs more is out of range.
    let plain = number(text)?.parse().ok();
    let whole = plain.or_else(|| decimal(text, 19, 0).and_then(|whole| i64::try_from(whole).ok()));
    whole.filter(|value| (min..=max).contains(value))
}

/// A DOUBLE: the nearest one to any JSON number; what would be infinite is refused.
pub(crate) fn double(text: &str) -> Option<f64> {
    number(text)?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// A FLOAT, rounded once from the text; what would be infinite is refused.
pub(crate) fn float(text: &str) -> Option<f64> {
    number(text)?.parse().ok().filter(|value: &f32| value.is_finite()).map(f64::from)
}

/// The text, if it is a JSON number: what Rust takes beside those (`inf`, `+1`, `.5`) is none.
fn number(text: &str) -> Option<&str> {
    (number_prefix(text.as_bytes()) == Some(text.len())).then_some(text)
}

/// A DECIMAL as its unscaled integer: any JSON number, exponent included, that it holds without loss.
pub(crate) fn decimal(text: &str, precision: u8, scale: i8) -> Option<i128> {
    let (mantissa, exponent) = match number(text)?.split_once(['e', 'E']) {
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
