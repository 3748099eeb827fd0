//! Leading, one step each: see whether somebody leads; whoever leads takes lost leases away, lets tasks try again,
//! starts what is due, and keeps the journal short (`upkeep.rs`).
//!
//! Guarantee: at most one leads in an epoch, and whoever reads a higher one follows from then on; an entry of an older
//! epoch is refused by the fold. Nobody is judged by the leader who was not watched by it for the whole of a patience.
//! A part of a step that fails keeps no other part back, and a leader none of whose steps succeeds is replaced.
//! Not here: when to step (`run.rs`), what was watched (`watched.rs`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::beat::{Beat, read_beat, read_beats};
use crate::config::WorkflowSettings;
use crate::duties::Duties;
use crate::entry::{Change, Failure, Planned};
use crate::error::{Parts, WorkflowError};
use crate::executor::Executor;
use crate::handle::Workflow;
use crate::ids::{TaskId, Token, WorkerId};
use crate::journal::{Decision, Journal};
use crate::spec::TaskSpec;
use crate::start::{noted, start};
use crate::state::State;
use crate::task::TaskState;
use crate::upkeep;
use crate::watched::Watched;

/// What a step found this process to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It leads.
    Leads,
    /// Another one leads.
    Follows,
}

/// The steps of a process that may lead.
pub struct Leader {
    journal: Arc<Journal>,
    executor: Arc<dyn Executor>,
    duties: Option<Arc<dyn Duties>>,
    settings: WorkflowSettings,
    watched: Watched,
    /// Whether it has been told that the upkeep fails.
    is_upkeep_failing: bool,
}

impl Leader {
    /// A candidate that has watched nobody yet.
    pub fn new(
        workflow: &Workflow,
        executor: Arc<dyn Executor>,
        duties: Option<Arc<dyn Duties>>,
        settings: WorkflowSettings,
    ) -> Self {
        let journal = Arc::clone(workflow.journal());
        Self { journal, executor, duties, settings, watched: Watched::default(), is_upkeep_failing: false }
    }

    /// Takes the lead where nobody has it, or whoever has it is silent; does what is due where this process leads.
    ///
    /// # Errors
    /// The store does not answer, or some part cannot be done: step again. What is due stays due, and what could be
    /// done is done.
    pub async fn step(&mut self, now: Instant) -> Result<Standing, WorkflowError> {
        let state = self.journal.refresh().await?;
        let worker = self.journal.worker().clone();
        if state.leader.as_ref() != Some(&worker) {
            return self.follow(&state, now).await;
        }
        let beats = read_beats(self.journal.objects()).await?;
        for (worker, beat) in &beats {
            // Also of those without leases: their objects are to go some day.
            self.watched.silence(worker, Some(beat.beat), now);
        }
        let mut parts = Parts::default();
        parts.note(self.take_away_lost(&state, &beats, now).await)?;
        parts.note(self.take_away_stalled(&state, &beats, now).await)?;
        parts.note(self.fail_abandoned(&state, now).await)?;
        parts.note(self.let_try_again(&state, now).await)?;
        parts.note(self.tell_deadlines(&state, now).await)?;
        parts.note(self.start_due(&state).await)?;
        self.keep_up(now).await;
        parts.end().map(|()| Standing::Leads)
    }

    /// The others that this process, where it leads, has heard nothing of for so long that their leases are taken away,
    /// and since when.
    pub fn silent(&self, now: Instant) -> BTreeMap<WorkerId, Instant> {
        let mut silent = self.watched.silent(self.settings.lease_patience, now);
        silent.remove(self.journal.worker());
        silent
    }

    /// Leads no more, so that another process need not wait until this one is silent.
    ///
    /// # Errors
    /// The store does not answer: another one leads some seconds later.
    pub async fn resign(&mut self) -> Result<(), WorkflowError> {
        let worker = self.journal.worker();
        let resigned = self.journal.commit(|state| {
            Ok(match state.leader.as_ref() == Some(worker) {
                true => Decision::Append(vec![Change::Resigned], ()),
                false => Decision::Nothing(()),
            })
        });
        resigned.await
    }

    async fn follow(&mut self, state: &State, now: Instant) -> Result<Standing, WorkflowError> {
        if let Some(leader) = &state.leader {
            let beat = read_beat(self.journal.objects(), leader).await?;
            let steps = beat.as_ref().map_or(0, |beat| beat.steps);
            let silence = self.watched.silence(leader, beat.map(|beat| beat.beat), now);
            // One whose steps fail for good, or never end, tells on that it lives.
            let standstill = self.watched.standstill_of_steps(leader, steps, now);
            if silence < self.settings.leader_patience && standstill < self.settings.step_patience() {
                return Ok(Standing::Follows);
            }
        }
        let (epoch, former) = (state.epoch, state.leader.clone());
        let taken = self.journal.commit(|state| {
            // Another one may have been faster.
            let is_vacant = state.epoch == epoch && state.leader == former;
            Ok(if is_vacant { Decision::Append(vec![Change::Lead], true) } else { Decision::Nothing(false) })
        });
        if !taken.await? {
            return Ok(Standing::Follows);
        }
        info!(epoch = %epoch.next(), "this process leads the workflow");
        self.watched = Watched::default();
        Ok(Standing::Leads)
    }

    /// What is not done costs room alone, and another leader could not do it either: no failure of leading.
    async fn keep_up(&mut self, now: Instant) {
        let kept = upkeep::keep_up(&self.journal, &self.settings, &mut self.watched, now).await;
        if let Err(error) = &kept
            && !self.is_upkeep_failing
        {
            warn!(%error, "upkeep of the workflow failed; trying again with each step");
        }
        self.is_upkeep_failing = kept.is_err();
    }

    async fn take_away_lost(
        &mut self,
        state: &State,
        beats: &BTreeMap<WorkerId, Beat>,
        now: Instant,
    ) -> Result<(), WorkflowError> {
        let mut lost = BTreeMap::new();
        for lease in state.leases.iter().filter(|lease| lease.worker != *self.journal.worker()) {
            let beat = beats.get(&lease.worker);
            let silence = self.watched.silence(&lease.worker, beat.map(|beat| beat.beat), now);
            if silence >= self.settings.lease_patience {
                let name = beat.map(|beat| beat.name.as_str()).filter(|name| !name.is_empty());
                let name = name.unwrap_or(lease.worker.as_str());
                let reason = format!("process {name} was silent for {} s", silence.as_secs());
                lost.insert(lease.token, reason);
            }
        }
        self.expire(&lost).await
    }

    async fn take_away_stalled(
        &mut self,
        state: &State,
        beats: &BTreeMap<WorkerId, Beat>,
        now: Instant,
    ) -> Result<(), WorkflowError> {
        let mut stalled = BTreeMap::new();
        for lease in &state.leases {
            let at_work = beats.get(&lease.worker).map(|beat| beat.at_work.as_slice()).unwrap_or_default();
            let reached = at_work.iter().find(|at_work| at_work.token == lease.token).map(|at_work| &at_work.reached);
            let standstill = self.watched.standstill(lease.token, reached, now);
            if standstill < self.settings.stall_limit {
                continue;
            }
            let is_split = match self.split(&self.journal.state(), lease.token).await {
                // Its parts are too many or too large, or its parameters are lost.
                Err(error) if !error.is_transient() => {
                    warn!(token = %lease.token, %error, "task without progress cannot be split");
                    false
                }
                split => split?,
            };
            if !is_split {
                stalled.insert(lease.token, format!("no progress for {} s", standstill.as_secs()));
            }
        }
        self.expire(&stalled).await
    }

    /// Takes leases away, as far as they are still in force.
    async fn expire(&self, lost: &BTreeMap<Token, String>) -> Result<(), WorkflowError> {
        if lost.is_empty() {
            return Ok(());
        }
        for (token, reason) in lost {
            warn!(run = token.run.0, %token, reason, "lease taken away");
        }
        let leader = self.journal.worker();
        let expired = self.journal.commit(|state| {
            let in_force = state.leases.iter().filter_map(|lease| Some((lease.token, lost.get(&lease.token)?)));
            let changes: Vec<Change> =
                in_force.map(|(token, reason)| Change::Expired { token, reason: reason.clone() }).collect();
            let is_void = changes.is_empty() || state.leader.as_ref() != Some(leader);
            Ok(if is_void { Decision::Nothing(()) } else { Decision::Append(changes, ()) })
        });
        expired.await
    }

    /// Puts parts in the place of a task that stands still. Returns whether it was divided.
    async fn split(&self, state: &State, token: Token) -> Result<bool, WorkflowError> {
        let Some(run) = state.run(token.run) else { return Ok(false) };
        let Some(task) = run.task(token.task) else { return Ok(false) };
        let objects = self.journal.objects();
        let (id, kind, weight_bytes) = (task.id, task.kind, task.weight_bytes);
        let parameters = objects.parameters(run, task).await?;
        let spec = TaskSpec { id, kind, after: task.after.to_vec(), parameters, weight_bytes };
        let Some(parts) = self.executor.split(&run.spec, &spec).filter(|parts| !parts.is_empty()) else {
            return Ok(false);
        };
        let Some(first) = run.free_behind(task.id, parts.len()) else { return Ok(false) };
        let numbered = parts.into_iter().zip(first.0..);
        let parts: Vec<TaskSpec> = numbered
            .map(|(part, id)| TaskSpec {
                id: TaskId(id),
                kind,
                after: spec.after.clone(),
                parameters: part.parameters,
                weight_bytes: part.weight_bytes,
            })
            .collect();
        let prefix = format!("{}-{}-split", token.task, token.attempt);
        let parts: Vec<Planned> = objects.store_tasks(&run.key, &prefix, &parts).await?;
        warn!(run = token.run.0, %token, parts = parts.len(), "task without progress taken away and split");
        let leader = self.journal.worker();
        let split = self.journal.commit(|state| {
            let is_lease = state.leader.as_ref() == Some(leader) && state.leases.iter().any(|one| one.token == token);
            let is_free = parts.iter().all(|part| state.task(token.run, part.id).is_none());
            Ok(match is_lease && is_free {
                true => Decision::Append(vec![Change::Split { token, parts: parts.clone() }], ()),
                // Its end was reported meanwhile, or other tasks have these numbers: the next step looks again.
                false => Decision::Nothing(()),
            })
        });
        split.await?;
        Ok(true)
    }

    /// Ends what only the command that asked for it can do, and does no more: nobody else would ever take it.
    async fn fail_abandoned(&mut self, state: &State, now: Instant) -> Result<(), WorkflowError> {
        let mut abandoned = Vec::new();
        for run in state.open_runs() {
            // One that has just been started is about to be taken.
            let is_settled = self.watched.age(run.id, now) >= self.settings.lease_patience;
            let ready = run.tasks.iter().filter(|task| task.kind.is_by_command() && task.is_ready());
            let left = ready.filter(|task| is_settled || task.attempt > 0);
            abandoned.extend(left.map(|task| (run.id, task.id, task.attempt + 1)));
        }
        for (run, task, attempt) in abandoned {
            let token = Token { run, task, attempt, epoch: state.epoch };
            let reason = "the command that did this has ended before it was done; the same command goes on with it";
            let failure = Failure::permanent(reason);
            let changes = vec![Change::Leased { token }, Change::Failed { token, failure }];
            match self.journal.commit(|_| Ok(Decision::Append(changes.clone(), ()))).await {
                // Paused, or taken up meanwhile: the next step looks again.
                Err(WorkflowError::Refused(_)) => {}
                ended => ended?,
            }
        }
        Ok(())
    }

    async fn let_try_again(&mut self, state: &State, now: Instant) -> Result<(), WorkflowError> {
        let mut ready = Vec::new();
        for run in state.open_runs().filter(|run| run.counts.waiting > 0) {
            let waiting = run.tasks.iter().filter(|task| matches!(task.state, TaskState::Waiting { .. }));
            for task in waiting {
                let delay = || jittered(self.settings.retry.delay(task.failures), self.journal.draw());
                if self.watched.has_waited((run.id, task.id, task.attempt), delay, now) {
                    ready.push((run.id, task.id, task.attempt));
                }
            }
        }
        let changes = ready.into_iter().map(|(run, task, attempt)| Change::Ready { run, task, attempt });
        self.commit_each(changes).await
    }

    async fn tell_deadlines(&mut self, state: &State, now: Instant) -> Result<(), WorkflowError> {
        let mut missed = Vec::new();
        for run in state.open_runs() {
            let age = self.watched.age(run.id, now);
            if !run.has_missed_deadline && run.spec.deadline.is_some_and(|deadline| age >= deadline) {
                warn!(run = run.id.0, "run takes longer than its deadline");
                missed.push(Change::DeadlineMissed { run: run.id });
            }
        }
        self.commit_each(missed).await
    }

    async fn start_due(&self, state: &State) -> Result<(), WorkflowError> {
        let Some(duties) = &self.duties else { return Ok(()) };
        let now = self.journal.now();
        self.note(&duties.notes(state, now).await).await?;
        for due in duties.due(&self.journal.state(), now).await {
            let started = start(&self.journal, due.spec.clone(), &due.tasks, &due.notes).await;
            duties.note_start(&due, &started);
            if let Err(error) = started {
                if error.is_transient() {
                    return Err(error);
                }
                warn!(schedule = due.spec.schedule.as_deref(), %error, "run that is due was not started");
                self.commit_each(noted(&due.notes)).await?;
            }
        }
        Ok(())
    }

    /// All in one entry.
    async fn note(&self, notes: &[(String, Value)]) -> Result<(), WorkflowError> {
        let leader = self.journal.worker();
        let noting = self.journal.commit(|state| {
            let is_void = notes.is_empty() || state.leader.as_ref() != Some(leader);
            Ok(if is_void { Decision::Nothing(()) } else { Decision::Append(noted(notes), ()) })
        });
        match noting.await {
            // Too much to be kept: what is due nevertheless starts.
            Err(WorkflowError::Refused(refused)) => {
                warn!(%refused, "what is to be remembered of schedules and notices is not");
                Ok(())
            }
            noted => noted,
        }
    }

    /// Each in an entry of its own, so that one that does not fit any more keeps no other back.
    async fn commit_each(&self, changes: impl IntoIterator<Item = Change>) -> Result<(), WorkflowError> {
        for change in changes {
            match self.journal.commit(|_| Ok(Decision::Append(vec![change.clone()], ()))).await {
                Err(WorkflowError::Refused(_)) | Ok(()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Half of a wait to all of it: those that failed together do not come back together.
fn jittered(delay: Duration, drawn: u128) -> Duration {
    let share = (drawn % 1_024) as u32;
    delay / 2 + delay / 2 * share / 1_024
}
