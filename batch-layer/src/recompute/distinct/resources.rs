//! The room that a search for copies may take.

use std::sync::Arc;

use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::runtime_env::RuntimeEnv;

/// Memory and disk of a search.
#[derive(Clone)]
pub(crate) struct Room {
    pub(crate) runtime: Arc<RuntimeEnv>,
}

impl Room {
    /// A reservation of nothing yet.
    pub(crate) fn reservation(&self) -> MemoryReservation {
        MemoryConsumer::new("removal of copies").with_can_spill(true).register(&self.runtime.memory_pool)
    }
}
