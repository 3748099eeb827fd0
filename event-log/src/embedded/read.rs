//! Reading one topic of the embedded log.
//!
//! Guarantee: what the conformance suite asks of every consumer. A poll that is given up loses nothing: positions move
//! only with the records that it returns.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use positions::{Offset, PartitionId};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use super::chunk::{Chunk, Damaged};
use super::shared::Shared;
use super::store::{Place, Store};
use super::topics::{self, Topic};
use crate::group::Membership;
use crate::{EventLogError, LogConsumer, Poll, PollLimit, Record};

/// A reader of one topic.
pub(super) struct Consumer {
    shared: Arc<Shared>,
    topic: String,
    membership: Option<Membership>,
    assigned: Option<BTreeSet<PartitionId>>,
    positions: BTreeMap<PartitionId, Offset>,
    // Chunks that were read in part; only a saving, their places are in `positions`.
    open: BTreeMap<PartitionId, Chunk>,
    // Which topic of the name is read; `None` before the first look.
    life: Option<u64>,
    // At the last look nothing lay behind the positions of these.
    ends: BTreeSet<PartitionId>,
    turn: usize,
    changes: watch::Receiver<u64>,
}

/// A partition with something to read.
struct Task {
    place: Place,
    at: Offset,
    until: Offset,
    open: Option<Chunk>,
}

/// What there is to do now.
enum Look {
    Assigned(BTreeSet<PartitionId>),
    Read(Vec<Task>),
    Wait,
}

impl Consumer {
    pub fn new(shared: Arc<Shared>, topic: &str, group: Option<&str>) -> Self {
        Self {
            topic: topic.to_owned(),
            membership: group.map(|group| shared.groups.join(topic, group)),
            assigned: None,
            positions: BTreeMap::new(),
            open: BTreeMap::new(),
            life: None,
            ends: BTreeSet::new(),
            turn: 0,
            changes: shared.changes.subscribe(),
            shared,
        }
    }

    fn look(&mut self) -> Result<Look, EventLogError> {
        let topic = topics::find(&self.shared.topics(), &self.topic)?.clone();
        self.check_life(&topic)?;
        if let Some(assigned) = self.news_of_assignment(topic.partitions.len()) {
            return Ok(Look::Assigned(assigned));
        }
        self.ends.clear();
        let mut tasks = Vec::new();
        for (id, at) in &self.positions {
            let extent = topic.extent(&self.topic, *id)?;
            extent.check_readable(&self.topic, *id, *at)?;
            if at.0 < extent.next {
                let open = self.open.remove(id).filter(|chunk| chunk.next_offset() == *at);
                tasks.push(Task { place: topic.place(*id), at: *at, until: Offset(extent.next), open });
            } else {
                self.ends.insert(*id);
            }
        }
        if tasks.is_empty() {
            return Ok(Look::Wait);
        }
        // A different partition goes first each time, so that a small limit starves none.
        self.turn = self.turn.wrapping_add(1);
        let first = self.turn % tasks.len();
        tasks.rotate_left(first);
        Ok(Look::Read(tasks))
    }

    /// Records of another topic under the name are nobody's, except from its start; as in Kafka.
    fn check_life(&mut self, topic: &Topic) -> Result<(), EventLogError> {
        let begun = self.positions.iter().find(|(_, next)| **next > Offset(0));
        if let Some((partition, offset)) = begun
            && self.life.is_some_and(|life| life != topic.note.life)
        {
            let (topic, partition, offset) = (self.topic.clone(), *partition, *offset);
            return Err(EventLogError::AnotherTopic { topic, partition, offset });
        }
        self.life = Some(topic.note.life);
        Ok(())
    }

    fn news_of_assignment(&mut self, count: usize) -> Option<BTreeSet<PartitionId>> {
        let now = self.membership.as_ref()?.assignment(count);
        if self.assigned.as_ref() == Some(&now) {
            return None;
        }
        self.positions.clear();
        self.open.clear();
        self.assigned = Some(now.clone());
        Some(now)
    }

    async fn read(&mut self, tasks: Vec<Task>, limit: PollLimit) -> Result<Vec<Record>, EventLogError> {
        let store = self.shared.store()?;
        let reading = tokio::task::spawn_blocking(move || read_all(&store, tasks, limit));
        let (tasks, records) = match reading.await {
            Ok(outcome) => outcome?,
            // Nobody aborts it, so it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        };
        for task in tasks {
            let id = task.place.partition;
            self.positions.insert(id, task.at);
            if task.at == task.until {
                self.ends.insert(id);
            }
            if let Some(open) = task.open {
                self.open.insert(id, open);
            }
        }
        Ok(records)
    }
}

/// Reads partitions one after another until the limit is reached. Blocks.
fn read_all(store: &Store, mut tasks: Vec<Task>, limit: PollLimit) -> Result<(Vec<Task>, Vec<Record>), EventLogError> {
    let mut room = limit;
    let mut records = Vec::new();
    for task in &mut tasks {
        if room.records == 0 || room.bytes == 0 {
            break;
        }
        read_one(store, task, &mut room, &mut records)?;
    }
    Ok((tasks, records))
}

fn read_one(
    store: &Store,
    task: &mut Task,
    room: &mut PollLimit,
    records: &mut Vec<Record>,
) -> Result<(), EventLogError> {
    let damaged = |Damaged| store.damaged("a chunk");
    let mut chunk = match task.open.take() {
        Some(chunk) => chunk,
        None => {
            let found = store.chunk_of(task.place, task.at)?;
            let (first, value) = found.ok_or_else(|| gone(task))?;
            let mut chunk = Chunk::open(value, first).map_err(damaged)?;
            chunk.skip_to(task.at).map_err(damaged)?;
            chunk
        }
    };
    if chunk.next_offset() != task.at {
        return Err(gone(task));
    }
    let mut behind = store.chunks_from(task.place, chunk.end());
    loop {
        while room.records > 0 && room.bytes > 0 {
            let Some(record) = chunk.take(task.place.partition).map_err(damaged)? else { break };
            room.records -= 1;
            room.bytes = room.bytes.saturating_sub(record.payload.len());
            task.at = record.offset.next();
            records.push(record);
        }
        if chunk.next_offset() < chunk.end() {
            task.open = Some(chunk);
            return Ok(());
        }
        if task.at >= task.until || room.records == 0 || room.bytes == 0 {
            return Ok(());
        }
        let Some(found) = behind.next() else { return Ok(()) };
        let (first, value) = found?;
        chunk = Chunk::open(value, first).map_err(damaged)?;
    }
}

/// Retention was faster than this reader: its next look says where the log begins now.
fn gone(task: &Task) -> EventLogError {
    EventLogError::Unreachable(format!("partition {}: offset {} left the log just now", task.place.partition, task.at))
}

#[async_trait]
impl LogConsumer for Consumer {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        let topics = self.shared.topics();
        let topic = topics::find(&topics, &self.topic)?;
        for partition in starts.keys() {
            topic.extent(&self.topic, *partition)?;
        }
        self.positions = starts.clone();
        self.open.clear();
        self.ends.clear();
        Ok(())
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        let deadline = Instant::now() + limit.wait;
        let mut is_late = false;
        loop {
            self.changes.mark_unchanged();
            match self.look()? {
                Look::Assigned(partitions) => return Ok(Poll::Assigned(partitions)),
                Look::Read(tasks) => return Ok(Poll::Records(self.read(tasks, limit).await?)),
                Look::Wait if is_late => return Ok(Poll::Records(Vec::new())),
                Look::Wait => {}
            }
            let change = async {
                match &mut self.membership {
                    Some(membership) => tokio::select! {
                        _ = self.changes.changed() => (),
                        () = membership.changed() => (),
                    },
                    None => drop(self.changes.changed().await),
                }
            };
            // Once more after the deadline: the ends are those of now, not of the last change.
            is_late = timeout_at(deadline, change).await.is_err();
        }
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        std::mem::take(&mut self.ends).into_iter().map(|id| (id, Duration::ZERO)).collect()
    }

    async fn report_progress(&mut self, _offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        // For lag tools of Kafka; `twofold status` tells how far each layer is.
        Ok(())
    }
}
