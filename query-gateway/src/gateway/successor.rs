//! Gateways from definitions: the first one, and one that takes its place when the definitions change.
//!
//! Why so: a gateway never changes its definitions, so no query sees two sets of them; what it has read of sources that
//! did not change goes over to its successor, so those are answered without a pause.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use positions::SourceName;
use serving_layer::registry::FormerView;
use serving_layer::{BatchViewStore, Lake};
use tokio::sync::Semaphore;
use views::{Pipeline, PlannedView};

use super::former::answering;
use super::{Gateway, GatewayComponents};
use crate::attempt::ViewReader;
use crate::engines::Engines;
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

    pub(super) fn build(
        (components, former): (GatewayComponents, Vec<FormerView>),
        settings: GatewaySettings,
        known: &BTreeMap<SourceName, Arc<SourceReader>>,
        (permits, waiting, sql_places): (Arc<Semaphore>, Arc<Semaphore>, Places),
    ) -> Result<Arc<Self>, GatewayError> {
        let sql = Engines::new(answering(&components.pipeline, &former), &settings)?;
        let sources = components.pipeline.sources.iter().map(|source| {
            let present = components.pipeline.views.iter().map(|view| (view, false));
            let views = present.chain(former.iter().map(|former| (&former.view, true)));
            let views: Vec<_> = views.filter(|(view, _)| view.source.name == source.name).collect();
            let reader = known.get(&source.name).filter(|reader| reader.reads(source, &views)).cloned();
            let reader = reader.unwrap_or_else(|| {
                let views = views.into_iter().map(|view| view_reader(view, &components.lake)).collect();
                let seams = (components.store.clone(), components.clock.clone());
                Arc::new(SourceReader::new(source.clone(), seams, settings.clone(), views))
            });
            (source.name.clone(), reader)
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

fn view_reader((view, is_former): (&PlannedView, bool), lake: &Lake) -> ViewReader {
    let store = BatchViewStore::new(lake, view.clone());
    let versions = BatchVersions::new(view.clone(), store);
    ViewReader { view: view.clone(), versions, is_former }
}
