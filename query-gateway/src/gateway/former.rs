//! Views that are answered by their former definition while the present one is being built; and the gateway that takes
//! the place of this one when it is complete.
//!
//! Guarantee: each query sees one definition of a view. A gateway never changes its mind: another one over the same
//! readers does, and never goes back.
//! Not here: who decides (`twofold/src/definitions/run.rs`), what runs hold (`speed-layer/src/config.rs`).
//! Why so: both definitions are read beside each other, so the present one answers at once when its turn comes, and the
//! refresh loops go on for both gateways.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use edge::Principal;
use positions::{DefinitionHash, ViewName};
use serving_layer::registry::FormerView;
use views::{Pipeline, PlannedView, ViewDefinition};

use super::Gateway;
use crate::GatewayError;
use crate::access::sees;
use crate::attempt::ViewReader;
use crate::engines::Engines;
use crate::envelope::{Envelope, FormerNote};
use crate::pin::PartitionPin;
use crate::served::{Served, ServedView, SourceState, is_ahead, is_ahead_in_log, of_log};
use crate::sql::SqlEngine;

impl Gateway {
    /// The same gateway once these views answer by their present definitions. Requests that wait at this one go over to
    /// it; the readers and their refresh loops are shared. Does no IO.
    ///
    /// # Errors
    /// As in [`Gateway::new`].
    pub fn without_former(&self, over: &BTreeSet<ViewName>) -> Result<Arc<Self>, GatewayError> {
        let former = self.former.iter().filter(|former| !over.contains(&former.view.name));
        let former: Vec<FormerView> = former.cloned().collect();
        let sql = Engines::new(answering(&self.components.pipeline, &former), &self.settings)?;
        Ok(Arc::new(Self {
            components: self.components.clone(),
            settings: self.settings.clone(),
            sources: self.sources.clone(),
            sql,
            present_sql: OnceLock::new(),
            former,
            later: OnceLock::new(),
            refreshing: self.refreshing.clone(),
            permits: self.permits.clone(),
            waiting: self.waiting.clone(),
            sql_places: self.sql_places.clone(),
        }))
    }

    /// Tells what waits here of the gateway that took the place of this one, and stops reading what only this one
    /// answers by.
    pub fn give_way(&self, later: &Arc<Self>) {
        // Nobody else sets it; if it were so, the first one stays.
        let _ = self.later.set(Arc::clone(later));
        let kept: Vec<DefinitionHash> = later.former.iter().map(|former| former.view.hash).collect();
        let over = self.former.iter().map(|former| former.view.hash).filter(|former| !kept.contains(former));
        let over: Vec<DefinitionHash> = over.collect();
        self.sources.values().for_each(|source| source.retire(&over));
    }

    /// The former definitions that it answers by.
    pub fn former(&self) -> &[FormerView] {
        &self.former
    }

    /// The gateway that took the place of this one.
    pub(crate) fn later(&self) -> Option<&Arc<Self>> {
        self.later.get()
    }

    /// The former definition that a view is answered by, if it is.
    pub(crate) fn former_of(&self, view: &str) -> Option<&FormerView> {
        self.former.iter().find(|former| former.view.name.as_str() == view)
    }

    /// The definition that a view is answered by.
    pub(super) fn answering_hash(&self, view: &str) -> Option<DefinitionHash> {
        let former = self.former_of(view).map(|former| former.view.hash);
        former.or_else(|| self.components.pipeline.view(view).map(|view| view.hash))
    }

    /// Whether the answers of its view come from this reader.
    pub(super) fn answers_from(&self, reader: &ViewReader) -> bool {
        self.answering_hash(reader.view.name.as_str()) == Some(reader.view.hash)
    }

    /// Whether going over to a present definition would take the head of its view back. Where the two are read apart,
    /// the former one waits for the present one at its head.
    pub(super) fn is_behind_former(&self, view: &ViewDefinition, present: &Served, state: &SourceState) -> bool {
        let Some(former) = self.former_of(view.name.as_str()) else { return false };
        if former.view.generation() == view.generation() {
            let served = state.views.get(&former.view.hash);
            return matches!(served, Some(ServedView::Served(served)) if is_ahead(served, &present.partitions));
        }
        let reader = self.sources.get(&(former.view.source.name.clone(), former.view.generation()));
        let Some(reader) = reader else { return false };
        let is_behind = match reader.state().views.get(&former.view.hash) {
            Some(ServedView::Served(served)) => is_ahead_in_log(served, &present.partitions),
            _ => false,
        };
        if is_behind {
            reader.hold_still();
        }
        is_behind
    }

    /// What a request that cannot be answered means, where the definition that is being built could answer it.
    pub(crate) fn instead_of_building(
        &self,
        principal: &Principal,
        error: GatewayError,
        view: &str,
        is_right: impl FnOnce(&PlannedView) -> bool,
    ) -> GatewayError {
        let Some(former) = self.former_of(view) else { return error };
        let present = self.components.pipeline.view(view).filter(|present| sees(principal, present));
        if present.is_some_and(is_right) { self.building(former, &error) } else { error }
    }

    /// An engine over the present definitions that a principal sees, to tell whether a query waits for one of them.
    /// Made at the first call.
    pub(crate) fn present_engine(&self, principal: &Principal) -> Result<Arc<SqlEngine>, GatewayError> {
        if let Some(engines) = self.present_sql.get() {
            return engines.of(principal);
        }
        let engines = Engines::new(Pipeline::clone(&self.components.pipeline), &self.settings)?;
        self.present_sql.get_or_init(|| engines).of(principal)
    }

    /// The error of a request that only the definition that is being built can answer.
    pub(crate) fn building(&self, former: &FormerView, error: &GatewayError) -> GatewayError {
        let progress = self.progress(former);
        let set = former.set.0;
        let reason = format!(
            "{progress}; until then it is answered by its former definition (set {set}), which cannot say this: {error}"
        );
        GatewayError::Building { view: former.view.name.to_string(), reason, lasts: Duration::ZERO }
    }

    /// Says in an envelope that a former definition gave the answer, if it did.
    pub(super) fn note_former(&self, mut envelope: Envelope) -> Envelope {
        let Some(former) = self.former_of(&envelope.view) else { return envelope };
        let progress = self.progress(former);
        let set = former.set.0;
        let reason = format!("answered by its former definition (set {set}) while the present one is being built");
        envelope.stale = true;
        envelope.stale_reasons.insert(0, format!("{reason}: {progress}"));
        let building = former.building.to_string();
        envelope.former = Some(FormerNote { set, building, progress });
        envelope
    }

    /// How far the definition is that is being built in the place of a former one.
    fn progress(&self, former: &FormerView) -> String {
        let mut states = self.sources.values().map(|source| source.state());
        let found = states.find_map(|state| state.views.get(&former.building).cloned());
        match found {
            Some(ServedView::Served(served)) => {
                let is_whole = |pin: &PartitionPin| pin.gap.is_none() && pin.as_of.is_some();
                let (all, whole) = of_log(&served.partitions)
                    .fold((0, 0), |(all, whole), (_, pin)| (all + 1, whole + usize::from(is_whole(pin))));
                let percent = (whole * 100).checked_div(all).unwrap_or(0);
                format!("{percent} % of its partitions are complete")
            }
            Some(ServedView::Building(reason) | ServedView::Unavailable(reason)) => format!("0 %, {reason}"),
            None => "it has not been read yet".to_owned(),
        }
    }
}

/// The pipeline as its views are answered: with the former definitions in the place of the present ones.
pub(super) fn answering(pipeline: &Pipeline, former: &[FormerView]) -> Pipeline {
    let mut answering = pipeline.clone();
    for view in &mut answering.views {
        if let Some(former) = former.iter().find(|former| former.view.name == view.name) {
            *view = former.view.clone();
        }
    }
    answering
}
