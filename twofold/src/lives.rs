//! The present life of each source's topic, as this process last read it from the master dataset.
//!
//! For whoever names offsets beside the layers: the collector in its tokens, the status, the view into the log. Archive
//! and speed worker do not ask here: they take the life from the very commit that they go on from.
//! Guarantee: at most ten seconds old while the object store answers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use event_log::{EventLog, LifeLog};
use lake::Lake;
use positions::{Life, SourceName};
use records::RecordsError;
use records::master::{MasterDataset, MasterSnapshot};
use tokio::time::Instant;
use views::SourceDefinition;

/// How long a life that was read is taken for the present one. `twofold source reset` is run by hand, and rarely.
const REREAD: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Lives {
    lake: Lake,
    // Never held across a wait.
    known: Mutex<BTreeMap<SourceName, Known>>,
}

#[derive(Clone, Debug)]
struct Known {
    snapshot: Option<MasterSnapshot>,
    read_at: Instant,
}

impl Known {
    fn life(&self) -> Life {
        self.snapshot.as_ref().map(|snapshot| snapshot.facts.life.clone()).unwrap_or_default()
    }
}

impl Lives {
    /// Nothing is known yet.
    pub fn new(lake: Lake) -> Self {
        Self { lake, known: Mutex::default() }
    }

    /// The present life of a source's topic.
    ///
    /// # Errors
    /// If it was never read and cannot be read now.
    pub async fn of(&self, source: &Arc<SourceDefinition>) -> Result<Life, RecordsError> {
        let known = self.lock().get(&source.name).cloned();
        if let Some(known) = known.as_ref().filter(|known| known.read_at.elapsed() < REREAD) {
            return Ok(known.life());
        }
        let master = MasterDataset::new(&self.lake, source.clone());
        let before = known.as_ref().and_then(|known| known.snapshot.as_ref());
        let read = match before {
            Some(before) => master.refresh(before).await.map(Some),
            None => master.open().await,
        };
        let snapshot = match (read, &known) {
            (Ok(snapshot), _) => snapshot,
            // The layers tell of a store that does not answer.
            (Err(_), Some(known)) => known.snapshot.clone(),
            (Err(error), None) => return Err(error),
        };
        let now = Known { snapshot, read_at: Instant::now() };
        let life = now.life();
        self.lock().insert(source.name.clone(), now);
        Ok(life)
    }

    /// The newest version of a source's master dataset that was read for its life; `None` where there is none.
    pub fn newest(&self, source: &SourceName) -> Option<MasterSnapshot> {
        self.lock().get(source).and_then(|known| known.snapshot.clone())
    }

    /// The log of a source in the present life of its topic.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub async fn log(&self, log: Arc<dyn EventLog>, source: &Arc<SourceDefinition>) -> Result<LifeLog, RecordsError> {
        Ok(LifeLog::new(log, self.of(source).await?))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<SourceName, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
