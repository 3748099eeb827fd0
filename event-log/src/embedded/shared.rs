//! What writer, readers and callers of one embedded log share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::EmbeddedSettings;
use super::store::Store;
use super::topics::Topics;
use crate::EventLogError;
use crate::group::LocalGroups;

/// The state of one log.
pub(super) struct Shared {
    pub settings: EmbeddedSettings,
    // Replaced by the writer alone, which opens the store again after a failed write; cloned by readers for one read.
    // `None` while it cannot be opened, and after the end.
    store: RwLock<Option<Store>>,
    // Changed by the writer after each commit, read at every poll; held for look-ups, never across an await.
    topics: Mutex<Topics>,
    /// Counts changes of `topics`; waiting polls look again at each.
    pub changes: watch::Sender<u64>,
    pub groups: LocalGroups,
    /// Cancelled when the writer has ended and the store is closed.
    pub ended: CancellationToken,
}

impl Shared {
    pub fn new(settings: EmbeddedSettings, store: Store, topics: Topics) -> Arc<Self> {
        Arc::new(Self {
            settings,
            store: RwLock::new(Some(store)),
            topics: Mutex::new(topics),
            changes: watch::Sender::new(0),
            groups: LocalGroups::default(),
            ended: CancellationToken::new(),
        })
    }

    pub fn folder(&self) -> &PathBuf {
        &self.settings.folder
    }

    /// The store, where it is open.
    pub fn store(&self) -> Result<Store, EventLogError> {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner).clone();
        store.ok_or_else(|| EventLogError::Unreachable(format!("the log in {} is closed", self.folder().display())))
    }

    /// Gives the store up; its last clone closes it.
    pub fn take_store(&self) -> Option<Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Puts a store in place.
    pub fn put_store(&self, store: Store) {
        *self.store.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
    }

    /// The topics. Every change is complete before the lock is released.
    pub fn topics(&self) -> MutexGuard<'_, Topics> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever waits for records.
    pub fn tell_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}
