//! What this process works at, for its sign of life.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::beat::AtWork;
use crate::ids::Token;
use crate::progress::Progress;

struct Slot {
    progress: Arc<Progress>,
    began: Instant,
}

/// The tasks at work in this process.
#[derive(Default)]
pub(crate) struct Slots {
    // Written by the loop that begins and ends tasks, read by the one that tells of them; held for a copy only.
    at_work: Mutex<BTreeMap<Token, Slot>>,
}

impl Slots {
    pub(crate) fn begin(&self, token: Token, now: Instant) -> Arc<Progress> {
        let progress = Arc::new(Progress::default());
        self.lock().insert(token, Slot { progress: Arc::clone(&progress), began: now });
        progress
    }

    pub(crate) fn end(&self, token: &Token) {
        self.lock().remove(token);
    }

    pub(crate) fn at_work(&self, now: Instant) -> Vec<AtWork> {
        let at_work = |(token, slot): (&Token, &Slot)| AtWork {
            token: *token,
            elapsed_millis: u64::try_from(now.duration_since(slot.began).as_millis()).unwrap_or(u64::MAX),
            reached: slot.progress.reached(),
        };
        self.lock().iter().map(at_work).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Token, Slot>> {
        self.at_work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
