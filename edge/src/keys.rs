//! Keys: what they look like, and what is kept of them.
//!
//! In: `tf_` and 32 random bytes in base64url. Out: the SHA-256 of those bytes, by which the key is known.
//! Guarantee: a key has one text, and whoever reads what is kept of it cannot make the key.
//! Why a plain hash, and why it may be looked up in a map: nobody guesses 32 random bytes, so neither slowness nor
//! equal times protect anything. What the time of a lookup tells is about the hash, not about the key.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD, Engine as _};
use sha2::{Digest, Sha256};

/// How every key begins, so that it is known for one wherever it turns up.
pub const KEY_PREFIX: &str = "tf_";

/// Letters of a key behind its prefix.
const KEY_CHARS: usize = 43;

/// The text of a key with these random bytes.
pub fn key_text(bytes: &[u8; 32]) -> String {
    format!("{KEY_PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
}

/// A text with `(key)` in the place of each key, which may stand there by mistake.
pub fn without_keys(text: &str) -> String {
    let mut parts = text.split(KEY_PREFIX);
    let mut told = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_of_key = |letter: char| letter.is_ascii_alphanumeric() || "-_".contains(letter);
        let end = part.find(|letter: char| !is_of_key(letter)).unwrap_or(part.len());
        let (instead, rest) = if end < KEY_CHARS { (KEY_PREFIX, part) } else { ("(key)", &part[end..]) };
        told.push_str(instead);
        told.push_str(rest);
    }
    told
}

/// A SHA-256: of a key, or of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Sum([u8; 32]);

impl Sha256Sum {
    /// That of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// That of a key; `None` where the text is no key.
    pub fn of_key(text: &str) -> Option<Self> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text.strip_prefix(KEY_PREFIX)?).ok()?;
        (bytes.len() == 32).then(|| Self::of(&bytes))
    }

    /// Reads 64 hexadecimal digits, also with colons between bytes, or base64.
    pub fn read(text: &str) -> Option<Self> {
        let digits: String = text.chars().filter(|letter| *letter != ':').collect();
        let bytes = if digits.len() == 64 { of_hex(&digits)? } else { BASE64_STANDARD.decode(text).ok()? };
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for Sha256Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn of_hex(digits: &str) -> Option<Vec<u8>> {
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let bytes = (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).ok());
    bytes.collect()
}
