//! Changes of leases, and of the tasks that they are for.
//!
//! Guarantee: what a worker reports counts only under the lease that is in force, and ends it.

use positions::TimestampMicros;

use crate::entry::{Content, Failure, Planned, Work};
use crate::ids::{RunId, TaskId, Token, WorkerId};
use crate::refused::Refused;
use crate::runs::RunState;
use crate::state::{Leased, State};
use crate::task::TaskState;

/// A task whose lease was taken away more often than this fails: whoever works at it dies of it.
pub(super) const MAX_LOST_LEASES: u32 = 5;

/// What a worker reports of a task that it has done.
pub(super) struct Done<'a> {
    pub(super) output: &'a Content,
    pub(super) next: &'a [Planned],
    pub(super) work: Work,
}

pub(super) fn lease(state: &mut State, token: Token, by: &WorkerId, at: TimestampMicros) -> Result<(), Refused> {
    if let Some(why) = state.why_not(token.run, token.task) {
        return Err(Refused::NotToBeHad { token, why });
    }
    state.leases_taken += 1;
    let (epoch, turn) = (state.epoch, state.leases_taken);
    let run = state.run_mut(token.run)?;
    let task = run.task_mut(token.task)?;
    if token.attempt != task.attempt + 1 || token.epoch != epoch {
        return Err(Refused::NotToBeHad { token, why: "its token is not the next one" });
    }
    task.attempt = token.attempt;
    run.set(token.task, TaskState::Leased { worker: by.clone(), epoch }, at)?;
    run.state = RunState::Running;
    run.turn = turn;
    run.started_at.get_or_insert(at);
    state.leases.push(Leased { token, worker: by.clone() });
    Ok(())
}

pub(super) fn done(
    state: &mut State,
    token: &Token,
    by: &WorkerId,
    done: &Done<'_>,
    at: TimestampMicros,
) -> Result<(), Refused> {
    end_lease(state, token, Some(by))?;
    let run = state.run_mut(token.run)?;
    run.set(token.task, TaskState::Done { output: done.output.clone(), work: done.work }, at)?;
    run.unblock(token.task);
    for planned in done.next {
        run.add(planned, at)?;
    }
    run.work.rows = run.work.rows.saturating_add(done.work.rows);
    run.work.bytes = run.work.bytes.saturating_add(done.work.bytes);
    run.work.took_millis = run.work.took_millis.saturating_add(done.work.took_millis);
    run.settle(at);
    Ok(())
}

pub(super) fn fail(
    state: &mut State,
    token: &Token,
    by: &WorkerId,
    failure: &Failure,
    at: TimestampMicros,
) -> Result<(), Refused> {
    end_lease(state, token, Some(by))?;
    let run = state.run_mut(token.run)?;
    let (retries, is_ended) = (run.spec.retries, run.state.is_ended());
    let task = run.task_mut(token.task)?;
    if !failure.is_transient || task.failures >= retries || is_ended {
        return run.fail(token.task, failure.clone(), at);
    }
    task.failures += 1;
    run.set(token.task, TaskState::Waiting { failure: failure.clone() }, at)
}

pub(super) fn release(state: &mut State, token: &Token, by: &WorkerId, at: TimestampMicros) -> Result<(), Refused> {
    end_lease(state, token, Some(by))?;
    state.run_mut(token.run)?.reopen(token.task, at)
}

pub(super) fn expire(state: &mut State, token: &Token, reason: &str, at: TimestampMicros) -> Result<(), Refused> {
    end_lease(state, token, None)?;
    let run = state.run_mut(token.run)?;
    let task = run.task_mut(token.task)?;
    task.lost += 1;
    if task.lost <= MAX_LOST_LEASES {
        return run.reopen(token.task, at);
    }
    let reason = format!("its lease was taken away {} times, at last: {reason}", task.lost);
    run.fail(token.task, Failure::permanent(reason), at)
}

pub(super) fn split(state: &mut State, token: &Token, parts: &[Planned], at: TimestampMicros) -> Result<(), Refused> {
    if parts.is_empty() {
        return Err(Refused::Empty);
    }
    end_lease(state, token, None)?;
    let run = state.run_mut(token.run)?;
    let into: Vec<TaskId> = parts.iter().map(|part| part.id).collect();
    let task = run.task_mut(token.task)?;
    let (kind, after) = (task.kind, task.after.clone());
    for part in parts {
        run.add(&Planned { kind, after: after.clone(), ..part.clone() }, at)?;
    }
    run.replace_before(token.task, &into);
    run.set(token.task, TaskState::Split { into }, at)
}

pub(super) fn ready(
    state: &mut State,
    run_id: RunId,
    task_id: TaskId,
    attempt: u32,
    at: TimestampMicros,
) -> Result<(), Refused> {
    let run = state.run_mut(run_id)?;
    let task = run.task_mut(task_id)?;
    if !matches!(task.state, TaskState::Waiting { .. }) || task.attempt != attempt {
        return Err(Refused::NotWaiting { run: run_id, task: task_id });
    }
    run.set(task_id, TaskState::Pending, at)
}

/// Takes a lease out of force; of whoever has it where `by` is `None`.
fn end_lease(state: &mut State, token: &Token, by: Option<&WorkerId>) -> Result<(), Refused> {
    let is_it = |lease: &Leased| lease.token == *token && by.is_none_or(|by| lease.worker == *by);
    let at = state.leases.iter().position(is_it).ok_or(Refused::LeaseLost(*token))?;
    state.leases.remove(at);
    Ok(())
}
