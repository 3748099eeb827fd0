//! A run, its tasks, and where they stand.
//!
//! Guarantee: counts and blocked tasks agree with the tasks, whatever is called in whatever order.
//! Why so: tasks are shared between the states before and after an entry; one that does not change is never copied.

use std::collections::BTreeSet;
use std::sync::Arc;

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};

use crate::entry::{Failure, Planned, Work};
use crate::ids::{RunId, TaskId};
use crate::refused::Refused;
use crate::spec::RunSpec;
use crate::task::{Task, TaskCounts, TaskState};

/// The most tasks of a run: its first entry, or that of the task which brings them, must fit into the journal.
pub const MAX_TASKS: usize = 20_000;

/// Idempotency keys of a run that joined it, the newest: a run that somebody joins each minute while it is paused does
/// not grow for days.
pub const MAX_JOINED_KEYS: usize = 100;

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// None of its tasks was taken yet.
    Queued,
    /// At work.
    Running,
    /// None of its tasks is taken until somebody resumes it.
    Paused,
    /// All tasks are done.
    Done,
    /// A task failed for good.
    Failed,
    /// Somebody ended it.
    Cancelled,
}

impl RunState {
    /// Whether nothing more is done for it, unless somebody retries it.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Done | Self::Failed | Self::Cancelled)
    }

    /// In one word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Why a run failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunFailure {
    /// The first task that failed for good.
    pub task: TaskId,
    /// Why it failed.
    pub failure: Failure,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Names its objects and its files; no other run ever had it.
    pub key: Arc<str>,
    /// What was asked for.
    pub spec: Arc<RunSpec>,
    /// Idempotency keys of starts that found it, [`MAX_JOINED_KEYS`] of them, the newest last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub joined_keys: Vec<Arc<str>>,
    /// Where it stands.
    pub state: RunState,
    /// When it was asked for, by the clock of whoever asked. For people alone, as all instants here.
    pub created_at: TimestampMicros,
    /// When its first task was taken.
    pub started_at: Option<TimestampMicros>,
    /// When it ended.
    pub ended_at: Option<TimestampMicros>,
    /// Why it failed.
    pub failure: Option<RunFailure>,
    /// How many leases of all runs had been taken, with the last one of this run, or before it was asked for: of runs
    /// of one priority the lowest has its turn.
    pub turn: u64,
    /// How many tasks stand where.
    pub counts: TaskCounts,
    /// What was done for it.
    pub work: Work,
    /// Whether it took longer than its deadline.
    pub has_missed_deadline: bool,
    /// Whether its tasks are in the history alone: `tasks` is empty then.
    pub is_archived: bool,
    /// By their numbers, ascending.
    pub tasks: Vec<Arc<Task>>,
}

impl Run {
    pub(crate) fn new(id: RunId, key: &Arc<str>, spec: &Arc<RunSpec>, at: TimestampMicros) -> Self {
        Self {
            id,
            key: Arc::clone(key),
            spec: Arc::clone(spec),
            joined_keys: Vec::new(),
            state: RunState::Queued,
            created_at: at,
            started_at: None,
            ended_at: None,
            failure: None,
            turn: 0,
            counts: TaskCounts::default(),
            work: Work::default(),
            has_missed_deadline: false,
            is_archived: false,
            tasks: Vec::new(),
        }
    }

    /// Whether an idempotency key is this run's: that of its start, or of one that found it.
    pub fn has_key(&self, key: &str) -> bool {
        self.spec.idempotency_key.as_deref() == Some(key) || self.joined_keys.iter().any(|joined| **joined == *key)
    }

    /// A task by its number.
    pub fn task(&self, id: TaskId) -> Option<&Task> {
        self.place(id).ok().map(|at| &*self.tasks[at])
    }

    /// The first number behind that of a task from which on `count` are free. Numbers of tasks that came together
    /// follow each other, and whoever brings more later counts on finding room far behind those.
    pub(crate) fn free_behind(&self, id: TaskId, count: usize) -> Option<TaskId> {
        let mut free = id.0.checked_add(1)?;
        for taken in self.tasks.iter().map(|task| task.id.0).filter(|taken| *taken > id.0) {
            if (taken - free) as usize >= count {
                break;
            }
            free = taken.checked_add(1)?;
        }
        Some(TaskId(free))
    }

    fn place(&self, id: TaskId) -> Result<usize, usize> {
        self.tasks.binary_search_by_key(&id, |task| task.id)
    }

    pub(crate) fn task_mut(&mut self, id: TaskId) -> Result<&mut Task, Refused> {
        let Ok(at) = self.place(id) else { return Err(Refused::NoTask { run: self.id, task: id }) };
        Ok(Arc::make_mut(&mut self.tasks[at]))
    }

    /// Adds a task behind tasks that are there.
    pub(crate) fn add(&mut self, planned: &Planned, at: TimestampMicros) -> Result<(), Refused> {
        let Err(place) = self.place(planned.id) else {
            return Err(Refused::TaskExists { run: self.id, task: planned.id });
        };
        if self.tasks.len() >= MAX_TASKS {
            return Err(Refused::TooMuch(format!("a run has at most {MAX_TASKS} tasks")));
        }
        let (mut blocked_by, mut is_any_split) = (0, false);
        for before in planned.after.iter() {
            let Some(task) = self.task(*before) else { return Err(Refused::NoTask { run: self.id, task: *before }) };
            blocked_by += u32::from(!matches!(task.state, TaskState::Done { .. }));
            is_any_split |= matches!(task.state, TaskState::Split { .. });
        }
        if is_any_split {
            let after = self.with_parts(&planned.after);
            return self.add(&Planned { after, ..planned.clone() }, at);
        }
        self.tasks.insert(place, Arc::new(Task::new(planned, blocked_by, at)));
        self.counts.pending += 1;
        // A run that has failed takes nothing up any more; a retry does.
        if self.state == RunState::Failed { self.set(planned.id, TaskState::Skipped, at) } else { Ok(()) }
    }

    /// Tasks with the parts of those that were split in their place, each once.
    fn with_parts(&self, tasks: &[TaskId]) -> Arc<[TaskId]> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
        let mut open: Vec<TaskId> = tasks.iter().rev().copied().collect();
        while let Some(id) = open.pop() {
            match self.task(id).map(|task| &task.state) {
                Some(TaskState::Split { into }) => open.extend(into.iter().rev()),
                _ if seen.insert(id) => found.push(id),
                _ => {}
            }
        }
        found.into()
    }

    pub(crate) fn set(&mut self, id: TaskId, state: TaskState, at: TimestampMicros) -> Result<(), Refused> {
        let task = self.task_mut(id)?;
        let former = std::mem::replace(&mut task.state, state.clone());
        task.since = at;
        *self.counts.of(&former) -= 1;
        *self.counts.of(&state) += 1;
        Ok(())
    }

    /// Sets all tasks that `is_meant`.
    pub(crate) fn set_all(&mut self, is_meant: impl Fn(&TaskState) -> bool, state: &TaskState, at: TimestampMicros) {
        for task in self.tasks.iter_mut().filter(|task| is_meant(&task.state)) {
            let task = Arc::make_mut(task);
            *self.counts.of(&task.state) -= 1;
            *self.counts.of(state) += 1;
            task.state = state.clone();
            task.since = at;
        }
    }

    /// What waited for `done` waits for one task less.
    pub(crate) fn unblock(&mut self, done: TaskId) {
        // Most tasks of a large run wait for nothing any more.
        let is_behind = |task: &&mut Arc<Task>| task.blocked_by > 0 && task.after.contains(&done);
        for task in self.tasks.iter_mut().filter(is_behind) {
            Arc::make_mut(task).blocked_by -= 1;
        }
    }

    /// What waited for `split` waits for its parts, which are open.
    pub(crate) fn replace_before(&mut self, split: TaskId, parts: &[TaskId]) {
        let more = u32::try_from(parts.len()).unwrap_or(u32::MAX);
        for task in self.tasks.iter_mut().filter(|task| task.after.contains(&split)) {
            let task = Arc::make_mut(task);
            let kept = task.after.iter().copied().filter(|before| *before != split);
            task.after = kept.chain(parts.iter().copied()).collect();
            task.blocked_by = task.blocked_by - 1 + more;
        }
    }

    /// A task failed for good, and with it the run. Tasks that are at work go on: what they give is kept for a retry.
    pub(crate) fn fail(&mut self, task: TaskId, failure: Failure, at: TimestampMicros) -> Result<(), Refused> {
        self.set(task, TaskState::Failed { failure: failure.clone() }, at)?;
        if !self.state.is_ended() {
            self.state = RunState::Failed;
            self.ended_at = Some(at);
            self.failure = Some(RunFailure { task, failure });
        }
        self.set_all(|state| matches!(state, TaskState::Pending | TaskState::Waiting { .. }), &TaskState::Skipped, at);
        Ok(())
    }

    /// A task that was taken is open again.
    pub(crate) fn reopen(&mut self, task: TaskId, at: TimestampMicros) -> Result<(), Refused> {
        let state = if self.state.is_ended() { TaskState::Skipped } else { TaskState::Pending };
        self.set(task, state, at)
    }

    /// A run without open tasks is done, unless it ended otherwise.
    pub(crate) fn settle(&mut self, at: TimestampMicros) {
        if self.counts.open() == 0 && !self.state.is_ended() {
            self.state = RunState::Done;
            self.ended_at = Some(at);
        }
    }
}
