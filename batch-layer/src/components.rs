//! What recomputes of all sources share; handed in by the binary, passed on to every stage.

use std::sync::Arc;

use lake::Lake;
use positions::{Clock, IdSource};
use views::Pipeline;

/// What recomputes of all sources work with.
#[derive(Clone)]
pub struct BatchParts {
    /// Where master datasets and batch views live.
    pub lake: Lake,
    /// Sources and views.
    pub pipeline: Arc<Pipeline>,
    /// Judges silence, and dates publications.
    pub clock: Arc<dyn Clock>,
    /// Names of files and recomputes.
    pub ids: Arc<dyn IdSource>,
}
