//! What can go wrong in the stores of views, by what the caller should do.

/// An error of the serving layer.
#[derive(Debug, thiserror::Error)]
pub enum ServingError {
    /// The store cannot be reached or did not answer in time: try again with backoff.
    #[error("{store} is unreachable: {reason}")]
    Unreachable {
        /// Which store.
        store: &'static str,
        /// What it said.
        reason: String,
    },
    /// The store answers and refuses: try again with backoff, since whoever runs it may have mended it by then.
    #[error("{store} refuses: {reason}")]
    Refusing {
        /// Which store.
        store: &'static str,
        /// What it said, and what to do about it.
        reason: String,
    },
    /// The store cannot be used as it is configured: fix that and start again.
    #[error("{store} cannot be used: {reason}")]
    Unusable {
        /// Which store.
        store: &'static str,
        /// Why not.
        reason: String,
    },
    /// The store has no room: stop appending until runs are dropped.
    #[error("realtime store is full{}; a batch publication frees runs", usage(.used_bytes, .limit_bytes))]
    Full {
        /// In use; `None` where the store does not tell.
        used_bytes: Option<u64>,
        /// The limit; `None` where the store does not tell.
        limit_bytes: Option<u64>,
    },
    /// Another publisher committed first: open the newest version and decide again.
    #[error("view {view}: another version was published first")]
    Conflict {
        /// The view.
        view: String,
    },
    /// Whoever publishes lost the right to, before the commit: nothing was published, and somebody else does it.
    #[error("view {view}: not published, since the lease of this publication is another's by now")]
    Withdrawn {
        /// The view.
        view: String,
    },
    /// What is stored cannot be read: data is broken, or from an unknown version.
    #[error("{what} cannot be read: {reason}")]
    Corrupt {
        /// Which object.
        what: String,
        /// Why not.
        reason: String,
    },
    /// A view version is larger than the memory set aside for it, at every try.
    #[error("view {view} needs {needed_bytes} bytes in memory, the limit is {limit_bytes} bytes")]
    TooLarge {
        /// The view.
        view: String,
        /// What it needs.
        needed_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The object store failed.
    #[error(transparent)]
    Lake(#[from] lake::LakeError),
    /// Arrow refused a batch.
    #[error("batch: {0}")]
    Arrow(#[from] arrow::error::ArrowError),
    /// The query engine failed while rows were computed or read: what it says decides.
    #[error("query engine: {0}")]
    Engine(#[from] datafusion::error::DataFusionError),
}

/// How full a store is, in words. Memory always knows; Redis is asked.
fn usage(used_bytes: &Option<u64>, limit_bytes: &Option<u64>) -> String {
    match (used_bytes, limit_bytes) {
        (Some(used), Some(limit)) => format!(": {used} of {limit} bytes"),
        _ => " (`INFO memory` did not answer)".to_owned(),
    }
}
