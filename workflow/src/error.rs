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

/// What came of the parts of a step.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    failed: Option<WorkflowError>,
}

impl Parts {
    /// A store that does not answer is asked nothing more in this step. What fails otherwise, fails again with the next
    /// one, and must keep nothing else back.
    pub(crate) fn note(&mut self, part: Result<(), WorkflowError>) -> Result<(), WorkflowError> {
        match part {
            Err(error) if error.is_transient() => Err(error),
            Err(error) => {
                self.failed.get_or_insert(error);
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// The first failure.
    pub(crate) fn end(self) -> Result<(), WorkflowError> {
        self.failed.map_or(Ok(()), Err)
    }
}

impl WorkflowError {
    /// Whether it is about what was asked for, and not about the store: it fails again until that is another.
    pub(crate) fn is_about_content(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLarge { .. } | Self::Lake(LakeError::Refused { .. }))
    }

    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Lake(error) => matches!(error, LakeError::Unreachable { .. } | LakeError::Full { .. }),
            Self::Contended => true,
            Self::Refused(_) | Self::TooLarge { .. } => false,
        }
    }
}
