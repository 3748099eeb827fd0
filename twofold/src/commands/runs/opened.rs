//! What each of these commands works on.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Error, Result, anyhow};
use lake::Lake;
use serving_layer::registry::DefinitionRegistry;
use views::{Pipeline, PlannedView};
use workflow::{Refused, Run, RunId, State, Workflow, WorkflowError};

use crate::arguments::SettingsArguments;
use crate::commands::{asked_pipeline, open_lake};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::definitions::RunningDefinitions;
use crate::environment::{RandomIds, SystemClock};
use crate::runs::dry_run::Planning;
use crate::runs::view::gone;

/// Runs that are named to who asked for one that there is not.
const NAMED: usize = 10;

/// The workflow of a lake, whether or not a system runs on it.
pub(super) struct Opened {
    pub(super) config: Config,
    lake: Lake,
    pub(super) workflow: Workflow,
    data_dir: DataDir,
}

/// Finds the lake that the settings name.
pub(super) async fn open(settings: &SettingsArguments) -> Result<Opened> {
    let (config, data_dir, lake) = open_lake(settings).await?;
    let workflow = Workflow::new(&lake, Arc::new(SystemClock), Arc::new(RandomIds));
    Ok(Opened { config, lake, workflow, data_dir })
}

impl Opened {
    /// The pipeline asked for, or the present one.
    pub(super) async fn pipeline(&self, asked: Option<&Path>) -> Result<Pipeline> {
        asked_pipeline(asked, &self.data_dir, &self.lake).await
    }

    /// The replaced definitions that batch goes on with, as every process reads them.
    pub(super) async fn former(&self) -> Result<Vec<PlannedView>> {
        let set = RunningDefinitions::read_present(&DefinitionRegistry::new(&self.lake)).await?;
        Ok(set.former_views().cloned().collect())
    }

    /// What runs are planned on before they are started.
    pub(super) fn planning(&self) -> Planning {
        let (config, lake) = (Arc::new(self.config.clone()), self.lake.clone());
        Planning { config, lake, clock: Arc::new(SystemClock), ids: Arc::new(RandomIds) }
    }

    /// A run with its tasks, or the way to those that there are.
    pub(super) async fn run(&self, id: RunId) -> Result<Arc<Run>> {
        self.told(self.workflow.run(id).await)
    }

    /// What a command gave; of a run that there is not, the ones that there are.
    pub(super) fn told<T>(&self, done: Result<T, WorkflowError>) -> Result<T> {
        done.map_err(|error| match error {
            WorkflowError::Refused(Refused::NoRun(run)) => no_run(&self.workflow.state(), run),
            error => Error::from(error),
        })
    }
}

fn no_run(state: &State, run: RunId) -> Error {
    let newest: Vec<String> = state.runs.keys().rev().take(NAMED).map(ToString::to_string).collect();
    if newest.is_empty() {
        return anyhow!("there is no run {run}, since none was ever started here: `twofold runs start` starts one");
    }
    let newest = newest.join(", ");
    let told = if run <= state.last_run { gone(run) } else { format!("there is no run {run} yet") };
    anyhow!("{told}; the newest ones are {newest}: `twofold runs list` shows all")
}
