//! What is wrong with views and their stores.
//!
//! Guarantee: asks a store only where no refresh loop runs, or has read it yet.
//! Not here: what else is wrong in the process, since when, and where all of it is shown (the binary).

use positions::ViewName;
use views::ViewDefinition;

use crate::exactness::told::ExactnessStatus;
use crate::refresh::SourceReader;
use crate::rows::Layer;
use crate::served::SourceState;
use crate::trouble::ASK_THE_ROLES;
use crate::{Gateway, GatewayError, Trouble, metrics};

impl Gateway {
    /// What keeps this gateway from its work: why no view can be answered, where none can; otherwise nothing. Answers
    /// from memory are answers, and a view that is being built is on its way.
    pub async fn hindrances(&self) -> Vec<String> {
        let mut found = Vec::new();
        for source in self.sources.values() {
            let state = self.fresh_state(source).await;
            for reader in source.views().iter().filter(|view| self.answers_from(view)) {
                match source.served(&state, &reader.view) {
                    Ok(_) | Err(GatewayError::Building { .. }) => return Vec::new(),
                    Err(error) => found.push(error.to_string()),
                }
            }
        }
        found
    }

    /// Everything that is wrong with the views and with reading their stores, as of the last refresh. The gauge of
    /// stale views is set on the way.
    pub async fn troubles(&self) -> Vec<Trouble> {
        let mut found = Vec::new();
        for source in self.sources.values() {
            let state = self.fresh_state(source).await;
            found.extend(state.problem.as_deref().map(|problem| {
                let way_out = "start the store again, or correct `realtime.store`; answers go on with what was read";
                Trouble::new("realtime-store-unreadable", format!("source {}", source.source().name), problem, way_out)
            }));
            for reader in source.views().iter().filter(|view| self.answers_from(view)) {
                let name = &reader.view.name;
                let trouble = self.view_trouble(source, &state, &reader.view);
                metrics::stale(name, trouble.is_some());
                found.extend(trouble);
                found.extend(reader.versions.problem().map(|problem| {
                    let way_out = "see that the object store answers (an object that cannot be read: `twofold lake repair`); \
                                   it is read again by itself";
                    Trouble::new("versions-unreadable", format!("view {name}"), problem, way_out)
                }));
                found.extend(reader.exactness.last().and_then(|report| inexact(name, &report)));
            }
        }
        found
    }

    /// What is wrong with the answers of a view.
    fn view_trouble(&self, source: &SourceReader, state: &SourceState, view: &ViewDefinition) -> Option<Trouble> {
        let about = format!("view {}", view.name);
        match source.served(state, view) {
            Ok(served) => {
                // That a former definition answers is no trouble.
                let envelope = self.own_envelope(view, &served, Layer::Merged, state);
                let way_out = source.standstill().map(|standstill| standstill.way_out.clone());
                let way_out = way_out.unwrap_or_else(|| ASK_THE_ROLES.to_owned());
                envelope.stale.then(|| Trouble::new("view-stale", about, envelope.stale_reasons.join("; "), way_out))
            }
            Err(GatewayError::Building { .. }) => None,
            Err(GatewayError::Stopped { reason, way_out, .. }) => {
                Some(Trouble::new("view-unavailable", about, reason, way_out))
            }
            Err(error) => {
                let way_out = "see that the object store and the realtime store answer; it is read again by itself";
                Some(Trouble::new("view-unavailable", about, error.to_string(), way_out))
            }
        }
    }
}

/// That an exact measure came to differ for no cause that is known.
fn inexact(view: &ViewName, report: &ExactnessStatus) -> Option<Trouble> {
    if report.unexplained.is_empty() {
        return None;
    }
    let (version, replaced, measures) = (report.version, report.replaced_version, report.unexplained.join(", "));
    let problem = format!(
        "version {version} differs from version {replaced} and what realtime had answered beside it, in {measures}: up \
         to {} of {} groups, for no cause that is known",
        report.different, report.groups
    );
    let way_out = format!(
        "`twofold verify {view}` computes the version from the master dataset again: where that agrees, what was \
         answered before was wrong, and is no more; where it does not, `twofold batch run --full` publishes a right one"
    );
    Some(Trouble::new("inexact", format!("view {view}"), problem, way_out))
}
