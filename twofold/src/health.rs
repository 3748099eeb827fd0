//! What the process knows about its own roles: which sources stopped and why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Error;

/// The stopped sources of this process.
#[derive(Debug, Default)]
pub struct Health {
    // Written by the supervisor when a role gives a source up, read by status requests; held for a copy only.
    stopped: Mutex<BTreeMap<String, String>>,
}

impl Health {
    /// Notes that a source does not go on in one stage.
    pub fn stop_source(&self, source: &str, stage: &str, error: &Error) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.insert(source.to_owned(), format!("{stage}: {error:#}"));
    }

    /// Whether the source was given up.
    pub fn is_stopped(&self, source: &str) -> bool {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).contains_key(source)
    }

    /// Why each stopped source stopped.
    pub fn stopped_sources(&self) -> BTreeMap<String, String> {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
