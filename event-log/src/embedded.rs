//! An event log inside this process, in a folder, so that a laptop needs nothing installed.
//!
//! ```text
//!  append --> queue --> writer thread: one commit for all that waits --> fjall (one keyspace) --> answers
//!                                          |
//!                                          +--> topics in memory --> readers wake --> chunks from fjall --> poll
//! ```
//!
//! Guarantee: what `append` acknowledged outlives a killed process always, and a power cut where `is_synced` is set.
//! Offsets have no gaps. Only what was released is ever removed. One process at a time holds the folder.
//! Not here: the layout of the folder (`embedded/key.rs`, `embedded/chunk.rs`), the engine (`fjall`).
//! Why fjall and not files of our own: atomic commits, recovery after a torn write and space that comes back are what
//! an embedded log is made of, and the hard part to get right. Why chunks of records (`embedded/chunk.rs`): both
//! reading and appending then move more than a million records a second. Why a thread: every call into fjall blocks.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, RwLock};

use async_trait::async_trait;
use positions::{Clock, IdSource, Offset, PartitionId};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::group::{LocalGroups, partition};
use crate::{EventLog, EventLogError, LogBounds, LogConsumer, NewRecord};

mod check;
mod chunk;
mod consumer;
mod disk_space;
mod erase;
mod failure;
mod key;
mod retention;
mod run;
mod shared;
mod store;
mod topics;
mod writer;

use consumer::Consumer;
use failure::out_of_space;
use run::Command;
use shared::{Admission, Shared};
use store::Store;
use topics::{Topics, find};
use writer::{Answer, Change, Request};

pub use check::FolderCheck;
pub use erase::{Replacement, replace_payloads};
pub use shared::EmbeddedSettings;

/// The file of the format before this one, by an embedded Kafka broker: refused, with the way out.
const OLD_FILE: &str = "log.db";
/// The way out where the engine cannot use its own files.
const DAMAGED: &str = "bring the folder back from a copy, or move it away and start: what is archived stays, and \
                       `twofold source reset SOURCE` begins the next life of each source";
/// Requests that may wait for the writer.
const QUEUE_REQUESTS: usize = 16_384;

/// The embedded log. Clones share it; it closes when the last clone and the last consumer are gone, or by `close`.
#[derive(Clone)]
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    commands: SyncSender<Command>,
}

impl std::fmt::Debug for EmbeddedLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedLog").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}

impl EmbeddedLog {
    /// Opens the folder, or makes it.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] where the folder cannot be used, is held by another process, or is an older
    /// version's.
    pub async fn open(
        settings: EmbeddedSettings,
        clock: Arc<dyn Clock>,
        ids: Arc<dyn IdSource>,
    ) -> Result<Self, EventLogError> {
        refuse_old_folder(&settings)?;
        let (folder, is_synced) = (settings.folder.clone(), settings.is_synced);
        let opened = tokio::task::spawn_blocking(move || -> fjall::Result<(Topics, Store)> {
            erase::settle(&folder)?;
            if let Some(part) = check::find_missing(&folder)? {
                return Err(std::io::Error::new(ErrorKind::NotFound, format!("{part} is gone")).into());
            }
            let store = store::run::open(&folder, is_synced)?;
            Ok((store.load()?, store))
        });
        let folder = settings.folder.display();
        // The engine panics at some damage to its own files.
        let opened = opened.await.map_err(|error| {
            EventLogError::Unusable(format!("folder {folder} of the embedded log cannot be opened: {error}; {DAMAGED}"))
        })?;
        let (topics, store) = opened.map_err(|error| refusal(&settings.folder, &error))?;
        info!(%folder, topics = topics.len(), bytes = store.size_bytes(), "embedded log opened");
        let shared = Arc::new(Shared {
            settings,
            clock,
            topics: Mutex::new(topics),
            changes: watch::Sender::new(0),
            store: RwLock::new(Some(store)),
            removal: Mutex::default(),
            groups: LocalGroups::default(),
            queued: Arc::default(),
            closed: CancellationToken::new(),
        });
        let (commands, receiver) = sync_channel(QUEUE_REQUESTS);
        run::start(Arc::clone(&shared), ids, receiver)?;
        Ok(Self { shared, commands })
    }

    /// Whether a start could write the folder, which is there. Blocks for a moment, and opens nothing.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] where it cannot be written, is held by another process, or is an older version's.
    pub fn check_folder(settings: &EmbeddedSettings) -> Result<FolderCheck, EventLogError> {
        refuse_old_folder(settings)?;
        check::check_folder(&settings.folder)
    }

    /// Answers what is under way, closes the folder and gives it free. Whoever uses the log later is told so.
    pub async fn close(&self) {
        let commands = self.commands.clone();
        // An error means that the writer has ended already.
        let _ = tokio::task::spawn_blocking(move || commands.send(Command::Close)).await;
        self.shared.closed.cancelled().await;
    }

    /// The bytes that the folder takes now; `None` where the disk does not tell, or the log is closed.
    pub fn size_bytes(&self) -> Option<u64> {
        self.shared.store().as_ref().and_then(Store::size_bytes)
    }

    /// The names of its topics.
    pub fn topics(&self) -> BTreeSet<String> {
        self.shared.topics().keys().cloned().collect()
    }

    /// Gives a topic more partitions, where it has fewer.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown topic; as appending otherwise.
    pub async fn grow_topic(&self, topic: &str, partitions: usize) -> Result<(), EventLogError> {
        self.change(Change::Grow { topic: topic.to_owned(), partitions }).await
    }

    /// Deletes a topic with its records, and makes another one of the name with as many partitions.
    ///
    /// # Errors
    /// [`EventLogError::Unusable`] for an unknown topic; as appending otherwise.
    pub async fn recreate_topic(&self, topic: &str) -> Result<(), EventLogError> {
        self.change(Change::Recreate { topic: topic.to_owned() }).await
    }

    async fn change(&self, change: Change) -> Result<(), EventLogError> {
        let (reply, answer) = oneshot::channel();
        self.send(Command::Change(change, reply))?;
        answer.await.unwrap_or_else(|_| Err(self.shared.unreachable()))
    }

    fn send(&self, command: Command) -> Result<(), EventLogError> {
        self.commands.try_send(command).map_err(|error| match error {
            TrySendError::Full(_) => {
                EventLogError::Overloaded("too many requests wait for the embedded log".to_owned())
            }
            TrySendError::Disconnected(_) => self.shared.unreachable(),
        })
    }

    /// Splits records into those that may wait for the writer, with their places, and answers to the others.
    fn admit(&self, records: Vec<NewRecord>) -> (Admission, Vec<NewRecord>, Vec<Option<EventLogError>>) {
        let settings = &self.shared.settings;
        let mut admission = Admission { queued: Arc::clone(&self.shared.queued), records: 0, bytes: 0 };
        let mut admitted = Vec::with_capacity(records.len());
        let mut refusals = Vec::with_capacity(records.len());
        for record in records {
            let bytes = record.size_bytes();
            let limit_bytes = settings.max_record_bytes;
            refusals.push(if bytes > limit_bytes {
                Some(EventLogError::TooLarge { bytes, limit_bytes })
            } else if admission.admit(bytes as u64, settings) {
                admitted.push(record);
                None
            } else {
                Some(EventLogError::Overloaded("too many records wait for their acknowledgement".to_owned()))
            });
        }
        (admission, admitted, refusals)
    }
}

#[async_trait]
impl EventLog for EmbeddedLog {
    async fn ensure_topic(&self, topic: &str, partitions: i32) -> Result<(), EventLogError> {
        let asked = usize::try_from(partitions).ok().filter(|count| *count > 0);
        let asked = asked.ok_or_else(|| EventLogError::no_partitions_asked(topic, partitions))?;
        self.change(Change::Ensure { topic: topic.to_owned(), partitions: asked }).await
    }

    async fn partitions(&self, topic: &str) -> Result<BTreeSet<PartitionId>, EventLogError> {
        self.shared.check_open()?;
        let count = find(&self.shared.topics(), topic)?.partitions.len();
        Ok((0..count).map(partition).collect())
    }

    async fn bounds(&self, topic: &str, partition: PartitionId) -> Result<LogBounds, EventLogError> {
        self.shared.check_open()?;
        Ok(find(&self.shared.topics(), topic)?.partition(topic, partition)?.bounds())
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Answer> {
        let (admission, records, refusals) = self.admit(records);
        let count = records.len();
        let mut answers = Vec::new();
        if count > 0 {
            let (reply, answer) = oneshot::channel();
            let request = Request { topic: topic.to_owned(), records, reply, admission };
            answers = match self.send(Command::Append(request)) {
                Ok(()) => answer.await.unwrap_or_else(|_| (0..count).map(|_| Err(self.shared.unreachable())).collect()),
                Err(error) => {
                    let text = error.to_string();
                    (0..count)
                        .map(|_| match &error {
                            EventLogError::Overloaded(reason) => Err(EventLogError::Overloaded(reason.clone())),
                            _ => Err(EventLogError::Unreachable(text.clone())),
                        })
                        .collect()
                }
            };
        }
        let mut answers = answers.into_iter();
        let merge = |refusal: Option<EventLogError>| match refusal {
            Some(error) => Err(error),
            None => answers.next().unwrap_or_else(|| Err(self.shared.unreachable())),
        };
        refusals.into_iter().map(merge).collect()
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        self.shared.check_open()?;
        find(&self.shared.topics(), topic)?;
        Ok(Box::new(Consumer::new(&self.shared, topic, group)))
    }

    fn release(&self, topic: &str, committed: &BTreeMap<PartitionId, Offset>) {
        if let Some(topic) = self.shared.topics().get_mut(topic) {
            for (id, offset) in committed {
                if let Some(partition) = topic.partition_mut(*id) {
                    partition.released = partition.released.max(offset.0.min(partition.next));
                }
            }
        }
    }
}

fn refuse_old_folder(settings: &EmbeddedSettings) -> Result<(), EventLogError> {
    let old = settings.folder.join(OLD_FILE);
    if !old.exists() {
        return Ok(());
    }
    Err(EventLogError::Unusable(format!(
        "{} is the log of an older version, which this one cannot read. Start the version that wrote it once more without \
         sending events, until `twofold status` shows that everything is archived; stop it; then move the folder {} away: \
         what was archived is in the lake. Or choose another --data-dir",
        old.display(),
        settings.folder.display()
    )))
}

/// What a start can do about a folder that the engine does not open.
fn refusal(folder: &Path, error: &fjall::Error) -> EventLogError {
    let folder = folder.display();
    EventLogError::Unusable(match error {
        fjall::Error::Locked => format!("folder {folder} of the embedded log is held by another process"),
        _ if out_of_space(error).is_some() => format!("folder {folder} of the embedded log: {error}; make room there"),
        // Files that are missing: the folder itself is there, or would be made.
        fjall::Error::Io(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => {
            format!("folder {folder} of the embedded log: {error}")
        }
        error => format!("folder {folder} of the embedded log lacks files, or they are damaged: {error}; {DAMAGED}"),
    })
}
