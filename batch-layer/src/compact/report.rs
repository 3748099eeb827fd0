//! What log and metrics say of a compaction that failed.

use views::SourceDefinition;

use crate::BatchError;
use crate::metrics::{self, COMPACTION_FAILURES};

/// Log and metrics of a compaction that failed.
pub fn report_compaction_failure(source: &SourceDefinition, error: &BatchError) {
    metrics::count(COMPACTION_FAILURES, source.name.as_str(), 1);
    if error.is_retryable() {
        tracing::warn!(source = %source.name, %error, "compaction failed; the files stay as they are");
    } else {
        tracing::error!(source = %source.name, %error, "compaction failed; the files stay as they are");
    }
}
