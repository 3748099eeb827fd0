//! A strict reader of JSON text (RFC 8259) that hands out slices of it and builds nothing.
//!
//! In: one UTF-8 text. Out: keys, raw numbers and raw strings, in the order of the text.
//! Guarantee: never panics and never recurses deeper than its limit, whatever the bytes; every value that is read or
//! skipped has been checked against the grammar. Duplicate keys and the meaning of values are the caller's business.
//! Not here: how numbers and escapes are written, which views read as well (`views/src/json/text.rs`).
//! Why so: `serde_json` turns `12.10` into a binary float before a DECIMAL can see it, cannot quote the text it
//! refused, and its number rules change with the features that other crates switch on; what decoding does must not.

use std::borrow::Cow;

use views::append_unescaped;
pub use views::number_prefix;

use super::reject::{Read, Rejection};

/// Where reading stands in a text.
#[derive(Debug)]
pub struct Cursor<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    max_depth: usize,
}

/// A place in a text to which a cursor can go back.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    at: usize,
    depth: usize,
}

/// The inside of a JSON string, as written.
#[derive(Clone, Copy, Debug)]
pub struct RawString<'a> {
    /// Between the quotes.
    pub raw: &'a str,
    /// Whether it holds a backslash, so that `raw` is not yet the string.
    pub is_escaped: bool,
}

impl<'a> Cursor<'a> {
    /// Starts at the beginning of `text`; objects and arrays may be nested `max_depth` deep.
    pub fn new(text: &'a str, max_depth: usize) -> Self {
        // Some editors and libraries put a byte order mark before UTF-8, where it says nothing.
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Self { text, at, depth: 0, max_depth }
    }

    /// Where reading stands now.
    pub fn place(&self) -> Place {
        Place { at: self.at, depth: self.depth }
    }

    /// Goes back to a place of this text, out of or into all that was entered or left since.
    pub fn go_back(&mut self, place: Place) {
        (self.at, self.depth) = (place.at, place.depth);
    }

    /// The byte offset of the next unread byte.
    pub fn at(&self) -> usize {
        self.at
    }

    /// What was read since the offset `from`.
    pub fn since(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// The first byte of the next token.
    pub fn peek(&mut self) -> Read<u8> {
        self.skip_whitespace();
        self.byte().ok_or_else(|| self.bad("the text ends too early"))
    }

    /// Whether only white space is left.
    pub fn is_at_end(&mut self) -> bool {
        self.skip_whitespace();
        self.at == self.text.len()
    }

    /// Reads `null`, `true` or `false`.
    pub fn literal(&mut self, literal: &str) -> Read<()> {
        if self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            self.at += literal.len();
            return Ok(());
        }
        Err(self.bad("expected a value"))
    }

    /// Enters an object or array: `open` is its first byte.
    pub fn enter(&mut self, open: u8) -> Read<()> {
        if self.peek()? != open {
            return Err(self.bad(match (open, self.byte()) {
                (b'{', Some(b'[')) => "expected one object, not an array",
                (b'{', _) => "expected an object",
                _ => "expected an array",
            }));
        }
        if self.depth == self.max_depth {
            return Err(Rejection::TooDeep { at: self.at, limit: self.max_depth }.into());
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// The next key of the object that was entered, its colon read; `None` leaves the object.
    pub fn next_key(&mut self, is_first: bool) -> Read<Option<RawString<'a>>> {
        if !self.has_next(b'}', is_first)? {
            return Ok(None);
        }
        if self.peek()? != b'"' {
            return Err(self.bad("expected a key in double quotes"));
        }
        let key = self.string()?;
        if self.peek()? != b':' {
            return Err(self.bad("expected ':' after a key"));
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// Whether the array that was entered has one more element; `false` leaves the array.
    pub fn next_element(&mut self, is_first: bool) -> Read<bool> {
        self.has_next(b']', is_first)
    }

    /// Reads a string; the next byte is its opening quote.
    pub fn string(&mut self) -> Read<RawString<'a>> {
        self.at += 1;
        let start = self.at;
        let mut is_escaped = false;
        loop {
            self.at += plain_prefix(&self.text.as_bytes()[self.at..]);
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(self.bad("a control character in a string must be escaped")),
                None => return Err(self.bad("a string is not closed")),
            }
        }
        let raw = self.since(start);
        self.at += 1;
        Ok(RawString { raw, is_escaped })
    }

    /// Reads a number and returns it as written.
    pub fn number(&mut self) -> Read<&'a str> {
        let start = self.at;
        match number_prefix(&self.text.as_bytes()[start..]) {
            Some(length) => {
                self.at += length;
                Ok(self.since(start))
            }
            None => Err(self.bad("expected a value")),
        }
    }

    /// Reads over one value of any kind.
    pub fn skip(&mut self) -> Read<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' => self.skip_object(),
            b'[' => self.skip_array(),
            b'n' => self.literal("null"),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            _ => self.number().map(|_| ()),
        }
    }

    /// A rejection at this place, quoting what stands there.
    pub fn bad(&self, problem: &'static str) -> Box<Rejection> {
        Box::new(Rejection::BadJson { at: self.at, problem, found: super::reject::shorten(&self.text[self.floor()..]) })
    }

    fn skip_object(&mut self) -> Read<()> {
        self.enter(b'{')?;
        let mut is_first = true;
        while self.next_key(is_first)?.is_some() {
            self.skip()?;
            is_first = false;
        }
        Ok(())
    }

    fn skip_array(&mut self) -> Read<()> {
        self.enter(b'[')?;
        let mut is_first = true;
        while self.next_element(is_first)? {
            self.skip()?;
            is_first = false;
        }
        Ok(())
    }

    fn has_next(&mut self, close: u8, is_first: bool) -> Read<bool> {
        let next = self.peek()?;
        if next == close {
            self.at += 1;
            self.depth -= 1;
            return Ok(false);
        }
        if is_first {
            return Ok(true);
        }
        if next != b',' {
            return Err(self.bad("expected a comma or the end of the object or array"));
        }
        self.at += 1;
        if self.peek()? == close {
            return Err(self.bad("expected something after a comma"));
        }
        Ok(true)
    }

    fn escape(&mut self) -> Read<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let length = match rest.get(1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 2,
            Some(b'u') if rest.len() >= 6 && rest[2..6].iter().all(u8::is_ascii_hexdigit) => 6,
            _ => return Err(self.bad("no such escape in a string")),
        };
        self.at += length;
        Ok(())
    }

    fn skip_whitespace(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte() {
            self.at += 1;
        }
    }

    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    // A number may be refused in the middle of nothing but ASCII, a string only at an ASCII byte; a stray character at
    // its first byte. Still, quoting must not panic.
    fn floor(&self) -> usize {
        self.text.floor_char_boundary(self.at)
    }
}

impl<'a> RawString<'a> {
    /// The string itself.
    pub fn text(&self) -> Cow<'a, str> {
        if !self.is_escaped {
            return Cow::Borrowed(self.raw);
        }
        let mut bytes = Vec::with_capacity(self.raw.len());
        self.append_to(&mut bytes);
        Cow::Owned(String::from_utf8(bytes).unwrap_or_default())
    }

    /// Appends the string itself, without its escapes. Half a surrogate pair, which is no character, becomes U+FFFD.
    pub fn append_to(&self, bytes: &mut Vec<u8>) {
        if self.is_escaped {
            append_unescaped(self.raw, bytes);
        } else {
            bytes.extend_from_slice(self.raw.as_bytes());
        }
    }
}

/// How many bytes of a string come before a quote, a backslash or a control character.
///
/// Eight bytes at a time: most strings are short, and most of the text of an event is strings.
/// # Source
/// "Determine if a word has a byte less than n" in Sean Eron Anderson's Bit Twiddling Hacks.
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let has_zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGHS;
    let mut at = 0;
    for chunk in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*chunk);
        let quote = has_zero(word ^ (ONES * u64::from(b'"')));
        let backslash = has_zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word & HIGHS;
        let special = quote | backslash | control;
        if special != 0 {
            // The lowest mark is exact; only those above it can be false.
            return at + (special.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = &bytes[at..];
    at + rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).unwrap_or(rest.len())
}
