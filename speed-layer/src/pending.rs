//! Runs that are computed and not stored yet, with their blobs.

use bytes::Bytes;
use positions::{Run, TimestampMicros};
use serving_layer::BlobKey;

/// Runs that follow each other in one partition.
#[derive(Clone, Debug, Default)]
pub(crate) struct PendingRuns {
    /// In offset order; each starts where the one before it ends.
    pub runs: Vec<Run>,
    /// The states of the runs; none for a view without rows.
    pub blobs: Vec<(BlobKey, Bytes)>,
    /// An instant at which the log held nothing behind these runs, if one is known.
    pub as_of: Option<TimestampMicros>,
    /// The blobs are in the store; only the swap is left to do.
    pub is_written: bool,
}

impl PendingRuns {
    /// One run, still without blobs.
    pub fn new(run: Run) -> Self {
        Self { runs: vec![run], ..Self::default() }
    }

    /// Adds the runs that follow.
    pub fn extend(&mut self, next: Self) {
        self.runs.extend(next.runs);
        self.blobs.extend(next.blobs);
    }
}
