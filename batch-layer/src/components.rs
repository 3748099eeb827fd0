//! What the batch loop is handed, and what it tells: lake, pipeline and seams; requests; status.

use std::collections::BTreeMap;
use std::sync::Arc;

use lake::Lake;
use positions::{Clock, IdSource, SourceName, TimestampMicros, ViewName};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use views::{Pipeline, PlannedView};

use crate::recompute::{Mode, Round};

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

/// What the batch loop works with.
pub struct BatchComponents {
    /// What every round works with.
    pub context: BatchContext,
    /// Rounds asked for by hand; a closed channel is not an error.
    pub requests: mpsc::Receiver<BatchRequest>,
    /// Written by the loop alone, read by `/v1/status`.
    pub status: watch::Sender<BatchStatus>,
    /// One permit, held while a loop computes: loops that share it take turns, within the memory of one.
    pub turn: Arc<Semaphore>,
    /// Tells which former definitions still answer.
    pub former: Arc<dyn FormerDefinitions>,
    /// Tells whether others compute views of the same source now.
    pub runs: Arc<dyn RunsAtWork>,
}

/// Who else computes views: while somebody does, the loop of that source begins no round, which would only lose the
/// race to the publication, or win it and waste what the other one computed.
pub trait RunsAtWork: Send + Sync + 'static {
    /// Whether views of this source are being computed, as of this moment.
    fn is_at_work(&self, source: &SourceName) -> bool;
}

/// There is nobody else.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoRuns;

impl RunsAtWork for NoRuns {
    fn is_at_work(&self, _source: &SourceName) -> bool {
        false
    }
}

/// Where the former definitions of views come from: those that answer while their successors are being built. They get
/// batch versions until then, so that the realtime store need not keep all that came since.
pub trait FormerDefinitions: Send + Sync + 'static {
    /// Those over a source, as of this moment.
    fn views_of(&self, source: &SourceName) -> Vec<PlannedView>;
}

/// There are none.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFormer;

impl FormerDefinitions for NoFormer {
    fn views_of(&self, _source: &SourceName) -> Vec<PlannedView> {
        Vec::new()
    }
}

/// Asks the batch loop for a round at once.
#[derive(Debug)]
pub struct BatchRequest {
    /// How much to compute.
    pub mode: Mode,
    /// Which views; `None`: all.
    pub views: Option<Vec<ViewName>>,
    /// Receives the outcome of the round; the receiver may be dropped.
    pub reply: oneshot::Sender<Round>,
}

/// What the batch loop has done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BatchStatus {
    /// Whether a round is in progress.
    pub is_running: bool,
    /// When the last round ended.
    pub finished_at: Option<TimestampMicros>,
    /// The views that failed in their last round, and why.
    pub errors: BTreeMap<ViewName, String>,
    /// Live files of each master dataset, as the last compaction pass found or left them.
    pub master_files: BTreeMap<SourceName, usize>,
    /// Tables of which files are gone from the store, as of the last round, by their folder; which ones, in words.
    pub missing: BTreeMap<String, String>,
}
