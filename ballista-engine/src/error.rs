//! What can go wrong with the machines themselves, by what the operator should do.

use ballista_core::error::BallistaError;

/// A scheduler or an executor cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// Ballista refused or failed.
    #[error("ballista: {0}")]
    Ballista(#[from] BallistaError),
    /// The folder of an executor cannot be used: make it writable, or name another one.
    #[error("the folder {folder} cannot be used (`ballista.folder`): {error}")]
    Folder {
        /// The folder.
        folder: String,
        /// What the operating system says.
        error: std::io::Error,
    },
    /// The scheduler does not answer: start it, or mend the address.
    #[error("no scheduler answers at {address} (`ballista.scheduler`): {reason}; start one with `twofold scheduler`")]
    NoScheduler {
        /// Its address.
        address: String,
        /// What kept it from answering.
        reason: String,
    },
}
