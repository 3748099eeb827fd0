//! How far a version is folded: where its buckets are coarser than those that its view asks for.
//!
//! ```text
//!  event time:   ... | June | July | 1st | 2nd | 3rd | 0h | 1h | 2h ...
//!                                  ^                 ^
//!                             months_until      days_until
//! ```
//!
//! Guarantee: both ends are starts of buckets of their grain, so that every bucket of a version is whole buckets of any
//! finer grain, and none of them lies on both sides of an end. A bucket that is as coarse already stays as it is.
//! Why a fact of the version: who publishes on it must replace the buckets that it has. A late event would otherwise
//! replace an hour that is not there any more, and the month that it went into would count its events once more.

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};

/// How far a version is folded; the default: not at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Folded {
    /// Events before this, the start of a month, are in buckets of a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub months_until: Option<TimestampMicros>,
    /// Events before this, the start of a day, are in buckets of a day where they are not in those of a month.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days_until: Option<TimestampMicros>,
}

impl Folded {
    /// Folded as far as either is.
    pub fn or_further(self, other: Self) -> Self {
        Self {
            months_until: self.months_until.max(other.months_until),
            days_until: self.days_until.max(other.days_until),
        }
    }

    pub(crate) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}
