//! Gateways from definitions: the first one, and one that takes its place when the definitions change.
//!
//! Guarantee: what was answered by a definition that the successor answers by as well goes on from there: the head does
//! not go back, and while a store is away the last answer stays.
//! Why so: a gateway never changes its definitions, so no query sees two sets of them; what it has read of sources that
//! did not change goes over to its successor, so those are answered without a pause.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use positions::{DefinitionHash, SourceName};
use serving_layer::registry::FormerView;
use serving_layer::{BatchViewStore, Lake};
use tokio::sync::Semaphore;
use views::{Pipeline, PlannedView, SourceDefinition};

use super::former::answering;
use super::{Gateway, GatewayComponents, Readers};
use crate::attempt::ViewReader;
use crate::engines::Engines;
use crate::exactness::compared::Compared;
use crate::places::Places;
use crate::refresh::SourceReader;
use crate::versions::BatchVersions;
use crate::{GatewayError, GatewaySettings};

impl Gateway {
    /// A gateway over other definitions, with the limits of this one; `former` are those that some of its views are
    /// still answered by. Sources that did not change, and what is in memory of them, are shared: both may answer and
    /// refresh side by side.
    ///
    /// # Errors
    /// As in [`Self::new`].
    pub fn successor(&self, pipeline: Arc<Pipeline>, former: Vec<FormerView>) -> Result<Arc<Self>, GatewayError> {
        let components = GatewayComponents { pipeline, ..self.components.clone() };
        let limits = (self.permits.clone(), self.waiting.clone(), self.sql_places.clone());
        Self::build((components, former), self.settings.clone(), &self.sources, limits)
    }

    /// Takes over what the gateway before has shown since this one has read the stores, and ends the readers that the
    /// two do not share. To be called at the moment when this one takes its place: whoever is answered here was not
    /// answered further there.
    pub fn take_over_from(&self, before: &Self) {
        for (key, reader) in &self.sources {
            let of_before = before.sources.get(key).filter(|of_before| !Arc::ptr_eq(of_before, reader));
            of_before.into_iter().for_each(|of_before| reader.take_over_from(of_before));
        }
    }

    pub(super) fn build(
        (components, former): (GatewayComponents, Vec<FormerView>),
        settings: GatewaySettings,
        known: &Readers,
        (permits, waiting, sql_places): (Arc<Semaphore>, Arc<Semaphore>, Places),
    ) -> Result<Arc<Self>, GatewayError> {
        let sql = Engines::new(answering(&components.pipeline, &former), &settings)?;
        let sources = by_generation(&components.pipeline, &former).into_iter().map(|(key, (source, views))| {
            let before = known.get(&key);
            let reader = before.filter(|reader| reader.reads(source, &views)).cloned();
            let reader = reader.unwrap_or_else(|| {
                let views = views.into_iter().map(|view| view_reader(view, &components.lake)).collect();
                let seams = (components.store.clone(), components.clock.clone());
                let reader = SourceReader::new(source.clone(), seams, settings.clone(), (key.1, views));
                before.iter().for_each(|before| reader.go_on_from(before));
                Arc::new(reader)
            });
            (key, reader)
        });
        let sources = sources.collect();
        Ok(Arc::new(Self {
            components,
            settings,
            sources,
            sql,
            present_sql: OnceLock::new(),
            former,
            later: OnceLock::new(),
            refreshing: Arc::default(),
            permits,
            waiting,
            sql_places,
        }))
    }
}

/// What a reader reads: its source, and the views with whether each is a former definition.
type Read<'a> = (&'a Arc<SourceDefinition>, Vec<(&'a PlannedView, bool)>);

/// The views of each source by what their states lie in: above its batch views, or each in a generation of its own.
fn by_generation<'a>(
    pipeline: &'a Pipeline,
    former: &'a [FormerView],
) -> BTreeMap<(SourceName, Option<DefinitionHash>), Read<'a>> {
    let mut found = BTreeMap::new();
    for source in &pipeline.sources {
        // Also where no view is in it: its indexes tell how far the source was read.
        if source.is_recomputed() {
            found.insert((source.name.clone(), None), (source, Vec::new()));
        }
        let present = pipeline.views.iter().map(|view| (view, false));
        let views = present.chain(former.iter().map(|former| (&former.view, true)));
        for (view, is_former) in views.filter(|(view, _)| view.source.name == source.name) {
            let key = (source.name.clone(), view.generation());
            found.entry(key).or_insert_with(|| (source, Vec::new())).1.push((view, is_former));
        }
    }
    found
}

fn view_reader((view, is_former): (&PlannedView, bool), lake: &Lake) -> ViewReader {
    let store = BatchViewStore::new(lake, view.clone());
    let versions = BatchVersions::new(view.clone(), store);
    ViewReader { view: view.clone(), versions, is_former, exactness: Compared::new(lake, view) }
}
