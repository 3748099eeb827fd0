//! Partitions whose next record waits for its schema: nothing more is read of them before the next attempt.
//!
//! Guarantee: pure. Pauses grow with the attempts, and begin again with the first record that is read of a partition
//! that was waited for. What is held here can be lost without harm: the record is met again.
//! Not here: learning schemas (`archiver.rs`).

use std::collections::{BTreeMap, BTreeSet};

use positions::{Backoff, PartitionId, TimestampMicros};

/// The partitions that wait.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// Why each of them waits.
    reasons: BTreeMap<PartitionId, String>,
    /// Those that are tried again just now.
    retried: BTreeSet<PartitionId>,
    failures: u32,
    until: Option<TimestampMicros>,
}

impl Held {
    /// Whether a partition is not to be read.
    pub fn holds(&self, partition: PartitionId) -> bool {
        self.reasons.contains_key(&partition)
    }

    /// Why the first of them waits.
    pub fn reason(&self) -> Option<&str> {
        self.reasons.values().next().map(String::as_str)
    }

    /// Holds partitions back until the next attempt is due.
    pub fn hold(&mut self, waiting: Vec<(PartitionId, String)>, now: TimestampMicros, backoff: Backoff) {
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(backoff.delay(self.failures)));
        self.reasons.extend(waiting);
    }

    /// Lets all go on once the next attempt is due; whether any does.
    pub fn release_due(&mut self, now: TimestampMicros) -> bool {
        if self.until.is_none_or(|until| now < until) {
            return false;
        }
        self.until = None;
        self.retried = std::mem::take(&mut self.reasons).into_keys().collect();
        true
    }

    /// Notes that records of these partitions were read.
    pub fn note_read(&mut self, partitions: impl IntoIterator<Item = PartitionId>) {
        if !self.retried.is_empty() && partitions.into_iter().any(|partition| self.retried.contains(&partition)) {
            self.retried.clear();
            self.failures = 0;
        }
    }
}
