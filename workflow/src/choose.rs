//! Which tasks a worker with free slots takes.
//!
//! Guarantee: pure; each chosen task is to be had, also once those before it are taken. What is asked for by hand comes
//! before what is scheduled, and that before backfills; among equals the older run, and its first tasks.

use crate::ids::Token;
use crate::state::State;

/// At most `free` leases to take, in this order.
pub fn choose_leases(state: &State, free: usize) -> Vec<Token> {
    let room_in_all = state.max_concurrent.map_or(usize::MAX, |cap| cap as usize).saturating_sub(state.leases.len());
    let free = free.min(room_in_all);
    let mut runs: Vec<_> = state.open_runs().collect();
    runs.sort_by_key(|run| (run.spec.priority, run.id));
    let mut chosen = Vec::new();
    for run in runs {
        let cap = run.spec.max_concurrent.map_or(usize::MAX, |cap| cap as usize);
        let room = cap.saturating_sub(state.leases_in(run.id)).min(free - chosen.len());
        let to_be_had = run.tasks.iter().filter(|task| task.is_ready() && state.why_not(run.id, task.id).is_none());
        chosen.extend(to_be_had.take(room).map(|task| Token {
            run: run.id,
            task: task.id,
            attempt: task.attempt + 1,
            epoch: state.epoch,
        }));
    }
    chosen
}
