//! Finding values in JSON text: slices of it are handed out, and nothing is built.
//!
//! In: a text and a path of keys and places. Out: the value that stands there, as it is written.
//! Guarantee: pure, never panics and never recurses deeper than [`MAX_DEPTH`], whatever the text; `None` where the path
//! leads nowhere, or where what was read on the way is not JSON. What stands behind the value is not looked at.
//! Why so: `serde_json` would build every object on the way, for each row and each call again.

use std::borrow::Cow;

use super::text::{append_unescaped, number_prefix};

/// How deep objects and arrays may be nested: no event is nested deeper.
const MAX_DEPTH: usize = 64;

/// One step into a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step<'a> {
    /// To the value of a key of an object; of several such keys to the first.
    Key(&'a str),
    /// To an item of an array: counted from 0, or below it from the end.
    Place(i64),
}

/// The value at the end of a path, without the white space around it.
pub(super) fn find<'a>(text: &'a str, path: &[Step<'_>]) -> Option<&'a str> {
    let mut scanner = Scanner { text, at: 0 };
    for step in path {
        scanner.take(*step)?;
    }
    scanner.peek()?;
    let start = scanner.at;
    scanner.skip(MAX_DEPTH)?;
    text.get(start..scanner.at)
}

/// Whether a text is one JSON value and nothing else.
pub(crate) fn is_value(text: &str) -> bool {
    let mut scanner = Scanner { text, at: 0 };
    scanner.skip(MAX_DEPTH).is_some() && scanner.peek().is_none()
}

/// The string that a value is.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    let raw = value.strip_prefix('"')?.strip_suffix('"')?;
    if !raw.contains('\\') {
        return Some(Cow::Borrowed(raw));
    }
    let mut bytes = Vec::with_capacity(raw.len());
    append_unescaped(raw, &mut bytes);
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A value as text: a string as it is, null as none, any other as it is written.
pub(super) fn any_text(value: &str) -> Option<Cow<'_, str>> {
    match value.as_bytes().first() {
        Some(b'"') => string(value),
        Some(b'n') => None,
        _ => Some(Cow::Borrowed(value)),
    }
}

/// The whole number that a value is: one of 64 bits, or one with a point or an exponent that a double holds exactly.
pub(super) fn whole(value: &str) -> Option<i64> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let of_double = || number(value).filter(|number| number.fract() == 0.0 && number.abs() <= EXACT);
    value.parse().ok().or_else(|| of_double().map(|number| number as i64))
}

/// The number that a value is, rounded to the nearest double; what would be infinite is none.
pub(super) fn number(value: &str) -> Option<f64> {
    let is_number = number_prefix(value.as_bytes()) == Some(value.len());
    value.parse().ok().filter(|number: &f64| is_number && number.is_finite())
}

/// The truth value that a value is.
pub(super) fn truth(value: &str) -> Option<bool> {
    match value {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// How many items an array has, or an object keys.
pub(super) fn length(value: &str) -> Option<i64> {
    let mut scanner = Scanner { text: value, at: 0 };
    matches!(scanner.peek()?, b'{' | b'[').then(|| scanner.skip_members(MAX_DEPTH))?
}

/// A place in a text, and the ways to go on from there.
#[derive(Clone, Copy)]
struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    /// The first byte of what follows, white space passed over.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = bytes.get(self.at) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Goes to a member of the object or array that follows.
    fn take(&mut self, step: Step<'_>) -> Option<()> {
        match (self.peek()?, step) {
            (b'{', Step::Key(wanted)) => self.take_key(wanted),
            (b'[', Step::Place(place)) => self.take_place(place),
            _ => None,
        }
    }

    fn take_key(&mut self, wanted: &str) -> Option<()> {
        self.at += 1;
        let mut is_first = true;
        while self.has_next(b'}', is_first)? {
            is_first = false;
            let key = self.key()?;
            if string(key)? == wanted {
                return Some(());
            }
            self.skip(MAX_DEPTH)?;
        }
        None
    }

    fn take_place(&mut self, place: i64) -> Option<()> {
        let mut whole = *self;
        let place = if place < 0 { whole.skip_members(MAX_DEPTH)?.checked_add(place)? } else { place };
        let mut before = u64::try_from(place).ok()?;
        self.at += 1;
        let mut is_first = true;
        while self.has_next(b']', is_first)? {
            is_first = false;
            if before == 0 {
                return Some(());
            }
            before -= 1;
            self.skip(MAX_DEPTH)?;
        }
        None
    }

    /// Reads over one value of any kind, in which objects and arrays may be nested `depth` deep.
    fn skip(&mut self, depth: usize) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' | b'[' => self.skip_members(depth).map(|_| ()),
            b'n' => self.word("null"),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            _ => {
                self.at += number_prefix(&self.text.as_bytes()[self.at..])?;
                Some(())
            }
        }
    }

    /// Reads over an object or array, and counts its members.
    fn skip_members(&mut self, depth: usize) -> Option<i64> {
        let depth = depth.checked_sub(1)?;
        let is_object = self.peek()? == b'{';
        let close = if is_object { b'}' } else { b']' };
        self.at += 1;
        let mut count = 0;
        while self.has_next(close, count == 0)? {
            if is_object {
                self.key()?;
            }
            self.skip(depth)?;
            count += 1;
        }
        Some(count)
    }

    /// Whether what was entered has one more member; `false` leaves it.
    fn has_next(&mut self, close: u8, is_first: bool) -> Option<bool> {
        let next = self.peek()?;
        if next == close {
            self.at += 1;
            return Some(false);
        }
        if is_first {
            return Some(true);
        }
        if next != b',' {
            return None;
        }
        self.at += 1;
        (self.peek()? != close).then_some(true)
    }

    /// Reads a key with its colon; with its quotes.
    fn key(&mut self) -> Option<&'a str> {
        if self.peek()? != b'"' {
            return None;
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return None;
        }
        self.at += 1;
        Some(key)
    }

    /// Reads a string, whose opening quote is next; with its quotes.
    fn string(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let mut at = self.at + 1;
        loop {
            at += match (bytes.get(at)?, bytes.get(at + 1)) {
                (b'"', _) => break,
                (b'\\', Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't')) => 2,
                (b'\\', Some(b'u')) if bytes.get(at + 2..at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
                (b'\\' | 0..0x20, _) => return None,
                _ => 1,
            };
        }
        let start = self.at;
        self.at = at + 1;
        self.text.get(start..self.at)
    }

    fn word(&mut self, word: &str) -> Option<()> {
        let is_there = self.text.as_bytes()[self.at..].starts_with(word.as_bytes());
        self.at += word.len();
        is_there.then_some(())
    }
}
