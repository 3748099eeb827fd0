//! JSON text under construction, and the values that binary formats write otherwise: bytes, decimals, days, instants.
//!
//! Guarantee: pure. The text never grows beyond the largest payload, nor much beyond the bytes that it is made of, nor
//! nests deeper than the decoder reads: whoever writes it is stopped there, so that work and memory are bounded by what
//! the log holds, although an array of nothings takes no bytes there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use positions::calendar::date_of;

use crate::decode::reject::{Read, Rejection};
use crate::decode::schema::{MAX_DEPTH, MAX_PAYLOAD_BYTES};

/// Bytes of the longest decimal that is written out: 154 digits, four times what a column holds.
const MAX_DECIMAL_BYTES: usize = 64;

/// So long the text of any payload may be: fields that were not sent are written out with their defaults.
const LEAST_LIMIT_BYTES: usize = 16 * 1024;

/// So many bytes of text each byte of a payload may become beside that.
const MAX_GROWTH: usize = 32;

/// JSON text, as far as it is written.
#[derive(Debug)]
pub(super) struct JsonText {
    text: String,
    depth: usize,
    limit: usize,
}

impl JsonText {
    /// No text yet of a payload.
    pub fn of(payload: &[u8]) -> Self {
        let limit = LEAST_LIMIT_BYTES + payload.len().saturating_mul(MAX_GROWTH);
        Self { text: String::new(), depth: 0, limit: limit.min(MAX_PAYLOAD_BYTES) }
    }

    /// The text.
    pub fn finish(self) -> String {
        self.text
    }

    /// Appends text as it stands.
    pub fn push(&mut self, text: &str) -> Read<()> {
        if self.text.len() + text.len() > self.limit {
            return Err(Rejection::TooLargeAsJson { limit: self.limit }.into());
        }
        self.text.push_str(text);
        Ok(())
    }

    /// Opens an object or an array.
    pub fn enter(&mut self, bracket: &str) -> Read<()> {
        if self.depth == MAX_DEPTH {
            return Err(Rejection::TooDeep { at: self.text.len(), limit: MAX_DEPTH }.into());
        }
        self.depth += 1;
        self.push(bracket)
    }

    /// Closes what was opened last.
    pub fn leave(&mut self, bracket: &str) -> Read<()> {
        self.depth -= 1;
        self.push(bracket)
    }

    /// Begins the next item of an array.
    pub fn item(&mut self) -> Read<()> {
        // Only where it was just opened does the text end so: strings end with a quote.
        if self.text.ends_with(['{', '[']) { Ok(()) } else { self.push(",") }
    }

    /// Begins the next value of an object.
    pub fn key(&mut self, name: &str) -> Read<()> {
        self.item()?;
        self.string(name)?;
        self.push(":")
    }

    /// A string.
    pub fn string(&mut self, text: &str) -> Read<()> {
        self.push("\"")?;
        let mut rest = text;
        while let Some(at) = rest.find(|letter: char| letter == '"' || letter == '\\' || letter < ' ') {
            self.push(&rest[..at])?;
            match rest.as_bytes()[at] {
                b'"' => self.push("\\\"")?,
                b'\\' => self.push("\\\\")?,
                control => self.push(&format!("\\u{control:04x}"))?,
            }
            rest = &rest[at + 1..];
        }
        self.push(rest)?;
        self.push("\"")
    }

    /// Bytes as base64 text.
    pub fn bytes(&mut self, bytes: &[u8]) -> Read<()> {
        self.string(&STANDARD.encode(bytes))
    }

    /// The nearest number in its shortest form.
    pub fn double(&mut self, value: f64) -> Read<()> {
        if value.is_finite() { self.push(&format!("{value:?}")) } else { self.not_finite(value) }
    }

    /// As [`Self::double`], for a number of 32 bits: `0.1` stays `0.1`.
    pub fn float(&mut self, value: f32) -> Read<()> {
        if value.is_finite() { self.push(&format!("{value:?}")) } else { self.not_finite(value.into()) }
    }

    /// JSON has no such numbers; the text is what no numeric column takes.
    fn not_finite(&mut self, value: f64) -> Read<()> {
        let name = match value {
            value if value.is_nan() => "NaN",
            value if value > 0.0 => "Infinity",
            _ => "-Infinity",
        };
        self.string(name)
    }
}

/// A decimal with all its digits; `None` where it has more than anybody reads. `bytes`: its unscaled integer, big
/// endian, in two's complement.
pub(super) fn decimal_text(bytes: &[u8], scale: usize) -> Option<String> {
    if bytes.len() > MAX_DECIMAL_BYTES || scale > MAX_DECIMAL_BYTES {
        return None;
    }
    let is_negative = bytes.first().is_some_and(|first| first & 0x80 != 0);
    let digits = digits_of(&magnitude(bytes, is_negative));
    let digits = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = digits.split_at(digits.len() - scale);
    let (sign, point) = (if is_negative { "-" } else { "" }, if scale == 0 { "" } else { "." });
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// The absolute value of an integer in two's complement, both big endian.
fn magnitude(bytes: &[u8], is_negative: bool) -> Vec<u8> {
    if !is_negative {
        return bytes.to_vec();
    }
    let mut inverted: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
    for byte in inverted.iter_mut().rev() {
        let (next, overflows) = byte.overflowing_add(1);
        *byte = next;
        if !overflows {
            break;
        }
    }
    inverted
}

/// The decimal digits of an unsigned big-endian integer.
fn digits_of(bytes: &[u8]) -> String {
    const BASE: u64 = 1_000_000_000;
    // Nine digits in each, the last ones first.
    let mut limbs = vec![0_u64];
    for byte in bytes {
        let mut carry = u64::from(*byte);
        for limb in &mut limbs {
            let value = *limb * 256 + carry;
            (*limb, carry) = (value % BASE, value / BASE);
        }
        if carry > 0 {
            limbs.push(carry);
        }
    }
    let mut from_first = limbs.iter().rev();
    let first = from_first.next().map_or_else(String::new, u64::to_string);
    from_first.fold(first, |digits, limb| format!("{digits}{limb:09}"))
}

/// A day, counted from 1970-01-01, as the decoder reads it.
pub(super) fn day_text(days: i64) -> String {
    let date = date_of(days);
    match date.year {
        0..=9_999 => format!("{:04}-{:02}-{:02}", date.year, date.month, date.day),
        _ => format!("{days} days since 1970"),
    }
}

/// An instant, counted in parts of a second since 1970, as the decoder reads it, and its zone behind it; one beyond the
/// year 9999 becomes text that is no instant.
pub(super) fn instant_text(count: i64, per_second: i64, zone: &str) -> String {
    let (seconds, part) = (count.div_euclid(per_second), count.rem_euclid(per_second));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    if !(0..=9_999).contains(&date_of(days).year) {
        return format!("{count} parts of {per_second} to the second since 1970");
    }
    let digits = per_second.ilog10() as usize;
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}.{part:0digits$}{zone}", day_text(days))
}
