//! What the tasks of this process work with: the lake, the settings, the definitions of the moment, the plan at hand.
//!
//! Guarantee: a task is done by exactly the definitions that its run names, or not at all: present ones, or former ones
//! that still answer.
//! Why a plan is kept open: the groups of one plan follow each other, and each would read the same tables again.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use batch_layer::recompute::{OpenPlan, RecomputeComponents};
use batch_layer::{BatchContext, BatchError, FormerDefinitions, PlanEngine};
use lake::Lake;
use positions::{Clock, DefinitionHash, IdSource, SourceName, ViewName};
use records::master::MasterDataset;
use serving_layer::registry::DefinitionRegistry;
use views::{PlannedView, SourceDefinition};
use workflow::{Assignment, TaskError, TaskId};

use super::interval::INTERVAL;
use super::values::{Chosen, lasting_error, read};
use crate::config::Config;
use crate::definitions::{Definitions, RunningDefinitions};
use crate::machines;
use crate::wiring::SharedComponents;

/// Does the tasks of recomputes, and those of housekeeping.
pub struct RecomputeTasks {
    pub(super) lake: Lake,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Arc<dyn IdSource>,
    pub(super) config: Arc<Config>,
    definitions: Definitions,
    /// Who computes large groups; `None`: this process.
    engine: Option<Arc<dyn PlanEngine>>,
    // The plans that were opened last, the newest at the end. Changed by whoever opens one, held for a copy only.
    opened: Mutex<VecDeque<(PlanName, OpenPlan)>>,
}

/// Plans that are kept open: of runs that take turns.
const KEPT_PLANS: usize = 4;

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
        let engine = machines::engine(&config, ids.as_ref());
        Self { lake, clock, ids, config, definitions, engine, opened: Mutex::default() }
    }

    /// What recomputes of a run work with: all of its views.
    pub(super) async fn components(&self, work: &Assignment) -> Result<RecomputeComponents, TaskError> {
        let set = self.definitions.current();
        let Some(views) = views_of_run(&set, work) else { return Err(self.other_definitions(&set, work).await) };
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

    /// What housekeeping of a run works with: its source, by definitions that have all views of the run.
    pub(super) async fn context(&self, work: &Assignment) -> Result<(BatchContext, Arc<SourceDefinition>), TaskError> {
        let set = self.definitions.current();
        let is_of_these = views_of_run(&set, work).is_some();
        let source = set.pipeline.sources.iter().find(|source| is_of_these && source.name == work.run.source).cloned();
        let Some(source) = source else { return Err(self.other_definitions(&set, work).await) };
        let context = BatchContext {
            lake: self.lake.clone(),
            pipeline: Arc::clone(&set.pipeline),
            clock: Arc::clone(&self.clock),
            ids: Arc::clone(&self.ids),
        };
        Ok((context, source))
    }

    /// The one view of a run that folds.
    pub(super) fn folded(&self, work: &Assignment) -> Option<PlannedView> {
        let (name, hash) = work.run.views.first()?;
        self.definitions.current().view(name, *hash).cloned()
    }

    /// The former definitions of views of a source that still answer.
    pub(super) fn former(&self, source: &SourceName) -> Vec<PlannedView> {
        self.definitions.views_of(source)
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
        // The interval starts runs of the present ones, and what it kept up of a former one is over.
        if work.run.schedule.as_deref() == Some(INTERVAL) {
            let reason = "the definition of a view changed since the run was started, and answers no more; runs of the \
                          present ones go on";
            return TaskError::Superseded { reason: reason.to_owned() };
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
        let opened = match &self.engine {
            Some(engine) => opened.with_engine(Arc::clone(engine)),
            None => opened,
        };
        self.keep(name, opened.clone());
        Ok(Ok(opened))
    }

    fn opened(&self, name: &PlanName) -> Option<OpenPlan> {
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.iter().find(|(opened, _)| opened == name).map(|(_, plan)| plan.clone())
    }

    fn keep(&self, name: PlanName, plan: OpenPlan) {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|(opened, _)| *opened != name);
        if opened.len() >= KEPT_PLANS {
            opened.pop_front();
        }
        opened.push_back((name, plan));
    }

    /// Opens every plan anew: what one of them names may be there no more.
    pub(super) fn forget_plans(&self) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// The views of a run, where these definitions have exactly those.
fn views_of_run(set: &RunningDefinitions, work: &Assignment) -> Option<Vec<PlannedView>> {
    let found = |(name, hash): &(ViewName, DefinitionHash)| {
        set.view(name, *hash).filter(|view| view.source.name == work.run.source).cloned()
    };
    work.run.views.iter().map(found).collect()
}
