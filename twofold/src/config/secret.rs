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

/// As much of a text that may hold a password as surely holds none.
pub(super) fn without_password(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, _)) => format!("{scheme}://..."),
        None if text.chars().all(char::is_alphanumeric) => text.to_owned(),
        None => "...".to_owned(),
    }
}
