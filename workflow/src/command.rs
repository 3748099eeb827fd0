//! A run of one task that a command does itself, in its own process: seen like any other, and fenced against a second.
//!
//! In: what the command is about to do. Out: a lease on the one task of its run.
//! Guarantee: of two commands for the same work one gets the lease. The lease orders who works at it and nothing else:
//! what the command writes must be right without it.
//! Not here: whether whoever has the lease lives, and telling that this process does (`command/run.rs`); what becomes
//! of the run of a command that was killed (`leader.rs`).

pub(crate) mod run;

use std::sync::Arc;

use serde_json::json;
use tokio::time::Instant;

use crate::entry::Change;
use crate::error::WorkflowError;
use crate::handle::Workflow;
use crate::ids::{RunId, TaskId, Token};
use crate::journal::Decision;
use crate::progress::Progress;
use crate::refused::Refused;
use crate::slots::Slots;
use crate::spec::{RunSpec, TaskKind, TaskSpec};
use crate::start::Start;
use crate::state::Leased;
use crate::worker::Worker;

/// The one task.
const TASK: TaskId = TaskId(1);

/// A lease of this process on the one task of a run.
pub struct CommandRun {
    pub(crate) worker: Worker,
    pub(crate) slots: Arc<Slots>,
    pub(crate) progress: Arc<Progress>,
    pub(crate) began: Instant,
    token: Token,
}

impl CommandRun {
    /// The run.
    pub fn run(&self) -> RunId {
        self.token.run
    }

    /// How far it is: counted by the command.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    pub(crate) fn token(&self) -> Token {
        self.token
    }
}

/// What one look found.
pub(crate) enum Taken {
    /// The lease is this process's.
    Here(CommandRun),
    /// Another process has it.
    Elsewhere(Leased),
    /// It is not to be had now.
    NotNow(&'static str),
}

/// Starts the run, or finds the one that there is, and takes its task where nobody has it.
pub(crate) async fn take(workflow: &Workflow, spec: &RunSpec, kind: TaskKind) -> Result<Taken, WorkflowError> {
    let task = TaskSpec { id: TASK, kind, after: Vec::new(), parameters: json!({}), weight_bytes: 0 };
    let start = workflow.start(spec.clone(), &[task]).await?;
    let (journal, run) = (workflow.journal(), start.run());
    let taken = journal.commit(|state| {
        if let Some(lease) = state.leases.iter().find(|lease| lease.token.run == run) {
            return Ok(Decision::Nothing(Ok(lease.clone())));
        }
        let attempt = state.task(run, TASK).ok_or(Refused::NoTask { run, task: TASK })?.attempt + 1;
        let lease =
            Leased { token: Token { run, task: TASK, attempt, epoch: state.epoch }, worker: journal.worker().clone() };
        Ok(match state.why_not(run, TASK) {
            Some(why) => Decision::Nothing(Err(why)),
            None => Decision::Append(vec![Change::Leased { token: lease.token }], Ok(lease)),
        })
    });
    match taken.await? {
        // One that was taken by a call whose reply was lost is found as this process's, too.
        Ok(lease) if lease.worker == *journal.worker() => {
            let (slots, began) = (Arc::new(Slots::default()), Instant::now());
            let progress = slots.begin(lease.token, began);
            Ok(Taken::Here(CommandRun { worker: Worker::new(workflow), slots, progress, began, token: lease.token }))
        }
        Ok(lease) => Ok(Taken::Elsewhere(lease)),
        Err(why) => {
            if matches!(start, Start::Started(_)) {
                workflow.cancel(run).await?;
            }
            Ok(Taken::NotNow(why))
        }
    }
}
