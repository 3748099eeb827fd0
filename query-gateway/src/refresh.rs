//! From the stores to immutable states that queries read: one reader per source, and one per generation.
//!
//! ```text
//!  read indexes --> pin (versions in memory) --> fetch new runs, merge --> SourceState, swapped in as a whole
//!                     | none tiles: list versions, load;  still none: read the indexes again;  still none: stale
//!                     | one lies above the indexes: read them again;  still: its head is its cut
//! ```
//!
//! Guarantee: every state is complete in memory, so an answer computed from it sees one version and the runs that tile
//! above it, whatever is published or dropped meanwhile. Views of a source that tile share one reading of its indexes.
//! While the stores are healthy the head never goes back; when they are not, the last state is kept and marked stale.
//! Not here: the choice (`pin.rs`), the clockwork (`run.rs`), the answers (`answer.rs`), one reader in the place of
//! another (`refresh/succession.rs`).

mod succession;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use futures::future::join_all;
use positions::{Clock, DefinitionHash, Index, PartitionId, TimestampMicros, format_span};
use serving_layer::RealtimeStore;
use tokio::sync::watch;
use tracing::warn;
use views::{PlannedView, SourceDefinition, ViewDefinition};

use crate::attempt::{Attempt, Held, ViewReader};
use crate::held_still::HeldStill;
use crate::partitions::KnownPartitions;
use crate::patience::within;
use crate::pin::Indexes;
use crate::served::{Served, ServedView, SourceState, as_of, note_change};
use crate::stores::{Check, SourceStores};
use crate::{GatewayError, GatewaySettings, Standstill, metrics};

/// Reads one source above its batch views, or one generation of it.
pub(crate) struct SourceReader {
    stores: SourceStores,
    views: Vec<ViewReader>,
    // One refresh at a time; what it leaves for the next one belongs to whoever holds it.
    work: tokio::sync::Mutex<BTreeMap<DefinitionHash, Held>>,
    // Replaced by the refresh as a whole, cloned by each query; never held across a wait.
    state: RwLock<Arc<SourceState>>,
    // Whether another reader took the place of this one, so that its state is its last. Written while `state` is held.
    is_over: AtomicBool,
    // Former definitions nobody asks for any more. Written by who lets their successors answer; never across a wait.
    retired: RwLock<BTreeSet<DefinitionHash>>,
    // Written by the status loop and by each refresh; never held across a wait.
    partitions: Mutex<KnownPartitions>,
    // Written by the status loop, read by each answer; held for a copy only.
    standstill: Mutex<Option<Arc<Standstill>>>,
    // Since when a definition that was asked for has had no answer. Written by requests and by each refresh; never held
    // across a wait.
    building: Mutex<BTreeMap<DefinitionHash, TimestampMicros>>,
    held_still: HeldStill,
    changed: watch::Sender<u64>,
}

impl SourceReader {
    pub(crate) fn new(
        source: Arc<SourceDefinition>,
        (store, clock): (Arc<dyn RealtimeStore>, Arc<dyn Clock>),
        settings: GatewaySettings,
        (generation, views): (Option<DefinitionHash>, Vec<ViewReader>),
    ) -> Self {
        Self {
            partitions: Mutex::new(KnownPartitions::new(&source)),
            stores: SourceStores { source, generation, store, clock, settings },
            views,
            work: tokio::sync::Mutex::default(),
            state: RwLock::default(),
            is_over: AtomicBool::new(false),
            retired: RwLock::default(),
            standstill: Mutex::default(),
            building: Mutex::default(),
            held_still: HeldStill::default(),
            changed: watch::Sender::new(0),
        }
    }

    /// The source.
    pub(crate) fn source(&self) -> &Arc<SourceDefinition> {
        &self.stores.source
    }

    /// Its views, those retired among them; where a view is answered by a former definition, also that.
    pub(crate) fn views(&self) -> &[ViewReader] {
        &self.views
    }

    /// Whether it reads exactly these definitions, each with whether it is a former one.
    pub(crate) fn reads(&self, source: &SourceDefinition, views: &[(&PlannedView, bool)]) -> bool {
        let live = self.live_views();
        let ours = live.iter().map(|reader| (&reader.view.name, reader.view.hash, &reader.view.sql, reader.is_former));
        let asked = views.iter().map(|(view, is_former)| (&view.name, view.hash, &view.sql, *is_former));
        *self.stores.source == *source && ours.eq(asked)
    }

    /// The views that are read.
    pub(crate) fn live_views(&self) -> Vec<&ViewReader> {
        let retired = self.retired.read().unwrap_or_else(PoisonError::into_inner);
        self.views.iter().filter(|reader| !retired.contains(&reader.view.hash)).collect()
    }

    /// What the last refresh made. Cost: one reference count.
    pub(crate) fn state(&self) -> Arc<SourceState> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Tells of each new state.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Counts the changes of indexes, where the store does.
    pub(crate) fn index_changes(&self) -> Option<u64> {
        self.stores.store.index_changes()
    }

    /// Whether another refresh would make the same state again, unless an index changes.
    pub(crate) fn is_settled(&self) -> bool {
        let state = self.state();
        // What changed while it was held still was not read.
        self.held_still.may_begin(self.now())
            && state.is_repeatable
            && state.changes == self.changes()
            && state.named == self.known().named()
    }

    /// Its realtime views.
    pub(crate) fn store(&self) -> &Arc<dyn RealtimeStore> {
        &self.stores.store
    }

    /// The present instant.
    pub(crate) fn now(&self) -> TimestampMicros {
        self.stores.now()
    }

    pub(crate) fn settings(&self) -> &GatewaySettings {
        &self.stores.settings
    }

    /// Notes partitions of the topic; `is_all`: as the log lists them.
    pub(crate) fn note_partitions(&self, partitions: BTreeSet<PartitionId>, is_all: bool) {
        self.known().note_told(partitions, is_all);
    }

    /// Notes what keeps realtime from going on, if anything.
    pub(crate) fn note_standstill(&self, standstill: Option<Standstill>) {
        *self.standstill.lock().unwrap_or_else(PoisonError::into_inner) = standstill.map(Arc::new);
    }

    /// What keeps realtime from going on, where that is known.
    pub(crate) fn standstill(&self) -> Option<Arc<Standstill>> {
        self.standstill.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What a view is answered from in a state, or why it is not: it is said to be being built only while something
    /// builds it, as far as this process knows.
    pub(crate) fn served(&self, state: &SourceState, view: &ViewDefinition) -> Result<Arc<Served>, GatewayError> {
        let name = view.name.to_string();
        let reason = match state.views.get(&view.hash) {
            Some(ServedView::Served(served)) => return Ok(served.clone()),
            Some(ServedView::Unavailable(reason)) => {
                return Err(GatewayError::Unavailable { view: name, reason: reason.clone() });
            }
            Some(ServedView::Building(reason)) => reason.clone(),
            None => "it has not been read yet".to_owned(),
        };
        let standstill = self.standstill();
        if let Some(standstill) = standstill.as_ref().filter(|standstill| standstill.is_for_good) {
            let (reason, way_out) = (standstill.reason.clone(), standstill.way_out.clone());
            return Err(GatewayError::Stopped { view: name, reason, way_out });
        }
        let reason = match standstill {
            Some(standstill) => format!("{reason}; {}", standstill.in_words()),
            None => reason,
        };
        Err(GatewayError::Building { view: name, reason, lasts: self.has_been_building(view.hash) })
    }

    /// How long a view has had no answer, as far as anybody asked.
    fn has_been_building(&self, view: DefinitionHash) -> Duration {
        let now = self.stores.now();
        let mut building = self.building.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *building.entry(view).or_insert(now);
        Duration::from_micros(now.micros_since(since).max(0).unsigned_abs())
    }

    /// Forgets since when views have had no answer that have one now.
    fn note_built(&self, views: &BTreeMap<DefinitionHash, ServedView>) {
        let is_building = |view: &DefinitionHash| matches!(views.get(view), None | Some(ServedView::Building(_)));
        self.building.lock().unwrap_or_else(PoisonError::into_inner).retain(|view, _| is_building(view));
    }

    /// Looks for partitions that nobody tells of, by the indexes that workers write. Where the store counts changes,
    /// those workers, and so the log, are in this process, which will tell.
    pub(crate) async fn look_for_partitions(&self) {
        if self.index_changes().is_some() {
            return;
        }
        while let Some(partition) = self.next_unseen() {
            match self.read_index(partition).await {
                Ok(Some(_)) => self.known().note_seen([partition]),
                // A store that cannot be read is told of by the next refresh.
                Ok(None) | Err(_) => return,
            }
        }
    }

    fn next_unseen(&self) -> Option<PartitionId> {
        self.known().next_unseen()
    }

    fn known(&self) -> MutexGuard<'_, KnownPartitions> {
        self.partitions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lists the batch versions of all views and loads the newest, beside the refreshes of the realtime part.
    pub(crate) async fn refresh_versions(&self) {
        for reader in self.live_views() {
            reader.versions.check(self.settings(), self.stores.now()).await;
            if let Err(error) = reader.versions.load_newest(self.settings()).await {
                warn!(view = %reader.view.name, error = error.reason(), "batch version cannot be loaded");
            }
        }
        let state = self.state();
        for reader in self.live_views() {
            // While a former definition answers, it is what the view reaches.
            let name = &reader.view.name;
            let has_former = || self.live_views().iter().any(|other| other.is_former && other.view.name == *name);
            if let Some(ServedView::Served(served)) = state.views.get(&reader.view.hash)
                && (reader.is_former || !has_former())
            {
                metrics::reached(&self.stores.source.name, name, served.offsets(), as_of(&served.partitions));
            }
        }
    }

    /// Reads the stores and swaps in a new state. One at a time: whoever waited for a refresh that began after the call
    /// takes its outcome.
    pub(crate) async fn refresh(&self, check: Check) {
        let began_after = self.state().generation + 2;
        let mut held = self.work.lock().await;
        let is_over = self.is_over.load(Ordering::Acquire);
        if is_over || self.state().generation >= began_after || self.held_still.is_held(self.now()) {
            return;
        }
        let mut state = self.read_stores(&mut held, check, false).await;
        if state.is_none() {
            state = self.read_stores(&mut held, check, true).await;
        }
        if let Some(state) = state {
            let generation = state.generation;
            self.note_built(&state.views);
            if self.replace_state(state) {
                self.changed.send_replace(generation);
            }
        }
    }

    /// Whether it was replaced: another reader may have taken over meanwhile.
    fn replace_state(&self, next: SourceState) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let is_over = self.is_over.load(Ordering::Acquire);
        if !is_over {
            *state = Arc::new(next);
        }
        !is_over
    }

    /// Keeps what it has read for a moment, where it did not do so a moment ago.
    pub(crate) fn hold_still(&self) {
        self.held_still.begin(self.now());
    }

    /// One reading. `None`: this is not the last try, and a view does not tile, or has a version that was published
    /// after the indexes were read, so that its head would be another than that of its neighbours.
    async fn read_stores(
        &self,
        held: &mut BTreeMap<DefinitionHash, Held>,
        check: Check,
        is_last: bool,
    ) -> Option<SourceState> {
        let previous = self.state();
        let Reading { indexes, named, problem } = self.read_indexes(&previous).await;
        let changes = self.changes();
        let is_same = previous.is_repeatable && problem.is_none() && changes == previous.changes;
        if check == Check::IfNeeded && is_same && are_same(&indexes, &previous.indexes) {
            return Some(SourceState {
                generation: previous.generation + 1,
                indexes,
                named,
                problem,
                views: previous.views.clone(),
                is_repeatable: true,
                changes,
            });
        }
        let mut views = BTreeMap::new();
        let mut is_repeatable = problem.is_none();
        let live = self.live_views();
        held.retain(|view, _| live.iter().any(|reader| reader.view.hash == *view));
        for reader in live {
            let held = held.entry(reader.view.hash).or_default();
            let before = previous.views.get(&reader.view.hash);
            let mut attempt = Attempt { source: &self.stores, reader, indexes: &indexes, before, held };
            let state = match attempt.serve(check).await {
                Ok(served) if !is_last && served.is_beyond(&indexes) => return None,
                Ok(served) => ServedView::Served(Arc::new(served)),
                Err(_) if !is_last => return None,
                Err(unserved) => attempt.make_do(unserved).await,
            };
            is_repeatable &= matches!(&state, ServedView::Served(served) if served.stale.is_empty());
            note_change(&reader.view.name, before, &state);
            views.insert(reader.view.hash, state);
        }
        let generation = previous.generation + 1;
        Some(SourceState { generation, indexes, named, problem, views, is_repeatable, changes: self.changes() })
    }

    fn changes(&self) -> u64 {
        self.views.iter().map(|reader| reader.versions.changes()).sum()
    }

    /// The indexes of all partitions; where one cannot be read, the last one read.
    async fn read_indexes(&self, previous: &SourceState) -> Reading {
        let (mut named, wanted) = self.partitions();
        let reads = wanted.into_iter().map(|partition| async move { (partition, self.read_index(partition).await) });
        let mut problem = None;
        let mut indexes = Indexes::new();
        for (partition, read) in join_all(reads).await {
            let last = || previous.indexes.get(&partition).cloned().flatten();
            let index = read.map(|index| index.map(|index| share(index, last()))).unwrap_or_else(|reason| {
                problem = Some(format!("realtime store, partition {partition}: {reason}"));
                last()
            });
            indexes.insert(partition, index);
        }
        if let (Some(reason), None) = (&problem, &previous.problem) {
            warn!(source = %self.stores.source.name, reason, "realtime store cannot be read; answers go on with what was read");
        }
        let seen = indexes.iter().filter(|(_, index)| index.is_some()).map(|(partition, _)| *partition);
        let seen: BTreeSet<PartitionId> = seen.collect();
        self.known().note_seen(seen.iter().copied());
        named.extend(seen);
        indexes.retain(|partition, _| named.contains(partition));
        Reading { indexes, named, problem }
    }

    /// The index of one partition, or why it cannot be read.
    pub(crate) async fn read_index(&self, partition: PartitionId) -> Result<Option<Index>, String> {
        let limit = self.settings().store_timeout;
        let key = self.stores.key(partition);
        match within(limit, self.stores.store.read_index(&key)).await {
            Some(read) => read.map_err(|error| error.to_string()),
            None => Err(format!("no answer within {}", format_span(limit))),
        }
    }

    /// The partitions that an answer speaks of, and those whose index is to be read.
    fn partitions(&self) -> (BTreeSet<PartitionId>, BTreeSet<PartitionId>) {
        let mut known = self.known();
        for reader in &self.views {
            known.note_seen(reader.versions.known().iter().flat_map(|version| version.facts.cut.0.keys().copied()));
        }
        (known.named(), known.wanted())
    }
}

/// What one look at the indexes of a source found.
struct Reading {
    indexes: Indexes,
    /// The partitions that an answer speaks of.
    named: BTreeSet<PartitionId>,
    /// Why an index could not be read.
    problem: Option<String>,
}

/// Reuses the last index where it is still the same one.
fn share(index: Index, last: Option<Arc<Index>>) -> Arc<Index> {
    last.filter(|last| last.stamp == index.stamp).unwrap_or_else(|| Arc::new(index))
}

fn are_same(left: &Indexes, right: &Indexes) -> bool {
    let stamps = |indexes: &Indexes| -> Vec<_> {
        indexes.iter().map(|(partition, index)| (*partition, index.as_ref().map(|index| index.stamp))).collect()
    };
    stamps(left) == stamps(right)
}
