//! A reader that keeps what it has read for a moment, so that another one, whose views are to take the place of its
//! own, gets as far: two that follow one log never stand at the same place by themselves.
//!
//! Guarantee: not again and again, since one that stays behind must not keep the other from going on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use positions::TimestampMicros;

/// A reader that was held still is not again for so long after.
const AGAIN: Duration = Duration::from_secs(20);
/// So long a reader is held still: a few refreshes of another one.
const HELD: Duration = Duration::from_secs(2);

/// Since when a reader is held still, or was.
#[derive(Debug, Default)]
pub(crate) struct HeldStill {
    // Written by whoever looks for complete views; held for a copy only.
    since: Mutex<Option<TimestampMicros>>,
}

impl HeldStill {
    /// Begins, where that may be.
    pub(crate) fn begin(&self, now: TimestampMicros) {
        if self.may_begin(now) {
            *self.since.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        }
    }

    /// Whether the last time is long enough ago.
    pub(crate) fn may_begin(&self, now: TimestampMicros) -> bool {
        !self.began_within(now, AGAIN)
    }

    /// Whether nothing is to be read now.
    pub(crate) fn is_held(&self, now: TimestampMicros) -> bool {
        self.began_within(now, HELD)
    }

    fn began_within(&self, now: TimestampMicros, span: Duration) -> bool {
        let since = *self.since.lock().unwrap_or_else(PoisonError::into_inner);
        since.is_some_and(|since| (0..positions::micros(span)).contains(&now.micros_since(since)))
    }
}
