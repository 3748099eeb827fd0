//! Which tasks a worker with free slots takes.
//!
//! Guarantee: pure; each chosen task is to be had, also once those before it are taken. What is asked for by hand comes
//! before what is scheduled, and that before backfills. Runs of one priority take turns, one task each, and one that is
//! new waits for no more than one task of each other: a large run holds up no small one, and none waits for ever.
//! Within a run its first tasks come first.

use crate::ids::Token;
use crate::runs::{Run, RunState};
use crate::state::State;

/// At most `free` leases to take, in this order.
pub fn choose_leases(state: &State, free: usize) -> Vec<Token> {
    let room_in_all = state.max_concurrent.map_or(usize::MAX, |cap| cap as usize).saturating_sub(state.leases.len());
    let free = if state.is_paused { 0 } else { free.min(room_in_all) };
    let at_work = state.open_runs().filter(|run| run.state != RunState::Paused);
    let mut runs: Vec<_> = at_work.map(|run| (run, to_be_had(state, run))).collect();
    runs.sort_by_key(|(run, _)| (run.spec.priority, run.turn, run.id));
    let mut chosen = Vec::new();
    for equals in runs.chunk_by_mut(|(one, _), (other, _)| one.spec.priority == other.spec.priority) {
        while chosen.len() < free {
            let before = chosen.len();
            for (_, tasks) in equals.iter_mut() {
                if chosen.len() < free {
                    chosen.extend(tasks.next());
                }
            }
            if chosen.len() == before {
                break;
            }
        }
    }
    chosen
}

/// What is to be had of a run, as far as its cap allows.
fn to_be_had<'a>(state: &'a State, run: &'a Run) -> impl Iterator<Item = Token> + 'a {
    let cap = run.spec.max_concurrent.map_or(usize::MAX, |cap| cap as usize);
    let room = cap.saturating_sub(state.leases_in(run.id));
    let ready = run.tasks.iter().filter(move |task| task.is_ready() && state.why_not(run.id, task.id).is_none());
    ready.take(room).map(move |task| Token {
        run: run.id,
        task: task.id,
        attempt: task.attempt + 1,
        epoch: state.epoch,
    })
}
