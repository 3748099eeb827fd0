//! The recompute of one source: its views are planned, grouped by cut, computed and published.
//!
//! Guarantee: an error of one view, or a panic, does not stop the others; an error of what a group shares fails that
//! group alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use datafusion::execution::SessionState;
use lake::Lake;
use positions::{Clock, IdSource, RecomputeId, ViewName};
use records::master::{MasterDataset, MasterSnapshot};
use views::{PlannedView, caught};

use super::inputs::read_inputs;
use super::master_rows::MasterRows;
use super::publish::publish_states;
use super::task::{Mode, Outcome, Planned, Round, Task, group_by_cut, plan_task};
use crate::{BatchError, RecomputeSettings, engine};

/// What a recompute works with.
#[derive(Clone)]
pub struct RecomputeComponents {
    /// Where the batch views live.
    pub lake: Lake,
    /// The master dataset of the source.
    pub master: MasterDataset,
    /// The views to build, all of that source.
    pub views: Vec<PlannedView>,
    /// Tells how long the end of the log has been silent, and dates publications.
    pub clock: Arc<dyn Clock>,
    /// Names files and recomputes.
    pub ids: Arc<dyn IdSource>,
}

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
    match recompute_source(components, mode, settings).await {
        Ok(recomputed) => recomputed,
        Err(error) => Recomputed { round: all_failed(&components.views, error), ..Recomputed::default() },
    }
}

/// One error for all of these views.
fn all_failed<'a>(views: impl IntoIterator<Item = &'a PlannedView>, error: BatchError) -> Round {
    let error = Arc::new(error);
    views.into_iter().map(|view| (view.name.clone(), Err(Arc::clone(&error)))).collect()
}

async fn recompute_source(
    components: &RecomputeComponents,
    mode: Mode,
    settings: &RecomputeSettings,
) -> Result<Recomputed, BatchError> {
    let names = components.views.iter().map(|view| view.name.clone());
    let Some(master) = components.master.open().await? else {
        let round = names.map(|name| (name, Ok(Outcome::NoData))).collect();
        return Ok(Recomputed { round, ..Recomputed::default() });
    };
    master.check_ledger()?;
    let mut all = Recomputed::default();
    let mut tasks = Vec::new();
    for view in &components.views {
        match plan_task(&components.lake, components.clock.as_ref(), &master, view, mode).await {
            Ok(Planned::Task(task)) => tasks.push(task),
            Ok(Planned::Skipped(outcome)) => drop(all.round.insert(view.name.clone(), Ok(outcome))),
            Err(error) => drop(all.round.insert(view.name.clone(), Err(Arc::new(error)))),
        }
    }
    let session = engine::session(settings)?;
    for group in group_by_cut(tasks) {
        let of_group = compute_group(components, &session, &master, group).await;
        all.round.extend(of_group.round);
        all.failed.extend(of_group.failed);
    }
    Ok(all)
}

/// Computes and publishes the views that stand at one cut.
async fn compute_group(
    components: &RecomputeComponents,
    session: &SessionState,
    master: &MasterSnapshot,
    group: Vec<Task>,
) -> Recomputed {
    let source = Arc::clone(&group[0].view.source);
    let rows = MasterRows { master, source: &source };
    let inputs = match read_inputs(session, &rows, &group).await {
        Ok(inputs) => inputs,
        Err(error) => {
            let round = all_failed(group.iter().map(|task| &task.view), error);
            return Recomputed { round, ..Recomputed::default() };
        }
    };
    let mut all = Recomputed::default();
    for task in group {
        let recompute = RecomputeId(components.ids.next_id());
        let facts = inputs.facts(&task, recompute, components.clock.now());
        let publishing = publish_states(session, &rows, &inputs, &task, (facts, components.ids.next_id()));
        let outcome = caught(publishing).await.unwrap_or_else(|panic| Err(panic.into()));
        all.round.insert(task.view.name.clone(), outcome.map_err(Arc::new));
        all.failed.insert(task.view.name.clone(), task.failed.take());
    }
    all
}
