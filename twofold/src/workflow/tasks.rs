//! What the tasks of this process work with: the lake, the settings, the definitions of the moment, the plan at hand.
//!
//! Guarantee: a task is done by exactly the definitions that its run names, or not at all.
//! Why a plan is kept open: the groups of one plan follow each other, and each would read the same tables again.

use std::sync::{Arc, Mutex, PoisonError};

use batch_layer::BatchError;
use batch_layer::recompute::{OpenPlan, RecomputeComponents};
use lake::Lake;
use positions::{Clock, DefinitionHash, IdSource, ViewName};
use records::master::MasterDataset;
use serving_layer::registry::DefinitionRegistry;
use views::PlannedView;
use workflow::{Assignment, TaskError, TaskId};

use super::values::{Chosen, lasting_error, read};
use crate::config::Config;
use crate::definitions::{Definitions, RunningDefinitions};
use crate::wiring::SharedComponents;

/// Does the tasks of recomputes.
pub struct RecomputeTasks {
    pub(super) lake: Lake,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) config: Arc<Config>,
    definitions: Definitions,
    // The plan that was opened last. Replaced by whoever opens another one, held for a copy only.
    opened: Mutex<Option<(PlanName, OpenPlan)>>,
}

/// A plan of a run: that of the key, the task that chose, and its place there.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PlanName {
    run_key: Arc<str>,
    choose: TaskId,
    plan: usize,
}

impl RecomputeTasks {
    /// Those of a process with these components, by its definitions of the moment.
    pub fn new(shared: &SharedComponents, definitions: Definitions) -> Self {
        let (lake, config) = (shared.lake.clone(), Arc::clone(&shared.config));
        Self::of(lake, config, (Arc::clone(&shared.clock), Arc::clone(&shared.ids)), definitions)
    }

    /// The same of parts.
    pub fn of(
        lake: Lake,
        config: Arc<Config>,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>),
        definitions: Definitions,
    ) -> Self {
        Self { lake, clock, ids, config, definitions, opened: Mutex::default() }
    }

    /// What recomputes of a run work with: all of its views.
    pub(super) async fn components(&self, work: &Assignment) -> Result<RecomputeComponents, TaskError> {
        let set = self.definitions.current();
        let found = |(name, hash): &(ViewName, DefinitionHash)| {
            let view = set.pipeline.view(name.as_str());
            view.filter(|view| view.hash == *hash && view.source.name == work.run.source).cloned()
        };
        let views: Option<Vec<PlannedView>> = work.run.views.iter().map(found).collect();
        let Some(views) = views else { return Err(self.other_definitions(&set, work).await) };
        let Some(first) = views.first() else {
            return Err(lasting_error("the run names no view; start another one".to_owned(), true, work));
        };
        Ok(RecomputeComponents {
            lake: self.lake.clone(),
            master: MasterDataset::new(&self.lake, Arc::clone(&first.source)),
            views,
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
        })
    }

    /// The run is of other definitions than this process has: because they changed, or because this process is an old
    /// one beside a newer one, which can do the task.
    async fn other_definitions(&self, set: &RunningDefinitions, work: &Assignment) -> TaskError {
        let present = match DefinitionRegistry::new(&self.lake).present().await {
            Ok(present) => present,
            Err(error) => return TaskError::Transient { reason: error.to_string() },
        };
        if present.is_some_and(|present| present.number != set.number) {
            let reason = format!(
                "a process that runs definitions {} cannot do a task of other ones; start it again with the present \
                 pipeline file",
                set.number.0
            );
            return TaskError::Transient { reason };
        }
        let reason = "the definition of a view changed since the run was started; start another run, which computes it \
                      by the present one";
        lasting_error(reason.to_owned(), true, work)
    }

    /// What a task gave that chose, before this one.
    pub(super) async fn chosen(&self, work: &Assignment, choose: TaskId) -> Result<Chosen, TaskError> {
        let missing = || lasting_error(format!("task {choose} gave nothing; start another run"), false, work);
        read(&work.output(choose).await?.ok_or_else(missing)?)
    }

    /// A plan of a task that chose.
    ///
    /// # Errors
    /// The outer one ends the task. The inner one is what the plan cannot be opened for, by which the task may do
    /// something else.
    pub(super) async fn open_plan(
        &self,
        work: &Assignment,
        choose: TaskId,
        plan: usize,
    ) -> Result<Result<OpenPlan, BatchError>, TaskError> {
        // Also where it is open already: the definitions may have changed.
        let components = self.components(work).await?;
        let name = PlanName { run_key: Arc::clone(&work.run_key), choose, plan };
        if let Some(opened) = self.opened(&name) {
            return Ok(Ok(opened));
        }
        let mut plans = self.chosen(work, choose).await?.plans;
        if plan >= plans.len() {
            return Err(lasting_error(format!("task {choose} made no plan {plan}; start another run"), false, work));
        }
        let opened = match OpenPlan::open(&components, plans.swap_remove(plan)).await {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some((name, opened.clone()));
        Ok(Ok(opened))
    }

    fn opened(&self, name: &PlanName) -> Option<OpenPlan> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.as_ref().filter(|(opened, _)| opened == name).map(|(_, plan)| plan.clone())
    }

    /// Opens the next plan anew: what this one names may be there no more.
    pub(super) fn forget_plan(&self) {
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}
