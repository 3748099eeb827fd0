//! What each of these commands works on.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Error, Result, anyhow};
use lake::Lake;
use views::Pipeline;
use workflow::{Refused, Run, RunId, State, Workflow, WorkflowError};

use crate::arguments::SettingsArguments;
use crate::commands::{pipeline_path, read_config};
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::environment::{RandomIds, SystemClock};
use crate::pipeline_file::read_pipeline;
use crate::wiring::find_lake;

/// Runs that are named to who asked for one that there is not.
const NAMED: usize = 10;

/// The workflow of a lake, whether or not a system runs on it.
pub(super) struct Opened {
    pub(super) config: Config,
    pub(super) lake: Lake,
    pub(super) workflow: Workflow,
    data_dir: DataDir,
}

/// Finds the lake that the settings name.
pub(super) async fn open(settings: &SettingsArguments) -> Result<Opened> {
    let config = read_config(settings, "")?;
    let data_dir = DataDir::find(&config.system.data_dir, config.lake.is_in_data_dir())?;
    let lake = find_lake(&config.lake, &data_dir).await?;
    let workflow = Workflow::new(&lake, Arc::new(SystemClock), Arc::new(RandomIds));
    Ok(Opened { config, lake, workflow, data_dir })
}

impl Opened {
    /// The pipeline asked for, else that of the system which runs on the directory, or ran last.
    pub(super) fn pipeline(&self, asked: Option<&Path>) -> Result<Pipeline> {
        read_pipeline(&pipeline_path(asked, &self.data_dir)?)
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
    anyhow!("there is no run {run}, or not any more; the newest ones are {newest}: `twofold runs list` shows all")
}
