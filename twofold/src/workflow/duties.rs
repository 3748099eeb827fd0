//! What is due by the schedules, and who is told of runs: asked by the process that leads, with every beat.
//!
//! Guarantee: an occurrence starts its runs once, however often its leader dies: what was decided is in the same entry
//! as the last of them, and each has a key made of schedule, occurrence and source. A process whose definitions others
//! took the place of starts nothing. What is new of a view waits while a run of others goes first (`interval.rs`). An
//! interval of what is new starts nothing where nothing is.
//! Not here: which occurrence is due (`workflow::schedule`), what a notice says (`crate::notify`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lake::Lake;
use positions::{Clock, IdSource, TimestampMicros};
use serde_json::Value;
use serving_layer::registry::DefinitionRegistry;
use tokio::time::Instant;
use tracing::{debug, info, warn};
use views::PlannedView;
use workflow::schedule::{
    Decision, Look, Memory, RunningOf, Schedule, ScheduleName, SkipReason, Start, Timing, WaitReason, Waiting, decide,
};
use workflow::{
    Due, Duties, Priority, Refused, Run, RunId, RunKind, RunMode, RunSpec, State, TaskSpec, Workflow, WorkflowError,
};

use super::interval::goes_first;
use super::news::NewsLook;
use super::notes::Notes;
use super::schedule_memory::{changes, memory_of, noted_of};
use super::specs::{RunRequest, runs_of};
use super::tidings;
use crate::config::Config;
use crate::definitions::{Definitions, RunningDefinitions};
use crate::notify::{MissedDeadline, Notifier};
use crate::schedules::{views_of, written_schedules};
use crate::wiring::SharedComponents;

/// How long one step of the leader looks for what is new: far less than others wait for its steps.
const LOOKING: Duration = Duration::from_secs(2);

/// A run as it is asked for, with its first tasks.
type Asked = (RunSpec, Vec<TaskSpec>);

/// The written schedules of a process, by its definitions of the moment.
pub struct ScheduledRuns {
    workflow: Workflow,
    lake: Lake,
    config: Arc<Config>,
    definitions: Definitions,
    news: NewsLook,
    /// Since when these schedules are those of this process; `None`: only now.
    since: Option<TimestampMicros>,
    // Asked by the loop that leads alone; neither is held while anything is waited for.
    memory: Mutex<Remembered>,
    notifier: Mutex<Notifier>,
}

/// What was decided: as the journal holds it, and what is not worth an entry on top of it.
#[derive(Default)]
struct Remembered {
    noted: Option<Notes>,
    memory: Memory,
}

impl ScheduledRuns {
    /// Those of a process with these components.
    pub fn new(shared: &SharedComponents, definitions: Definitions, notifier: Notifier) -> Self {
        let (workflow, lake, config) = (shared.workflow.clone(), shared.lake.clone(), Arc::clone(&shared.config));
        let since = Some(shared.clock.now());
        let seams = (shared.clock.clone(), shared.ids.clone());
        Self { since, ..Self::of((workflow, lake), config, seams, definitions, notifier) }
    }

    /// The same of parts.
    pub fn of(
        (workflow, lake): (Workflow, Lake),
        config: Arc<Config>,
        (clock, ids): (Arc<dyn Clock>, Arc<dyn IdSource>),
        definitions: Definitions,
        notifier: Notifier,
    ) -> Self {
        let (memory, notifier) = (Mutex::default(), Mutex::new(notifier));
        let news = NewsLook { lake: lake.clone(), clock, ids };
        Self { workflow, lake, config, definitions, news, since: None, memory, notifier }
    }

    /// What is decided now, on what the journal holds with what was left out since.
    fn decide(&self, set: &RunningDefinitions, state: &State, now: TimestampMicros) -> (Notes, Memory, Vec<Decision>) {
        let schedules: Vec<Schedule> = written_schedules(&self.config, &set.pipeline);
        let noted = noted_of(state);
        let mut remembered = lock(&self.memory);
        if remembered.noted.as_ref() != Some(&noted) {
            *remembered = Remembered { memory: memory_of(&noted), noted: Some(noted.clone()) };
        }
        let running = running_of(state);
        let look = Look { now, since: self.since.unwrap_or(now) };
        let decisions = decide(&schedules, &self.config.schedules.rules, &remembered.memory, look, &running);
        let held_up = held_up(&schedules, set, state);
        let decisions = decisions.into_iter().filter_map(|decision| match decision {
            Decision::Start(start) if held_up.contains(&&start.schedule) => waits(&remembered.memory, &start),
            decision => Some(decision),
        });
        let decisions: Vec<Decision> = decisions.collect();
        for skipped in decisions.iter().filter(|decision| !decision.is_to_be_kept()) {
            debug!(?skipped, "what is due is left out");
            remembered.memory.apply(skipped);
        }
        (noted, remembered.memory.clone(), decisions)
    }

    /// The runs of an occurrence.
    fn runs_due(&self, set: &RunningDefinitions, schedule: &Schedule, start: &Start) -> Vec<Asked> {
        runs_of(&set.pipeline, &request_of(schedule, start), &self.config).unwrap_or_else(|error| {
            warn!(schedule = %start.schedule, error = format!("{error:#}"), "what is due cannot be started");
            Vec::new()
        })
    }

    /// Those of these runs that find something new, as far as that is known by `until`.
    async fn with_news(
        &self,
        runs: Vec<Asked>,
        (set, state): (&RunningDefinitions, &State),
        until: Instant,
    ) -> Vec<Asked> {
        let mut worth = Vec::new();
        for (spec, tasks) in runs {
            if self.news.is_worth(&spec, (set, state), until).await {
                worth.push((spec, tasks));
            }
        }
        worth
    }

    /// Nothing is new: the next occurrence looks again.
    fn leave_out(&self, start: &Start, memory: &mut Memory) {
        let (schedule, occurrence) = (start.schedule.clone(), start.up_to);
        let skipped = Decision::Skip { schedule, occurrence, reason: SkipReason::NothingNew };
        debug!(?skipped, "what is due is left out");
        memory.apply(&skipped);
        lock(&self.memory).memory.apply(&skipped);
    }

    /// Ends the runs that an occurrence takes the place of. Returns whether it may start.
    async fn cancel(&self, start: &Start) -> bool {
        for run in start.replaces.iter().filter_map(|run| run.parse::<u64>().ok()) {
            match self.workflow.cancel(RunId(run)).await {
                Ok(()) => info!(run, schedule = %start.schedule, "run cancelled, since its schedule is due again"),
                Err(WorkflowError::Refused(Refused::Ended(_) | Refused::NoRun(_))) => {}
                Err(error) => {
                    warn!(run, schedule = %start.schedule, %error, "a run cannot be replaced yet");
                    return false;
                }
            }
        }
        true
    }

    /// Whether the definitions of this process are the present ones. Asked only where something is due.
    async fn is_present(&self, set: &RunningDefinitions) -> bool {
        match DefinitionRegistry::new(&self.lake).present().await {
            Ok(present) => present.is_none_or(|present| present.number == set.number),
            Err(error) => {
                warn!(%error, "the registry of definitions cannot be read; what is due starts later");
                false
            }
        }
    }
}

#[async_trait]
impl Duties for ScheduledRuns {
    async fn notes(&self, state: &State, now: TimestampMicros) -> Vec<(String, Value)> {
        let (noted, mut memory, decisions) = self.decide(&self.definitions.current(), state, now);
        let mut notifier = lock(&self.notifier);
        let mut is_to_be_noted = false;
        for decision in decisions.iter().filter(|decision| decision.is_to_be_kept()) {
            match decision {
                // In one entry with its runs.
                Decision::Start(_) => continue,
                Decision::MissedDeadline { schedule, occurrence, run } => {
                    warn!(%schedule, run = run.as_deref(), "what was due is not done in time");
                    let (schedule, run) = (schedule.clone(), run.clone());
                    notifier.deadline_missed(&MissedDeadline { schedule, occurrence: *occurrence, run }, now);
                }
                Decision::Learn { schedule, .. } => {
                    info!(%schedule, "schedule is new, or due at other times than before")
                }
                Decision::Forget { schedule } => {
                    warn!(%schedule, "schedule is none of this process, which leads: it starts nothing any more; all \
                                      processes of a lake need the same `[schedules]`");
                }
                Decision::Wait { .. } | Decision::Skip { .. } => {}
            }
            memory.apply(decision);
            is_to_be_noted = true;
        }
        // What was left out alone is not worth an entry.
        let mut notes = if is_to_be_noted { changes(&noted, &memory) } else { Vec::new() };
        notes.extend(tidings::tell(state, &mut notifier));
        notes
    }

    async fn due(&self, state: &State, now: TimestampMicros) -> Vec<Due> {
        let set = self.definitions.current();
        let (noted, mut memory, decisions) = self.decide(&set, state, now);
        let starts = decisions.into_iter().filter_map(|decision| match decision {
            Decision::Start(start) => Some(start),
            _ => None,
        });
        let starts: Vec<Start> = starts.collect();
        if starts.is_empty() || !self.is_present(&set).await {
            return Vec::new();
        }
        let schedules = written_schedules(&self.config, &set.pipeline);
        let until = Instant::now() + LOOKING;
        let mut due = Vec::new();
        for start in starts {
            let Some(schedule) = schedules.iter().find(|schedule| schedule.name == start.schedule) else { continue };
            let mut runs = self.runs_due(&set, schedule, &start);
            if runs.is_empty() {
                continue;
            }
            if looks_first(schedule, &memory) {
                runs = self.with_news(runs, (&set, state), until).await;
            }
            if runs.is_empty() {
                self.leave_out(&start, &mut memory);
            } else if self.cancel(&start).await {
                memory.apply(&Decision::Start(start));
                due.extend(with_notes(runs, &changes(&noted, &memory)));
            }
        }
        due
    }

    fn note_start(&self, due: &Due, start: &Result<workflow::Start, WorkflowError>) {
        if let Ok(start) = start {
            let (schedule, source) = (due.spec.schedule.as_deref(), &due.spec.source);
            info!(run = start.run().0, schedule, %source, "run started by its schedule");
        }
    }
}

/// Whether a schedule starts nothing where nothing is new. The moments of `cron` somebody has chosen, and looks for
/// their runs; what waits under a deadline is told as missed until its run is done.
fn looks_first(schedule: &Schedule, memory: &Memory) -> bool {
    let waits = || memory.schedules.get(&schedule.name).is_some_and(|kept| kept.waiting.is_some());
    let is_interval = matches!(schedule.timing, Timing::Every { .. });
    is_interval && schedule.mode == RunMode::Incremental && (schedule.deadline.is_none() || !waits())
}

/// Runs with what is to be noted, which is in one entry with the last of them.
fn with_notes(runs: Vec<Asked>, notes: &[(String, Value)]) -> impl Iterator<Item = Due> {
    let count = runs.len();
    let of_run = move |at: usize| if at + 1 == count { notes.to_vec() } else { Vec::new() };
    runs.into_iter().enumerate().map(move |(at, (spec, tasks))| Due { spec, tasks, notes: of_run(at) })
}

fn request_of(schedule: &Schedule, start: &Start) -> RunRequest {
    RunRequest {
        source: schedule.target.source.clone(),
        views: schedule.target.views.clone(),
        mode: schedule.mode,
        kind: RunKind::Recompute,
        priority: Priority::Scheduled,
        retries: None,
        max_concurrent: None,
        idempotency_key: Some(format!("{}@{}", schedule.name, start.occurrence.0)),
        deadline: schedule.deadline,
        schedule: Some(schedule.name.0.clone()),
    }
}

/// The schedules of what is new that have views which a run of others computes that goes first.
fn held_up<'a>(schedules: &'a [Schedule], set: &RunningDefinitions, state: &State) -> Vec<&'a ScheduleName> {
    let is_held_up = |schedule: &&Schedule| {
        let is_of_others = |run: &Run| run.spec.schedule.as_ref() != Some(&schedule.name.0);
        let is_in = |run: &Run, view: &PlannedView| run.spec.views.contains(&(view.name.clone(), view.hash));
        let mut first = state.open_runs().filter(|run| goes_first(run) && is_of_others(run));
        first.any(|run| views_of(&schedule.target, &set.pipeline).any(|view| is_in(run, view)))
    };
    let schedules = schedules.iter().filter(|schedule| schedule.mode == RunMode::Incremental);
    schedules.filter(is_held_up).map(|schedule| &schedule.name).collect()
}

/// That an occurrence waits; `None`: it does already.
fn waits(memory: &Memory, start: &Start) -> Option<Decision> {
    let is_known = memory.schedules.get(&start.schedule).is_some_and(|kept| kept.waiting.is_some());
    let waiting = Waiting { occurrence: start.occurrence, is_catch_up: start.is_catch_up };
    let reason = WaitReason::Overlap;
    (!is_known).then(|| Decision::Wait { schedule: start.schedule.clone(), waiting, reason })
}

/// The runs of schedules that have not ended; their keys say of which occurrence.
fn running_of(state: &State) -> Vec<RunningOf> {
    let running = state.open_runs().filter_map(|run| {
        let schedule = ScheduleName(run.spec.schedule.clone()?);
        let (_, occurrence) = run.spec.idempotency_key.as_deref()?.split_once('@')?;
        let occurrence = occurrence.split('/').next()?.parse().ok()?;
        Some(RunningOf { run: run.id.to_string(), schedule, occurrence: TimestampMicros(occurrence) })
    });
    running.collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
