//! The number of a version of a table.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A version of a table: 0 is its creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub i64);

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Version {
    /// The version after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The oldest of the newest `count` versions (at least 1), where this is the newest: version 0 where there are
    /// fewer.
    pub fn oldest_of_newest(self, count: usize) -> Self {
        let older = i64::try_from(count.saturating_sub(1)).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(older).max(0))
    }
}
