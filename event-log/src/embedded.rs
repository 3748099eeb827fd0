//! The event log inside this process, so that a laptop needs nothing installed.
//!
//! ```text
//!  append --> queue --> writer (one thread: gather, place, commit, sync) --> store --+--> answer
//!                                                     |                              |
//!  poll  <-- topics (how far each partition is) <-----+        chunks <--------------+
//! ```
//!
//! Guarantee: a record that was acknowledged survives the end of the process at any moment, and a power cut as well where
//! [`EmbeddedSettings::is_synced`] says so. Offsets of a partition are contiguous. Only what was released is ever
//! forgotten. One process at a time works in a folder.
//! Not here: groups across processes, other machines: that is Kafka.
//! Why `fjall`: a maintained engine in Rust with a journal, an index and values apart from keys. It adds a tenth of the
//! crates of a broker in the process, and no port that others could connect to. Its limits, and what is done about them,
//! are told in `store.rs` and `chunk.rs`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use positions::{Clock, Offset, PartitionId};
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::info;

use crate::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord};
use shared::Shared;
use store::Store;
use write::{Request, Writer};

mod chunk;
mod read;
mod retention;
mod run;
mod shared;
mod store;
mod topics;
mod write;

pub use retention::Retention;

/// The file of the broker that earlier versions ran in the process.
const OLD_FILE: &str = "log.db";
/// Requests that wait for the writer; callers beyond them wait to be queued.
const QUEUE_REQUESTS: usize = 1_024;
/// The unit in which queued bytes are counted.
const QUEUE_UNIT: usize = 1 << 10;

/// Where the embedded log keeps its records, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedSettings {
    /// The folder of its files; created where it is missing.
    pub folder: PathBuf,
    /// Whether a commit is synced to the disk before it is acknowledged.
    pub is_synced: bool,
    /// How long records are kept that were released.
    pub retention: Retention,
    /// Bytes that the file system must have left; an append that would go below them is refused as full.
    pub reserve_bytes: u64,
    /// Bytes of the largest record, key and payload.
    pub max_record_bytes: usize,
    /// Records without acknowledgement at most; more are refused as overload.
    pub queue_records: usize,
    /// Bytes without acknowledgement at most.
    pub queue_bytes: usize,
}

/// The log. Clones share it; when the last one is dropped, the writer ends.
#[derive(Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
    // Shares of the queue: a request holds its records and its bytes until it is answered.
    records: Arc<Semaphore>,
    units: Arc<Semaphore>,
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLog").field("folder", self.shared.folder()).finish_non_exhaustive()
    }
}

impl EmbeddedLog {
    /// Opens the log in a folder and starts its writer. The clock says what is old enough to be forgotten.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`]: another process works in the folder, it cannot be written, or holds something else.
    pub async fn open(settings: EmbeddedSettings, clock: Arc<dyn Clock>) -> Result<Self, EventLogError> {
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(settings, clock));
        match opening.await {
            Ok(outcome) => outcome,
            // Nobody aborts it, so it panicked.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn open_blocking(settings: EmbeddedSettings, clock: Arc<dyn Clock>) -> Result<Self, EventLogError> {
        let folder = settings.folder.display();
        if settings.folder.join(OLD_FILE).exists() {
            return Err(EventLogError::Unusable(format!(
                "{folder} holds {OLD_FILE}, the log of an earlier version, which this one cannot read; go on with the \
                 version that wrote it, or choose another --data-dir"
            )));
        }
        std::fs::create_dir_all(&settings.folder)
            .map_err(|error| EventLogError::Unusable(format!("folder {folder} of the embedded log: {error}")))?;
        let store = Store::open(&settings.folder)?;
        let topics = write::read_topics(&store)?;
        info!(%folder, topics = topics.len(), "embedded log opened");
        let (records, units) = (settings.queue_records, settings.queue_bytes.div_ceil(QUEUE_UNIT));
        let shared = Shared::new(settings, store, topics);
        let (requests, queue) = mpsc::channel(QUEUE_REQUESTS);
        run::spawn(Writer { shared: shared.clone(), clock, released: BTreeMap::new() }, queue)?;
        let share = |count: usize| Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
        Ok(Self { shared, requests, records: share(records), units: share(units) })
    }

    /// Bytes that the log takes on the disk now.
    pub fn size_bytes(&self) -> u64 {
        self.shared.store().map_or(0, |store| store.size_bytes())
    }

    /// Makes a topic anew, empty, with as many partitions: what was in it is gone.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown topic.
    pub async fn recreate_topic(&self, topic: &str) -> Result<(), EventLogError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Recreate { topic: topic.to_owned(), reply }, answer).await?
    }

    /// Ends the log: lets go of it and returns when the writer has ended and the files are closed.
    /// Other clones must be gone as well, or it does not end.
    pub async fn close(self) {
        let ended = self.shared.ended.clone();
        drop(self);
        ended.cancelled().await;
    }

    async fn ask<T>(&self, request: Request, answer: oneshot::Receiver<T>) -> Result<T, EventLogError> {
        let ended = || EventLogError::Unreachable("the embedded log has ended".to_owned());
        self.requests.send(request).await.map_err(|_| ended())?;
        answer.await.map_err(|_| ended())
    }

    /// A share of the queue for records that wait for their commit.
    fn share(&self, records: &[NewRecord]) -> Result<[tokio::sync::OwnedSemaphorePermit; 2], EventLogError> {
        let settings = &self.shared.settings;
        let units = chunk::payload_bytes(records).div_ceil(QUEUE_UNIT);
        // One request may be larger than the queue: then it has the queue for itself.
        let take = |semaphore: &Arc<Semaphore>, count: usize, all: usize| {
            let count = u32::try_from(count.min(all).max(1)).unwrap_or(u32::MAX);
            semaphore.clone().try_acquire_many_owned(count)
        };
        let records = take(&self.records, records.len(), settings.queue_records);
        let units = take(&self.units, units, settings.queue_bytes.div_ceil(QUEUE_UNIT));
        match (records, units) {
            (Ok(records), Ok(units)) => Ok([records, units]),
            _ => Err(EventLogError::Overloaded(format!(
                "more than {} records or {} bytes wait to be written (log.queue_records, log.queue_size)",
                settings.queue_records, settings.queue_bytes
            ))),
        }
    }

    async fn append_fitting(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
    ) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        let count = records.len();
        let share = match self.share(&records) {
            Ok(share) => share,
            Err(error) => {
                let again = || EventLogError::Overloaded(error.to_string());
                return (0..count).map(|_| Err(again())).collect();
            }
        };
        let (reply, answer) = oneshot::channel();
        let request = Request::Append { topic: topic.to_owned(), records, reply, share };
        self.ask(request, answer)
            .await
            .unwrap_or_else(|error| (0..count).map(|_| Err(EventLogError::Unreachable(error.to_string()))).collect())
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        let partitions = u32::try_from(partitions).ok().filter(|count| *count > 0).ok_or_else(|| {
            EventLogError::Unusable(format!("topic {topic}: {partitions} partitions asked for, at least 1 is needed"))
        })?;
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Ensure { topic: topic.to_owned(), partitions, reply }, answer).await?
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        let topics = self.shared.topics();
        Ok(topics::find(&topics, topic)?.extents().map(|(id, _)| id).collect())
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        let topics = self.shared.topics();
        Ok(topics::find(&topics, topic)?.extent(topic, partition)?.bounds())
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        let limit_bytes = self.shared.settings.max_record_bytes;
        let size = |record: &NewRecord| record.payload.len() + record.key.as_ref().map_or(0, bytes::Bytes::len);
        let too_large: Vec<Option<usize>> =
            records.iter().map(|record| Some(size(record)).filter(|bytes| *bytes > limit_bytes)).collect();
        let fitting: Vec<NewRecord> = records.into_iter().filter(|record| size(record) <= limit_bytes).collect();
        if fitting.is_empty() && too_large.is_empty() {
            return Vec::new();
        }
        let mut stored = self.append_fitting(topic, fitting).await.into_iter();
        let answers = too_large.into_iter().map(|too_large| match too_large {
            Some(bytes) => Err(EventLogError::TooLarge { bytes, limit_bytes }),
            None => stored.next().expect("one answer for each record that fits"),
        });
        answers.collect()
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        topics::find(&self.shared.topics(), topic)?;
        Ok(Box::new(read::Consumer::new(self.shared.clone(), topic, group)))
    }

    async fn release(&self, topic: &str, offsets: &BTreeMap<PartitionId, Offset>) {
        let request = Request::Release { topic: topic.to_owned(), offsets: offsets.clone() };
        // Only a wish: the next release says the same and more.
        let _ = self.requests.send(request).await;
    }
}
