//! What can go wrong, by what the caller should do.

use lake::LakeError;

use crate::refused::Refused;

/// By what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum WorkflowError {
    /// The store: where it did not answer, take nothing and try again; the outcome of a command is unknown until then.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The command does not fit what is: the message says why.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Others wrote at every try: try again after a while.
    #[error("the journal of the workflow is written by many at once: try again")]
    Contended,
    /// What was asked for is too large for the journal.
    #[error("{what} has {bytes} bytes, at most {limit} are kept")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The largest allowed.
        limit: usize,
    },
}

impl WorkflowError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lake(error) => matches!(error, LakeError::Unreachable { .. } | LakeError::Full { .. }),
            Self::Contended => true,
            Self::Refused(_) | Self::TooLarge { .. } => false,
        }
    }
}
