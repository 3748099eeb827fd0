//! What the steps of the batch layer are handed: lake, pipeline and seams.

use std::sync::Arc;

use lake::Lake;
use positions::{Clock, IdSource, SourceName};
use views::{Pipeline, PlannedView};

/// What recomputes, compactions and cleanups of all sources share; handed in by the binary.
#[derive(Clone)]
pub struct BatchContext {
    /// Where master datasets and batch views live.
    pub lake: Lake,
    /// Sources and views.
    pub pipeline: Arc<Pipeline>,
    /// Tells how long the end of a log has been silent, and dates publications.
    pub clock: Arc<dyn Clock>,
    /// Names files and recomputes.
    pub ids: Arc<dyn IdSource>,
}

/// Where the former definitions of views come from: those that answer while their successors are being built. They get
/// batch versions until then, so that the realtime store need not keep all that came since.
pub trait FormerDefinitions: Send + Sync + 'static {
    /// Those over a source, as of this moment.
    fn views_of(&self, source: &SourceName) -> Vec<PlannedView>;
}
