//! What log and metrics say of a folding.

use positions::TimestampMicros;
use views::PlannedView;

use super::view::FoldOutcome;
use crate::BatchError;
use crate::metrics::{self, FOLD_FAILURES, FOLDS};

/// Log and metrics of one folding that went on from `began` to `ended`.
pub fn report_folding(
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
