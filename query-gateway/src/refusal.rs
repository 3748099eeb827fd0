//! A refusal of ours that passes through the engine: raised inside of it, and understood again behind it.

use datafusion::error::DataFusionError;
use views::DefinitionError;

use crate::GatewayError;
use crate::rejected_records::RejectedUnread;
use crate::run_rows::RunsUnread;

/// What is wrong, and the way out.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The query cannot be understood.
    #[error("{reason}")]
    Bad {
        /// What is wrong.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// It asks for more than a limit allows.
    #[error("{reason}")]
    TooLarge {
        /// Which limit.
        reason: String,
        /// The way out.
        hint: String,
    },
    /// What cannot be: a fault of ours, and none of the engine.
    #[error("{0}")]
    Defect(String),
    /// It reads rejected records, and they cannot be read now.
    #[error(transparent)]
    Unread(RejectedUnread),
    /// It reads runs, and they cannot be read now.
    #[error(transparent)]
    RunsUnread(RunsUnread),
    /// It reads reports of exactness, and they cannot be read now.
    #[error("reports of exactness cannot be read: {0}")]
    ReportsUnread(String),
}

impl From<Refusal> for DataFusionError {
    fn from(refusal: Refusal) -> Self {
        Self::External(Box::new(refusal))
    }
}

impl From<Refusal> for GatewayError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Bad { reason, hint } => Self::bad_with_hint(reason, hint),
            Refusal::TooLarge { reason, hint } => Self::TooLarge { reason, hint },
            Refusal::Defect(reason) => Self::Definition(DefinitionError::Engine(DataFusionError::Internal(reason))),
            Refusal::Unread(unread) => unread.into(),
            Refusal::RunsUnread(unread) => unread.into(),
            Refusal::ReportsUnread(reason) => Self::Unavailable { view: "system.exactness".to_owned(), reason },
        }
    }
}
