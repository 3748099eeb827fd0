//! The schemas that a layer knows, and those that it has to ask for.
//!
//! Guarantee: nothing waits for the registry but whoever calls [`SchemaBook::learn`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use event_log::Record;
use positions::SchemaId;
use views::SourceDefinition;

use super::client::{RegistryError, SchemaRegistry};
use crate::decode::wire::{Schemas, StoredSchema, schema_id};

/// So many ids are asked for at a time: records may name any number that no registry has.
const MAX_WANTED: usize = 64;

/// What is known of the schemas of one source.
pub struct SchemaBook {
    /// `None`: no registry is configured.
    registry: Option<Arc<dyn SchemaRegistry>>,
    /// Read and changed by whoever reads records or learns; never held across a wait.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Schemas,
    wanted: BTreeSet<SchemaId>,
}

impl SchemaBook {
    /// Nothing is known yet.
    pub fn new(registry: Option<Arc<dyn SchemaRegistry>>) -> Self {
        Self { registry, state: Mutex::default() }
    }

    /// What is known.
    pub fn schemas(&self) -> Schemas {
        self.state().known.clone()
    }

    /// Takes in schemas that somebody else learned: those of a master dataset's facts.
    pub fn note(&self, stored: &BTreeMap<SchemaId, Arc<StoredSchema>>) {
        let mut state = self.state();
        state.known = state.known.with(stored);
    }

    /// Notes the ids that records name and that are not known, for the next [`Self::learn`].
    pub fn want(&self, source: &SourceDefinition, records: &[Record]) {
        if source.format.has_schemas() {
            self.want_ids(records.iter().filter_map(|record| schema_id(source, &record.payload)));
        }
    }

    /// As [`Self::want`], of ids.
    pub fn want_ids(&self, ids: impl IntoIterator<Item = SchemaId>) {
        let mut state = self.state();
        for id in ids {
            if state.wanted.len() < MAX_WANTED && !state.known.knows(id) {
                state.wanted.insert(id);
            }
        }
    }

    /// Whether anything is to be learned.
    pub fn is_wanting(&self) -> bool {
        !self.state().wanted.is_empty()
    }

    /// Asks for what is wanted, and wants nothing any more. Returns what is still not known, and why.
    pub async fn learn(&self) -> BTreeMap<SchemaId, RegistryError> {
        let ids = {
            let mut state = self.state();
            let known = state.known.clone();
            let wanted = std::mem::take(&mut state.wanted);
            wanted.into_iter().filter(|id| !known.knows(*id)).collect::<Vec<_>>()
        };
        let mut failures = BTreeMap::new();
        let mut outage = None;
        for id in ids {
            // Where it did not answer once, each further id would only wait as long again.
            let asked = match &outage {
                Some(error) => Err(RegistryError::clone(error)),
                None => self.ask(id).await,
            };
            match asked {
                Ok(stored) => self.note(&BTreeMap::from([(id, Arc::new(stored))])),
                Err(error) => {
                    if let RegistryError::Unavailable(_) = error {
                        outage = Some(error.clone());
                    }
                    failures.insert(id, error);
                }
            }
        }
        failures
    }

    async fn ask(&self, id: SchemaId) -> Result<StoredSchema, RegistryError> {
        match &self.registry {
            Some(registry) => registry.schema(id).await,
            None => {
                Err(RegistryError::Unavailable("no schema registry is configured (`schema_registry.url`)".to_owned()))
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
