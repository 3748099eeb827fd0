//! What a process has room for: how many tasks, and how much memory they may take together, by an estimate from what
//! they read.
//!
//! Guarantee: pure. A task alone always has room, where the limit is not below what one may take. Housekeeping never
//! takes the last slot of several, and no memory from others: it fits beside what is at work, or waits, and holds up
//! nothing while it waits. So a round waits for no merge; a task of housekeeping that was taken before a large task is
//! at work in memory of its own, of one task for each slot but one.
//! Why an estimate, and no memory that tasks share: a task that finds the memory taken by another one would fail for
//! good, or spill, for no fault of its own, and another time it would not. So each has all that one may take, and how
//! many are at work at the same time is what is bounded.

use crate::ids::{Token, WorkerId};
use crate::runs::Run;
use crate::spec::RunKind;
use crate::state::State;

/// A task needs about so many times the bytes that it reads: files are compressed.
const UNFOLDED: u64 = 4;
/// The least that a task needs is one in so many of the most: what it reads at a time, whatever there is of it.
const LEAST_SHARE: u64 = 16;

/// How much memory the tasks of a process may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Together, in bytes; `None`: as much as all slots take.
    pub all: Option<u64>,
    /// The most that one of them takes, in bytes, whatever it reads.
    pub task: u64,
}

impl Default for MemoryLimit {
    fn default() -> Self {
        let task = 512 << 20;
        Self { all: Some(task), task }
    }
}

impl MemoryLimit {
    /// How many tasks that need all that one may take are at work at one time, in so many slots.
    pub(crate) fn full_size(&self, slots: usize) -> usize {
        let fitting = self.all.and_then(|all| all.checked_div(self.task)).unwrap_or(u64::MAX);
        slots.min(usize::try_from(fitting).unwrap_or(usize::MAX))
    }

    /// What a task that reads so many bytes needs, about, in bytes.
    pub fn need(&self, weight_bytes: u64) -> u64 {
        weight_bytes.saturating_mul(UNFOLDED).clamp(self.task / LEAST_SHARE, self.task)
    }
}

/// What a process has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Tasks that it works at at the same time.
    pub slots: usize,
    /// How many more of them it may take now.
    pub free: usize,
    /// How much memory they may take.
    pub memory: MemoryLimit,
}

impl Room {
    /// For so many tasks, whatever they are and need.
    pub fn of(free: usize) -> Self {
        Self { slots: usize::MAX, free, memory: MemoryLimit { all: None, ..MemoryLimit::default() } }
    }
}

/// Whether a task is to be taken.
pub(crate) enum Fit {
    /// It is.
    Taken,
    /// Not now, and what comes behind it may be.
    PassedOver,
    /// Not now, and nothing behind it: it would wait for ever behind small ones.
    Waits,
}

/// What a process has taken of its room.
pub(crate) struct Taken<'a> {
    state: &'a State,
    room: Room,
    /// Bytes that tasks need which are not housekeeping.
    others: u64,
    /// Bytes that tasks of housekeeping need.
    housekeeping: u64,
    /// How many those are.
    housekeepers: usize,
}

impl<'a> Taken<'a> {
    /// What it has at work.
    pub(crate) fn of(state: &'a State, worker: &WorkerId, room: Room) -> Self {
        let mut taken = Self { state, room, others: 0, housekeeping: 0, housekeepers: 0 };
        state.leases_of(worker).for_each(|token| taken.add(&token));
        taken
    }

    /// Takes a task, where there is room for it.
    pub(crate) fn take(&mut self, token: &Token) -> Fit {
        let (need, all) = (self.need(token), self.room.memory.all.unwrap_or(u64::MAX));
        if self.is_housekeeping(token) {
            let has_slot = self.housekeepers < self.room.slots.saturating_sub(1).max(1);
            let together = self.others.saturating_add(self.housekeeping).saturating_add(need);
            if !has_slot || together > all {
                return Fit::PassedOver;
            }
        } else if self.others.saturating_add(need) > all {
            return Fit::Waits;
        }
        self.add(token);
        Fit::Taken
    }

    fn add(&mut self, token: &Token) {
        let need = self.need(token);
        if self.is_housekeeping(token) {
            self.housekeepers += 1;
            self.housekeeping = self.housekeeping.saturating_add(need);
        } else {
            self.others = self.others.saturating_add(need);
        }
    }

    fn need(&self, token: &Token) -> u64 {
        let task = self.state.task(token.run, token.task);
        task.map_or(0, |task| self.room.memory.need(task.weight_bytes))
    }

    fn is_housekeeping(&self, token: &Token) -> bool {
        let is_meant = |run: &Run| run.spec.kind == RunKind::Housekeeping;
        self.state.run(token.run).is_some_and(is_meant)
    }
}
