//! The loops of a process that takes part: working, telling that it lives, leading or waiting to.
//!
//! Guarantee: a task that this process has lost is dropped as soon as it reads of it, and what it still gives is
//! refused by the journal. Told to stop, it drops its tasks, gives them back and resigns; killed, others see it some
//! seconds later. While the store does not answer nothing is taken. While nothing is queued or running, the loops go
//! slowly (`WorkflowSettings::idle`).
//! Not here: what a step does (`worker.rs`, `leader.rs`).

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use positions::Backoff;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, debug, info, info_span, warn};

use crate::beat::Beat;
use crate::choose::choose_within;
use crate::config::WorkflowSettings;
use crate::duties::Duties;
use crate::entry::Work;
use crate::error::WorkflowError;
use crate::executor::{Assignment, Executor, TaskError, TaskOutput};
use crate::handle::Workflow;
use crate::ids::{Token, WorkerId};
use crate::leader::{Leader, Standing};
use crate::progress::Progress;
use crate::room::Room;
use crate::slots::Slots;
use crate::spec::TaskKind;
use crate::worker::Worker;

/// So long a process that stops tries to give its tasks back; what is left is taken from it.
const FAREWELL: Duration = Duration::from_secs(3);

/// Between tries while the store does not answer.
const RETRY: Backoff = Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(10) };

/// What a process takes part with.
pub struct WorkflowComponents {
    /// The workflow, as this process reads and changes it.
    pub workflow: Workflow,
    /// Does tasks.
    pub executor: Arc<dyn Executor>,
    /// Says what is due, where this process leads.
    pub duties: Option<Arc<dyn Duties>>,
    /// Who it is, for people: host and process.
    pub name: String,
}

/// Takes part until `shutdown`: works in as many slots as the settings say, and leads where nobody else does.
///
/// # Errors
/// None at present: what fails is logged and tried again.
pub async fn run_workflow(
    components: WorkflowComponents,
    settings: WorkflowSettings,
    shutdown: CancellationToken,
) -> Result<(), WorkflowError> {
    let WorkflowComponents { workflow, executor, duties, name } = components;
    let (slots, steps, silent) = (Slots::default(), AtomicU64::new(0), Mutex::default());
    let worker = Worker::new(&workflow);
    let mut leader = Leader::new(&workflow, Arc::clone(&executor), duties, settings.clone());
    let crew = Crew {
        workflow: &workflow,
        worker: &worker,
        executor: &executor,
        settings: &settings,
        slots: &slots,
        steps: &steps,
        silent: &silent,
    };
    tokio::join!(
        crew.work(&shutdown),
        shutdown.run_until_cancelled(crew.tell(name)),
        shutdown.run_until_cancelled(crew.lead(&mut leader)),
    );
    let farewell = async {
        worker.release().await?;
        leader.resign().await?;
        worker.fall_silent().await
    };
    match timeout(FAREWELL, farewell).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "tasks of this process could not be given back; others take them later"),
        Err(_) => warn!("tasks of this process could not be given back in time; others take them later"),
    }
    Ok(())
}

/// The first of a series is told aloud.
fn count_failure(failures: u32, error: &WorkflowError, what: &str) -> u32 {
    if failures == 0 {
        warn!(%error, "{what}; trying again");
    } else {
        debug!(%error, failures, "{what}; trying again");
    }
    failures.saturating_add(1)
}

/// What the loops of one process share.
struct Crew<'a> {
    workflow: &'a Workflow,
    worker: &'a Worker,
    executor: &'a Arc<dyn Executor>,
    settings: &'a WorkflowSettings,
    slots: &'a Slots,
    // Counted by the loop that leads, read by the one that tells; nothing else depends on it, so no order is needed.
    steps: &'a AtomicU64,
    // Of whom this process has heard nothing while it leads, and since when. Noted by the loop that leads, read by the
    // one that tells; held for that only.
    silent: &'a Mutex<BTreeMap<WorkerId, Instant>>,
}

impl Crew<'_> {
    /// Leads, or waits to, in steps.
    async fn lead(&self, leader: &mut Leader) {
        if !self.settings.may_lead {
            return;
        }
        let (mut failures, mut led) = (0, false);
        loop {
            match leader.step(Instant::now()).await {
                Ok(standing) => {
                    if led && standing == Standing::Follows {
                        warn!("another process leads the workflow now");
                    }
                    self.steps.fetch_add(1, Ordering::Relaxed);
                    (failures, led) = (0, standing == Standing::Leads);
                    *self.silent() = if led { leader.silent(Instant::now()) } else { BTreeMap::new() };
                }
                Err(error) => {
                    failures = count_failure(failures, &error, "a step of leading the workflow failed");
                    // It may be this process that hears nothing.
                    self.silent().clear();
                }
            }
            let is_idle = failures == 0 && self.workflow.state().is_idle();
            let pause = if is_idle { self.settings.idle() } else { self.settings.beat };
            sleep(pause.max(if failures > 0 { RETRY.delay(failures) } else { Duration::ZERO })).await;
        }
    }

    /// Tells again and again that this process lives.
    async fn tell(&self, name: String) {
        let (mut beat, mut failures) = (0, 0);
        loop {
            beat += 1;
            let at_work = self.slots.at_work(Instant::now());
            let steps = self.steps.load(Ordering::Relaxed);
            let (slots, memory) = (self.settings.slots, self.settings.memory);
            let full_size = memory.full_size(slots);
            let silent = self.tell_silent(Instant::now());
            let told = Beat { beat, steps, name: name.clone(), slots, full_size, at_work, silent };
            match self.worker.tell(&told).await {
                Ok(()) => failures = 0,
                Err(error) => failures = count_failure(failures, &error, "this process cannot tell that it lives"),
            }
            sleep(self.beat()).await;
        }
    }

    fn tell_silent(&self, now: Instant) -> BTreeMap<WorkerId, u64> {
        let seconds = |since: &Instant| now.duration_since(*since).as_secs();
        self.silent().iter().map(|(worker, since)| (worker.clone(), seconds(since))).collect()
    }

    fn silent(&self) -> MutexGuard<'_, BTreeMap<WorkerId, Instant>> {
        self.silent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Between two signs of life: whoever leads is watched closely.
    fn beat(&self) -> Duration {
        let state = self.workflow.state();
        let leads = state.leader.as_ref() == Some(self.workflow.id());
        if leads || !state.is_idle() { self.settings.beat } else { self.settings.idle() }
    }

    /// Between two looks for tasks; what is new ends it, however it was read.
    fn pause(&self) -> Duration {
        match (self.workflow.state().is_idle(), self.settings.may_lead) {
            (false, _) => self.settings.poll,
            (true, false) => self.settings.poll.max(self.settings.idle()),
            // The steps of leading read it.
            (true, true) => self.settings.step_patience(),
        }
    }

    /// Waits for the next look, and looks at once when the journal seems to have grown: what another process starts is
    /// not held up by how seldom an idle one reads.
    async fn rest(&self, pause: Duration) {
        let until = Instant::now() + pause;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            sleep(left.min(self.settings.poll)).await;
            if left <= self.settings.poll || self.worker.has_news().await {
                return;
            }
        }
    }

    /// Takes tasks and works at them until `shutdown`.
    async fn work(&self, shutdown: &CancellationToken) {
        if self.settings.slots == 0 {
            return;
        }
        let mut tasks = Tasks::default();
        let mut changes = self.workflow.changes();
        let mut failures = 0;
        loop {
            changes.mark_unchanged();
            match shutdown.run_until_cancelled(self.fill(&mut tasks)).await {
                None => break,
                Some(Ok(())) => failures = 0,
                Some(Err(error)) => failures = count_failure(failures, &error, "no task of the workflow can be taken"),
            }
            let pause = if failures > 0 { RETRY.delay(failures) } else { self.pause() };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                Some(ended) = tasks.running.join_next() => {
                    // One that was dropped is forgotten already.
                    if let Ok(ended) = ended {
                        tasks.end(&ended, self.slots);
                    }
                }
                _ = changes.changed(), if failures == 0 => {}
                () = self.rest(pause) => {}
            }
        }
        // Dropped tasks report nothing; whoever is told to stop waits for them to be gone.
        tasks.running.shutdown().await;
    }

    /// Drops what was lost, works at what this process has, and takes more where it has room.
    async fn fill(&self, tasks: &mut Tasks) -> Result<(), WorkflowError> {
        let mut leases = self.worker.leases().await?;
        let lost: Vec<Token> = tasks.handles.keys().filter(|token| !leases.contains(token)).copied().collect();
        for token in lost {
            // Nearly always it has just been reported.
            if self.worker.was_taken_away(token) {
                tell_taken_away(token);
            }
            tasks.drop_task(&token, self.slots);
        }
        // A place is free once its task is gone, which may hold memory until then.
        let (slots, memory) = (self.settings.slots, self.settings.memory);
        let free = slots.saturating_sub(leases.len().max(tasks.running.len()));
        let is_memory_known = memory.all.is_none() || tasks.running.len() == tasks.handles.len();
        let can_do = |kind: TaskKind| self.executor.can_do(kind);
        let room = Room { slots, free, memory };
        let has_room = free > 0 && is_memory_known;
        // Taking reads once more: not for nothing.
        if has_room && !choose_within(&self.workflow.state(), self.workflow.id(), room, &can_do).is_empty() {
            leases.extend(self.worker.take_within(room, &can_do).await?);
        }
        for token in leases {
            // More than asked for, where a reply was lost: one waits for the other.
            if !tasks.handles.contains_key(&token) && tasks.handles.len() < self.settings.slots {
                let progress = self.slots.begin(token, Instant::now());
                let (worker, executor) = (self.worker.clone(), Arc::clone(self.executor));
                // Every line of the log that a task leads to bears its run and its number.
                let span = info_span!("task", run = token.run.0, task = token.task.0, attempt = token.attempt);
                let handle = tasks.running.spawn(do_task(worker, executor, token, progress).instrument(span));
                tasks.handles.insert(token, handle);
            }
        }
        Ok(())
    }
}

/// The tasks that run in this process.
#[derive(Default)]
struct Tasks {
    running: JoinSet<Ended>,
    handles: BTreeMap<Token, AbortHandle>,
}

/// A task that is at its end here.
struct Ended {
    token: Token,
    /// Whether its report was refused, since its lease was another's by then.
    is_refused: bool,
}

fn tell_taken_away(token: Token) {
    warn!(run = token.run.0, %token, "task was taken away; what it gave is not used");
}

impl Tasks {
    /// Where a look at the journal was first to see that it was taken away, it is told already.
    fn end(&mut self, ended: &Ended, slots: &Slots) {
        if ended.is_refused && self.handles.contains_key(&ended.token) {
            tell_taken_away(ended.token);
        }
        self.forget(&ended.token, slots);
    }

    fn forget(&mut self, token: &Token, slots: &Slots) {
        self.handles.remove(token);
        slots.end(token);
    }

    fn drop_task(&mut self, token: &Token, slots: &Slots) {
        if let Some(handle) = self.handles.get(token) {
            handle.abort();
        }
        self.forget(token, slots);
    }
}

/// Does a task and reports it, however often the store has to be asked.
async fn do_task(worker: Worker, executor: Arc<dyn Executor>, token: Token, progress: Arc<Progress>) -> Ended {
    let began = Instant::now();
    let mut failures = 0;
    let result = loop {
        match worker.assignment(token).await {
            Ok(Some(assignment)) => break execute(&*executor, &assignment, &progress).await,
            Ok(None) => return Ended { token, is_refused: false },
            Err(error) if error.is_transient() => {
                failures = count_failure(failures, &error, "a task cannot be read");
                sleep(RETRY.delay(failures)).await;
            }
            Err(error) => break Err(TaskError::from(error)),
        }
    };
    let reached = progress.reached();
    let took_millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    let work = Work { rows: reached.rows, bytes: reached.bytes, took_millis };
    match &result {
        Ok(_) => info!(%token, rows = work.rows, took_millis, "task done"),
        Err(TaskError::Superseded { reason }) => info!(%token, reason, "task is needed no more"),
        Err(error) => warn!(%token, %error, "task failed"),
    }
    failures = 0;
    loop {
        match worker.report(token, &result, work).await {
            Ok(counts) => return Ended { token, is_refused: !counts },
            Err(error) => {
                failures = count_failure(failures, &error, "a task cannot be reported");
                sleep(RETRY.delay(failures)).await;
            }
        }
    }
}

/// A panic is a failure of its task alone, and may be one of the moment.
async fn execute(
    executor: &dyn Executor,
    assignment: &Assignment,
    progress: &Progress,
) -> Result<TaskOutput, TaskError> {
    let executed = AssertUnwindSafe(executor.execute(assignment, progress)).catch_unwind().await;
    executed.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
        Err(TaskError::Transient { reason: format!("the task panicked: {text}") })
    })
}
