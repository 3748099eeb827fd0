//! The memory and the disk of a search for copies.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;

/// What a search draws on: the memory pool and the spill files of the session.
#[derive(Clone)]
pub(crate) struct Resources {
    pub(crate) runtime: Arc<RuntimeEnv>,
}

impl Resources {
    /// An empty reservation, as one user of the pool.
    pub(crate) fn reservation(&self) -> MemoryReservation {
        MemoryConsumer::new("removal of copies").with_can_spill(true).register(&self.runtime.memory_pool)
    }
}
