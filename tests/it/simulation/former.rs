//! Former definitions in a world that goes over to others: both layers keep them, and gateways answer by them. These
//! gateways never go over, so what they say is held against the former fold to the end.

use std::sync::Arc;

use batch_layer::FormerDefinitions;
use positions::{DefinitionNumber, SourceName};
use serving_layer::registry::FormerView;
use serving_layer::{BatchViewStore, Lake};
use speed_layer::{Keeping, SpeedView};
use views::PlannedView;

use super::readers::Reader;
use super::traffic::VIEWS;
use super::world::World;

/// The former definitions, for ever.
struct Kept(Vec<PlannedView>);

impl FormerDefinitions for Kept {
    fn views_of(&self, _source: &SourceName) -> Vec<PlannedView> {
        self.0.clone()
    }
}

impl World {
    /// What a speed worker keeps. The second pipeline reads its source otherwise than the first.
    pub fn speed_views(&self, generation: usize, lake: &Lake) -> Vec<SpeedView> {
        let keep = |view: &PlannedView, keeping| SpeedView {
            definition: view.clone(),
            published: BatchViewStore::new(lake, view.clone()),
            keeping,
        };
        let present = self.pipelines[generation].views.iter().map(|view| keep(view, Keeping::Present));
        let former = self.former_views(generation).iter().map(|view| keep(view, Keeping::Standing));
        present.chain(former).collect()
    }

    /// What a batch scheduler computes beside its own views.
    pub fn former(&self, generation: usize) -> Arc<dyn FormerDefinitions> {
        Arc::new(Kept(self.former_views(generation).to_vec()))
    }

    /// Readers of gateways that answer by the former definitions, if the world keeps them.
    pub fn former_readers(&self, generation: usize) -> Vec<Reader> {
        let mut readers = Vec::new();
        for refreshes in [true, false] {
            let former = self.former_views(generation).iter().map(|view| self.former_view(view));
            let former: Vec<FormerView> = former.collect();
            if former.is_empty() {
                return readers;
            }
            let gateway = self.gateway(generation, refreshes, former);
            let name = format!("gateway {generation} by former definitions, refreshing {refreshes}");
            readers.extend(VIEWS[0].map(|view| Reader::new(name.clone(), gateway.clone(), view, false)));
        }
        readers
    }

    fn former_views(&self, generation: usize) -> &[PlannedView] {
        if self.plan.keeps_former && generation > 0 { &self.pipelines[0].views } else { &[] }
    }

    fn former_view(&self, view: &PlannedView) -> FormerView {
        let building = self.pipelines[1].view(view.name.as_str()).unwrap().hash;
        FormerView { view: view.clone(), set: DefinitionNumber(1), building }
    }
}
