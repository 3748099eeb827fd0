//! What can go wrong with a table, by what the caller should do.
//!
//! In: errors of the object store, of Parquet and of the query engine. Out: [`LakeError`].
//! Why so: the store reports a full disk, a lost network and a refused key through one type; callers act differently
//! on each, so the difference is made here, once.

use std::error::Error as StdError;
use std::io;

use datafusion::error::DataFusionError;

use crate::Version;
use crate::chain::chain;
use crate::told::{is_misconfiguration, told};

/// By what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// Another writer committed first: open the table again, decide again. Nothing of this commit is visible.
    #[error("table {table}: version {expected} is not the newest any more")]
    Conflict {
        /// The table.
        table: String,
        /// The version that the commit was computed on.
        expected: Version,
    },
    /// A change would remove a file that its predecessor does not hold: somebody else replaced it. Decide again;
    /// nothing of this commit is visible.
    #[error("table {table}: version {version} does not hold file {path}")]
    NotLive {
        /// The table.
        table: String,
        /// The version that the commit was to follow.
        version: Version,
        /// The file.
        path: String,
    },
    /// The store did not answer, or not in time: try again with backoff. After a commit the outcome is **unknown**:
    /// open the table and look at its facts before deciding again.
    #[error("object store is unreachable at {object}: {reason}")]
    Unreachable {
        /// The object.
        object: String,
        /// What the store said.
        reason: String,
    },
    /// The store has no room: stop taking in, nothing was lost; go on when there is room.
    #[error("object store is full at {object}: {reason}")]
    Full {
        /// The object.
        object: String,
        /// What the store said.
        reason: String,
    },
    /// What is stored is broken, or was written by something else: do not go on; an operator is needed.
    #[error("{object} cannot be read: {reason}")]
    Corrupt {
        /// The object.
        object: String,
        /// Why not.
        reason: String,
    },
    /// Another tool has changed the rows of a table of ours: nothing goes on from there until an operator has it left
    /// out.
    #[error(
        "table {table} was changed by another tool than Twofold: {change}; `twofold lake repair --table {table}` shows it, \
         and leaves it out with --yes"
    )]
    Foreign {
        /// The table.
        table: String,
        /// Which version, by whom, and what it did.
        change: String,
    },
    /// The call asks for something that this table does not do: a defect of the caller, or a definition to change.
    #[error("table {table}: {reason}")]
    Refused {
        /// The table.
        table: String,
        /// What was refused.
        reason: String,
    },
    /// The store must not be used as it is configured: fix the configuration and start again.
    #[error("object store cannot be used: {reason}")]
    Unusable {
        /// Why not.
        reason: String,
    },
}

impl LakeError {
    /// Whether the same call may succeed later without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }

    pub(crate) fn corrupt(object: impl ToString, reason: impl ToString) -> Self {
        Self::Corrupt { object: object.to_string(), reason: reason.to_string() }
    }

    pub(crate) fn refused(table: &str, reason: impl ToString) -> Self {
        Self::Refused { table: table.to_owned(), reason: reason.to_string() }
    }

    /// An error of the store about one object that need not exist.
    pub(crate) fn store(object: impl ToString, error: object_store::Error) -> Self {
        use object_store::Error;
        let object = object.to_string();
        match &error {
            Error::PermissionDenied { .. }
            | Error::Unauthenticated { .. }
            | Error::NotSupported { .. }
            | Error::NotImplemented { .. }
            | Error::InvalidPath { .. }
            | Error::UnknownConfigurationKey { .. } => Self::Unusable { reason: format!("{object}: {}", told(&error)) },
            _ if is_misconfiguration(&error) => Self::Unusable { reason: format!("{object}: {}", told(&error)) },
            _ if is_full(&error) => Self::Full { object, reason: told(&error) },
            _ => Self::Unreachable { object, reason: told(&error) },
        }
    }

    /// An error of the store about one object that a committed version names.
    pub(crate) fn named(object: impl ToString, error: object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { .. } => Self::corrupt(object, "the object is missing"),
            error => Self::store(object, error),
        }
    }

    /// An error of the query engine while it read data files of `object`.
    pub fn engine(object: impl ToString, error: DataFusionError) -> Self {
        match error {
            DataFusionError::ObjectStore(error) => Self::named(object, *error),
            DataFusionError::External(error) => match error.downcast::<object_store::Error>() {
                Ok(error) => Self::named(object, *error),
                Err(error) => match error.downcast::<Self>() {
                    Ok(error) => *error,
                    Err(error) => Self::corrupt(object, chain(&*error)),
                },
            },
            DataFusionError::Context(_, error) => Self::engine(object, *error),
            error => Self::corrupt(object, chain(&error)),
        }
    }
}

/// Whether a store failed because its disk or quota is used up.
fn is_full(error: &(dyn StdError + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(at) = cause {
        if let Some(io) = at.downcast_ref::<io::Error>()
            && matches!(
                io.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
            )
        {
            return true;
        }
        cause = at.source();
    }
    false
}
