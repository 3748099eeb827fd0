//! What the writer does with the requests that it has gathered: one commit for all of them.
//!
//! In: requests in the order in which they came. Out: their answers, given after the commit.
//! Guarantee: offsets of a partition are contiguous, in the order of the requests. What was acknowledged is stored. After
//! a failed commit, whose records may be there or not, the store is opened again and says where it stands.
//! Not here: waiting for requests (`run.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use positions::{Clock, Offset, PartitionId};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::{error, info, warn};

use super::chunk::{self, Extent};
use super::retention::Oldest;
use super::shared::Shared;
use super::store::{Commit, Place, Store, TopicNote};
use super::topics::{self, Topic, Topics};
use crate::group::partition;
use crate::{EventLogError, NewRecord};

/// Payload bytes of one chunk, unless a single record has more: what a reader holds for a record of it.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that one release forgets: a large backlog goes in several steps, with appends between them.
const FORGET_CHUNKS: usize = 4_096;

/// Where records stand, one answer each.
pub(super) type Appended = Vec<Result<(PartitionId, Offset), EventLogError>>;

/// What the writer is asked for.
pub(super) enum Request {
    Append {
        topic: String,
        records: Vec<NewRecord>,
        reply: oneshot::Sender<Appended>,
        /// Its share of the queue, given back with the answer.
        share: [OwnedSemaphorePermit; 2],
    },
    Ensure {
        topic: String,
        partitions: u32,
        reply: oneshot::Sender<Result<(), EventLogError>>,
    },
    Recreate {
        topic: String,
        reply: oneshot::Sender<Result<(), EventLogError>>,
    },
    Release {
        topic: String,
        offsets: BTreeMap<PartitionId, Offset>,
    },
}

impl Request {
    /// Payload bytes to write.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Append { records, .. } => chunk::payload_bytes(records),
            _ => 0,
        }
    }
}

/// The only one that writes.
pub(super) struct Writer {
    pub shared: Arc<Shared>,
    pub clock: Arc<dyn Clock>,
    /// What is archived, by topic; known from releases alone, so nothing is forgotten before the first.
    pub released: BTreeMap<String, BTreeMap<PartitionId, Offset>>,
}

/// An append that was given its places and waits for the commit.
struct Placed {
    places: Vec<(PartitionId, Offset)>,
    reply: oneshot::Sender<Appended>,
    _share: [OwnedSemaphorePermit; 2],
}

/// The records of a commit by topic and partition.
type Grouped = BTreeMap<(String, PartitionId), Vec<NewRecord>>;

impl Writer {
    /// Does what was asked for, appends that stand beside each other in one commit.
    pub fn serve(&mut self, requests: Vec<Request>) {
        let mut appends = Vec::new();
        for request in requests {
            match request {
                Request::Append { topic, records, reply, share } => appends.push((topic, records, reply, share)),
                other => {
                    self.append(std::mem::take(&mut appends));
                    self.serve_one(other);
                }
            }
        }
        self.append(appends);
    }

    fn serve_one(&mut self, request: Request) {
        match request {
            // Who asked may have gone away; then nobody needs the answer.
            Request::Ensure { topic, partitions, reply } => drop(reply.send(self.ensure(&topic, partitions))),
            Request::Recreate { topic, reply } => drop(reply.send(self.recreate(&topic))),
            Request::Release { topic, offsets } => {
                self.released.entry(topic).or_default().extend(offsets);
                if let Err(error) = self.forget() {
                    warn!(%error, "archived records stay in the log for now");
                }
            }
            Request::Append { .. } => unreachable!("appends are gathered"),
        }
    }

    fn append(&mut self, appends: Vec<(String, Vec<NewRecord>, oneshot::Sender<Appended>, [OwnedSemaphorePermit; 2])>) {
        if appends.is_empty() {
            return;
        }
        let bytes = appends.iter().map(|(_, records, ..)| chunk::payload_bytes(records)).sum();
        let mut grouped = Grouped::new();
        let mut placed = Vec::with_capacity(appends.len());
        {
            let mut topics = self.shared.topics();
            for (topic, records, reply, share) in appends {
                match topics.get_mut(&topic) {
                    Some(found) => {
                        let places = place_records(&topic, found, records, &mut grouped);
                        placed.push(Placed { places, reply, _share: share });
                    }
                    None => drop(reply.send(records.iter().map(|_| Err(topics::missing(&topic))).collect())),
                }
            }
        }
        let outcome = self.commit(grouped, bytes);
        if outcome.is_ok() {
            self.shared.tell_change();
        }
        for Placed { places, reply, _share } in placed {
            let answers = places.into_iter().map(|place| outcome.as_ref().map(|()| place).map_err(same));
            drop(reply.send(answers.collect()));
        }
    }

    /// Writes the records of one commit; readers see them afterwards.
    fn commit(&mut self, grouped: Grouped, bytes: usize) -> Result<(), EventLogError> {
        let store = self.open_store()?;
        let reserve = self.shared.settings.reserve_bytes;
        if store.free_bytes()? < reserve.saturating_add(bytes as u64) {
            let folder = self.shared.folder().display();
            return Err(EventLogError::Full(format!(
                "{folder} has less than {reserve} bytes left (log.embedded_reserve)"
            )));
        }
        let mut commit = store.begin(self.shared.settings.is_synced);
        let mut extents = Vec::with_capacity(grouped.len());
        for ((topic, id), records) in grouped {
            let (place, extent) = {
                let topics = self.shared.topics();
                let found = topics::find(&topics, &topic)?;
                (found.place(id), found.extent(&topic, id)?)
            };
            extents.push((topic, id, put_chunks(&mut commit, place, extent, records)));
        }
        if let Err(error) = store.commit(commit) {
            // The engine takes no further write after a failed one.
            drop(store);
            drop(self.shared.take_store());
            error!(%error, "the log could not be written; opening it again");
            return Err(error);
        }
        let mut topics = self.shared.topics();
        for (topic, id, extent) in extents {
            set_extent(&mut topics, &topic, id, extent);
        }
        Ok(())
    }

    /// The store; opened again where a write has failed, and asked how far it reaches.
    fn open_store(&self) -> Result<Store, EventLogError> {
        if let Ok(store) = self.shared.store() {
            return Ok(store);
        }
        let store = Store::open(self.shared.folder()).map_err(|error| EventLogError::Unreachable(error.to_string()))?;
        *self.shared.topics() = read_topics(&store)?;
        self.shared.put_store(store.clone());
        self.shared.tell_change();
        info!(folder = %self.shared.folder().display(), "the log was opened again");
        Ok(store)
    }

    fn ensure(&self, topic: &str, partitions: u32) -> Result<(), EventLogError> {
        let store = self.open_store()?;
        if let Some(found) = self.shared.topics().get(topic) {
            let found = found.note.partitions;
            return if found >= partitions {
                Ok(())
            } else {
                Err(EventLogError::Unusable(format!(
                    "topic {topic} has {found} partitions, {partitions} are asked for"
                )))
            };
        }
        self.put_topic(&store, topic, |id| TopicNote { id, life: 0, partitions })
    }

    fn recreate(&self, topic: &str) -> Result<(), EventLogError> {
        let store = self.open_store()?;
        let old = topics::find(&self.shared.topics(), topic)?.note.clone();
        self.put_topic(&store, topic, |id| TopicNote { id, life: old.life + 1, partitions: old.partitions })?;
        for index in 0..old.partitions as usize {
            let place = Place { topic: old.id, partition: partition(index) };
            let mut commit = store.begin(false);
            for found in store.chunks_from(place, Offset(0)) {
                commit.forget_chunk(place, found?.0);
            }
            store.commit(commit)?;
        }
        Ok(())
    }

    /// Makes a topic under a number that no other one had.
    fn put_topic(&self, store: &Store, topic: &str, note: impl Fn(u32) -> TopicNote) -> Result<(), EventLogError> {
        let id = self.shared.topics().values().map(|topic| topic.note.id).max().unwrap_or(0) + 1;
        let note = note(id);
        let mut commit = store.begin(self.shared.settings.is_synced);
        commit.put_topic(topic, &note);
        store.commit(commit)?;
        self.shared.topics().insert(topic.to_owned(), Topic::empty(note));
        self.shared.tell_change();
        Ok(())
    }

    /// Forgets what is archived and too old or too much.
    fn forget(&mut self) -> Result<(), EventLogError> {
        let (store, now) = (self.open_store()?, self.clock.now());
        let known: Vec<(String, Place, Extent)> = {
            let topics = self.shared.topics();
            let places = topics
                .iter()
                .flat_map(|(name, topic)| topic.extents().map(|(id, extent)| (name.clone(), topic.place(id), extent)));
            places.collect()
        };
        let mut live_bytes: i64 = known.iter().map(|(.., extent)| extent.live_bytes()).sum();
        let mut left = FORGET_CHUNKS;
        for (topic, place, mut extent) in known {
            let released = self.released.get(&topic).and_then(|offsets| offsets.get(&place.partition));
            let Some(released) = released.map(|offset| offset.0) else { continue };
            let mut commit = store.begin(false);
            let before = extent;
            let mut chunks = store.chunks_from(place, Offset(extent.low)).peekable();
            while let (Some(found), true) = (chunks.next(), left > 0) {
                let (first, value) = found?;
                // The last chunk stays: it says where the partition ends.
                let Some(Ok((next, behind))) = chunks.peek() else { break };
                let oldest = Oldest { head: store.head(&value)?, end: next.0 };
                if !self.shared.settings.retention.may_forget(&oldest, released, live_bytes, now) {
                    break;
                }
                commit.forget_chunk(place, first);
                let expired_bytes = store.head(behind)?.bytes_before;
                live_bytes -= expired_bytes - extent.expired_bytes;
                (extent.low, extent.expired_bytes) = (next.0, expired_bytes);
                left -= 1;
            }
            drop(chunks);
            if extent != before {
                store.commit(commit)?;
                set_extent(&mut self.shared.topics(), &topic, place.partition, extent);
                info!(topic, partition = %place.partition, low = extent.low, "archived records left the log");
            }
        }
        Ok(())
    }
}

/// Gives records their places, and puts them to those of the same partition.
fn place_records(
    name: &str,
    topic: &mut Topic,
    records: Vec<NewRecord>,
    grouped: &mut Grouped,
) -> Vec<(PartitionId, Offset)> {
    let mut places = Vec::with_capacity(records.len());
    // One look-up a partition, not one a record.
    let mut queues: Vec<Vec<NewRecord>> = vec![Vec::new(); topic.partitions.len()];
    let taken = |index| grouped.get(&(name.to_owned(), partition(index))).map_or(0, Vec::len) as i64;
    let next: Vec<i64> =
        topic.partitions.iter().enumerate().map(|(index, extent)| extent.next + taken(index)).collect();
    for record in records {
        let index = topic.choose(record.key.as_ref());
        places.push((partition(index), Offset(next[index] + queues[index].len() as i64)));
        queues[index].push(record);
    }
    for (index, queue) in queues.into_iter().enumerate().filter(|(_, queue)| !queue.is_empty()) {
        grouped.entry((name.to_owned(), partition(index))).or_default().extend(queue);
    }
    places
}

/// Adds records to a commit, in chunks; returns how far the partition reaches after it.
fn put_chunks(commit: &mut Commit, place: Place, mut extent: Extent, records: Vec<NewRecord>) -> Extent {
    let mut rest = records.as_slice();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|record| {
            bytes += record.payload.len();
            bytes <= CHUNK_BYTES
        });
        let (now, later) = rest.split_at(fits.count().max(1));
        commit.put_chunk(place, Offset(extent.next), chunk::encode(now, extent.bytes));
        extent.next += now.len() as i64;
        extent.bytes += chunk::payload_bytes(now) as i64;
        rest = later;
    }
    extent
}

fn set_extent(topics: &mut Topics, topic: &str, id: PartitionId, extent: Extent) {
    let found = topics.get_mut(topic).and_then(|topic| topic.partitions.get_mut(usize::try_from(id.0).ok()?));
    *found.expect("only the writer changes topics, and it knew this one") = extent;
}

/// All topics as the store has them. Blocks.
pub(super) fn read_topics(store: &Store) -> Result<Topics, EventLogError> {
    let mut topics = Topics::new();
    for (name, note) in store.topics()? {
        let places = (0..note.partitions as usize).map(|index| Place { topic: note.id, partition: partition(index) });
        let extents: Result<Vec<Extent>, EventLogError> = places.map(|place| store.extent(place)).collect();
        topics.insert(name, Topic::new(note, extents?));
    }
    Ok(topics)
}

/// The same error for one more record.
fn same(error: &EventLogError) -> EventLogError {
    match error {
        EventLogError::Full(reason) => EventLogError::Full(reason.clone()),
        EventLogError::Unusable(reason) => EventLogError::Unusable(reason.clone()),
        error => EventLogError::Unreachable(error.to_string()),
    }
}
