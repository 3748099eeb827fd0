//! The folder of the log: one keyspace of one `fjall` database. Every call blocks.
//!
//! In: entries to write or remove together. Out: topics as the folder holds them, chunks from an offset on.
//! Guarantee: entries that were committed together are there together or not at all, also after a kill; after a power
//! cut where a commit was synced. A journal that ends in a torn commit is mended before the engine sees it (`mend.rs`).
//! Why one keyspace: fjall keeps a journal until every keyspace has flushed what it wrote into it, so one that is idle
//! keeps them all (fjall issue 288). Why flushes are started by the writer and not by fjall: a commit that finds four
//! of them waiting sleeps 100 ms, and for ever where the disk is full.

mod journal;
mod mend;
pub(super) mod run;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use tracing::warn;

use super::key::{self, ChunkKey, TopicPartition};
use super::topics::{Partition, Topic, Topics};

const KEYSPACE: &str = "log";
/// Blocks of keys that are kept ready; chunks are not.
const CACHE_BYTES: u64 = 8 << 20;
/// Journals that are kept until a flush has made them needless.
const JOURNAL_BYTES: u64 = 256 << 20;
const WORKERS: usize = 2;

/// Entries to write (`Some`) or to remove (`None`), together.
pub(super) type Entries = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// An open folder.
pub(super) struct Store {
    database: Database,
    keyspace: Keyspace,
    // Set by whoever asks for the size, so that a disk that does not tell is warned of once and not at every status.
    is_size_unknown: AtomicBool,
}

impl Store {
    pub(super) fn open(folder: &Path) -> fjall::Result<Self> {
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(WORKERS)
            .manual_journal_persist(true)
            .open()?;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(u64::MAX)
                .with_kv_separation(Some(KvSeparationOptions::default()))
        };
        let keyspace = database.keyspace(KEYSPACE, options)?;
        Ok(Self { database, keyspace, is_size_unknown: AtomicBool::new(false) })
    }

    /// Everything, in the order of keys.
    pub(super) fn entries(&self) -> impl Iterator<Item = fjall::Result<(Vec<u8>, Bytes)>> {
        self.keyspace.iter().map(|found| {
            let (key, value) = found.into_inner()?;
            Ok((key.to_vec(), Bytes::from_owner(value)))
        })
    }

    /// What topics there are, and where their partitions start and end.
    pub(super) fn load(&self) -> fjall::Result<Topics> {
        let mut topics = Topics::new();
        for found in self.keyspace.prefix(key::topics()) {
            let (key, value) = found.into_inner()?;
            let (Some(name), Some((number, topic_id, count))) = (key::topic_name(&key), decode_topic(&value)) else {
                return Err(damaged("a topic"));
            };
            let mut topic = Topic::new(number, topic_id, count);
            for index in 0..count {
                topic.partitions[index] = self.load_partition(topic.place(index))?;
            }
            topics.insert(name, topic);
        }
        Ok(topics)
    }

    fn load_partition(&self, place: TopicPartition) -> fjall::Result<Partition> {
        let mut found = Partition::default();
        if let Some(value) = self.keyspace.get(key::start(place))? {
            let (low, removed) = decode_start(&value).ok_or_else(|| damaged("the start of a partition"))?;
            found = Partition { low, next: low, removed, total: removed, released: 0 };
        }
        let range = key::chunks_from(place, 0)..key::chunks_end(place);
        if let Some(last) = self.keyspace.range(range).next_back() {
            let last = ChunkKey::decode(&last.key()?).ok_or_else(|| damaged("the key of a chunk"))?;
            found.note_appended(&last);
        }
        Ok(found)
    }

    /// A number that no topic has, nor any record that is left of one.
    pub(super) fn free_number(&self, topics: &Topics) -> fjall::Result<u32> {
        let last = match self.keyspace.last_key_value() {
            Some(last) => ChunkKey::decode(&last.key()?).map_or(0, |key| key.place.topic),
            None => 0,
        };
        Ok(topics.values().map(|topic| topic.number).max().unwrap_or(0).max(last) + 1)
    }

    /// The chunks that end at `offset` or behind it, in order.
    pub(super) fn chunks(
        &self,
        place: TopicPartition,
        offset: i64,
    ) -> impl Iterator<Item = fjall::Result<(ChunkKey, Bytes)>> {
        self.keyspace.range(key::chunks_from(place, offset)..key::chunks_end(place)).map(|found| {
            let (key, value) = found.into_inner()?;
            let key = ChunkKey::decode(&key).ok_or_else(|| damaged("the key of a chunk"))?;
            Ok((key, Bytes::from_owner(value)))
        })
    }

    /// The first keys of a partition's chunks from `offset` on; reads no records.
    pub(super) fn keys(&self, place: TopicPartition, offset: i64, count: usize) -> fjall::Result<Vec<ChunkKey>> {
        let found = self.keyspace.range(key::chunks_from(place, offset)..key::chunks_end(place)).take(count);
        found.map(|found| ChunkKey::decode(&found.key()?).ok_or_else(|| damaged("the key of a chunk"))).collect()
    }

    /// Up to `count` keys of topics that are not among `known`. Costs a step for each of either.
    pub(super) fn leftovers(&self, known: &BTreeSet<u32>, count: usize) -> fjall::Result<Vec<Vec<u8>>> {
        let mut found = Vec::new();
        let mut from = key::starts();
        while found.len() < count {
            let Some(next) = self.keyspace.range(from..).next() else { break };
            let key = next.key()?.to_vec();
            let topic = key::topic_number(&key).ok_or_else(|| damaged("a key"))?;
            if known.contains(&topic) {
                from = key::behind_topic(&key, topic);
            } else {
                from = [&key[..], &[0]].concat();
                found.push(key);
            }
        }
        Ok(found)
    }

    /// Commits entries; where `sync` is asked for, they outlive a power cut.
    pub(super) fn commit(&self, entries: &Entries, sync: bool) -> fjall::Result<()> {
        let mode = if sync { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = self.database.batch().durability(Some(mode));
        for (key, value) in entries {
            match value {
                Some(value) => batch.insert(&self.keyspace, key.as_slice(), value.as_slice()),
                None => batch.remove(&self.keyspace, key.as_slice()),
            }
        }
        batch.commit()
    }

    /// Everything that was committed outlives a power cut from here on.
    pub(super) fn sync(&self) -> fjall::Result<()> {
        self.database.persist(PersistMode::SyncAll)
    }

    /// Starts to move what was written last from memory and journal to its own file.
    pub(super) fn flush(&self) -> fjall::Result<()> {
        self.keyspace.rotate_memtable().map(drop)
    }

    /// Whether so much waits to be flushed or merged that fjall would hold a commit back.
    pub(super) fn is_behind(&self) -> bool {
        self.keyspace.sealed_memtable_count() >= 3 || self.keyspace.l0_table_count() >= 20
    }

    /// Whether an error of the disk has ended this database: nothing is written any more until it is opened again.
    pub(super) fn is_dead(&self) -> bool {
        self.database.persist(PersistMode::Buffer).is_err()
    }

    /// The bytes that it takes on disk now; `None` where the disk does not tell.
    pub(super) fn size_bytes(&self) -> Option<u64> {
        let size = self.database.disk_space();
        let was_unknown = self.is_size_unknown.swap(size.is_err(), Ordering::Relaxed);
        if let Err(error) = &size
            && !was_unknown
        {
            warn!(%error, "the size of the embedded log cannot be read");
        }
        size.ok()
    }
}

pub(super) fn encode_topic(topic: &Topic) -> Vec<u8> {
    let count = u32::try_from(topic.partitions.len()).expect("a topic has fewer than i32::MAX partitions");
    [&[1][..], &topic.number.to_be_bytes(), &topic.topic_id.to_be_bytes(), &count.to_be_bytes()].concat()
}

fn decode_topic(value: &[u8]) -> Option<(u32, u128, usize)> {
    let value: &[u8; 25] = value.try_into().ok()?;
    let (version, rest) = value.split_first_chunk::<1>()?;
    let (number, rest) = rest.split_first_chunk()?;
    let (topic_id, rest) = rest.split_first_chunk()?;
    let count = u32::from_be_bytes(rest.try_into().ok()?);
    (*version == [1]).then(|| (u32::from_be_bytes(*number), u128::from_be_bytes(*topic_id), count as usize))
}

/// The entry that says that a partition starts behind a chunk.
pub(super) fn start_entry(removed: &ChunkKey) -> (Vec<u8>, Option<Vec<u8>>) {
    let value = [(removed.last + 1).to_be_bytes(), removed.total.to_be_bytes()].concat();
    (key::start(removed.place), Some(value))
}

fn decode_start(value: &[u8]) -> Option<(i64, u64)> {
    let (low, rest) = value.split_first_chunk()?;
    Some((i64::from_be_bytes(*low), u64::from_be_bytes(rest.try_into().ok()?)))
}

fn damaged(what: &str) -> fjall::Error {
    fjall::Error::Io(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("{what} is damaged")))
}
