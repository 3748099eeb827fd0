//! What log and metrics say of a recompute.

use std::sync::Arc;

use positions::{SourceName, ViewName};

use super::plan::FailedByView;
use super::task::{Outcome, Round};
use crate::BatchError;
use crate::metrics::{self, BATCH_FAILURES, BATCH_PUBLICATIONS, BATCH_ROWS, BATCH_SECONDS, BATCH_VERSION};

/// Log and metrics of the rows that expressions of views failed on while these were computed: of groups once for each.
pub fn report_failed_rows(failed: &FailedByView) {
    for (view, expressions) in failed {
        for (expression, rows) in expressions {
            metrics::count_failed_rows(view.as_str(), expression, *rows);
            tracing::info!(%view, expression, rows, "an expression failed on rows, and is NULL there");
        }
    }
}

/// Metrics of how long the recompute of a source took, from choosing to its last publication.
pub fn report_recompute(source: &SourceName, seconds: f64) {
    metrics::time_source(BATCH_SECONDS, source.as_str(), seconds);
}

/// Log and metrics of how recomputes ended, which took so long from choosing to publishing.
pub fn report_round(round: &Round, seconds: f64) {
    round.iter().for_each(|(view, outcome)| report_outcome(view, outcome, seconds));
}

/// Log and metrics of one view's recompute.
fn report_outcome(view: &ViewName, outcome: &Result<Outcome, Arc<BatchError>>, seconds: f64) {
    match outcome {
        Ok(Outcome::Published(version)) => {
            let rows: u64 = version.facts.counters.values().map(|counters| counters.rows).sum();
            let number = version.number().0;
            let cut: Vec<_> = version.facts.cut.0.iter().map(|(one, position)| (one.0, position.offset.0)).collect();
            let is_full = version.facts.is_full;
            tracing::info!(%view, version = number, rows, ?cut, is_full, seconds, "batch view published");
            metrics::count_view(BATCH_PUBLICATIONS, view.as_str(), 1);
            metrics::set_view(BATCH_VERSION, view.as_str(), number as f64);
            metrics::set_view(BATCH_ROWS, view.as_str(), rows as f64);
        }
        Ok(Outcome::NoData | Outcome::NothingNew | Outcome::AwaitsSilence { .. }) => {
            tracing::debug!(%view, "nothing new to publish");
        }
        Ok(Outcome::LostRace) => tracing::info!(%view, "another publisher was first; its version stays"),
        Err(error) => {
            metrics::count_view(BATCH_FAILURES, view.as_str(), 1);
            if error.is_retryable() {
                tracing::warn!(%view, %error, "recompute failed; the published version stays");
            } else {
                tracing::error!(%view, %error, "recompute failed; the published version stays");
            }
        }
    }
}
