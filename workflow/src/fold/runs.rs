//! Changes of whole runs: started, joined, paused, resumed, cancelled, retried, archived, forgotten.

use std::sync::Arc;

use positions::TimestampMicros;

use crate::entry::Planned;
use crate::ids::RunId;
use crate::refused::Refused;
use crate::runs::{MAX_JOINED_KEYS, Run, RunState};
use crate::state::State;
use crate::task::TaskState;

/// The most runs that have not ended.
pub(super) const MAX_OPEN_RUNS: usize = 1_000;

pub(super) fn start(state: &mut State, mut run: Run, tasks: &[Planned]) -> Result<(), Refused> {
    if run.id.0 != state.last_run.0 + 1 {
        return Err(Refused::NotNext(run.id));
    }
    if tasks.is_empty() {
        return Err(Refused::Empty);
    }
    let of_key = run.spec.idempotency_key.as_deref().and_then(|key| state.run_of_key(key));
    if let Some(other) = of_key {
        return Err(Refused::KeyInUse(other.id));
    }
    if let Some(other) = state.open_run_of(&run.spec) {
        return Err(Refused::SameWork(other.id));
    }
    if let Some(failed) = state.failure_of(&run.spec).filter(|_| run.spec.schedule.is_some()) {
        let reason = failed.failure.as_ref().map(|failed| failed.failure.reason.clone()).unwrap_or_default();
        return Err(Refused::SameFailure { run: failed.id, reason });
    }
    if state.open_runs().count() >= MAX_OPEN_RUNS {
        return Err(Refused::TooMuch(format!("{MAX_OPEN_RUNS} runs are queued or at work: cancel some, or wait")));
    }
    let at = run.created_at;
    for planned in tasks {
        run.add(planned, at)?;
    }
    run.turn = state.leases_taken;
    state.last_run = run.id;
    state.runs.insert(run.id, Arc::new(run));
    Ok(())
}

pub(super) fn join(state: &mut State, id: RunId, key: &Arc<str>) -> Result<(), Refused> {
    if let Some(other) = state.run_of_key(key) {
        return Err(if other.id == id { Refused::Already } else { Refused::KeyInUse(other.id) });
    }
    let run = state.run_mut(id)?;
    if run.state.is_ended() {
        return Err(Refused::Ended(id));
    }
    let surplus = (run.joined_keys.len() + 1).saturating_sub(MAX_JOINED_KEYS);
    drop(run.joined_keys.drain(..surplus));
    run.joined_keys.push(Arc::clone(key));
    Ok(())
}

pub(super) fn pause(state: &mut State, run: Option<RunId>) -> Result<(), Refused> {
    let Some(id) = run else {
        let was_paused = std::mem::replace(&mut state.is_paused, true);
        return if was_paused { Err(Refused::Already) } else { Ok(()) };
    };
    let run = state.run_mut(id)?;
    match run.state {
        RunState::Paused => Err(Refused::Already),
        ended if ended.is_ended() => Err(Refused::Ended(id)),
        _ => {
            run.state = RunState::Paused;
            Ok(())
        }
    }
}

pub(super) fn resume(state: &mut State, run: Option<RunId>) -> Result<(), Refused> {
    let Some(id) = run else {
        let was_paused = std::mem::replace(&mut state.is_paused, false);
        return if was_paused { Ok(()) } else { Err(Refused::Already) };
    };
    let run = state.run_mut(id)?;
    match run.state {
        RunState::Paused => {
            run.state = going_on(run);
            Ok(())
        }
        ended if ended.is_ended() => Err(Refused::Ended(id)),
        _ => Err(Refused::Already),
    }
}

fn going_on(run: &Run) -> RunState {
    if run.started_at.is_some() { RunState::Running } else { RunState::Queued }
}

pub(super) fn cancel(state: &mut State, id: RunId, at: TimestampMicros) -> Result<(), Refused> {
    let run = state.run_mut(id)?;
    if run.state.is_ended() {
        return Err(Refused::Ended(id));
    }
    let is_open =
        |state: &TaskState| matches!(state, TaskState::Pending | TaskState::Waiting { .. } | TaskState::Leased { .. });
    run.set_all(is_open, &TaskState::Cancelled, at);
    run.state = RunState::Cancelled;
    run.ended_at = Some(at);
    state.leases.retain(|lease| lease.token.run != id);
    Ok(())
}

pub(super) fn retry(state: &mut State, id: RunId, at: TimestampMicros) -> Result<(), Refused> {
    let spec = Arc::clone(&state.run_mut(id)?.spec);
    if let Some(other) = state.open_run_of(&spec) {
        return Err(if other.id == id { Refused::NothingToRetry(id) } else { Refused::SameWork(other.id) });
    }
    let run = state.run_mut(id)?;
    if !matches!(run.state, RunState::Failed | RunState::Cancelled) {
        return Err(Refused::NothingToRetry(id));
    }
    if run.is_archived {
        return Err(Refused::Archived(id));
    }
    let is_undone =
        |state: &TaskState| matches!(state, TaskState::Failed { .. } | TaskState::Skipped | TaskState::Cancelled);
    for task in run.tasks.iter_mut().filter(|task| is_undone(&task.state)) {
        let task = Arc::make_mut(task);
        (task.failures, task.lost) = (0, 0);
    }
    run.set_all(is_undone, &TaskState::Pending, at);
    run.state = going_on(run);
    (run.failure, run.ended_at, run.has_missed_deadline) = (None, None, false);
    Ok(())
}

pub(super) fn miss_deadline(state: &mut State, id: RunId) -> Result<(), Refused> {
    let run = state.run_mut(id)?;
    if run.state.is_ended() {
        return Err(Refused::Ended(id));
    }
    if std::mem::replace(&mut run.has_missed_deadline, true) { Err(Refused::Already) } else { Ok(()) }
}

pub(super) fn archive(state: &mut State, id: RunId) -> Result<(), Refused> {
    let leases = state.leases_in(id);
    let run = state.run_mut(id)?;
    if !run.state.is_ended() || leases > 0 {
        return Err(Refused::StillNeeded(id));
    }
    if std::mem::replace(&mut run.is_archived, true) {
        return Err(Refused::Already);
    }
    run.tasks = Vec::new();
    Ok(())
}

pub(super) fn forget(state: &mut State, id: RunId) -> Result<(), Refused> {
    if !state.run_mut(id)?.is_archived {
        return Err(Refused::StillNeeded(id));
    }
    state.runs.remove(&id);
    Ok(())
}
