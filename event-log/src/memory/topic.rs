//! The records of one topic in memory. Pure data: no waiting, no sharing.

use std::collections::VecDeque;
use std::time::Duration;

use positions::{Offset, PartitionId, TimestampMicros, micros};

use crate::group::partition;
use crate::local::Chooser;
use crate::{LogBounds, NewRecord, Record};

#[derive(Default)]
pub(super) struct Topic {
    pub(super) partitions: Vec<Partition>,
    // Counts how often the topic was created, as the id of a topic tells in Kafka.
    pub(super) topic_id: u64,
    chooser: Chooser,
}

#[derive(Default)]
pub(super) struct Partition {
    low: i64,
    next: i64,
    // In offset order; offsets may have gaps.
    records: VecDeque<Record>,
}

impl Topic {
    pub(super) fn new(count: usize) -> Self {
        let mut topic = Self::default();
        topic.grow(count);
        topic
    }

    /// Another topic under the same name, with as many partitions.
    pub(super) fn recreate(&mut self) {
        *self = Self { topic_id: self.topic_id + 1, ..Self::new(self.partitions.len()) };
    }

    pub(super) fn grow(&mut self, count: usize) {
        let count = count.max(self.partitions.len());
        self.partitions.resize_with(count, Partition::default);
    }

    pub(super) fn partition(&self, id: PartitionId) -> Option<&Partition> {
        self.partitions.get(usize::try_from(id.0).ok()?)
    }

    pub(super) fn partition_mut(&mut self, id: PartitionId) -> Option<&mut Partition> {
        self.partitions.get_mut(usize::try_from(id.0).ok()?)
    }

    pub(super) fn append(&mut self, record: NewRecord) -> (PartitionId, Offset) {
        let index = self.chooser.choose(record.key.as_ref(), self.partitions.len());
        let id = partition(index);
        (id, self.partitions[index].append(id, record))
    }
}

impl Partition {
    fn append(&mut self, id: PartitionId, record: NewRecord) -> Offset {
        let offset = Offset(self.next);
        self.next += 1;
        self.records.push_back(Record {
            partition: id,
            offset,
            timestamp: TimestampMicros(record.timestamp.0.div_euclid(1000) * 1000),
            payload: record.payload,
            event_id: None,
            clock_shift: record.clock_shift,
        });
        offset
    }

    pub(super) fn bounds(&self) -> LogBounds {
        LogBounds { low: Offset(self.low), high: Offset(self.next) }
    }

    pub(super) fn skip(&mut self, count: i64) {
        self.next += count.max(0);
    }

    pub(super) fn expire_below(&mut self, low: Offset) {
        self.low = self.low.max(low.0.min(self.next));
        while self.records.front().is_some_and(|record| record.offset.0 < self.low) {
            self.records.pop_front();
        }
    }

    pub(super) fn apply_retention(&mut self, now: TimestampMicros, keep: Duration) {
        let kept = self.records.iter().find(|record| now.micros_since(record.timestamp) <= micros(keep));
        self.expire_below(kept.map_or(Offset(self.next), |record| record.offset));
    }

    /// Whether the partition can be read from `at` and no record lies there or behind.
    pub(super) fn ends_at(&self, at: Offset) -> bool {
        (self.low..=self.next).contains(&at.0) && self.from(at).next().is_none()
    }

    pub(super) fn from(&self, at: Offset) -> impl Iterator<Item = &Record> {
        let first = self.records.partition_point(|record| record.offset < at);
        self.records.range(first..)
    }
}
