//! The numbers of tasks: each task that chooses has a block of its own, so that two which choose at the same time never
//! give two tasks one number.
//!
//! Guarantee: pure; blocks of different rounds, or of different first views in a round, do not meet.

use workflow::{Run, TaskId};

/// Rounds of choosing in one run after the first one.
pub(super) const MOST_ROUNDS: u32 = 3;

/// Numbers of one block: more than a run may have tasks.
const BLOCK: u32 = 1 << 18;
/// Blocks of one round: each is named by the place of its first view in the run.
const BLOCKS: u32 = 1 << 11;

/// The number of the task that chooses in a round, for views of which the first is the run's `ordinal`-th; `None`:
/// there are no numbers for it.
pub(super) fn choose_id(round: u32, ordinal: usize) -> Option<TaskId> {
    let ordinal = u32::try_from(ordinal).ok().filter(|ordinal| *ordinal < BLOCKS)?;
    (round <= MOST_ROUNDS).then_some(TaskId((round * BLOCKS + ordinal) * BLOCK + 1))
}

/// Whether a run lost to another publisher, so that it was chosen anew.
pub(super) fn is_chosen_anew(run: &Run) -> bool {
    run.tasks.last().is_some_and(|task| choose_id(1, 0).is_some_and(|first| task.id >= first))
}
