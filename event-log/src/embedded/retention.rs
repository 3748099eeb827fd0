//! What a partition may forget. Pure.
//!
//! Guarantee: nothing that was not released: what the archive has not committed stays, whatever it costs.

use std::time::Duration;

use positions::{TimestampMicros, micros};

use super::chunk::Head;

/// How long records are kept once they are archived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Records whose timestamp is older than this are forgotten.
    pub age: Duration,
    /// The oldest records are forgotten while all partitions together hold more payload bytes than this.
    pub bytes: u64,
}

/// A chunk that is the oldest of its partition.
#[derive(Clone, Copy, Debug)]
pub(super) struct Oldest {
    /// Its head.
    pub head: Head,
    /// The offset behind its last record.
    pub end: i64,
}

impl Retention {
    /// Whether the oldest chunk of a partition may go, where everything below `released` is archived, and all partitions
    /// together hold `live_bytes`.
    pub(super) fn may_forget(&self, oldest: &Oldest, released: i64, live_bytes: i64, now: TimestampMicros) -> bool {
        let is_old = now.micros_since(oldest.head.newest) > micros(self.age);
        let is_too_much = u64::try_from(live_bytes).is_ok_and(|bytes| bytes > self.bytes);
        oldest.end <= released && (is_old || is_too_much)
    }
}
