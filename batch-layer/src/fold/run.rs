//! The loop of foldings: all views of the pipeline, each once for every day that comes to be old enough.
//!
//! Guarantee: a view that fails does not hold up the others. What may succeed later is tried again after the next
//! round, everything else with the next day: a state that is too large is so after the next round, too, and finding
//! that out reads all that would be folded.

use std::collections::BTreeMap;
use std::time::Duration;

use positions::{DefinitionHash, TimestampMicros, ViewName};
use serving_layer::{Folded, always};
use views::{PlannedView, caught};

use super::choose::folded_by;
use super::view::{FoldOutcome, fold};
use crate::metrics::{self, FOLD_FAILURES, FOLDS};
use crate::{BatchContext, BatchError, RecomputeSettings};

/// The foldings of one batch loop.
#[derive(Default)]
pub(crate) struct Folds {
    /// By view: the definition, and how far there is nothing left to do.
    done: BTreeMap<ViewName, (DefinitionHash, Folded)>,
}

impl Folds {
    /// Folds what is due of every view.
    pub(crate) async fn fold_where_due(&mut self, context: &BatchContext, age: Duration, settings: &RecomputeSettings) {
        let wanted = folded_by(context.clock.now(), age);
        for view in &context.pipeline.views {
            if self.done.get(&view.name) == Some(&(view.hash, wanted)) {
                continue;
            }
            let began = context.clock.now();
            let folded = caught(fold(context, view, age, settings, &always)).await;
            let outcome = folded.unwrap_or_else(|panic| Err(panic.into()));
            report(view, &outcome, began, context.clock.now());
            if is_over(&outcome) {
                self.done.insert(view.name.clone(), (view.hash, wanted));
            }
        }
    }
}

/// Whether there is nothing left to do for a view until another day is old enough.
fn is_over(outcome: &Result<FoldOutcome, BatchError>) -> bool {
    match outcome {
        Ok(FoldOutcome::Folded(_) | FoldOutcome::NothingDue) => true,
        Ok(FoldOutcome::NoVersion | FoldOutcome::LostRace) => false,
        Err(error) => !error.is_retryable(),
    }
}

/// Log and metrics of one folding.
fn report(
    view: &PlannedView,
    outcome: &Result<FoldOutcome, BatchError>,
    began: TimestampMicros,
    ended: TimestampMicros,
) {
    let name = &view.name;
    match outcome {
        Ok(FoldOutcome::Folded(done)) => {
            let (version, rows_before, rows) = (done.version.0, done.rows_before, done.rows);
            let (files_before, files) = (done.files_before, done.files);
            let seconds = ended.micros_since(began) as f64 / 1e6;
            tracing::info!(view = %name, version, rows_before, rows, files_before, files, seconds, "batch view folded");
            metrics::count_view(FOLDS, name.as_str(), 1);
        }
        Ok(FoldOutcome::LostRace) => tracing::debug!(view = %name, "another publisher was first; folding again later"),
        Ok(FoldOutcome::NoVersion | FoldOutcome::NothingDue) => tracing::debug!(view = %name, "nothing to fold"),
        Err(error) => {
            metrics::count_view(FOLD_FAILURES, name.as_str(), 1);
            tracing::warn!(view = %name, %error, "folding failed; the published version stays");
        }
    }
}
