//! Copies: when two records are the same event, and how long that is remembered.
//!
//! Identity is (event id, event time as sent). Times are measured by the running maximum of record timestamps of the
//! partition, so the verdict depends on the log alone.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use xxhash_rust::xxh3::Xxh3;

use crate::{EventKey, TimestampMicros, micros};

/// The identity of an event, or `None` where it has no id, or an empty one: such an event is never a copy.
pub fn event_key(id: Option<&[u8]>, event_time_as_sent: TimestampMicros) -> Option<EventKey> {
    let id = id.filter(|id| !id.is_empty())?;
    let mut hasher = Xxh3::new();
    hasher.update(id);
    hasher.update(&event_time_as_sent.0.to_le_bytes());
    Some(EventKey(hasher.digest128()))
}

/// Whether a record is a copy, given when (by the running maximum) its event was last seen in the partition. The
/// running maximum never falls (`position.rs`), so `now` is not before `last_seen`.
pub fn is_copy(last_seen: Option<TimestampMicros>, now: TimestampMicros, horizon: Duration) -> bool {
    last_seen.is_some_and(|last| now.micros_since(last) <= micros(horizon))
}

/// The events of one partition within the horizon: what `fresh` needs to know of the past.
///
/// Memory: about 64 bytes per distinct event within the horizon.
#[derive(Clone, Debug, Default)]
pub struct CopyWindow {
    last_seen: HashMap<EventKey, TimestampMicros>,
    // Times only grow, so the order of arrival is the order of expiry.
    order: VecDeque<(TimestampMicros, EventKey)>,
}

impl CopyWindow {
    /// Notes an event at a running maximum and says whether it is a copy.
    ///
    /// A copy renews the memory of its event, whether it was dropped itself or not (`fresh` in the law,
    /// ARCHITECTURE.md).
    pub fn observe(&mut self, key: Option<EventKey>, running_max: TimestampMicros, horizon: Duration) -> bool {
        let Some(key) = key else { return false };
        self.forget_before(running_max, horizon);
        let last = self.last_seen.insert(key, running_max);
        self.order.push_back((running_max, key));
        is_copy(last, running_max, horizon)
    }

    /// Events that are remembered.
    pub fn len(&self) -> usize {
        self.last_seen.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.last_seen.is_empty()
    }

    fn forget_before(&mut self, now: TimestampMicros, horizon: Duration) {
        while let Some((seen, key)) = self.order.front().copied() {
            if now.micros_since(seen) <= micros(horizon) {
                break;
            }
            self.order.pop_front();
            // Seen again since: a later entry in the queue stands for it.
            if self.last_seen.get(&key) == Some(&seen) {
                self.last_seen.remove(&key);
            }
        }
    }
}
