//! Rounds that somebody in this process asks for and waits for: a run by hand of each source.
//!
//! Guarantee: what was archived when a round was asked for is in it, as far as a cut may lie behind it: a run that was
//! under way before is waited for, and does not count. Given up, the run goes on.
//! Not here: what tasks do (`choose.rs` and those after it); rounds of other processes (`batch_layer::hold`).

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Result, anyhow, ensure};
use batch_layer::BatchError;
use batch_layer::recompute::{Mode, Outcome, Round};
use lake::Lake;
use positions::{SourceName, ViewName};
use serving_layer::BatchViewStore;
use workflow::{Priority, Run, RunId, RunKind, RunMode, RunState, Start, TaskKind, TaskState, Workflow, WorkflowError};

use super::outcomes::failures;
use super::specs::{RunRequest, runs_of};
use super::values::{Chosen, Published, outcome_told, read};
use crate::config::Config;
use crate::definitions::{Definitions, RunningDefinitions};
use crate::wiring::SharedComponents;

/// What is said where a process without the batch role is asked.
pub const NONE_HERE: &str = "no batch role is running here";

/// See the module.
pub struct RoundsByHand {
    workflow: Workflow,
    lake: Lake,
    config: Arc<Config>,
    definitions: Definitions,
}

impl RoundsByHand {
    /// Those of a process with these components, which takes part in runs.
    pub fn new(shared: &SharedComponents, definitions: Definitions) -> Self {
        let (workflow, lake, config) = (shared.workflow.clone(), shared.lake.clone(), Arc::clone(&shared.config));
        Self { workflow, lake, config, definitions }
    }

    /// Computes and publishes the batch views of a source now, beside the interval.
    ///
    /// # Errors
    /// If all runs are paused.
    pub async fn recompute(&self, source: &SourceName, mode: Mode) -> Result<Round> {
        let set = self.definitions.current();
        let views = set.pipeline.views.iter().filter(|view| view.source.name == *source);
        let views = views.filter(|view| view.source.is_recomputed());
        let views: Vec<ViewName> = views.map(|view| view.name.clone()).collect();
        if views.is_empty() {
            return Ok(Round::new());
        }
        ensure!(!self.workflow.state().is_paused, "all runs are paused: `twofold runs resume` lets them go on");
        let request = request(source, mode);
        match self.run(&set, &request).await {
            Ok(run) => Ok(self.round_of(&set, &run).await),
            Err(error) => {
                let error = Arc::new(BatchError::InRun(format!("{error:#}")));
                Ok(views.into_iter().map(|view| (view, Err(Arc::clone(&error)))).collect())
            }
        }
    }

    /// As [`Self::recompute`], the views of all sources, one source after the other.
    ///
    /// # Errors
    /// As there.
    pub async fn recompute_all(&self, mode: Mode) -> Result<Round> {
        let mut round = Round::new();
        for source in &self.definitions.current().pipeline.sources {
            round.extend(self.recompute(&source.name, mode).await?);
        }
        Ok(round)
    }

    /// Starts a run, and waits for its end.
    async fn run(&self, set: &RunningDefinitions, request: &RunRequest) -> Result<Arc<Run>> {
        let mut runs = runs_of(&set.pipeline, request, &self.config)?;
        let (spec, tasks) = runs.pop().ok_or_else(|| anyhow!("there are no views to compute"))?;
        loop {
            let start = self.workflow.start(spec.clone(), &tasks).await?;
            let run = self.ended(start.run()).await?;
            if matches!(start, Start::Started(_)) {
                return Ok(run);
            }
        }
    }

    async fn ended(&self, id: RunId) -> Result<Arc<Run>, WorkflowError> {
        let mut changes = self.workflow.changes();
        let is_over = |state: &Arc<workflow::State>| state.run(id).is_none_or(|run| run.state.is_ended());
        // It lasts as long as this process reads the journal.
        let _ = changes.wait_for(is_over).await;
        self.workflow.run(id).await
    }

    /// What became of each view of a run that has ended.
    async fn round_of(&self, set: &RunningDefinitions, run: &Run) -> Round {
        let (told, failed) = (self.told(run).await, failures(run));
        let mut round = Round::new();
        for (view, _) in &run.spec.views {
            let outcome = match failed.get(view) {
                Some(reason) => Err(BatchError::InRun(reason.clone())),
                None if run.state == RunState::Cancelled => Err(BatchError::InRun("the run was cancelled".to_owned())),
                None => self.outcome(set, view, told.get(view).and_then(|told| outcome_told(told))).await,
            };
            round.insert(view.clone(), outcome.map_err(Arc::new));
        }
        round
    }

    /// What the tasks of a run said of each view, the last word of each.
    async fn told(&self, run: &Run) -> BTreeMap<ViewName, String> {
        let mut told = BTreeMap::new();
        for task in &run.tasks {
            let TaskState::Done { output, .. } = &task.state else { continue };
            if !matches!(task.kind, TaskKind::Choose | TaskKind::Publish) {
                continue;
            }
            // What is lost is told by the version that there is.
            let Ok(value) = self.workflow.output(run, output).await else { continue };
            match task.kind {
                TaskKind::Choose => {
                    told.extend(read::<Chosen>(&value).map(|chosen| chosen.skipped).unwrap_or_default())
                }
                _ => told.extend(read::<Published>(&value).map(|published| published.views).unwrap_or_default()),
            }
        }
        told
    }

    /// `told`: why nothing was published, if nothing was.
    async fn outcome(
        &self,
        set: &RunningDefinitions,
        view: &ViewName,
        told: Option<Outcome>,
    ) -> Result<Outcome, BatchError> {
        if let Some(outcome) = told {
            return Ok(outcome);
        }
        let Some(planned) = set.pipeline.view(view.as_str()) else { return Ok(Outcome::NothingNew) };
        let newest = BatchViewStore::new(&self.lake, planned.clone()).newest().await?;
        Ok(newest.map_or(Outcome::NoData, Outcome::Published))
    }
}

fn request(source: &SourceName, mode: Mode) -> RunRequest {
    RunRequest {
        source: Some(source.clone()),
        views: Vec::new(),
        mode: match mode {
            Mode::Full => RunMode::Full,
            Mode::Incremental => RunMode::Incremental,
            Mode::Range { from, to, only_missing } => RunMode::Buckets { from, to, only_missing },
        },
        kind: RunKind::Recompute,
        priority: Priority::ByHand,
        // Whoever waits is told at once.
        retries: Some(0),
        max_concurrent: None,
        idempotency_key: None,
        deadline: None,
        schedule: None,
    }
}
