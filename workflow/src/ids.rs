//! Names and numbers of the workflow as types. All of them are stored in the journal, so their textual form is stable.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number_type! {
    /// A run, numbered from 1 in the order in which runs were started: what a person types.
    RunId(u64)
}
number_type! {
    /// A task within its run.
    TaskId(u32)
}
number_type! {
    /// The term of a leader: one higher with each that takes the lead; 0 before the first.
    Epoch(u64)
}

impl Epoch {
    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A process that takes part, or one that only gives commands. Drawn anew at each start, so that a process which
/// starts again is never taken for the one that died.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(Arc<str>);

impl WorkerId {
    /// From 128 random bits.
    pub fn from_drawn(id: u128) -> Self {
        Self(Arc::from(format!("{id:032x}")))
    }

    /// From the name of its object.
    pub(crate) fn from_name(name: &str) -> Self {
        Self(Arc::from(name))
    }

    /// As text: the name of its object.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The fencing token of one lease. No two leases have the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The run.
    pub run: RunId,
    /// The task.
    pub task: TaskId,
    /// Which lease of the task it is, from 1.
    pub attempt: u32,
    /// The epoch in which the lease was taken.
    pub epoch: Epoch,
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "run {} task {} attempt {} of epoch {}", self.run, self.task, self.attempt, self.epoch)
    }
}
