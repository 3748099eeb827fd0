//! The loop of compaction: one pass over the master datasets of all sources.
//!
//! Guarantee: a source that fails does not hold up the others.

use std::collections::BTreeMap;

use positions::SourceName;
use views::SourceDefinition;

use super::compact;
use crate::metrics::{self, COMPACTION_FAILURES};
use crate::{BatchContext, BatchError, CompactSettings, RecomputeSettings};

/// Compacts the master datasets of all sources, one after the other, and returns how many files each of them has. A
/// failure is logged and tried again in the next pass: many files cost time, never correctness.
pub(crate) async fn run_compaction(
    context: &BatchContext,
    settings: &CompactSettings,
    engine: &RecomputeSettings,
) -> BTreeMap<SourceName, usize> {
    let mut files = BTreeMap::new();
    for source in context.pipeline.sources.iter().filter(|_| settings.is_on) {
        match compact(context, source, settings, engine).await {
            Ok(compacted) => drop(files.insert(source.name.clone(), compacted.files)),
            Err(error) => report_failure(source, &error),
        }
    }
    files
}

fn report_failure(source: &SourceDefinition, error: &BatchError) {
    metrics::count(COMPACTION_FAILURES, source.name.as_str(), 1);
    if error.is_retryable() {
        tracing::warn!(source = %source.name, %error, "compaction failed; the files stay as they are");
    } else {
        tracing::error!(source = %source.name, %error, "compaction failed; the files stay as they are");
    }
}
