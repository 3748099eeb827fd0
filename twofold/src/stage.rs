//! The stages of a process in the direction of the data, and how the task of a role ends badly.

use anyhow::Error;

/// A group of tasks that stop together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Accepts events.
    Intake,
    /// Writes the master dataset.
    Archive,
    /// Keeps realtime views.
    Speed,
    /// Publishes batch views.
    Batch,
    /// Answers.
    Gateway,
    /// The event log: its clients leave their groups, or its folder is closed.
    Log,
}

impl Stage {
    /// All stages in the order in which they stop.
    pub const IN_ORDER: [Self; 6] = [Self::Intake, Self::Archive, Self::Speed, Self::Batch, Self::Gateway, Self::Log];

    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Archive => "archive",
            Self::Speed => "speed",
            Self::Batch => "batch",
            Self::Gateway => "gateway",
            Self::Log => "log",
        }
    }
}

/// How a role ended that did not end well.
#[derive(Debug)]
pub enum RoleError {
    /// This source cannot go on until an operator has acted; the other sources can.
    SourceStopped {
        /// The source.
        source: String,
        /// Why.
        error: Error,
    },
    /// The role cannot go on.
    Failed(Error),
}
