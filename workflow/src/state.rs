//! What the journal adds up to: every run that is known, who leads, who works at what.
//!
//! Guarantee: plain data, and cheap to copy: what did not change is shared. Equal journals give equal states, bit for
//! bit.
//! Not here: how an entry changes it (`fold/mod.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ids::{Epoch, RunId, TaskId, Token, WorkerId};
use crate::runs::{Run, RunState};
use crate::spec::RunSpec;
use crate::task::Task;

/// A lease in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leased {
    /// Its token.
    pub token: Token,
    /// Who has it.
    pub worker: WorkerId,
}

/// What the journal adds up to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// The term of the leader.
    pub epoch: Epoch,
    /// Who leads; `None` before the first, and after one that resigned.
    pub leader: Option<WorkerId>,
    /// Whether no task is taken in any run.
    pub is_paused: bool,
    /// The most tasks at the same time in all runs; `None`: as many as there are slots.
    pub max_concurrent: Option<u32>,
    /// The number of the newest run that ever was.
    pub last_run: RunId,
    /// How many leases were ever taken.
    pub leases_taken: u64,
    /// All runs that are not forgotten.
    pub runs: BTreeMap<RunId, Arc<Run>>,
    /// All leases in force, in the order in which they were taken.
    pub leases: Vec<Leased>,
    /// What the leader has to remember.
    pub notes: Arc<BTreeMap<String, Value>>,
}

impl State {
    /// A run by its number.
    pub fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.get(&id).map(|run| &**run)
    }

    /// A task by the numbers of its run and its own.
    pub fn task(&self, run: RunId, task: TaskId) -> Option<&Task> {
        self.run(run)?.task(task)
    }

    /// Runs that have not ended.
    pub fn open_runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.values().map(|run| &**run).filter(|run| !run.state.is_ended())
    }

    /// Whether nothing is at work, and nothing is to be had until somebody starts or resumes a run.
    pub fn is_idle(&self) -> bool {
        let is_active = |run: &Run| matches!(run.state, RunState::Queued | RunState::Running);
        self.leases.is_empty() && (self.is_paused || !self.open_runs().any(is_active))
    }

    /// Whether `worker` has exactly this lease.
    pub fn has_lease(&self, token: &Token, worker: &WorkerId) -> bool {
        self.leases.iter().any(|lease| lease.token == *token && lease.worker == *worker)
    }

    /// The leases of a worker.
    pub fn leases_of<'a>(&'a self, worker: &'a WorkerId) -> impl Iterator<Item = Token> + 'a {
        self.leases.iter().filter(move |lease| lease.worker == *worker).map(|lease| lease.token)
    }

    /// The run of an idempotency key: that it was started with, or that found it.
    pub fn run_of_key(&self, key: &str) -> Option<&Run> {
        self.runs.values().map(|run| &**run).find(|run| run.has_key(key))
    }

    /// The run that is queued or at work for the same work.
    pub fn open_run_of(&self, spec: &RunSpec) -> Option<&Run> {
        self.open_runs().find(|run| run.spec.is_same_work(spec))
    }

    /// The run by whose permanent failure a run by schedule of the same work is refused: the last one, where what it
    /// depended on is still the same.
    pub fn failure_of(&self, spec: &RunSpec) -> Option<&Run> {
        let cause_key = spec.cause_key.as_ref()?;
        let last = self.runs.values().rev().find(|run| run.spec.is_same_work(spec))?;
        let failure = last.failure.as_ref().filter(|_| last.state == RunState::Failed)?;
        // A task may know its cause better than whoever asked for the run; either must have changed.
        let is_same =
            failure.failure.cause_key.as_ref().or(last.spec.cause_key.as_ref()).is_some_and(|key| key == cause_key);
        (!failure.failure.is_transient && is_same).then_some(&**last)
    }

    /// How many leases of a run are in force.
    pub fn leases_in(&self, run: RunId) -> usize {
        self.leases.iter().filter(|lease| lease.token.run == run).count()
    }

    /// Why a task cannot be taken now, if it cannot.
    pub fn why_not(&self, run: RunId, task: TaskId) -> Option<&'static str> {
        let Some(run) = self.run(run) else { return Some("there is no such run") };
        let has_room = |cap: Option<u32>, used: usize| cap.is_none_or(|cap| used < cap as usize);
        match run.task(task) {
            _ if self.is_paused => Some("all runs are paused"),
            _ if !matches!(run.state, RunState::Queued | RunState::Running) => Some("its run is paused or has ended"),
            None => Some("there is no such task"),
            Some(task) if !task.is_ready() => Some("the task is not ready"),
            Some(_) if !has_room(self.max_concurrent, self.leases.len()) => {
                Some("as many tasks as allowed are at work")
            }
            Some(_) if !has_room(run.spec.max_concurrent, self.leases_in(run.id)) => {
                Some("as many tasks of its run as allowed are at work")
            }
            Some(_) => None,
        }
    }
}
