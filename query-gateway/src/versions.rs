//! The batch versions of one view: which exist, and the states of those that answers are made of, in memory.
//!
//! Guarantee: a version is loaded once however many ask for it; states in memory are merged and sorted by dimensions.
//! Not here: which version an answer uses (`pin.rs`), the tables (`serving-layer`).

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use arrow::array::RecordBatch;
use positions::{TimestampMicros, format_span};
use serving_layer::{BatchVersion, BatchViewStore, ServingError, Version};
use tokio::sync::Mutex;
use tracing::{debug, warn};
use views::PlannedView;

use crate::merging::merge_states;
use crate::states::SortedStates;
use crate::{GatewayError, GatewaySettings, metrics, patience};

/// So many versions that requests named stay in memory: two are compared.
const KEPT_ASKED: usize = 2;

#[derive(Debug, Default)]
struct Known {
    versions: Vec<BatchVersion>,
    loaded: BTreeMap<Version, Arc<SortedStates>>,
    checked_at: Option<TimestampMicros>,
    problem: Option<String>,
    // The versions that requests named last, newest request first; kept so that asking again, or comparing two, is
    // cheap.
    asked: Vec<Version>,
    changes: u64,
}

impl Known {
    fn note_asked(&mut self, number: Version) {
        self.asked.retain(|asked| *asked != number);
        self.asked.insert(0, number);
        self.asked.truncate(KEPT_ASKED);
    }
}

/// Versions of one view.
#[derive(Debug)]
pub(crate) struct BatchVersions {
    view: PlannedView,
    store: BatchViewStore,
    // Written by whoever holds `reading`, read by refreshes; never held across a wait.
    known: RwLock<Known>,
    // One reader of the object store at a time: a version is listed and loaded once.
    reading: Mutex<()>,
}

impl BatchVersions {
    pub(crate) fn new(view: PlannedView, store: BatchViewStore) -> Self {
        Self { view, store, known: RwLock::default(), reading: Mutex::new(()) }
    }

    /// All versions of the last listing, newest first.
    pub(crate) fn known(&self) -> Vec<BatchVersion> {
        self.read(|known| known.versions.clone())
    }

    /// Those of them that are in memory; `None` if none is although some exist, or if nothing was listed yet.
    pub(crate) fn loaded(&self) -> Option<Vec<BatchVersion>> {
        self.read(|known| {
            known.checked_at?;
            let is_loaded = |version: &&BatchVersion| known.loaded.contains_key(&version.number());
            let loaded: Vec<BatchVersion> = known.versions.iter().filter(is_loaded).cloned().collect();
            (!loaded.is_empty() || known.versions.is_empty()).then_some(loaded)
        })
    }

    /// Bytes of the states of all versions in memory.
    pub(crate) fn loaded_bytes(&self) -> usize {
        self.read(|known| known.loaded.values().map(|states| states.size_bytes()).sum())
    }

    /// Grows whenever another answer may be possible than before.
    pub(crate) fn changes(&self) -> u64 {
        self.read(|known| known.changes)
    }

    /// When the versions were last listed, by the gateway's clock.
    pub(crate) fn checked_at(&self) -> Option<TimestampMicros> {
        self.read(|known| known.checked_at)
    }

    /// Why the last listing failed.
    pub(crate) fn problem(&self) -> Option<String> {
        self.read(|known| known.problem.clone())
    }

    /// Lists the newest versions. A failure leaves the old list and is kept as the problem.
    pub(crate) async fn check(&self, settings: &GatewaySettings, now: TimestampMicros) {
        let _reading = self.reading.lock().await;
        let before = self.known();
        let listed = self.list(settings, &before).await;
        self.write(|known| match listed {
            Ok(versions) => {
                let numbers = |versions: &[BatchVersion]| versions.iter().map(BatchVersion::number).collect::<Vec<_>>();
                let is_new = numbers(&versions) != numbers(&known.versions);
                known.changes += u64::from(is_new || known.checked_at.is_none());
                known.versions = versions;
                known.checked_at = Some(now);
                known.problem = None;
            }
            Err(reason) => {
                if known.problem.is_none() {
                    warn!(view = %self.view.name, reason, "batch versions cannot be listed");
                }
                known.problem = Some(reason);
            }
        });
    }

    /// The newest versions, of which a generation has none.
    async fn list(&self, settings: &GatewaySettings, before: &[BatchVersion]) -> Result<Vec<BatchVersion>, String> {
        if self.view.generation().is_some() {
            return Ok(Vec::new());
        }
        let listing = self.store.newest_versions(settings.retained_versions, before);
        match patience::within(settings.store_timeout, listing).await {
            Some(listed) => listed.map_err(|error| error.to_string()),
            None => Err(format!("the object store did not answer within {}", format_span(settings.store_timeout))),
        }
    }

    /// Loads the newest version, so that the next refresh can use it.
    pub(crate) async fn load_newest(&self, settings: &GatewaySettings) -> Result<(), GatewayError> {
        match self.known().first() {
            Some(newest) => self.states(newest, settings).await.map(|_| ()),
            None => Ok(()),
        }
    }

    /// The states of a version, from memory or loaded now.
    ///
    /// # Errors
    /// Where the object store fails or the version is larger than `view_memory_bytes`.
    pub(crate) async fn states(
        &self,
        version: &BatchVersion,
        settings: &GatewaySettings,
    ) -> Result<Arc<SortedStates>, GatewayError> {
        let number = version.number();
        let held = || self.read(|known| known.loaded.get(&number).cloned());
        if let Some(states) = held() {
            return Ok(states);
        }
        let _reading = self.reading.lock().await;
        if let Some(states) = held() {
            return Ok(states);
        }
        let batches = self.store.load(version, settings.view_memory_bytes).await?;
        let merge = self.view.plans.compile_merge().await?;
        let states = merge_states(&self.view, &merge, batches).await?;
        debug!(view = %self.view.name, version = number.0, rows = states.rows(), "batch version loaded");
        metrics::version_loaded(&self.view.name, states.size_bytes());
        self.write(|known| {
            known.loaded.insert(number, states.clone());
            known.changes += 1;
        });
        Ok(states)
    }

    /// The states that `version` holds in files which `other` has not got; nothing of it is kept.
    ///
    /// # Errors
    /// Where the object store fails, or they need more than `limit_bytes`.
    pub(crate) async fn load_beside(
        &self,
        version: &BatchVersion,
        other: &BatchVersion,
        limit_bytes: usize,
    ) -> Result<Vec<RecordBatch>, ServingError> {
        self.store.load_beside(version, other, limit_bytes).await
    }

    /// One version by its number, `None` where it does not exist (any more).
    pub(crate) async fn version(&self, number: Version) -> Result<Option<BatchVersion>, GatewayError> {
        let version = self.store.version(number).await?;
        self.write(|known| match &version {
            Some(version) => known.note_asked(version.number()),
            // Versions are cut away from the oldest on, by an erasing at once: what was listed up to this one is gone.
            None if known.versions.iter().any(|listed| listed.number() == number) => {
                known.versions.retain(|listed| listed.number() > number);
                known.changes += 1;
            }
            None => {}
        });
        Ok(version)
    }

    /// Forgets everything: nobody asks for the view any more.
    pub(crate) fn forget(&self) {
        self.write(|known| *known = Known { changes: known.changes + 1, ..Known::default() });
    }

    /// Frees the states of all versions but the newest, the one served, and the two that requests named last.
    pub(crate) fn retain(&self, served: Option<Version>) {
        self.write(|known| {
            let newest = known.versions.first().map(BatchVersion::number);
            let Known { loaded, asked, .. } = known;
            loaded.retain(|number, _| [newest, served].contains(&Some(*number)) || asked.contains(number));
        });
    }

    fn read<T>(&self, look: impl FnOnce(&Known) -> T) -> T {
        look(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known.write().unwrap_or_else(PoisonError::into_inner));
    }
}
