//! JSON's own words: how long a number is, and what the escapes of a string stand for.
//!
//! Guarantee: pure, never panics, whatever the bytes.
//! Why here: decoding (`records`) and the functions of views read the same texts, and must take them alike.

/// The length of the JSON number (RFC 8259) that `bytes` start with.
#[inline]
pub fn number_prefix(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| bytes[from..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let mut at = usize::from(bytes.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && bytes[at] == b'0') {
        return None;
    }
    at += whole;
    if bytes.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return None;
        }
        at += 1 + sign + exponent;
    }
    Some(at)
}

/// Appends a string, given as it stands between its quotes, without its escapes. Half a surrogate pair, which is no
/// character, becomes U+FFFD. The grammar of the escapes has been checked by the caller.
pub fn append_unescaped(raw: &str, bytes: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let (character, length) = unescape(&rest[at..]);
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        rest = &rest[at + length..];
    }
    bytes.extend_from_slice(rest.as_bytes());
}

/// The character that an escape stands for, and the length of the escape.
fn unescape(escape: &str) -> (char, usize) {
    let simple = match escape.as_bytes().get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unescape_unicode(escape),
        Some(other) => char::from(*other),
        None => return (char::REPLACEMENT_CHARACTER, 1),
    };
    (simple, 2)
}

fn unescape_unicode(escape: &str) -> (char, usize) {
    let unit = |at: usize| escape.get(at..at + 4).and_then(|digits| u32::from_str_radix(digits, 16).ok());
    let first = unit(2).unwrap_or(0xd800);
    let low = if escape.get(6..8) == Some("\\u") { unit(8) } else { None };
    let (code, length) = match low.filter(|low| (0xdc00..0xe000).contains(low)) {
        Some(low) if (0xd800..0xdc00).contains(&first) => (0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00), 12),
        _ => (first, 6),
    };
    (char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER), length)
}
