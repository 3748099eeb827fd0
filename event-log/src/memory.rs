//! An event log in memory: the same contract as Kafka, with hooks for everything that goes wrong there.
//!
//! Guarantee: what the conformance suite asks of every event log. Timestamps are cut to milliseconds as in Kafka.
//! Not here: durability; whatever the process appended is gone with it.
//! Why so: the layers and the simulation run whole without a broker, and without a clock of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use positions::{Clock, Offset, PartitionId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::group::{LocalGroups, Membership, partition};
use crate::local::{check_readable, check_same_topic};
use crate::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord, Poll, PollLimit, Record};

mod topic;

use topic::{Partition, Topic};

/// Records larger than this are refused, like by a Kafka broker with default settings.
pub const MAX_RECORD_BYTES: usize = 1_000_000;

/// An event log in memory. Clones share their records.
#[derive(Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    clock: Arc<dyn Clock>,
}

struct Shared {
    // Written by `append` and the test hooks, read by every poll; never held across an await.
    state: Mutex<State>,
    // Counts changes of `state`; waiting polls look again at each.
    changes: watch::Sender<u64>,
    groups: LocalGroups,
}

struct State {
    topics: BTreeMap<String, Topic>,
    is_reachable: bool,
    is_silent: bool,
}

impl std::fmt::Debug for MemoryLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryLog").finish_non_exhaustive()
    }
}

impl MemoryLog {
    /// An empty log. The clock is asked by [`MemoryLog::apply_retention`] alone.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        let state = State { topics: BTreeMap::new(), is_reachable: true, is_silent: false };
        let shared =
            Shared { state: Mutex::new(state), changes: watch::Sender::new(0), groups: LocalGroups::default() };
        Self { shared: Arc::new(shared), clock }
    }

    /// Drops the records below an offset, as retention would.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown partition.
    pub fn expire_below(&self, topic: &str, partition: PartitionId, low: Offset) -> Result<(), EventLogError> {
        self.change(|state| {
            state.partition_mut(topic, partition)?.expire_below(low);
            Ok(())
        })
    }

    /// Drops the records of a topic whose timestamps are older than `keep`.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown topic.
    pub fn apply_retention(&self, topic: &str, keep: Duration) -> Result<(), EventLogError> {
        let now = self.clock.now();
        self.change(|state| {
            state.topic_mut(topic)?.partitions.iter_mut().for_each(|partition| partition.apply_retention(now, keep));
            Ok(())
        })
    }

    /// Leaves offsets without a record, as transactions and aborted batches do in Kafka.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown partition.
    pub fn skip_offsets(&self, topic: &str, partition: PartitionId, count: i64) -> Result<(), EventLogError> {
        self.change(|state| {
            state.partition_mut(topic, partition)?.skip(count);
            Ok(())
        })
    }

    /// Deletes a topic and creates it again, empty, with as many partitions.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown topic.
    pub fn recreate_topic(&self, topic: &str) -> Result<(), EventLogError> {
        self.change(|state| {
            state.topic_mut(topic)?.recreate();
            Ok(())
        })
    }

    /// Adds empty partitions to a topic until it has `count`.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown topic.
    pub fn grow_topic(&self, topic: &str, count: usize) -> Result<(), EventLogError> {
        self.change(|state| {
            state.topic_mut(topic)?.grow(count);
            Ok(())
        })
    }

    /// While `false`, every call answers [`EventLogError::Unreachable`], waiting polls included.
    pub fn set_reachable(&self, is_reachable: bool) {
        self.lock().is_reachable = is_reachable;
        self.shared.changes.send_modify(|count| *count += 1);
    }

    /// While `true`, polls deliver nothing and fail with nothing, as behind a network that swallows every packet.
    pub fn set_silent(&self, is_silent: bool) {
        self.lock().is_silent = is_silent;
        self.shared.changes.send_modify(|count| *count += 1);
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> Result<T, EventLogError>) -> Result<T, EventLogError> {
        let outcome = change(&mut self.lock());
        self.shared.changes.send_modify(|count| *count += 1);
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change is complete before the lock is released or fails before it starts.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn reachable(&self) -> Result<&Self, EventLogError> {
        if self.is_reachable { Ok(self) } else { Err(unreachable()) }
    }

    fn topic(&self, topic: &str) -> Result<&Topic, EventLogError> {
        self.topics.get(topic).ok_or_else(|| EventLogError::no_topic(topic))
    }

    fn topic_mut(&mut self, topic: &str) -> Result<&mut Topic, EventLogError> {
        self.topics.get_mut(topic).ok_or_else(|| EventLogError::no_topic(topic))
    }

    fn partition(&self, topic: &str, partition: PartitionId) -> Result<&Partition, EventLogError> {
        self.topic(topic)?.partition(partition).ok_or_else(|| EventLogError::no_partition(topic, partition))
    }

    fn partition_mut(&mut self, topic: &str, partition: PartitionId) -> Result<&mut Partition, EventLogError> {
        self.topic_mut(topic)?.partition_mut(partition).ok_or_else(|| EventLogError::no_partition(topic, partition))
    }

    fn append(&mut self, topic: &str, record: NewRecord) -> Result<(PartitionId, Offset), EventLogError> {
        self.reachable()?;
        let bytes = record.size_bytes();
        if bytes > MAX_RECORD_BYTES {
            return Err(EventLogError::TooLarge { bytes, limit_bytes: MAX_RECORD_BYTES });
        }
        Ok(self.topic_mut(topic)?.append(record))
    }
}

#[async_trait]
impl EventLog for MemoryLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        let asked = usize::try_from(partitions).ok().filter(|count| *count > 0);
        let asked = asked.ok_or_else(|| EventLogError::no_partitions_asked(topic, partitions))?;
        self.change(|state| {
            state.reachable()?;
            state.topics.entry(topic.to_owned()).or_insert_with(|| Topic::new(asked));
            Ok(())
        })
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        let count = self.lock().reachable()?.topic(topic)?.partitions.len();
        Ok((0..count).map(partition).collect())
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        Ok(self.lock().reachable()?.partition(topic, partition)?.bounds())
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        let mut state = self.lock();
        let answers = records.into_iter().map(|record| state.append(topic, record)).collect();
        drop(state);
        self.shared.changes.send_modify(|count| *count += 1);
        answers
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        self.lock().reachable()?.topic(topic)?;
        Ok(Box::new(MemoryConsumer {
            log: self.clone(),
            topic: topic.to_owned(),
            membership: group.map(|group| self.shared.groups.join(topic, group)),
            positions: BTreeMap::new(),
            topic_id: None,
            ends: BTreeSet::new(),
            turn: 0,
            changes: self.shared.changes.subscribe(),
        }))
    }
}

struct MemoryConsumer {
    log: MemoryLog,
    topic: String,
    membership: Option<Membership>,
    positions: BTreeMap<PartitionId, Offset>,
    // Which topic of the name is read; `None` before the first look.
    topic_id: Option<u64>,
    // At the last look nothing lay behind the positions of these.
    ends: BTreeSet<PartitionId>,
    turn: usize,
    changes: watch::Receiver<u64>,
}

impl MemoryConsumer {
    /// What there is to tell now; `None` where the poll should wait.
    fn look(&mut self, limit: PollLimit) -> Result<Option<Poll>, EventLogError> {
        let log = self.log.clone();
        let state = log.lock();
        self.ends.clear();
        let topic = state.reachable()?.topic(&self.topic)?;
        if state.is_silent {
            return Ok(None);
        }
        self.check_topic(topic)?;
        if let Some(assigned) = self.news_of_assignment(topic.partitions.len()) {
            return Ok(Some(Poll::Assigned(assigned)));
        }
        let records = self.take_records(topic, limit)?;
        let is_at_end =
            |(id, at): &(&PartitionId, &Offset)| topic.partition(**id).is_some_and(|held| held.ends_at(**at));
        self.ends = self.positions.iter().filter(is_at_end).map(|(id, _)| *id).collect();
        Ok((!records.is_empty()).then_some(Poll::Records(records)))
    }

    fn check_topic(&mut self, topic: &Topic) -> Result<(), EventLogError> {
        let is_another = self.topic_id.is_some_and(|topic_id| topic_id != topic.topic_id);
        check_same_topic(&self.topic, &self.positions, is_another)?;
        self.topic_id = Some(topic.topic_id);
        Ok(())
    }

    fn news_of_assignment(&mut self, count: usize) -> Option<BTreeSet<PartitionId>> {
        let now = self.membership.as_mut()?.news(count)?;
        self.positions.clear();
        Some(now)
    }

    fn take_records(&mut self, topic: &Topic, limit: PollLimit) -> Result<Vec<Record>, EventLogError> {
        let mut records = Vec::new();
        let mut room = limit;
        // A different partition goes first each time, so that a small limit starves none.
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % self.positions.len().max(1);
        let order: Vec<PartitionId> = self.positions.keys().copied().collect();
        for id in order[first..].iter().chain(&order[..first]) {
            let partition = topic.partition(*id).ok_or_else(|| EventLogError::no_partition(&self.topic, *id))?;
            let at = self.positions[id];
            check_readable(&self.topic, *id, at, partition.bounds())?;
            for record in partition.from(at) {
                if room.records == 0 || room.bytes == 0 {
                    return Ok(records);
                }
                room.records -= 1;
                room.bytes = room.bytes.saturating_sub(record.payload.len());
                self.positions.insert(*id, record.offset.next());
                records.push(record.clone());
            }
        }
        Ok(records)
    }
}

#[async_trait]
impl LogConsumer for MemoryConsumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        let state = self.log.lock();
        let topic = state.reachable()?.topic(&self.topic)?;
        for partition in starts.keys() {
            topic.partition(*partition).ok_or_else(|| EventLogError::no_partition(&self.topic, *partition))?;
        }
        self.positions = starts.clone();
        self.ends.clear();
        Ok(())
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        let deadline = Instant::now() + limit.wait;
        loop {
            self.changes.mark_unchanged();
            if let Some(poll) = self.look(limit)? {
                return Ok(poll);
            }
            let change = async {
                match &mut self.membership {
                    Some(membership) => tokio::select! {
                        biased;
                        () = membership.changed() => (),
                        _ = self.changes.changed() => (),
                    },
                    None => drop(self.changes.changed().await),
                }
            };
            if timeout_at(deadline, change).await.is_err() {
                // Once more: the ends are those of now, not of the last change.
                return Ok(self.look(limit)?.unwrap_or(Poll::Records(Vec::new())));
            }
        }
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        std::mem::take(&mut self.ends).into_iter().map(|id| (id, Duration::ZERO)).collect()
    }

    async fn report_progress(&mut self, _offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        // No lag tool looks into memory.
        Ok(())
    }
}

fn unreachable() -> EventLogError {
    EventLogError::Unreachable("the memory log was made unreachable".to_owned())
}
