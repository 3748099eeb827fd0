//! Commands that do their work themselves, as runs: `twofold erase` and `twofold import`.
//!
//! Guarantee: what a command does is right without its run, which shows it and keeps a second command from the same
//! work. Where the journal of runs cannot be written, the command goes on unseen. Nothing of events is written there,
//! since no erasing takes it out again: neither a condition, nor an error that may quote some.
//! Why no process that takes part does it: an erasing needs the log and the realtime store, an import the files, and
//! both work on a system that is stopped.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};
use lake::Lake;
use positions::SourceName;
use serde_json::{Value, json};
use tracing::warn;
use workflow::{
    CommandRun, CommandStart, Priority, Progress, RunKind, RunMode, RunSpec, TaskError, TaskKind, Workflow,
    WorkflowSettings, begin_command,
};

use super::run::name_of_process;
use super::specs::of_part;
use crate::config::Config;
use crate::environment::{RandomIds, SystemClock};

/// What a command is shown by, while it works.
pub struct SeenRun {
    held: Option<CommandRun>,
    beat: Duration,
}

impl SeenRun {
    /// Of a command that changes nothing.
    pub fn unseen() -> Self {
        Self { held: None, beat: Duration::ZERO }
    }

    /// Of an erasing, whose process holds the folder of the log where it is embedded: there is one at a time of each
    /// source. Where another process has it, that is watched for a sign of life, for `workflow.lease_patience` at most.
    ///
    /// # Errors
    /// Another process that lives erases of the source, or all runs are paused.
    pub async fn of_erasing(lake: &Lake, config: &Config, source: &SourceName) -> Result<Self> {
        let workflow = workflow_of(lake);
        let spec = spec_of(RunKind::Housekeeping, source, of_part("erase"));
        let takes_part = config.workflow.takes_part.clone();
        // Whoever has the folder of an embedded log is alone: another one that erased has ended, and nobody is waited
        // for.
        let lease_patience = if config.log.is_embedded { Duration::ZERO } else { takes_part.lease_patience };
        Self::begin(&workflow, &spec, TaskKind::Erase, &WorkflowSettings { lease_patience, ..takes_part }).await
    }

    /// Of an import: there may be several at a time.
    ///
    /// # Errors
    /// All runs are paused.
    pub async fn of_import(lake: &Lake, config: &Config, source: &SourceName) -> Result<Self> {
        let workflow = workflow_of(lake);
        let spec = spec_of(RunKind::Import, source, json!({ "by": workflow.id() }));
        Self::begin(&workflow, &spec, TaskKind::Import, &config.workflow.takes_part).await
    }

    async fn begin(workflow: &Workflow, spec: &RunSpec, kind: TaskKind, settings: &WorkflowSettings) -> Result<Self> {
        if workflow.refresh().await.is_ok_and(|state| state.is_paused) {
            bail!("all runs are paused: `twofold runs resume` ends that; then run the command again");
        }
        let held = match begin_command(workflow, spec, kind, settings).await {
            Ok(CommandStart::Begun(run)) => Some(run),
            Ok(CommandStart::Elsewhere { run, process }) => bail!(
                "process {process} does that already, as run {run}: `twofold runs watch {run}` shows when it has ended; \
                 then run the command again"
            ),
            Ok(CommandStart::NotNow(why)) => {
                warn!(why, "what this command does is not in the list of runs");
                None
            }
            Err(error) => {
                warn!(%error, "what this command does is not in the list of runs");
                None
            }
        };
        Ok(Self { held, beat: settings.beat })
    }

    /// What the command counts by; `None` where nobody sees it.
    pub fn progress(&self) -> Option<&Progress> {
        self.held.as_ref().map(CommandRun::progress)
    }

    /// Does `work`, seen.
    pub async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        match &self.held {
            Some(run) => run.during(&name_of_process(), self.beat, work).await,
            None => work.await,
        }
    }

    /// Says what the command did; `None`: it failed. Why is told by the command alone.
    pub async fn end(self, did: Option<String>) {
        let Some(run) = self.held else { return };
        let reason = "the command failed, and said why; the same command goes on with it".to_owned();
        let failed = TaskError::Permanent { reason, cause_key: None };
        run.end(did.map(|did| json!({ "did": did })).ok_or(failed)).await;
    }
}

fn workflow_of(lake: &Lake) -> Workflow {
    Workflow::new(lake, Arc::new(SystemClock), Arc::new(RandomIds))
}

fn spec_of(kind: RunKind, source: &SourceName, parameters: Value) -> RunSpec {
    RunSpec {
        kind,
        source: source.clone(),
        views: Vec::new(),
        mode: RunMode::Full,
        parameters,
        priority: Priority::ByHand,
        retries: 0,
        max_concurrent: None,
        idempotency_key: None,
        deadline: None,
        schedule: None,
        cause_key: None,
    }
}
