//! The records in the embedded store: keys, values, and what its errors mean.
//!
//! ```text
//!  topic 0   | name                          ->  what is known of a topic (JSON)
//!  topic u32 | partition u32 | first offset u64   ->  chunk (`chunk.rs`), numbers big endian: in the order of the log
//! ```
//!
//! Guarantee: a commit is whole or not there; once it returned it survives the end of the process, and a power cut where
//! it was asked to be synced. A read needs no lock against writes.
//! Not here: who may write (`run.rs`), offsets (`topics.rs`).
//! Why one keyspace for everything: an idle one would keep the journals of all others from being deleted. Values lie
//! apart from keys, so that compaction rewrites keys alone.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use fjall::config::CompressionPolicy;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, KvSeparationOptions, PersistMode};
use positions::{Offset, PartitionId};
use serde::{Deserialize, Serialize};

use super::chunk::{self, Damaged, Extent, Head};
use crate::EventLogError;

/// The keyspace of all records.
const KEYSPACE: &str = "records";
/// Memory for records that are not in a file yet. An idle log holds no more than one of these.
const MEMTABLE_BYTES: u64 = 16 << 20;
/// Memory for blocks of keys and values that were read from files.
const CACHE_BYTES: u64 = 8 << 20;
/// All journals together: records are in a file long before.
const JOURNAL_BYTES: u64 = 128 << 20;
/// Chunks from this size on lie apart from their keys.
const APART_BYTES: u32 = 1 << 10;
/// One writes memory to files, the other merges files.
const THREADS: usize = 2;

/// What is stored about a topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TopicNote {
    /// Its number in keys; never given twice.
    pub id: u32,
    /// How often a topic of this name was made.
    pub life: u64,
    /// How many partitions it has.
    pub partitions: u32,
}

/// The store. Clones share it.
#[derive(Clone)]
pub(super) struct Store {
    database: Database,
    records: Keyspace,
    folder: PathBuf,
}

/// One partition in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub topic: u32,
    pub partition: PartitionId,
}

/// Writes that become visible together.
pub(super) struct Commit {
    batch: fjall::OwnedWriteBatch,
    records: Keyspace,
}

impl Place {
    fn key(self, first: Offset) -> [u8; 16] {
        let mut key = [0; 16];
        key[..4].copy_from_slice(&self.topic.to_be_bytes());
        key[4..8].copy_from_slice(&self.partition.0.to_be_bytes());
        key[8..].copy_from_slice(&first.0.to_be_bytes());
        key
    }
}

/// The first offset of the chunk under a key.
fn first_of(key: &[u8]) -> Result<Offset, Damaged> {
    let digits = key.get(8..16).and_then(|digits| digits.try_into().ok()).ok_or(Damaged)?;
    Ok(Offset(i64::from_be_bytes(digits)))
}

fn note_key(name: &str) -> Vec<u8> {
    [&0u32.to_be_bytes(), name.as_bytes()].concat()
}

impl Store {
    /// Opens the store in a folder, or makes it. Blocks.
    pub fn open(folder: &Path) -> Result<Self, EventLogError> {
        let failed = |error: fjall::Error| match error {
            fjall::Error::Locked => {
                EventLogError::Unusable(format!("the log in {} is in use by another process", folder.display()))
            }
            error => EventLogError::Unusable(format!("the log in {} cannot be opened: {error}", folder.display())),
        };
        let database = Database::builder(folder)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .manual_journal_persist(true)
            .worker_threads(THREADS)
            .open()
            .map_err(failed)?;
        let options = || {
            let apart = KvSeparationOptions::default()
                .separation_threshold(APART_BYTES)
                .compression(fjall::CompressionType::None);
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_compression_policy(CompressionPolicy::disabled())
                .with_kv_separation(Some(apart))
                .manual_journal_persist(true)
        };
        let records = database.keyspace(KEYSPACE, options).map_err(failed)?;
        Ok(Self { database, records, folder: folder.to_owned() })
    }

    /// All topics by name. Blocks.
    pub fn topics(&self) -> Result<Vec<(String, TopicNote)>, EventLogError> {
        let mut topics = Vec::new();
        for found in self.records.prefix(0u32.to_be_bytes()) {
            let (key, value) = found.into_inner().map_err(|error| self.failed(&error))?;
            let name = String::from_utf8(key[4..].to_vec()).map_err(|_| self.damaged("the name of a topic"))?;
            let note = serde_json::from_slice(&value).map_err(|_| self.damaged(&format!("topic {name}")))?;
            topics.push((name, note));
        }
        Ok(topics)
    }

    /// How much of a partition is there. Two look-ups; blocks.
    pub fn extent(&self, place: Place) -> Result<Extent, EventLogError> {
        let Some((low, head)) = self.first(place)? else { return Ok(Extent::default()) };
        let (last, value) = self.last(place)?.ok_or_else(|| self.damaged("a partition"))?;
        let end = self.head(&value)?;
        let mut chunk = chunk::Chunk::open(value, last).map_err(|Damaged| self.damaged("a chunk"))?;
        let mut bytes = end.bytes_before;
        while let Some(record) = chunk.take(place.partition).map_err(|Damaged| self.damaged("a chunk"))? {
            bytes += record.payload.len() as i64;
        }
        Ok(Extent { low: low.0, next: chunk.next_offset().0, bytes, expired_bytes: head.bytes_before })
    }

    /// The first chunk of a partition: where it begins, and its head.
    pub fn first(&self, place: Place) -> Result<Option<(Offset, Head)>, EventLogError> {
        let found = self.records.range(place.key(Offset(0))..=place.key(Offset(i64::MAX))).next();
        self.chunk(found)?.map(|(first, value)| Ok((first, self.head(&value)?))).transpose()
    }

    fn last(&self, place: Place) -> Result<Option<(Offset, Bytes)>, EventLogError> {
        self.chunk(self.records.range(place.key(Offset(0))..=place.key(Offset(i64::MAX))).next_back())
    }

    /// The chunk that holds the record at `offset`, or ends before it where none does.
    pub fn chunk_of(&self, place: Place, offset: Offset) -> Result<Option<(Offset, Bytes)>, EventLogError> {
        self.chunk(self.records.range(place.key(Offset(0))..=place.key(offset)).next_back())
    }

    /// The chunks of a partition from the one that begins at `first`, in order.
    pub fn chunks_from(
        &self,
        place: Place,
        first: Offset,
    ) -> impl Iterator<Item = Result<(Offset, Bytes), EventLogError>> + use<'_> {
        let found = self.records.range(place.key(first)..=place.key(Offset(i64::MAX)));
        found.filter_map(|found| self.chunk(Some(found)).transpose())
    }

    fn chunk(&self, found: Option<fjall::Guard>) -> Result<Option<(Offset, Bytes)>, EventLogError> {
        let Some(found) = found else { return Ok(None) };
        let (key, value) = found.into_inner().map_err(|error| self.failed(&error))?;
        let first = first_of(&key).map_err(|Damaged| self.damaged("a key"))?;
        Ok(Some((first, value.into())))
    }

    pub fn head(&self, value: &[u8]) -> Result<Head, EventLogError> {
        chunk::head(value).map_err(|Damaged| self.damaged("a chunk"))
    }

    /// Begins a commit.
    pub fn begin(&self, is_synced: bool) -> Commit {
        let mode = if is_synced { PersistMode::SyncData } else { PersistMode::Buffer };
        Commit { batch: self.database.batch().durability(Some(mode)), records: self.records.clone() }
    }

    /// Makes a commit durable and visible. Blocks.
    ///
    /// # Errors
    /// [`EventLogError::Full`], or [`EventLogError::Unreachable`]: the commit may be there nevertheless; open the store
    /// again before the next one.
    pub fn commit(&self, commit: Commit) -> Result<(), EventLogError> {
        commit.batch.commit().map_err(|error| self.failed(&error))
    }

    /// Bytes that a file system of the store can still take.
    pub fn free_bytes(&self) -> Result<u64, EventLogError> {
        let found = rustix::fs::statvfs(&self.folder)
            .map_err(|error| EventLogError::Unreachable(format!("folder {}: {error}", self.folder.display())))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Bytes on disk, journals included.
    pub fn size_bytes(&self) -> u64 {
        self.database.disk_space().unwrap_or_else(|_| self.records.disk_space())
    }

    fn failed(&self, error: &fjall::Error) -> EventLogError {
        let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
        while let Some(at) = cause {
            let io = at.downcast_ref::<std::io::Error>();
            if io.is_some_and(|io| io.kind() == std::io::ErrorKind::StorageFull) {
                return EventLogError::Full(format!("no room in {}", self.folder.display()));
            }
            cause = at.source();
        }
        EventLogError::Unreachable(format!("the log in {}: {error}", self.folder.display()))
    }

    pub fn damaged(&self, what: &str) -> EventLogError {
        EventLogError::Unusable(format!("the log in {} is damaged: {what} cannot be read", self.folder.display()))
    }
}

impl Commit {
    /// Adds a chunk whose first record stands at `first`.
    pub fn put_chunk(&mut self, place: Place, first: Offset, value: Bytes) {
        self.batch.insert(&self.records, place.key(first), value);
    }

    /// Forgets the chunk that begins at `first`.
    pub fn forget_chunk(&mut self, place: Place, first: Offset) {
        self.batch.remove(&self.records, place.key(first));
    }

    /// Writes what is known of a topic.
    pub fn put_topic(&mut self, name: &str, note: &TopicNote) {
        let note = serde_json::to_vec(note).expect("three numbers always serialise");
        self.batch.insert(&self.records, note_key(name), note);
    }
}
