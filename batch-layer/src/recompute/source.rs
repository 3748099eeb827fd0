//! The recompute of one source: its views are planned, grouped by cut, computed and published.
//!
//! Guarantee: an error of one view, or a panic, does not stop the others; an error of what a group shares fails that
//! group alone.

use std::sync::Arc;

use datafusion::execution::SessionState;
use lake::Lake;
use positions::{Clock, IdSource, RecomputeId};
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

/// Recomputes the views of one source and publishes what is new.
pub async fn recompute(components: &RecomputeComponents, mode: Mode, settings: &RecomputeSettings) -> Round {
    match recompute_source(components, mode, settings).await {
        Ok(round) => round,
        Err(error) => all_failed(&components.views, error),
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
) -> Result<Round, BatchError> {
    let names = components.views.iter().map(|view| view.name.clone());
    let Some(master) = components.master.open().await? else {
        return Ok(names.map(|name| (name, Ok(Outcome::NothingNew))).collect());
    };
    master.check_ledger()?;
    let mut round = Round::new();
    let mut tasks = Vec::new();
    for view in &components.views {
        match plan_task(&components.lake, components.clock.as_ref(), &master, view, mode).await {
            Ok(Planned::Task(task)) => tasks.push(task),
            Ok(Planned::Skipped(outcome)) => drop(round.insert(view.name.clone(), Ok(outcome))),
            Err(error) => drop(round.insert(view.name.clone(), Err(Arc::new(error)))),
        }
    }
    let session = engine::session(settings)?;
    for group in group_by_cut(tasks) {
        round.extend(compute_group(components, &session, &master, group).await);
    }
    Ok(round)
}

/// Computes and publishes the views that stand at one cut.
async fn compute_group(
    components: &RecomputeComponents,
    session: &SessionState,
    master: &MasterSnapshot,
    group: Vec<Task>,
) -> Round {
    let source = Arc::clone(&group[0].view.source);
    let rows = MasterRows { master, source: &source };
    let inputs = match read_inputs(session, &rows, &group).await {
        Ok(inputs) => inputs,
        Err(error) => return all_failed(group.iter().map(|task| &task.view), error),
    };
    let mut round = Round::new();
    for task in group {
        let recompute = RecomputeId(components.ids.next_id());
        let facts = inputs.facts(&task, recompute, components.clock.now());
        let publishing = publish_states(session, &rows, &inputs, &task, (facts, components.ids.next_id()));
        let outcome = caught(publishing).await.unwrap_or_else(|panic| Err(panic.into()));
        round.insert(task.view.name.clone(), outcome.map_err(Arc::new));
    }
    round
}
