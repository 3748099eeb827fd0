//! What stands at the end of partitions that no reader is given: markers of transactions, and what was aborted.
//!
//! In: what consumers of this process found, each time that one was at the end of a partition. Out: how far a reader
//! comes, where the broker tells a certain end.
//! Guarantee: for status alone; no position depends on it. An end counts only once two answers of the broker found it,
//! so that records which came between an empty fetch and one answer are not taken for such a tail.
//! Why so: brokers count markers and aborted records as offsets, so that the end they tell less what was read is a lag
//! that never ends.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use positions::{Offset, PartitionId};

/// The end of a partition, and how far a reader comes before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) end: Offset,
    pub(super) readable: Offset,
}

/// The tails of all partitions that consumers of this process read.
#[derive(Default)]
pub(super) struct Tails {
    // Written by consumers about once a second, read by status; never held across a wait.
    known: Mutex<BTreeMap<(String, PartitionId), Known>>,
}

struct Known {
    tail: Tail,
    /// Whether another answer found the same.
    is_sure: bool,
}

impl Tails {
    /// Notes what a consumer found.
    pub(super) fn note(&self, topic: &str, partition: PartitionId, tail: Tail) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let before = known.get(&(topic.to_owned(), partition));
        let is_sure = before.is_some_and(|before| before.tail == tail);
        known.insert((topic.to_owned(), partition), Known { tail, is_sure });
    }

    /// How far a reader comes, where the broker tells this end.
    pub(super) fn readable(&self, topic: &str, partition: PartitionId, end: Offset) -> Offset {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let of_end = known.get(&(topic.to_owned(), partition)).filter(|known| known.is_sure && known.tail.end == end);
        of_end.map_or(end, |known| known.tail.readable)
    }
}
