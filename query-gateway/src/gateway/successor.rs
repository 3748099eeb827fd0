//! Gateways from definitions: the first one, and one that takes its place when the definitions change.
//!
//! Why so: a gateway never changes its definitions, so no query sees two sets of them; what it has read of sources that
//! did not change goes over to its successor, so those are answered without a pause.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use positions::SourceName;
use serving_layer::{BatchViewStore, Lake};
use tokio::sync::Semaphore;
use views::{Pipeline, PlannedView};

use super::{Gateway, GatewayComponents};
use crate::attempt::ViewReader;
use crate::refresh::SourceReader;
use crate::sql::SqlEngine;
use crate::versions::BatchVersions;
use crate::{GatewayError, GatewaySettings};

impl Gateway {
    /// A gateway over other definitions, with the limits of this one. Sources that did not change, and what is in
    /// memory of them, are shared: both may answer and refresh side by side.
    ///
    /// # Errors
    /// As in [`Self::new`].
    pub fn successor(&self, pipeline: Arc<Pipeline>) -> Result<Arc<Self>, GatewayError> {
        let components = GatewayComponents { pipeline, ..self.components.clone() };
        Self::build(components, self.settings.clone(), &self.sources, (self.permits.clone(), self.waiting.clone()))
    }

    pub(super) fn build(
        components: GatewayComponents,
        settings: GatewaySettings,
        known: &BTreeMap<SourceName, Arc<SourceReader>>,
        (permits, waiting): (Arc<Semaphore>, Arc<Semaphore>),
    ) -> Result<Arc<Self>, GatewayError> {
        let sql = SqlEngine::new(&components.pipeline, &settings)?;
        let sources = components.pipeline.sources.iter().map(|source| {
            let views = components.pipeline.views.iter().filter(|view| view.source.name == source.name);
            let views: Vec<_> = views.collect();
            let reader = known.get(&source.name).filter(|reader| reader.reads(source, &views)).cloned();
            let reader = reader.unwrap_or_else(|| {
                let views = views.into_iter().map(|view| view_reader(view, &components.lake)).collect();
                let seams = (components.store.clone(), components.clock.clone());
                Arc::new(SourceReader::new(source.clone(), seams, settings.clone(), views))
            });
            (source.name.clone(), reader)
        });
        let sources = sources.collect();
        Ok(Arc::new(Self { components, settings, sources, sql, refreshing: AtomicUsize::new(0), permits, waiting }))
    }
}

fn view_reader(view: &PlannedView, lake: &Lake) -> ViewReader {
    let store = BatchViewStore::new(lake, view.clone());
    let versions = BatchVersions::new(view.clone(), store);
    ViewReader { view: view.clone(), versions }
}
