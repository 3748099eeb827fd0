//! The handle: starts runs, commands them, shows them. Works from any process that reaches the lake, with or without a
//! process that takes part.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lake::Lake;
use positions::{Clock, IdSource};
use serde_json::Value;
use tokio::sync::watch;

use crate::beat::{Beat, read_beats};
use crate::entry::{Change, Content};
use crate::error::WorkflowError;
use crate::ids::{RunId, WorkerId};
use crate::journal::{Decision, Journal};
use crate::objects::history_name;
use crate::refused::Refused;
use crate::runs::Run;
use crate::spec::{RunSpec, TaskSpec};
use crate::start::{self, Start};
use crate::state::State;

/// The workflow of a lake, as this process reads and changes it. Cheap to clone; clones share what was read.
#[derive(Clone)]
pub struct Workflow {
    journal: Arc<Journal>,
}

/// The state with what the processes say of themselves.
#[derive(Clone, Debug, PartialEq)]
pub struct Overview {
    /// The state.
    pub state: Arc<State>,
    /// Signs of life, also of processes that died lately.
    pub processes: BTreeMap<WorkerId, Beat>,
}

impl Overview {
    /// For how long nothing was heard of a process, as whoever leads tells; `None`: it lives, as far as is known.
    pub fn silence(&self, worker: &WorkerId) -> Option<Duration> {
        let leader = self.processes.get(self.state.leader.as_ref()?)?;
        leader.silent.get(worker).copied().map(Duration::from_secs)
    }

    /// The processes that nothing says are dead.
    pub fn living(&self) -> impl Iterator<Item = &Beat> {
        self.processes.iter().filter(|(worker, _)| self.silence(worker).is_none()).map(|(_, beat)| beat)
    }
}

impl Workflow {
    /// The workflow of a lake; an id of this process is drawn. Does no IO.
    pub fn new(lake: &Lake, clock: Arc<dyn Clock>, ids: Arc<dyn IdSource>) -> Self {
        Self { journal: Arc::new(Journal::new(lake, clock, ids)) }
    }

    /// The id of this process.
    pub fn id(&self) -> &WorkerId {
        self.journal.worker()
    }

    /// Starts a run with its first tasks, each behind those that it names. One with the idempotency key of a known run
    /// is that run; one of the same work as a run that has not ended joins it, and its key is one of that run.
    ///
    /// # Errors
    /// [`WorkflowError::Refused`]: the key belongs to other work, the tasks do not fit together, or it is a run by
    /// schedule that would fail as the last one did. [`WorkflowError::Lake`], [`WorkflowError::Contended`]: it is not
    /// known whether the run was started; started again with its idempotency key, it is not doubled.
    pub async fn start(&self, spec: RunSpec, tasks: &[TaskSpec]) -> Result<Start, WorkflowError> {
        start::start(&self.journal, spec, tasks, &[]).await
    }

    /// From now on no task of a run is taken, with `None` none at all; what is at work goes on to its end.
    ///
    /// # Errors
    /// [`WorkflowError::Refused`]: there is no such run, or it has ended. What is paused already is no error.
    pub async fn pause(&self, run: Option<RunId>) -> Result<(), WorkflowError> {
        self.command(Change::Paused { run }).await
    }

    /// Ends a pause of a run, with `None` that of all.
    ///
    /// # Errors
    /// As [`Self::pause`].
    pub async fn resume(&self, run: Option<RunId>) -> Result<(), WorkflowError> {
        self.command(Change::Resumed { run }).await
    }

    /// Ends a run: none of its tasks is taken any more, and what those at work still give is refused.
    ///
    /// # Errors
    /// [`WorkflowError::Refused`]: there is no such run, or it has ended.
    pub async fn cancel(&self, run: RunId) -> Result<(), WorkflowError> {
        self.command(Change::Cancelled { run }).await
    }

    /// Tries again what failed, was skipped or cancelled in a run, and nothing that is done.
    ///
    /// # Errors
    /// [`WorkflowError::Refused`]: there is nothing to do again, or its tasks are archived.
    pub async fn retry(&self, run: RunId) -> Result<(), WorkflowError> {
        self.command(Change::Retried { run }).await
    }

    /// The state as this process read it last; empty before the first reading.
    pub fn state(&self) -> Arc<State> {
        self.journal.state()
    }

    /// Why the store has not answered of late, while this process asks it again and again; `None` where it answers.
    pub fn unreachable(&self) -> Option<String> {
        self.journal.unreachable()
    }

    /// Why this process can read nothing more until somebody has acted; `None` where it can, or will again by itself.
    pub fn broken(&self) -> Option<String> {
        self.journal.broken()
    }

    /// How many entries the journal had when this process read it last; `None` while it is reading.
    pub fn entries_read(&self) -> Option<u64> {
        self.journal.number()
    }

    /// Changes of what this process reads: a process that takes part reads with every beat; any other has to call
    /// [`Self::refresh`].
    pub fn changes(&self) -> watch::Receiver<Arc<State>> {
        self.journal.watch()
    }

    /// Reads what is new.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn refresh(&self) -> Result<Arc<State>, WorkflowError> {
        self.journal.refresh().await
    }

    /// Reads what is new, and how far the processes are.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn overview(&self) -> Result<Overview, WorkflowError> {
        let state = self.journal.refresh().await?;
        Ok(Overview { state, processes: read_beats(self.journal.objects()).await? })
    }

    /// A run with its tasks, from the state or, where they are archived, from the history.
    ///
    /// # Errors
    /// [`WorkflowError::Refused`]: there is no such run. [`WorkflowError::Lake`]: the store does not answer.
    pub async fn run(&self, id: RunId) -> Result<Arc<Run>, WorkflowError> {
        let state = self.journal.refresh().await?;
        self.run_of(&state, id).await
    }

    /// A run of a state that was read, with its tasks, likewise.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub async fn run_of(&self, state: &State, id: RunId) -> Result<Arc<Run>, WorkflowError> {
        if let Some(run) = state.runs.get(&id).filter(|run| !run.is_archived) {
            return Ok(Arc::clone(run));
        }
        let archived: Option<Run> = self.journal.objects().get(&history_name(id)).await?;
        Ok(Arc::new(archived.ok_or(Refused::NoRun(id))?))
    }

    /// The output of a task that is done. Those of archived runs that were too large for the journal are gone.
    ///
    /// # Errors
    /// The store does not answer, or has lost it.
    pub async fn output(&self, run: &Run, output: &Content) -> Result<Value, WorkflowError> {
        Ok(self.journal.objects().output(&run.key, output).await?)
    }

    pub(crate) fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    async fn command(&self, change: Change) -> Result<(), WorkflowError> {
        let changed = self.journal.commit(|_| Ok(Decision::Append(vec![change.clone()], ()))).await;
        match changed {
            Err(WorkflowError::Refused(Refused::Already)) => Ok(()),
            changed => changed,
        }
    }
}
