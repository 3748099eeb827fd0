//! Which tasks a worker with free slots takes.
//!
//! Guarantee: pure; each chosen task is to be had, also once those before it are taken. What is asked for by hand comes
//! before what is scheduled, and that before backfills; but each fourth lease is of a lower priority, as far as there
//! is one, so that nobody who asks by hand again and again keeps a schedule from its turn. Runs of one priority take
//! turns, one task each, and one that is new waits for no more than one task of each other: a large run holds up no
//! small one, and none waits for ever. Within a run its first tasks come first.
//! Why by the number of leases that were ever taken: it is in the state, so that whichever process takes next goes on
//! where the last one was.

use std::collections::VecDeque;

use crate::ids::{Token, WorkerId};
use crate::room::{Fit, Room, Taken};
use crate::runs::{Run, RunState};
use crate::spec::TaskKind;
use crate::state::State;

/// One lease in so many is of a lower priority; one in so many of these of the one below it.
const SHARE: u64 = 4;

/// Which kinds of tasks a process can do.
pub type Abilities<'a> = dyn Fn(TaskKind) -> bool + Send + Sync + 'a;

/// At most `free` leases to take, in this order, by a process that can do everything.
pub fn choose_leases(state: &State, free: usize) -> Vec<Token> {
    choose(state, free, &|_| true, |_| Fit::Taken)
}

/// As [`choose_leases`], of the kinds that the process can do, which others hold up in nothing, and as far as a worker
/// has room for it beside what it has. What is next and does not fit waits for memory, and nothing passes it: a large
/// task would wait for ever behind small ones. Housekeeping that does not fit is passed over, and is chosen again when
/// there is room.
pub fn choose_within(state: &State, worker: &WorkerId, room: Room, can_do: &Abilities<'_>) -> Vec<Token> {
    let mut taken = Taken::of(state, worker, room);
    choose(state, room.free, can_do, |token| taken.take(token))
}

fn choose(state: &State, free: usize, can_do: &Abilities<'_>, mut take: impl FnMut(&Token) -> Fit) -> Vec<Token> {
    let room_in_all = state.max_concurrent.map_or(usize::MAX, |cap| cap as usize).saturating_sub(state.leases.len());
    let free = if state.is_paused { 0 } else { free.min(room_in_all) };
    let at_work = state.open_runs().filter(|run| run.state != RunState::Paused);
    let mut runs: Vec<_> = at_work.map(|run| (run, to_be_had(state, run, can_do))).collect();
    runs.sort_by_key(|(run, _)| (run.spec.priority, run.turn, run.id));
    let mut levels: Vec<(_, VecDeque<_>)> = Vec::new();
    for (run, tasks) in runs {
        match levels.last_mut().filter(|(priority, _)| *priority == run.spec.priority) {
            Some((_, equals)) => equals.push_back(tasks),
            None => levels.push((run.spec.priority, VecDeque::from([tasks]))),
        }
    }
    let mut chosen = Vec::new();
    while chosen.len() < free && !levels.is_empty() {
        let number = state.leases_taken.saturating_add(chosen.len() as u64);
        let level = passed_over(number).min(levels.len() - 1);
        let Some(token) = take_turn(&mut levels[level].1) else {
            levels.remove(level);
            continue;
        };
        match take(&token) {
            Fit::Taken => chosen.push(token),
            Fit::PassedOver => {}
            Fit::Waits => break,
        }
    }
    chosen
}

/// How many priorities that have something to do the lease of this number passes over, as far as there are more.
fn passed_over(number: u64) -> usize {
    let mut rest = number;
    let mut passed = 0;
    while rest % SHARE == SHARE - 1 && passed < 2 {
        (rest, passed) = (rest / SHARE, passed + 1);
    }
    passed
}

/// The next task of the first of these that has one, which is the last of them then.
fn take_turn(equals: &mut VecDeque<impl Iterator<Item = Token>>) -> Option<Token> {
    while let Some(mut tasks) = equals.pop_front() {
        if let Some(token) = tasks.next() {
            equals.push_back(tasks);
            return Some(token);
        }
    }
    None
}

/// What is to be had of a run, as far as its cap allows.
fn to_be_had<'a>(state: &'a State, run: &'a Run, can_do: &'a Abilities<'a>) -> impl Iterator<Item = Token> + 'a {
    let cap = run.spec.max_concurrent.map_or(usize::MAX, |cap| cap as usize);
    let room = cap.saturating_sub(state.leases_in(run.id));
    let ready = run
        .tasks
        .iter()
        .filter(move |task| task.is_ready() && can_do(task.kind) && state.why_not(run.id, task.id).is_none());
    ready.take(room).map(move |task| Token {
        run: run.id,
        task: task.id,
        attempt: task.attempt + 1,
        epoch: state.epoch,
    })
}
