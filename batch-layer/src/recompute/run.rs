//! One round over the views of all sources, in one process.
//!
//! Not here: one source's recompute (`source.rs`); when views are computed, and by which of several processes, which
//! the workflow decides.

use std::sync::Arc;

use positions::ViewName;
use records::master::MasterDataset;

use super::source::recompute_counted;
use super::{Mode, RecomputeComponents, Round, report_failed_rows, report_recompute, report_round};
use crate::{BatchContext, RecomputeSettings};

/// One round over the views of all sources, or over those named, one source after the other; without those of sources
/// in kappa mode.
pub async fn run_round(
    context: &BatchContext,
    mode: Mode,
    names: Option<&[ViewName]>,
    settings: &RecomputeSettings,
) -> Round {
    let mut round = Round::new();
    for source in &context.pipeline.sources {
        let views = context.pipeline.views.iter().filter(|view| view.source.name == source.name);
        let views = views.filter(|view| view.source.is_recomputed());
        let views: Vec<_> =
            views.filter(|view| names.is_none_or(|names| names.contains(&view.name))).cloned().collect();
        if views.is_empty() {
            continue;
        }
        let components = RecomputeComponents {
            lake: context.lake.clone(),
            master: MasterDataset::new(&context.lake, Arc::clone(source)),
            views,
            clock: Arc::clone(&context.clock),
            ids: Arc::clone(&context.ids),
        };
        let began = context.clock.now();
        let recomputed = recompute_counted(&components, mode, settings).await;
        let seconds = context.clock.now().micros_since(began) as f64 / 1e6;
        report_recompute(&source.name, seconds);
        report_failed_rows(&recomputed.failed);
        report_round(&recomputed.round, seconds);
        round.extend(recomputed.round);
    }
    round
}
