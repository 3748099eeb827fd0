//! Numbers of entries.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The highest number: names have ten digits. At a hundred entries a second this lasts three years.
pub const MAX_NUMBER: Number = Number(9_999_999_999);

/// The number of an entry; 0 stands before the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Number(pub u64);

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Number {
    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}
