//! The gateway as Rust calls it: what it is made of, what it tells of itself; HTTP is a thin layer above.
//!
//! Guarantee: whoever asks is answered as if what its principal does not see were not there. Correct with or without
//! the refresh loops. With them a query reads memory; without them it reads the stores first, indexes before versions.
//! Not here: queries (`queries.rs`).

mod former;
mod successor;
mod troubles;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use edge::Principal;
use futures::future::join_all;
use positions::{Clock, DefinitionHash, SourceName, ViewName};
use serving_layer::registry::FormerView;
use serving_layer::{Lake, RealtimeStore};
use tokio::sync::{Semaphore, SemaphorePermit};
use views::{Pipeline, ViewDefinition};

use crate::access::{RowFilters, sees};
use crate::attempt::ViewReader;
use crate::engines::Engines;
use crate::envelope::{Envelope, Freshness};
use crate::exactness::told::{ExactnessReports, reports};
use crate::exactness_table::ExactnessReading;
use crate::json::instant;
use crate::metrics;
use crate::places::Places;
use crate::refresh::SourceReader;
use crate::rejected_table::Reading;
use crate::rows::Layer;
use crate::runs_reading::RunsReading;
use crate::served::{Served, ServedView, SourceState};
use crate::sql::SqlEngine;
use crate::status::{Status, SystemFacts, ViewStatus, memory_of, source_status};
use crate::stores::Check;
use crate::{GatewayError, GatewaySettings, RejectedReader, RunsReader, StatusSource, ViewDetails, told};

/// What the gateway works with.
#[derive(Clone)]
pub struct GatewayComponents {
    /// The definitions.
    pub pipeline: Arc<Pipeline>,
    /// Where the batch views are.
    pub lake: Lake,
    /// Where the realtime views are.
    pub store: Arc<dyn RealtimeStore>,
    /// What the gateway cannot know.
    pub status: Arc<dyn StatusSource>,
    /// Who reads rejected records, which the gateway never does; SQL refuses to ask for them where there is nobody.
    pub rejected: Option<Arc<dyn RejectedReader>>,
    /// Who reads runs, likewise.
    pub runs: Option<Arc<dyn RunsReader>>,
    /// Tells the age of answers; decides nothing else.
    pub clock: Arc<dyn Clock>,
}

/// What reads each source above its batch views, and each generation of one.
pub(crate) type Readers = BTreeMap<(SourceName, Option<DefinitionHash>), Arc<SourceReader>>;

/// Answers queries over the views of one pipeline.
pub struct Gateway {
    components: GatewayComponents,
    settings: GatewaySettings,
    sources: Readers,
    sql: Engines,
    // Over the present definitions, where former ones answer: made by the first query that only they may understand.
    present_sql: OnceLock<Engines>,
    /// The views that are answered by a former definition.
    former: Vec<FormerView>,
    // Set once, by whoever lets another gateway take the place of this one; read by requests that failed here.
    later: OnceLock<Arc<Gateway>>,
    // How many refresh loops run; queries read the stores themselves while there is none. Shared with the gateways that
    // the same loops refresh.
    refreshing: Arc<AtomicUsize>,
    // Two limits, so that requests that only wait for a position token never stand in the way of those that compute.
    // A successor shares both.
    permits: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    // SQL has places of its own, with a line in front; a successor shares them, too.
    sql_places: Places,
}

/// Says that a refresh loop runs, for as long as it is held.
pub(crate) struct Refreshing<'a>(&'a Gateway);

impl Drop for Refreshing<'_> {
    fn drop(&mut self) {
        self.0.stop_refreshing();
    }
}

impl Gateway {
    /// Puts the gateway together. Does no IO.
    ///
    /// # Errors
    /// Only for a defect: two views of one name, or a query engine that refuses its settings.
    pub fn new(components: GatewayComponents, settings: GatewaySettings) -> Result<Arc<Self>, GatewayError> {
        Self::with_former(components, settings, Vec::new())
    }

    /// A gateway that answers some views by their former definition, until [`Self::without_former`].
    ///
    /// # Errors
    /// As in [`Self::new`].
    pub fn with_former(
        components: GatewayComponents,
        settings: GatewaySettings,
        former: Vec<FormerView>,
    ) -> Result<Arc<Self>, GatewayError> {
        let permits = Arc::new(Semaphore::new(settings.max_queries));
        let waiting = Arc::new(Semaphore::new(settings.max_waiting));
        let places = Places::new(&settings);
        Self::build((components, former), settings, &BTreeMap::new(), (permits, waiting, places))
    }

    /// What exists to a principal.
    pub async fn views(&self, principal: &Principal) -> Vec<ViewDetails> {
        let mut details = Vec::new();
        for view in &self.components.pipeline.views {
            details.extend(self.view(principal, view.name.as_str()).await.ok());
        }
        details
    }

    /// One view.
    ///
    /// # Errors
    /// [`GatewayError::Unknown`], naming what exists to the principal.
    pub async fn view(&self, principal: &Principal, name: &str) -> Result<ViewDetails, GatewayError> {
        let (source, reader) = self.find(principal, name)?;
        let view = &reader.view;
        let state = self.fresh_state(source).await;
        let details = ViewDetails::new(view, &reader.versions.known(), self.view_status(source, reader, &state));
        Ok(told::details(principal, details))
    }

    /// How the publications of a view compared with what they replaced, as far as reports are kept, newest first. Reads
    /// the object store.
    ///
    /// # Errors
    /// As in [`Self::view`]; [`GatewayError::Serving`]: the object store failed.
    pub async fn exactness(&self, principal: &Principal, name: &str) -> Result<ExactnessReports, GatewayError> {
        let (_, reader) = self.find(principal, name)?;
        let rows = reader.exactness.read().await.map_err(|error| told::error(principal, error.into()))?;
        let (view, definition) = (reader.view.name.to_string(), reader.view.hash.to_string());
        let reports = ExactnessReports { view, definition, withheld: None, reports: reports(&rows) };
        Ok(told::exactness(principal, reports))
    }

    /// How far every part of the system is that a principal may know of.
    pub async fn status(&self, principal: &Principal) -> Status {
        let facts = self.facts().await;
        let mut sources = Vec::new();
        let mut by_view = BTreeMap::new();
        for source in &self.components.pipeline.sources {
            let known = facts.partitions.get(&source.name).cloned().unwrap_or_default();
            let unseen = facts.unseen.get(&source.name).cloned().unwrap_or_default();
            let mut states = Vec::new();
            for reader in self.readers_of(&source.name) {
                let state = self.fresh_state(reader).await;
                let is_shown = |view: &&ViewReader| self.answers_from(view) && sees(principal, &view.view);
                for view in reader.views().iter().filter(is_shown) {
                    by_view.insert(view.view.name.clone(), self.view_status(reader, view, &state));
                }
                states.push(state);
            }
            sources.push(source_status(source, &states, &known, unseen));
        }
        let views = self.components.pipeline.views.iter().filter_map(|view| by_view.remove(&view.name)).collect();
        let at = instant(self.components.clock.now());
        told::status(principal, Status { at, sources, views, problems: facts.troubles, system: facts.others })
    }

    /// The present definitions that answer, or would answer, completely as of the last refresh, and no less far than a
    /// former one: batch version and runs tile in every partition.
    /// Reads memory where the refresh loops run.
    pub async fn complete_views(&self) -> BTreeMap<ViewName, DefinitionHash> {
        let mut complete = BTreeMap::new();
        for source in self.sources.values() {
            let state = self.fresh_state(source).await;
            let is_complete = |reader: &&ViewReader| match state.views.get(&reader.view.hash) {
                Some(ServedView::Served(served)) if !reader.is_former => {
                    served.is_complete() && !self.is_behind_former(&reader.view, served, &state)
                }
                _ => false,
            };
            let views = source.views().iter().filter(is_complete);
            complete.extend(views.map(|reader| (reader.view.name.clone(), reader.view.hash)));
        }
        complete
    }

    /// The settings.
    pub fn settings(&self) -> &GatewaySettings {
        &self.settings
    }

    /// The SQL part, over what a principal sees.
    pub(crate) fn sql_engine(&self, principal: &Principal) -> Result<Arc<SqlEngine>, GatewayError> {
        self.sql.of(principal)
    }

    /// The places of SQL queries.
    pub(crate) fn sql_places(&self) -> &Places {
        &self.sql_places
    }

    /// The rejected records that a query may read: none without the details that are for operators.
    pub(crate) fn rejected(&self, principal: &Principal, is_operator: bool) -> Arc<Reading> {
        if !principal.may_operate() {
            return Reading::new(None, Vec::new(), false);
        }
        let GatewayComponents { pipeline, rejected, .. } = &self.components;
        Reading::new(rejected.clone(), pipeline.sources.clone(), is_operator)
    }

    /// The runs that a query may read: none without the details that are for operators.
    pub(crate) fn runs(&self, is_operator: bool) -> Arc<RunsReading> {
        RunsReading::new(self.components.runs.clone(), is_operator)
    }

    /// The reports of exactness that a query may read: none without the details that are for operators.
    pub(crate) fn reports(&self, is_operator: bool) -> Arc<ExactnessReading> {
        ExactnessReading::new(self.sources(), is_operator)
    }

    /// All readers.
    pub(crate) fn sources(&self) -> Vec<Arc<SourceReader>> {
        self.sources.values().cloned().collect()
    }

    /// Queries read memory from now on, until the guard is dropped.
    pub(crate) fn start_refreshing(&self) -> Refreshing<'_> {
        self.refreshing.fetch_add(1, Ordering::AcqRel);
        Refreshing(self)
    }

    pub(crate) fn stop_refreshing(&self) {
        let _ = self.refreshing.fetch_update(Ordering::AcqRel, Ordering::Acquire, |loops| loops.checked_sub(1));
    }

    /// Learns which partitions exist from what the binary knows, or else from the indexes that there are.
    pub(crate) async fn refresh_partitions(&self) {
        self.facts().await;
        join_all(self.sources.values().map(|reader| reader.look_for_partitions())).await;
    }

    /// Finds a view that exists to a principal, as it is answered, and its source.
    pub(crate) fn find(
        &self,
        principal: &Principal,
        name: &str,
    ) -> Result<(&Arc<SourceReader>, &ViewReader), GatewayError> {
        self.seen(principal, name).ok_or_else(|| self.unknown(principal, name))
    }

    /// The rows of a view that a principal sees.
    pub(crate) fn row_filters(&self, principal: &Principal, view: &ViewDefinition) -> Result<RowFilters, GatewayError> {
        RowFilters::of(principal, view).ok_or_else(|| self.unknown(principal, view.name.as_str()))
    }

    /// Why SQL finds no view of this name: there is none, or it is the name of a source, as operators are told.
    pub(crate) fn no_view(&self, principal: &Principal, name: &str) -> GatewayError {
        let is_meant = |source: &&Arc<SourceReader>| principal.may_operate() && source.source().name.as_str() == name;
        if !self.sources.values().any(|reader| is_meant(&reader)) {
            return self.unknown(principal, name);
        }
        let is_shown = |reader: &&ViewReader| self.answers_from(reader) && sees(principal, &reader.view);
        let views = self.sources.values().filter(is_meant).flat_map(|source| source.views().iter().filter(is_shown));
        let views = views.map(|reader| reader.view.name.to_string()).collect();
        GatewayError::NotAView { name: name.to_owned(), views, known: self.view_names(principal) }
    }

    /// The names of all views that a principal sees.
    fn view_names(&self, principal: &Principal) -> Vec<String> {
        let names = self.components.pipeline.views.iter().map(|view| view.name.as_str());
        names.filter(|name| self.seen(principal, name).is_some()).map(str::to_owned).collect()
    }

    fn seen(&self, principal: &Principal, name: &str) -> Option<(&Arc<SourceReader>, &ViewReader)> {
        let answering = self.answering_hash(name)?;
        self.sources.values().find_map(|source| {
            let mut readers = source.views().iter();
            let is_meant = |reader: &&ViewReader| reader.view.hash == answering && sees(principal, &reader.view);
            Some((source, readers.find(is_meant)?))
        })
    }

    fn unknown(&self, principal: &Principal, name: &str) -> GatewayError {
        GatewayError::Unknown { what: "view", name: name.to_owned(), known: self.view_names(principal) }
    }

    /// A place among the queries that run at one time. Taken after waiting for a token, never before.
    pub(crate) fn admit(&self) -> Result<SemaphorePermit<'_>, GatewayError> {
        let limit = self.settings.max_queries;
        let (what, setting) = ("queries are running", "gateway.max_queries");
        self.permits.try_acquire().map_err(|_| GatewayError::Overloaded { what, limit, setting })
    }

    /// A place among the requests that wait for a position token.
    pub(crate) fn admit_waiting(&self) -> Result<SemaphorePermit<'_>, GatewayError> {
        let limit = self.settings.max_waiting;
        let (what, setting) = ("requests are waiting for a position token", "gateway.max_waiting");
        self.waiting.try_acquire().map_err(|_| GatewayError::Overloaded { what, limit, setting })
    }

    /// The envelope of an answer made now, as a principal is told.
    pub(crate) fn envelope(
        &self,
        principal: &Principal,
        view: &ViewDefinition,
        served: &Served,
        layer: Layer,
        state: &SourceState,
    ) -> Envelope {
        let envelope = self.note_former(self.own_envelope(view, served, layer, state));
        if envelope.stale {
            metrics::stale_answer(&view.name);
        }
        told::envelope(principal, envelope)
    }

    /// Whether a refresh loop keeps the states in memory up to date.
    pub(crate) fn is_refreshing(&self) -> bool {
        self.refreshing.load(Ordering::Acquire) > 0
    }

    /// The states of a source: those of the last refresh where the loops run, else read now.
    pub(crate) async fn fresh_state(&self, source: &SourceReader) -> Arc<SourceState> {
        if !self.is_refreshing() {
            source.refresh(Check::Always).await;
        } else if source.state().generation == 0 {
            source.refresh(Check::IfNeeded).await;
        }
        source.state()
    }

    /// What reads a source, each part of it.
    fn readers_of(&self, source: &SourceName) -> Vec<&Arc<SourceReader>> {
        let of_source = self.sources.iter().filter(|((name, _), _)| name == source);
        of_source.map(|(_, reader)| reader).collect()
    }

    async fn facts(&self) -> SystemFacts {
        let facts = self.components.status.facts().await;
        for (source, partitions) in &facts.partitions {
            for reader in self.readers_of(source) {
                reader.note_standstill(facts.standstills.get(source).cloned());
                // Ends come from the log, which lists all partitions; without one the status may know of some.
                let is_all = partitions.values().any(|facts| facts.produced.is_some());
                reader.note_partitions(partitions.keys().copied().collect(), is_all);
            }
        }
        facts
    }

    /// The envelope of an answer by the definition itself, whichever that is.
    fn own_envelope(&self, view: &ViewDefinition, served: &Served, layer: Layer, state: &SourceState) -> Envelope {
        let freshness = Freshness { now: self.components.clock.now(), stale_after: self.settings.stale_after };
        let reader = self.sources.get(&(view.source.name.clone(), view.generation()));
        let standstill = reader.and_then(|reader| reader.standstill());
        let problem = state.problem.clone().or_else(|| standstill.map(|standstill| standstill.in_words()));
        Envelope::new(view, served, layer, problem.as_deref(), freshness)
    }

    fn view_status(&self, source: &SourceReader, reader: &ViewReader, state: &SourceState) -> ViewStatus {
        let view = &reader.view;
        let (word, reason, envelope) = match source.served(state, view) {
            Ok(served) => {
                let envelope = self.own_envelope(view, &served, Layer::Merged, state);
                ("served", None, Some(self.note_former(envelope)))
            }
            Err(GatewayError::Building { reason, .. }) => ("being built", Some(reason), None),
            Err(GatewayError::Unavailable { reason, .. } | GatewayError::Stopped { reason, .. }) => {
                ("unavailable", Some(reason), None)
            }
            Err(error) => ("unavailable", Some(error.to_string()), None),
        };
        let memory_bytes = memory_of(source, &view.name, state);
        let (view, problem) = (view.name.to_string(), reader.versions.problem());
        let exactness = reader.exactness.last().as_deref().cloned();
        ViewStatus { view, state: word, reason, envelope, problem, exactness, memory_bytes }
    }
}
