//! Passwords and keys: values that must not reach a log.

use std::fmt;

/// A text that does not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// No longer word is told: `memroy` is a slip, and what is longer may be a password that stands where its URL belongs.
const LONGEST_WORD: usize = 8;

/// As much of a text that may hold a password as surely holds none.
pub(super) fn without_password(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://..."),
        None if text.len() <= LONGEST_WORD && text.chars().all(|letter| letter.is_ascii_lowercase()) => text.to_owned(),
        None => "...".to_owned(),
    }
}

/// An address, where it surely holds no password: one stands between a user and the `@` in front of the host.
pub(super) fn without_user(text: &str) -> &str {
    if text.contains('@') { "..." } else { text }
}
