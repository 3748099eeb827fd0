//! What is due by the schedules, and who is told of runs: asked by the process that leads, with every beat.
//!
//! Guarantee: an occurrence starts its runs once, however often its leader dies: what was decided is in the same entry
//! as the last of them, and each has a key made of schedule, occurrence and source. A process whose definitions others
//! took the place of starts nothing.
//! Not here: which occurrence is due (`workflow::schedule`), what a notice says (`crate::notify`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use lake::Lake;
use positions::TimestampMicros;
use serde_json::Value;
use serving_layer::registry::DefinitionRegistry;
use tracing::{debug, info, warn};
use workflow::schedule::{Decision, Memory, RunMode as ScheduleMode, RunningOf, Schedule, ScheduleName, Start, decide};
use workflow::{
    Due, Duties, Priority, Refused, RunId, RunKind, RunMode, RunSpec, State, TaskSpec, Workflow, WorkflowError,
};

use super::notes::Notes;
use super::schedule_memory::{changes, memory_of, noted_of};
use super::specs::{RunRequest, runs_of};
use super::tidings;
use crate::config::Config;
use crate::definitions::{Definitions, RunningDefinitions};
use crate::notify::{MissedDeadline, Notifier};
use crate::schedules::written_schedules;
use crate::wiring::SharedComponents;

/// The written schedules of a process, by its definitions of the moment.
pub struct ScheduledRuns {
    workflow: Workflow,
    lake: Lake,
    config: Arc<Config>,
    definitions: Definitions,
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
        Self::of(workflow, lake, config, definitions, notifier)
    }

    /// The same of parts.
    pub fn of(
        workflow: Workflow,
        lake: Lake,
        config: Arc<Config>,
        definitions: Definitions,
        notifier: Notifier,
    ) -> Self {
        Self { workflow, lake, config, definitions, memory: Mutex::default(), notifier: Mutex::new(notifier) }
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
        let decisions = decide(&schedules, &self.config.schedules.rules, &remembered.memory, now, &running);
        for skipped in decisions.iter().filter(|decision| !decision.is_to_be_kept()) {
            debug!(?skipped, "what is due is left out");
            remembered.memory.apply(skipped);
        }
        (noted, remembered.memory.clone(), decisions)
    }

    /// The runs of an occurrence; what is to be noted, with the last of them.
    fn runs_due(&self, set: &RunningDefinitions, start: &Start, notes: Vec<(String, Value)>) -> Vec<Due> {
        let schedules = written_schedules(&self.config, &set.pipeline);
        let Some(schedule) = schedules.iter().find(|schedule| schedule.name == start.schedule) else {
            return Vec::new();
        };
        let request = request_of(schedule, start);
        let runs = match runs_of(&set.pipeline, &request, &self.config) {
            Ok(runs) => runs,
            Err(error) => {
                warn!(schedule = %start.schedule, error = format!("{error:#}"), "what is due cannot be started");
                return Vec::new();
            }
        };
        let count = runs.len();
        let with_notes = |(at, (spec, tasks)): (usize, (RunSpec, Vec<TaskSpec>))| Due {
            spec,
            tasks,
            notes: if at + 1 == count { notes.clone() } else { Vec::new() },
        };
        runs.into_iter().enumerate().map(with_notes).collect()
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
                Decision::Learn { .. } | Decision::Forget { .. } | Decision::Wait { .. } | Decision::Skip { .. } => {}
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
        let mut due = Vec::new();
        for start in starts {
            if self.cancel(&start).await {
                memory.apply(&Decision::Start(start.clone()));
                due.extend(self.runs_due(&set, &start, changes(&noted, &memory)));
            }
        }
        due
    }

    fn note_start(&self, due: &Due, start: &Result<workflow::Start, WorkflowError>) {
        if let Ok(start) = start {
            let (schedule, source) = (due.spec.schedule.as_deref(), &due.spec.source);
            info!(run = %start.run(), schedule, %source, "run started by its schedule");
        }
    }
}

fn request_of(schedule: &Schedule, start: &Start) -> RunRequest {
    RunRequest {
        source: schedule.target.source.clone(),
        views: schedule.target.views.clone(),
        mode: match schedule.mode {
            ScheduleMode::Full => RunMode::Full,
            ScheduleMode::Incremental => RunMode::Incremental,
        },
        kind: RunKind::Recompute,
        priority: Priority::Scheduled,
        retries: None,
        max_concurrent: None,
        idempotency_key: Some(format!("{}@{}", schedule.name, start.occurrence.0)),
        deadline: schedule.deadline,
        schedule: Some(schedule.name.0.clone()),
    }
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
