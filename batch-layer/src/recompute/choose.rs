//! The first step: what there is to compute for the views of a source, from which cut to which, in which groups.
//!
//! In: the newest master dataset and the newest version of each view. Out: an [`OpenPlan`] for each cut, and an outcome
//! for each view that has nothing to compute.
//! Guarantee: nothing is written. An error of one view does not stop the others; an error of what a cut shares fails
//! its views alone.

use std::sync::Arc;

use datafusion::execution::SessionState;
use positions::{RecomputeId, ViewName};
use records::master::MasterSnapshot;
use views::PlannedView;

use super::groups::divide;
use super::inputs::read_inputs;
use super::master_rows::MasterRows;
use super::next::plan_task;
use super::open_plan::{OpenPlan, OpenView};
use super::plan::{PreviousVersion, RecomputePlan, ViewPlan};
use super::task::{Mode, Outcome, Planned, RecomputeComponents, Round, Scope, Task, group_by_cut};
use crate::grains::{Grains, widened};
use crate::{BatchError, RecomputeSettings, engine};

/// What there is to do for the views of a source.
pub struct Chosen {
    /// A plan for each cut.
    pub plans: Vec<OpenPlan>,
    /// The views that are in no plan, and why.
    pub round: Round,
}

/// Chooses what to compute for the views of one source. Reads the positions of rows above the cut, and in
/// [`Mode::Incremental`] the event times of those above the cut before it.
///
/// Groups have at most `task_bytes` of `settings`, unless one bucket has more.
///
/// # Errors
/// Where not even the master dataset can be opened: then nothing is known of any view.
pub async fn plan_recompute(
    components: &RecomputeComponents,
    mode: Mode,
    settings: &RecomputeSettings,
) -> Result<Chosen, BatchError> {
    let (master, tasks, round) = look(components, mode).await?;
    let mut chosen = Chosen { plans: Vec::new(), round };
    let Some(master) = master else { return Ok(chosen) };
    let session = engine::session(settings)?;
    for tasks in group_by_cut(tasks) {
        let names: Vec<ViewName> = tasks.iter().map(|task| task.view.name.clone()).collect();
        match choose(components, &session, (&master, settings.task_bytes), tasks).await {
            Ok(plan) => chosen.plans.push(plan),
            Err(error) => chosen.round.extend(all_failed(names, error)),
        }
    }
    Ok(chosen)
}

/// Which views of a source have something to compute, and what is known of the others.
#[derive(Default)]
pub struct News {
    /// Those that [`plan_recompute`] would make a plan for.
    pub views: Vec<ViewName>,
    /// All others, and why.
    pub round: Round,
}

/// Looks whether [`plan_recompute`] would find anything in [`Mode::Incremental`]: reads the newest version of the
/// master dataset and of each view, and no row.
///
/// # Errors
/// As there.
pub async fn look_for_news(components: &RecomputeComponents) -> Result<News, BatchError> {
    // Rows newer than were seen here: the next look sees them.
    let (_, tasks, round) = look(components, Mode::Incremental).await?;
    Ok(News { views: tasks.iter().map(|task| task.view.name.clone()).collect(), round })
}

/// The newest version of the master dataset (`None`: there is none, so no view has data), what there is to compute on
/// it, and the outcome of each view that has nothing to compute.
async fn look(
    components: &RecomputeComponents,
    mode: Mode,
) -> Result<(Option<MasterSnapshot>, Vec<Task>, Round), BatchError> {
    let Some(master) = components.master.open().await? else {
        let no_data = |view: &PlannedView| (view.name.clone(), Ok(Outcome::NoData));
        return Ok((None, Vec::new(), components.views.iter().map(no_data).collect()));
    };
    master.check_ledger()?;
    let (mut tasks, mut round) = (Vec::new(), Round::default());
    for view in &components.views {
        match plan_task(&components.lake, components.clock.as_ref(), &master, view, mode).await {
            Ok(Planned::Task(task)) => tasks.push(task),
            Ok(Planned::Skipped(outcome)) => drop(round.insert(view.name.clone(), Ok(outcome))),
            Err(error) => drop(round.insert(view.name.clone(), Err(Arc::new(error)))),
        }
    }
    Ok((Some(master), tasks, round))
}

/// One error for all of these views.
pub(crate) fn all_failed(views: impl IntoIterator<Item = ViewName>, error: BatchError) -> Round {
    let error = Arc::new(error);
    views.into_iter().map(|view| (view, Err(Arc::clone(&error)))).collect()
}

/// The plan of the views that stand at one cut.
pub(super) async fn choose(
    components: &RecomputeComponents,
    session: &SessionState,
    (master, task_bytes): (&MasterSnapshot, u64),
    tasks: Vec<Task>,
) -> Result<OpenPlan, BatchError> {
    let source = Arc::clone(&tasks[0].view.source);
    let (cut, scope) = (tasks[0].cut.clone(), tasks[0].scope.clone());
    let rows = MasterRows { master, source: &source };
    let inputs = read_inputs(session, &rows, &cut, &scope).await;
    let inputs = inputs.map_err(|error| engine::told_apart(session, error))?;
    // Whole buckets of the coarsest grains are whole buckets of every finer one, and all copies of an event are in one.
    let grains = Grains::coarsest(tasks.iter().map(|task| Grains::on(task.previous.as_ref(), task.view.bucket)));
    let touched = inputs.touched.as_ref().map(|hours| widened(hours, grains));
    let groups = divide(&rows.weights(), grains, touched.as_ref(), task_bytes);
    let views: Vec<OpenView> = tasks.into_iter().map(|task| open_view(components, task)).collect();
    let plan = RecomputePlan {
        master_version: master.snapshot.version(),
        since: match scope {
            Scope::All => None,
            Scope::Since(since) => Some(since),
            Scope::Hours(_) => Some(cut.clone()),
        },
        cut,
        touched: inputs.touched,
        folded: grains.folded(),
        views: views.iter().map(|view| view.plan.clone()).collect(),
        groups,
        counters: inputs.counters,
        holes: inputs.holes,
        erased: master.facts.erased,
    };
    Ok(OpenPlan::new(components, plan, master.clone(), views))
}

/// A view of a plan to be, with a recompute of its own.
pub(super) fn open_view(components: &RecomputeComponents, task: Task) -> OpenView {
    let previous = task.previous.as_ref();
    let previous =
        previous.map(|previous| PreviousVersion { number: previous.number(), recompute: previous.facts.recompute });
    let recompute = RecomputeId(components.ids.next_id());
    let plan = ViewPlan { name: task.view.name.clone(), hash: task.view.hash, previous, recompute };
    OpenView { plan, view: task.view, store: task.store, previous: task.previous }
}
