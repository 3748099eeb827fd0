//! The one writer: requests that came together become one commit, and are answered when it is durable.
//!
//! In: requests, changes of topics. Out: answers, after the memory that readers look at was told.
//! Guarantee: offsets of a partition have no gaps; what was answered with an offset is durable. After an error of the
//! disk the folder is opened again before the next write, since only that tells what it holds.
//! Not here: the thread and its waits (`run.rs`).

mod retain;

use std::collections::BTreeMap;
use std::sync::Arc;

use positions::{IdSource, Offset, PartitionId};
use tokio::sync::oneshot;
use tracing::{info, warn};

use super::chunk::ChunkBuilder;
use super::disk_space;
use super::failure::Failure;
use super::key::{self, ChunkKey, TopicPartition};
use super::shared::{Admission, Shared};
use super::store::run as store_run;
use super::store::{Entries, Store, encode_topic};
use super::topics::{Partition, Topic, Topics};
use crate::{EventLogError, NewRecord};

/// One answer to a record.
pub(super) type Answer = Result<(PartitionId, Offset), EventLogError>;

/// Records that were handed over together.
pub(super) struct Request {
    pub(super) topic: String,
    pub(super) records: Vec<NewRecord>,
    pub(super) reply: oneshot::Sender<Vec<Answer>>,
    pub(super) admission: Admission,
}

/// What is to become of a topic.
pub(super) enum Change {
    /// It is there; where it is missing it is made with so many partitions.
    Ensure { topic: String, partitions: usize },
    /// It has as many partitions, where it has fewer.
    Grow { topic: String, partitions: usize },
    /// Its records are gone, and it is another topic.
    Recreate { topic: String },
}

/// Memory holds what was written last until so many bytes go to a file of their own.
const FLUSH_BYTES: u64 = 16 << 20;
/// So many bytes may wait for the disk where no one asked to sync: a flush would write them all while appends wait.
const UNSYNCED_BYTES: u64 = 4 << 20;
/// A chunk is closed at this size: a reader that wants one record of it loads it whole.
const CHUNK_BYTES: usize = 256 << 10;

/// The writer's own state.
pub(super) struct Writer {
    shared: Arc<Shared>,
    ids: Arc<dyn IdSource>,
    is_broken: bool,
    // Whether the folder may hold records of topics that are gone.
    has_leftovers: bool,
    unflushed: u64,
    unsynced: u64,
}

/// The chunks of one partition that a commit adds.
struct Growth {
    topic: String,
    partition: Partition,
    open: ChunkBuilder,
    closed: Vec<(ChunkKey, Vec<u8>)>,
}

impl Growth {
    fn push(&mut self, place: TopicPartition, record: &NewRecord, now: i64) -> Offset {
        let offset = Offset(self.partition.next + i64::from(self.open.count()));
        self.open.push(record);
        if self.open.size() >= CHUNK_BYTES {
            self.close(place, now);
        }
        offset
    }

    fn close(&mut self, place: TopicPartition, appended_at: i64) {
        let count = self.open.count();
        if count == 0 {
            return;
        }
        let body = std::mem::replace(&mut self.open, ChunkBuilder::new()).into_body();
        let last = self.partition.next + i64::from(count) - 1;
        let total = self.partition.total + body.len() as u64;
        let key = ChunkKey { place, last, appended_at, count, total };
        self.partition.note_appended(&key);
        self.closed.push((key, body));
    }
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, ids: Arc<dyn IdSource>) -> Self {
        // A process that was killed may have left some.
        Self { shared, ids, is_broken: false, has_leftovers: true, unflushed: 0, unsynced: 0 }
    }

    /// Appends what came together, and answers.
    pub(super) fn append(&mut self, requests: Vec<Request>) {
        let outcome = self.write(&requests);
        self.shared.tell_readers();
        let mut answers = outcome.map(Vec::into_iter);
        for request in requests {
            let answers = match &mut answers {
                Ok(answers) => answers.next().unwrap_or_default(),
                Err(failure) => request.records.iter().map(|_| Err(failure.error())).collect(),
            };
            drop(request.admission);
            // Who has gone away needs no answer.
            let _ = request.reply.send(answers);
        }
    }

    /// One commit of all requests; the answers to each.
    fn write(&mut self, requests: &[Request]) -> Result<Vec<Vec<Answer>>, Failure> {
        let bytes: u64 = requests.iter().map(|request| request.admission.size().1).sum();
        // Once more where the database turns out to be dead before anything of this was written. Places are given
        // again, since the folder may hold more than was acknowledged.
        for _ in 0..2 {
            if self.is_broken {
                self.reopen(bytes as usize)?;
            }
            let mut growths: BTreeMap<TopicPartition, Growth> = BTreeMap::new();
            let answers: Vec<Vec<Answer>> = {
                let mut topics = self.shared.topics();
                requests.iter().map(|request| self.place(&mut topics, request, &mut growths)).collect()
            };
            let now = self.now();
            growths.iter_mut().for_each(|(place, growth)| growth.close(*place, now));
            let chunks = growths.values_mut().flat_map(|growth| growth.closed.drain(..));
            let entries: Entries = chunks.map(|(key, body)| (key.encode(), Some(body))).collect();
            if entries.is_empty() {
                return Ok(answers);
            }
            match self.try_commit(&entries, bytes) {
                Ok(()) => {
                    self.note(&growths);
                    return Ok(answers);
                }
                Err(fjall::Error::Poisoned) => self.is_broken = true,
                Err(error) => {
                    self.is_broken = true;
                    return Err(self.explain("write", &error, bytes as usize));
                }
            }
        }
        Err(self.explain("write", &fjall::Error::Poisoned, bytes as usize))
    }

    /// Lets readers see what is durable now.
    fn note(&self, growths: &BTreeMap<TopicPartition, Growth>) {
        let mut topics = self.shared.topics();
        for (place, growth) in growths {
            let found = topics.get_mut(&growth.topic).and_then(|topic| topic.partition_mut(place.partition));
            if let Some(partition) = found {
                (partition.next, partition.total) = (growth.partition.next, growth.partition.total);
            }
        }
    }

    /// Gives every record of a request its place.
    fn place(
        &self,
        topics: &mut Topics,
        request: &Request,
        growths: &mut BTreeMap<TopicPartition, Growth>,
    ) -> Vec<Answer> {
        let Some(topic) = topics.get_mut(&request.topic) else {
            return request.records.iter().map(|_| Err(EventLogError::no_topic(&request.topic))).collect();
        };
        let now = self.now();
        let mut answers = Vec::with_capacity(request.records.len());
        for record in &request.records {
            let index = topic.choose(record.key.as_ref());
            let place = topic.place(index);
            let growth = growths.entry(place).or_insert_with(|| Growth {
                topic: request.topic.clone(),
                partition: topic.partitions[index],
                open: ChunkBuilder::new(),
                closed: Vec::new(),
            });
            answers.push(Ok((place.partition, growth.push(place, record, now))));
        }
        answers
    }

    /// Makes a change of a topic durable.
    pub(super) fn change(&mut self, change: Change) -> Result<(), EventLogError> {
        let (name, topic) = match change {
            Change::Ensure { topic, partitions } => {
                let is_there = self.shared.topics().contains_key(&topic);
                if is_there {
                    return Ok(());
                }
                let made = self.new_topic(partitions)?;
                (topic, made)
            }
            Change::Grow { topic, partitions } => {
                let topics = self.shared.topics();
                let found = topics.get(&topic).ok_or_else(|| EventLogError::no_topic(&topic))?;
                if found.partitions.len() >= partitions {
                    return Ok(());
                }
                let mut grown = Topic::new(found.number, found.topic_id, partitions);
                grown.partitions[..found.partitions.len()].copy_from_slice(&found.partitions);
                grown.inherit(found);
                drop(topics);
                info!(topic, partitions, "topic has more partitions");
                (topic, grown)
            }
            Change::Recreate { topic } => {
                let found = self.shared.topics().get(&topic).map(|found| found.partitions.len());
                let partitions = found.ok_or_else(|| EventLogError::no_topic(&topic))?;
                let made = self.new_topic(partitions)?;
                (topic, made)
            }
        };
        self.put_topic(name, topic)
    }

    fn new_topic(&mut self, partitions: usize) -> Result<Topic, EventLogError> {
        let store = self.shared.store();
        let store = store.as_ref().ok_or_else(|| self.shared.unreachable())?;
        let number = store.free_number(&self.shared.topics());
        let number = number.map_err(|error| self.shared.failed("create a topic", &error))?;
        Ok(Topic::new(number, self.ids.next_id(), partitions))
    }

    fn put_topic(&mut self, name: String, topic: Topic) -> Result<(), EventLogError> {
        let entries = vec![(key::topic(&name), Some(encode_topic(&topic)))];
        self.commit(&entries).map_err(|failure| failure.error())?;
        // What another topic of the name leaves behind has no name any more; it is removed bit by bit.
        self.has_leftovers |= self.shared.topics().insert(name, topic).is_some();
        self.shared.tell_readers();
        Ok(())
    }

    fn keys(&self, place: TopicPartition, from: i64, count: usize) -> Result<Vec<ChunkKey>, EventLogError> {
        let store = self.shared.store();
        let store = store.as_ref().ok_or_else(|| self.shared.unreachable())?;
        store.keys(place, from, count).map_err(|error| self.shared.failed("look for old records", &error))
    }

    fn commit(&mut self, entries: &Entries) -> Result<(), Failure> {
        let bytes: usize = entries.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        // Once more where the database turns out to be dead before anything of this was written.
        for _ in 0..2 {
            if self.is_broken {
                self.reopen(bytes)?;
            }
            match self.try_commit(entries, bytes as u64) {
                Ok(()) => return Ok(()),
                Err(fjall::Error::Poisoned) => self.is_broken = true,
                Err(error) => {
                    self.is_broken = true;
                    return Err(self.explain("write", &error, bytes));
                }
            }
        }
        Err(self.explain("write", &fjall::Error::Poisoned, bytes))
    }

    fn try_commit(&mut self, entries: &Entries, bytes: u64) -> fjall::Result<()> {
        let shared = Arc::clone(&self.shared);
        let store = shared.store();
        let store = store.as_ref().ok_or(fjall::Error::Poisoned)?;
        store_run::wait_until_ready(store)?;
        self.unsynced += bytes;
        let is_synced = shared.settings.is_synced || self.unsynced >= UNSYNCED_BYTES;
        store.commit(entries, is_synced)?;
        if is_synced {
            self.unsynced = 0;
        }
        self.unflushed += bytes;
        if self.unflushed >= FLUSH_BYTES {
            self.unflushed = 0;
            // The records are durable: a flush that does not begin is found out by the next commit.
            if let Err(error) = store.flush() {
                warn!(%error, "the embedded log could not start a flush");
            }
        }
        Ok(())
    }

    /// Opens the folder again, which is the only way on after an error of the disk.
    fn reopen(&mut self, bytes: usize) -> Result<(), Failure> {
        if let Some(reason) = disk_space::find_shortage(&self.shared.settings.folder, bytes) {
            return Err(Failure::full(reason));
        }
        let opened = {
            let mut store = self.shared.store_to_replace();
            // Dropped first: it holds the lock of the folder.
            *store = None;
            let settings = &self.shared.settings;
            let opened = store_run::open(&settings.folder, settings.is_synced);
            let opened = opened.and_then(|opened| Ok((opened.load()?, opened)));
            opened.map(|(topics, opened)| {
                *store = Some(opened);
                // Before anybody reads what was opened.
                self.replace_topics(topics);
            })
        };
        opened.map_err(|error| self.explain("open again", &error, bytes))?;
        (self.is_broken, self.unflushed, self.unsynced) = (false, 0, 0);
        // Also of a commit that failed and is there.
        self.has_leftovers = true;
        self.shared.tell_readers();
        info!("the embedded log was opened again");
        Ok(())
    }

    fn replace_topics(&self, mut topics: Topics) {
        let mut known = self.shared.topics();
        for (name, topic) in &mut topics {
            if let Some(before) = known.get(name) {
                topic.inherit(before);
            }
        }
        *known = topics;
    }

    /// Tries to open a folder again whose records nobody can read now.
    pub(super) fn recover(&mut self) {
        if self.shared.store().is_none()
            && let Err(failure) = self.reopen(0)
        {
            warn!(reason = failure.reason(), "the embedded log cannot be opened again yet");
        }
    }

    fn explain(&self, doing: &str, error: &fjall::Error, bytes: usize) -> Failure {
        Failure::explain(&self.shared.settings.folder, doing, error, bytes)
    }

    fn now(&self) -> i64 {
        self.shared.clock.now().0.div_euclid(1_000)
    }
}

/// The flushed store of a writer that ends.
pub(super) fn close(shared: &Shared) {
    let store: Option<Store> = shared.store_to_replace().take();
    drop(store);
}
