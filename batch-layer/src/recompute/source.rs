//! The recompute of one source in one process: its views are planned, computed and published, by the same three steps
//! that tasks of several processes take.
//!
//! Guarantee: an error of one view, or a panic, does not stop the others; an error of what the views of one cut share
//! fails those alone.
//! Why one group: what does not fit into memory is spilled, and a file whose events lie far apart would be read by each
//! group again.

use std::sync::Arc;

use serving_layer::{ServingError, always};

use super::choose::{all_failed, plan_recompute};
use super::compute::OpenPart;
use super::open_plan::OpenPlan;
use super::plan::{FailedByView, GroupOutput};
use super::progress::GroupProgress;
use super::task::{Mode, Outcome, RecomputeComponents, Round};
use crate::{BatchError, RecomputeSettings};

/// How recomputes ended, and on how many rows expressions of the views failed meanwhile.
#[derive(Default)]
pub(crate) struct Recomputed {
    pub(crate) round: Round,
    /// What was not published is counted, too.
    pub(crate) failed: FailedByView,
}

/// Recomputes the views of one source and publishes what is new.
pub async fn recompute(components: &RecomputeComponents, mode: Mode, settings: &RecomputeSettings) -> Round {
    recompute_counted(components, mode, settings).await.round
}

/// The same, and what expressions failed on.
pub(crate) async fn recompute_counted(
    components: &RecomputeComponents,
    mode: Mode,
    settings: &RecomputeSettings,
) -> Recomputed {
    let settings = RecomputeSettings { task_bytes: u64::MAX, ..settings.clone() };
    let chosen = match plan_recompute(components, mode, &settings).await {
        Ok(chosen) => chosen,
        Err(error) => {
            let names = components.views.iter().map(|view| view.name.clone());
            return Recomputed { round: all_failed(names, error), ..Recomputed::default() };
        }
    };
    let mut all = Recomputed { round: chosen.round, ..Recomputed::default() };
    for plan in chosen.plans {
        run(components, &plan, &settings, &mut all).await;
    }
    all
}

/// Computes the one group of a plan, if anything is touched, and publishes each view as soon as it is computed.
async fn run(components: &RecomputeComponents, plan: &OpenPlan, settings: &RecomputeSettings, all: &mut Recomputed) {
    let progress = GroupProgress::default();
    let mut group = match plan.plan().groups.is_empty() {
        true => None,
        false => match begin(plan, settings, &progress).await {
            Ok(group) => Some(group),
            Err(error) => {
                let names = plan.views().iter().map(|view| view.view.name.clone());
                all.round.extend(all_failed(names, error));
                return;
            }
        },
    };
    for view in plan.views() {
        let name = &view.view.name;
        if let Some(group) = &mut group {
            group.compute(view, &format!("{:032x}", components.ids.next_id())).await;
        }
        let computed = group.as_mut().map(|group| &mut group.computed);
        let error = computed.and_then(|computed| computed.errors.remove(name));
        let outputs: &[GroupOutput] = match &group {
            Some(group) => std::slice::from_ref(&group.computed.output),
            None => &[],
        };
        let outcome = match error {
            Some(error) => outcome_of(error),
            None => plan.publish_view(view, outputs, None, &always).await,
        };
        all.round.insert(name.clone(), outcome);
    }
    all.failed.extend(group.map(|group| group.computed.output.failed_rows).unwrap_or_default());
}

async fn begin<'a>(
    plan: &'a OpenPlan,
    settings: &RecomputeSettings,
    progress: &'a GroupProgress,
) -> Result<OpenPart<'a>, BatchError> {
    plan.begin_part(plan.part(0)?, settings, progress).await
}

fn outcome_of(error: BatchError) -> Result<Outcome, Arc<BatchError>> {
    match error {
        BatchError::Serving(ServingError::Conflict { .. }) => Ok(Outcome::LostRace),
        error => Err(Arc::new(error)),
    }
}
