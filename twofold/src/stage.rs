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
    /// The clients of the event log, which leave their groups.
    Log,
    /// The embedded broker.
    Broker,
}

impl Stage {
    /// All stages in the order in which they stop.
    pub const IN_ORDER: [Self; 7] =
        [Self::Intake, Self::Archive, Self::Speed, Self::Batch, Self::Gateway, Self::Log, Self::Broker];

    /// The name in logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Intake => "intake",
            Self::Archive => "archive",
            Self::Speed => "speed",
            Self::Batch => "batch",
            Self::Gateway => "gateway",
            Self::Log => "log",
            Self::Broker => "broker",
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
