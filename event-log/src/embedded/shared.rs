//! What writer, readers and callers of one embedded log share: its settings, what it holds, and the room in its queue.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use positions::Clock;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::key::TopicPartition;
use super::store::Store;
use super::topics::Topics;
use crate::EventLogError;
use crate::group::LocalGroups;

/// Where the log lives, and what it keeps.
#[derive(Clone, Debug)]
pub struct EmbeddedSettings {
    /// Its folder; created where it is missing.
    pub folder: PathBuf,
    /// Whether an acknowledged record outlives a power cut; one that does not still outlives a killed process.
    pub is_synced: bool,
    /// Records that were released may be removed when they were appended longer ago than this.
    pub retention: Duration,
    /// Beyond so many bytes the oldest released records are removed.
    pub max_bytes: u64,
    /// Unacknowledged records at most; more are refused as overload.
    pub queue_records: u64,
    /// Unacknowledged bytes at most.
    pub queue_bytes: u64,
    /// Records that are committed together at most; one request is never cut.
    pub batch_records: u64,
    /// Bytes that are committed together at most; one request is never cut.
    pub batch_bytes: u64,
    /// The largest record (key and payload) that is taken.
    pub max_record_bytes: usize,
}

impl EmbeddedSettings {
    /// The default settings in a folder: synced, 7 days, 16 GiB.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            is_synced: true,
            retention: Duration::from_secs(7 * 24 * 3_600),
            max_bytes: 16 << 30,
            queue_records: 200_000,
            queue_bytes: 128 << 20,
            batch_records: 20_000,
            batch_bytes: 4 << 20,
            max_record_bytes: 1_000_000,
        }
    }
}

/// What the writer and the readers share.
pub(super) struct Shared {
    pub(super) settings: EmbeddedSettings,
    pub(super) clock: Arc<dyn Clock>,
    // Written by the writer after each commit, and by `release`; read by every poll. Never held while the store works.
    pub(super) topics: Mutex<Topics>,
    // Counts changes of `topics`; waiting polls look again at each.
    pub(super) changes: watch::Sender<u64>,
    // Replaced by the writer alone, after an error of the disk; `None` while it is closed or cannot be opened again.
    pub(super) store: RwLock<Option<Store>>,
    // Held by the writer from the commit of a removal until `topics` tells of it; taken by a reader that found nothing,
    // whose next look then knows why.
    pub(super) removal: Mutex<()>,
    pub(super) groups: LocalGroups,
    // Records and bytes without an answer; added by `append`, taken off when their request is answered or dropped.
    pub(super) queued: Arc<Queued>,
    pub(super) closed: CancellationToken,
}

#[derive(Debug, Default)]
pub(super) struct Queued {
    pub(super) records: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// The room that a request takes in the queue; given back on drop.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) queued: Arc<Queued>,
    pub(super) records: u64,
    pub(super) bytes: u64,
}

impl Admission {
    pub(super) fn size(&self) -> (u64, u64) {
        (self.records, self.bytes)
    }

    /// Takes room for one record more, if there is some.
    pub(super) fn admit(&mut self, bytes: u64, settings: &EmbeddedSettings) -> bool {
        let (records_before, bytes_before) = (
            self.queued.records.fetch_add(1, Ordering::Relaxed),
            self.queued.bytes.fetch_add(bytes, Ordering::Relaxed),
        );
        self.records += 1;
        self.bytes += bytes;
        let has_room = records_before < settings.queue_records && bytes_before + bytes <= settings.queue_bytes;
        if !has_room {
            self.queued.records.fetch_sub(1, Ordering::Relaxed);
            self.queued.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.records -= 1;
            self.bytes -= bytes;
        }
        has_room
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.queued.records.fetch_sub(self.records, Ordering::Relaxed);
        self.queued.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn topics(&self) -> MutexGuard<'_, Topics> {
        // Every change is complete before the lock is released or fails before it starts.
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store(&self) -> RwLockReadGuard<'_, Option<Store>> {
        self.store.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn store_to_replace(&self) -> RwLockWriteGuard<'_, Option<Store>> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn removal(&self) -> MutexGuard<'_, ()> {
        self.removal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn tell_readers(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn check_open(&self) -> Result<(), EventLogError> {
        if self.closed.is_cancelled() { Err(self.unreachable()) } else { Ok(()) }
    }

    pub(super) fn unreachable(&self) -> EventLogError {
        EventLogError::Unreachable("the embedded log is closed".to_owned())
    }

    pub(super) fn failed(&self, doing: &str, error: &fjall::Error) -> EventLogError {
        EventLogError::Unreachable(format!("the embedded log failed to {doing}: {error}"))
    }

    pub(super) fn damaged(&self, place: TopicPartition, offset: i64) -> EventLogError {
        let folder = self.settings.folder.display();
        EventLogError::Unusable(format!(
            "folder {folder} of the embedded log is damaged at offset {offset} of partition {}, or was written by a newer \
             version",
            place.partition
        ))
    }
}
