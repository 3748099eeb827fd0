//! A worker, one step each: take tasks, learn what they are, report them, give them back; say that it lives.
//!
//! Guarantee: what is reported counts only under a lease that is in force; a report whose outcome was not known may be
//! made again. Leases of this process that it does not work at, because it never heard that it got them, are found in
//! the state.
//! Not here: when to do what (`run.rs`).

use std::sync::Arc;

use tracing::warn;

use crate::beat::{Beat, put_beat, remove_beat};
use crate::choose::{Abilities, choose_within};
use crate::entry::{Change, Content, Failure, Work};
use crate::error::WorkflowError;
use crate::executor::{Assignment, TaskError, TaskOutput};
use crate::handle::Workflow;
use crate::ids::{TaskId, Token};
use crate::journal::{Decision, Journal};
use crate::lease::Lease;
use crate::room::Room;
use crate::runs::Run;
use crate::spec::TaskSpec;
use crate::state::State;
use crate::task::{Task, TaskState};

/// The steps of a worker.
#[derive(Clone)]
pub struct Worker {
    journal: Arc<Journal>,
}

impl Worker {
    /// A worker of this process.
    pub fn new(workflow: &Workflow) -> Self {
        Self { journal: Arc::clone(workflow.journal()) }
    }

    /// Reads what is new; returns the leases that this process has.
    ///
    /// # Errors
    /// The journal does not answer: take nothing, and ask again.
    pub async fn leases(&self) -> Result<Vec<Token>, WorkflowError> {
        Ok(self.journal.refresh().await?.leases_of(self.journal.worker()).collect())
    }

    /// Whether the journal seems to hold more than was read: one small request, for looks in between. An answer that
    /// does not come is none.
    pub async fn has_news(&self) -> bool {
        self.journal.has_news().await.unwrap_or(false)
    }

    /// Takes at most `free` tasks.
    ///
    /// # Errors
    /// The journal does not answer, or many take at once: ask again. It is not known then whether tasks were taken;
    /// [`Self::leases`] says so.
    pub async fn take(&self, free: usize) -> Result<Vec<Token>, WorkflowError> {
        self.take_within(Room::of(free), &|_| true).await
    }

    /// Takes tasks of the kinds that this process can do, as far as it has room for them beside those that it has.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub async fn take_within(&self, room: Room, can_do: &Abilities<'_>) -> Result<Vec<Token>, WorkflowError> {
        let taken = self.journal.commit(|state| {
            let tokens = choose_within(state, self.journal.worker(), room, can_do);
            let changes: Vec<Change> = tokens.iter().map(|token| Change::Leased { token: *token }).collect();
            Ok(if changes.is_empty() { Decision::Nothing(tokens) } else { Decision::Append(changes, tokens) })
        });
        taken.await
    }

    /// What a lease is for; `None` where this process does not have it, as far as it knows.
    ///
    /// # Errors
    /// The store does not answer: ask again. It has lost the parameters: the task cannot be done.
    pub async fn assignment(&self, token: Token) -> Result<Option<Assignment>, WorkflowError> {
        let state = self.journal.state();
        let run = state.run(token.run).filter(|_| state.has_lease(&token, self.journal.worker()));
        let Some((run, task)) = run.and_then(|run| Some((run, run.task(token.task)?))) else { return Ok(None) };
        let parameters = self.journal.objects().parameters(run, task).await?;
        Ok(Some(Assignment {
            token,
            lease: Lease::new(Arc::clone(&self.journal), token),
            run: Arc::clone(&run.spec),
            run_key: Arc::clone(&run.key),
            task: TaskSpec {
                id: task.id,
                kind: task.kind,
                after: task.after.to_vec(),
                parameters,
                weight_bytes: task.weight_bytes,
            },
            before: outputs_before(run, task),
            objects: self.journal.objects().clone(),
        }))
    }

    /// Reports how a task ended. Returns whether it counts: `false` where the lease was lost.
    ///
    /// # Errors
    /// The store does not answer: report it again.
    pub async fn report(
        &self,
        token: Token,
        result: &Result<TaskOutput, TaskError>,
        work: Work,
    ) -> Result<bool, WorkflowError> {
        let change = match result {
            Ok(given) => match self.stored(token, given, work).await {
                Ok(Some(change)) => change,
                Ok(None) => return Ok(has_counted(&self.journal.state(), token)),
                Err(error) if error.is_transient() => return Err(error),
                Err(error) => not_kept(token, &error),
            },
            Err(error) => Change::Failed { token, failure: error.into() },
        };
        match self.commit_report(token, change).await {
            Err(error) if result.is_ok() && !error.is_transient() => {
                self.commit_report(token, not_kept(token, &error)).await
            }
            reported => reported,
        }
    }

    /// Whether a lease that this process had is over, and nothing was reported under it.
    pub fn was_taken_away(&self, token: Token) -> bool {
        let state = self.journal.state();
        let is_known = state.task(token.run, token.task).is_some();
        is_known && !state.has_lease(&token, self.journal.worker()) && !has_counted(&state, token)
    }

    /// Gives tasks back that this process will not do, so that others need not wait until it is silent.
    ///
    /// # Errors
    /// The journal does not answer: the leases run out by themselves.
    pub async fn release(&self) -> Result<(), WorkflowError> {
        let released = self.journal.commit(|state| {
            let leases = state.leases_of(self.journal.worker());
            let changes: Vec<Change> = leases.map(|token| Change::Released { token }).collect();
            Ok(if changes.is_empty() { Decision::Nothing(()) } else { Decision::Append(changes, ()) })
        });
        released.await
    }

    /// Says that this process lives, and what it works at.
    ///
    /// # Errors
    /// The store does not answer: say it again, before the patience of others is over.
    pub async fn tell(&self, beat: &Beat) -> Result<(), WorkflowError> {
        put_beat(self.journal.objects(), self.journal.worker(), beat).await
    }

    /// Takes back what this process said, so that nobody waits for more.
    ///
    /// # Errors
    /// The store does not answer: what was said goes by itself.
    pub async fn fall_silent(&self) -> Result<(), WorkflowError> {
        remove_beat(self.journal.objects(), self.journal.worker()).await
    }

    async fn stored(&self, token: Token, given: &TaskOutput, work: Work) -> Result<Option<Change>, WorkflowError> {
        let state = self.journal.state();
        // A lease that is lost already leaves no objects behind.
        let run = state.run(token.run).filter(|_| state.has_lease(&token, self.journal.worker()));
        let Some(run) = run else { return Ok(None) };
        let objects = self.journal.objects();
        let prefix = format!("{}-{}", token.task, token.attempt);
        let next = objects.store_tasks(&run.key, &prefix, &given.next).await?;
        let output = objects.store_output(&run.key, &token, &given.output).await?;
        Ok(Some(Change::Done { token, output, next, work }))
    }

    async fn commit_report(&self, token: Token, change: Change) -> Result<bool, WorkflowError> {
        let worker = self.journal.worker();
        let reported = self.journal.commit(|state| {
            Ok(match state.has_lease(&token, worker) {
                true => Decision::Append(vec![change.clone()], true),
                false => Decision::Nothing(has_counted(state, token)),
            })
        });
        reported.await
    }
}

/// Whether a report under this lease is in the state: made by a call that did not hear of it.
fn has_counted(state: &State, token: Token) -> bool {
    state.task(token.run, token.task).is_some_and(|task| {
        let is_reported =
            matches!(task.state, TaskState::Done { .. } | TaskState::Waiting { .. } | TaskState::Failed { .. });
        task.attempt == token.attempt && is_reported
    })
}

fn not_kept(token: Token, error: &WorkflowError) -> Change {
    warn!(run = token.run.0, %token, %error, "what a task gave cannot be kept");
    let reason = format!("what the task gave cannot be kept: {error}");
    let failure = Failure { is_transient: !error.is_about_content(), ..Failure::permanent(reason) };
    Change::Failed { token, failure }
}

fn outputs_before(run: &Run, task: &Task) -> Vec<(TaskId, Content)> {
    let before = task.after.iter().filter_map(|before| run.task(*before));
    let outputs = before.filter_map(|before| match &before.state {
        TaskState::Done { output, .. } => Some((before.id, output.clone())),
        _ => None,
    });
    outputs.collect()
}
