//! The recompute of one source in one process: its views are planned, computed and published, by the same three steps
//! that tasks of several processes take.
//!
//! Guarantee: an error of one view, or a panic, does not stop the others; an error of what the views of one cut share
//! fails those alone.
//! Why one group: what does not fit into memory is spilled, and a file whose events lie far apart would be read by each
//! group again.

use std::collections::BTreeMap;
use std::sync::Arc;

use positions::ViewName;
use serving_layer::{ServingError, always};

use super::choose::{all_failed, plan_recompute};
use super::open_plan::OpenPlan;
use super::task::{Mode, Outcome, RecomputeComponents, Round};
use crate::{BatchError, RecomputeSettings};

/// How recomputes ended, and on how many rows expressions of the views failed meanwhile.
#[derive(Default)]
pub(crate) struct Recomputed {
    pub(crate) round: Round,
    /// By view, and by the expression as it is written. What was not published is counted, too.
    pub(crate) failed: BTreeMap<ViewName, BTreeMap<String, u64>>,
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

/// Computes the groups of a plan, and publishes it.
async fn run(components: &RecomputeComponents, plan: &OpenPlan, settings: &RecomputeSettings, all: &mut Recomputed) {
    let mut outputs = Vec::new();
    let mut errors = BTreeMap::new();
    for group in 0..plan.plan().groups.len() {
        let name = format!("{:032x}", components.ids.next_id());
        match plan.compute_group(group, &name, settings).await {
            Ok(computed) => {
                add_failed(&mut all.failed, &computed.output.failed_rows);
                outputs.push(computed.output);
                errors.extend(computed.errors);
            }
            Err(error) => {
                let names = plan.plan().views.iter().map(|view| view.name.clone());
                all.round.extend(all_failed(names, error));
                return;
            }
        }
    }
    all.round.extend(plan.publish(&outputs, None, &always).await);
    // They were not published, for this reason.
    all.round.extend(errors.into_iter().map(|(view, error)| (view, outcome_of(error))));
}

fn outcome_of(error: BatchError) -> Result<Outcome, Arc<BatchError>> {
    match error {
        BatchError::Serving(ServingError::Conflict { .. }) => Ok(Outcome::LostRace),
        error => Err(Arc::new(error)),
    }
}

fn add_failed(all: &mut BTreeMap<ViewName, BTreeMap<String, u64>>, more: &BTreeMap<ViewName, BTreeMap<String, u64>>) {
    for (view, expressions) in more {
        let of_view = all.entry(view.clone()).or_default();
        for (expression, rows) in expressions {
            *of_view.entry(expression.clone()).or_default() += rows;
        }
    }
}
