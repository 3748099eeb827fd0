//! What keeps each role of this process from its work, for `/readyz`.
//!
//! Guarantee: asks no broker; what is known of the log is about a second old. One source or view that cannot go on
//! keeps no role from its work, unless there is no other.
//! Not here: how a process is judged by it (`crate::readiness`).

use batch_layer::archive::ArchiveState;
use positions::SourceName;

use super::FactSuppliers;
use crate::health::{TOPIC, describe_stages};
use crate::readiness::Hindrances;
use crate::role::Role;
use crate::stage::Stage;

impl FactSuppliers {
    /// What keeps each role of this process from its work.
    pub async fn hindrances(&self) -> Hindrances {
        let mut found = Hindrances::new();
        // Whatever such a process does is of no use to anybody who asks for the present definitions.
        let superseded = self.definitions.current().superseded();
        for role in self.roles.iter() {
            let of_role = match role {
                Role::Collector => self.of_log_or_all(|source| self.stop_in(source, &[TOPIC, Stage::Archive.name()])),
                Role::Archive => self.of_log_or_all(|source| self.archive_hindrance(source)),
                Role::Speed => self.of_log_or_all(|source| self.speed_hindrance(source)),
                Role::Batch => self.batch_hindrances(),
                // Tasks wait for each other, and for the store, by themselves.
                Role::Worker => Vec::new(),
                Role::Gateway => self.gateway_hindrances().await,
            };
            found.insert(role, superseded.iter().cloned().chain(of_role).collect());
        }
        found
    }

    /// The log that does not answer, or what keeps every source from going on, where there are any.
    fn of_log_or_all(&self, of_source: impl Fn(&SourceName) -> Option<String>) -> Vec<String> {
        if let Some(problem) = self.health.log_problem() {
            return vec![format!("the event log does not answer: {problem}")];
        }
        let pipeline = self.definitions.current().pipeline;
        let told = |source: &SourceName| Some(format!("source {source}: {}", of_source(source)?));
        let all: Option<Vec<String>> = pipeline.sources.iter().map(|source| told(&source.name)).collect();
        all.unwrap_or_default()
    }

    /// Why a source stopped, if it did in one of these stages.
    fn stop_in(&self, source: &SourceName, stages: &[&str]) -> Option<String> {
        let mut stops = self.health.stops().remove(source)?;
        stops.retain(|stage, _| stages.contains(&stage.as_str()));
        (!stops.is_empty()).then(|| describe_stages(&stops))
    }

    fn archive_hindrance(&self, source: &SourceName) -> Option<String> {
        let stop = self.stop_in(source, &[TOPIC, Stage::Archive.name()]);
        stop.or_else(|| match self.progress.archives().remove(source)?.state {
            ArchiveState::Retrying { error } => Some(error),
            _ => None,
        })
    }

    fn speed_hindrance(&self, source: &SourceName) -> Option<String> {
        let stop = self.stop_in(source, &[TOPIC, Stage::Speed.name()]);
        stop.or_else(|| Some(self.health.refused_writes().remove(source)?.reason))
    }

    /// Why no view can be computed, where all of them failed the last time.
    fn batch_hindrances(&self) -> Vec<String> {
        let errors = self.failing_views();
        let pipeline = self.definitions.current().pipeline;
        let views = pipeline.views.iter().filter(|view| view.source.is_recomputed());
        let all: Option<Vec<String>> =
            views.map(|view| Some(format!("view {}: {}", view.name, errors.get(&view.name)?))).collect();
        all.unwrap_or_default()
    }

    async fn gateway_hindrances(&self) -> Vec<String> {
        match self.current_gateway() {
            Some(gateway) => gateway.hindrances().await,
            None => Vec::new(),
        }
    }
}
