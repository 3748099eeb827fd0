//! What the process knows about its own roles: which sources stopped and why.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use anyhow::Error;
use collector::StoppedSources;

/// The stopped sources of this process.
#[derive(Debug, Default)]
pub struct Health {
    // By source, then by stage. Written when a role gives a source up or starts with it, read by status requests; held
    // for a copy only.
    stopped: Mutex<BTreeMap<String, BTreeMap<String, String>>>,
}

impl Health {
    /// Notes that a source does not go on in one stage.
    pub fn stop_source(&self, source: &str, stage: &str, error: &Error) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        stopped.entry(source.to_owned()).or_default().insert(stage.to_owned(), format!("{stage}: {error:#}"));
    }

    /// Notes that a source goes on in one stage, or that this stage has nothing to do with it any more.
    pub fn clear_source(&self, source: &str, stage: &str) {
        let mut stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stages) = stopped.get_mut(source) {
            stages.remove(stage);
        }
        stopped.retain(|_, stages| !stages.is_empty());
    }

    /// Forgets the sources that are not there any more.
    pub fn keep_sources(&self, is_there: impl Fn(&str) -> bool) {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).retain(|source, _| is_there(source));
    }

    /// Why each stopped source stopped.
    pub fn stopped_sources(&self) -> BTreeMap<String, String> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let reasons = |stages: &BTreeMap<String, String>| stages.values().cloned().collect::<Vec<_>>().join("; ");
        stopped.iter().map(|(source, stages)| (source.clone(), reasons(stages))).collect()
    }
}

/// The stages without which what is acknowledged would not reach the record.
const ARCHIVING: [&str; 2] = ["topic", "archive"];

impl StoppedSources for Health {
    /// A speed worker that stopped keeps no event from the batch layer, so its source goes on to take events.
    fn why_stopped(&self, source: &str) -> Option<String> {
        let stopped = self.stopped.lock().unwrap_or_else(PoisonError::into_inner);
        let stages = stopped.get(source)?;
        ARCHIVING.iter().find_map(|stage| stages.get(*stage).cloned())
    }
}
