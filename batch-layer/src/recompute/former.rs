//! Batch views of former definitions: of views whose present definition is being built, and does not answer yet.
//!
//! Guarantee: each is computed over its own definition of the source, whatever that reads today; what fails is logged
//! and tried again with the next round, and the former version stays. Nothing is computed any more once the present
//! definition answers.
//! Why after the round: what is being built comes first, so that this ends soon.

use std::sync::Arc;

use records::master::MasterDataset;
use tracing::{debug, info, warn};
use views::PlannedView;

use super::source::recompute;
use super::task::{Mode, Outcome, RecomputeComponents, Round};
use crate::{BatchContext, FormerDefinitions, RecomputeSettings};

/// Publishes what is new for the former definitions that still answer.
pub(crate) async fn recompute_former(
    context: &BatchContext,
    former: &dyn FormerDefinitions,
    settings: &RecomputeSettings,
) {
    for source in &context.pipeline.sources {
        for views in group_by_source(former.views_of(&source.name)) {
            let components = RecomputeComponents {
                lake: context.lake.clone(),
                master: MasterDataset::new(&context.lake, Arc::clone(&views[0].source)),
                views,
                clock: Arc::clone(&context.clock),
                ids: Arc::clone(&context.ids),
            };
            report(&recompute(&components, Mode::Incremental, settings).await);
        }
    }
}

/// Groups of views over one definition of their source; none is empty.
fn group_by_source(views: Vec<PlannedView>) -> Vec<Vec<PlannedView>> {
    let mut groups: Vec<Vec<PlannedView>> = Vec::new();
    for view in views {
        match groups.iter_mut().find(|group| group[0].source == view.source) {
            Some(group) => group.push(view),
            None => groups.push(vec![view]),
        }
    }
    groups
}

fn report(round: &Round) {
    for (view, outcome) in round {
        match outcome {
            Ok(Outcome::Published(version)) => {
                info!(%view, version = version.number().0, "batch view of a former definition published");
            }
            Ok(_) => debug!(%view, "former definition: nothing published"),
            Err(error) => warn!(%view, %error, "recompute of a former definition failed; its published version stays"),
        }
    }
}
