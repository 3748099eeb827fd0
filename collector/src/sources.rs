//! The sources that take events at this moment: opened, changed and closed while requests come.
//!
//! A source that has stopped stays open, so that it is known and told of, but takes no events until it goes on.
//! Guarantee: once [`OpenSources::close`] has returned, no request begins to write to the source; once what it returns
//! has ended, none does any more. A source that is changed loses no request.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use positions::{Life, SourceName};
use records::decode::Decoder;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use views::SourceDefinition;

use crate::metrics;

/// See the module.
#[derive(Debug, Default)]
pub struct OpenSources {
    // Written when definitions change, read once by each request; never held across a wait.
    sources: RwLock<BTreeMap<SourceName, OpenSource>>,
    // Replaced as a whole by whoever knows of stops, read once by each request; never held across a wait.
    stopped: RwLock<BTreeMap<SourceName, StoppedSource>>,
}

/// Why a source takes no events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoppedSource {
    /// What stopped it.
    pub reason: String,
    /// What an operator does about it.
    pub way_out: String,
}

#[derive(Debug)]
struct OpenSource {
    decoder: Arc<Decoder>,
    // Of its topic: names the offsets in tokens.
    life: Arc<Life>,
    // Each request under way holds a token of it; nothing is spawned on it.
    requests: TaskTracker,
}

/// A source, as one request found it, and the right to write to it.
#[derive(Debug)]
pub(crate) struct Entered {
    pub decoder: Arc<Decoder>,
    pub life: Arc<Life>,
    _request: TaskTrackerToken,
}

impl OpenSources {
    /// These sources, open, their topics in their first life.
    pub fn of(definitions: impl IntoIterator<Item = Arc<SourceDefinition>>) -> Self {
        let sources = Self::default();
        definitions.into_iter().for_each(|definition| sources.open(definition, Life::default()));
        sources
    }

    /// Opens a source, or gives one that is open another definition: requests under way end with the one they found.
    /// `life`: that of its topic.
    pub fn open(&self, definition: Arc<SourceDefinition>, life: Life) {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        let requests = sources.remove(&definition.name).map_or_else(TaskTracker::new, |before| before.requests);
        let name = definition.name.clone();
        metrics::announce_source(&name);
        let decoder = Arc::new(Decoder::new(definition));
        sources.insert(name, OpenSource { decoder, life: Arc::new(life), requests });
    }

    /// Notes the life of the topic of a source, if it is open.
    pub fn note_life(&self, source: &SourceName, life: Life) {
        let mut sources = self.sources.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = sources.get_mut(source).filter(|open| *open.life != life) {
            open.life = Arc::new(life);
        }
    }

    /// Closes a source, if it is open; what is returned ends when the requests under way have been answered.
    pub fn close(&self, source: &SourceName) -> impl Future<Output = ()> + Send + use<> {
        let closed = self.sources.write().unwrap_or_else(PoisonError::into_inner).remove(source);
        async move {
            if let Some(closed) = closed {
                closed.requests.close();
                closed.requests.wait().await;
            }
        }
    }

    /// Takes no events of these sources from now on, and of all others that are open; requests under way go on.
    pub fn refuse(&self, stopped: BTreeMap<SourceName, StoppedSource>) {
        *self.stopped.write().unwrap_or_else(PoisonError::into_inner) = stopped;
    }

    /// Why a source takes no events, where it has stopped.
    pub(crate) fn stopped(&self, source: &SourceName) -> Option<StoppedSource> {
        self.stopped.read().unwrap_or_else(PoisonError::into_inner).get(source).cloned()
    }

    /// The source of this name, or the names of those that there are: of those alone that `may_write` lets in.
    pub(crate) fn enter(&self, name: &str, may_write: impl Fn(&str) -> bool) -> Result<Entered, Vec<String>> {
        let sources = self.sources.read().unwrap_or_else(PoisonError::into_inner);
        let found = sources.values().find(|source| source.decoder.source().name.as_str() == name);
        let found = found.filter(|_| may_write(name));
        match found {
            Some(found) => {
                let OpenSource { decoder, life, requests } = found;
                Ok(Entered { decoder: decoder.clone(), life: life.clone(), _request: requests.token() })
            }
            None => Err(sources.keys().map(ToString::to_string).filter(|name| may_write(name)).collect()),
        }
    }
}
