//! Whether a run of what is new would find anything: asked before an interval that somebody wrote starts one, and by
//! `batch.interval` for the views of its own.
//!
//! Guarantee: nothing is written, and no row is read. What cannot be looked at, or not soon, is started: its run tells
//! what is wrong. So is what has no run that is done: whoever wrote the schedule sees that it works, and a failure is
//! over only with a run that is done.
//! Not here: which schedules ask (`duties.rs`).

use std::sync::Arc;

use batch_layer::BatchError;
use batch_layer::recompute::{News, RecomputeComponents, look_for_news};
use lake::Lake;
use positions::{Clock, IdSource};
use records::master::MasterDataset;
use tokio::time::{Instant, timeout_at};
use tracing::debug;
use views::{PlannedView, SourceDefinition};
use workflow::{RunSpec, RunState, State};

use crate::definitions::RunningDefinitions;

/// What a look works with.
pub(super) struct NewsLook {
    pub(super) lake: Lake,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
}

impl NewsLook {
    /// Whether a run is worth to be started, as far as that is known by `until`: whoever leads has more to do.
    pub(super) async fn is_worth(
        &self,
        spec: &RunSpec,
        (set, state): (&RunningDefinitions, &State),
        until: Instant,
    ) -> bool {
        let mut before = state.runs.values().rev();
        let last = before.find(|run| run.spec.schedule == spec.schedule && run.spec.is_same_work(spec));
        let views = spec.views.iter().filter_map(|(name, hash)| set.view(name, *hash).cloned());
        let views: Vec<PlannedView> = views.collect();
        let Some(source) = views.first().map(|view| Arc::clone(&view.source)) else { return true };
        if last.is_none_or(|run| run.state != RunState::Done) {
            return true;
        }
        let looked = look(&self.lake, (&self.clock, &self.ids), &source, views);
        match timeout_at(until, looked).await {
            Ok(Ok(news)) => !news.views.is_empty() || news.round.values().any(Result::is_err),
            Ok(Err(error)) => {
                debug!(source = %spec.source, %error, "whether anything is new is not known; its run will tell");
                true
            }
            Err(_) => true,
        }
    }
}

/// What is new of views of a source.
///
/// # Errors
/// Those of the store: ask again.
pub(super) async fn look(
    lake: &Lake,
    (clock, ids): (&Arc<dyn Clock>, &Arc<dyn IdSource>),
    source: &Arc<SourceDefinition>,
    views: Vec<PlannedView>,
) -> Result<News, BatchError> {
    let components = RecomputeComponents {
        lake: lake.clone(),
        master: MasterDataset::new(lake, Arc::clone(source)),
        views,
        clock: Arc::clone(clock),
        ids: Arc::clone(ids),
    };
    look_for_news(&components).await
}
