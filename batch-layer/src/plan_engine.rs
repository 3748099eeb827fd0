//! Where the plans of a group run that is too large for one worker: on several machines, if somebody brings them.
//!
//! In: a physical plan over files of the lake. Out: its rows, which come back to the worker.
//! Guarantee: whoever runs a plan runs it to the same rows. Files are written and versions are published by the worker
//! alone, so that nothing is seen of a plan that was cut short, and one that runs twice is published once.
//! Not here: the machines (`ballista-engine`); groups that fit one worker (`recompute/compute.rs` runs them itself).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use futures::future::BoxFuture;

/// Runs physical plans elsewhere.
pub trait PlanEngine: Send + Sync + 'static {
    /// Whether it is meant for a group that reads files of so many bytes.
    fn takes(&self, bytes: u64) -> bool;

    /// The settings that plans for it are made with, of those of a worker.
    fn prepare(&self, config: SessionConfig) -> SessionConfig;

    /// Runs a plan that was made with such settings. `name` tells it from others where people look. `signs` are given
    /// for as long as somebody has the plan, and while its rows come back: nothing else shows that it goes on.
    ///
    /// # Errors
    /// [`EngineAway`] as the external cause: the same plan may succeed later. Others: the plan itself fails. Both also
    /// while the rows are read.
    fn execute<'a>(
        &'a self,
        name: &'a str,
        plan: Arc<dyn ExecutionPlan>,
        config: &'a SessionConfig,
        signs: Signs,
    ) -> BoxFuture<'a, Result<SendableRecordBatchStream>>;
}

/// Signs that plans elsewhere go on, counted. The worker reads no rows meanwhile: without them its task would be taken
/// for one that stands still.
#[derive(Clone, Debug, Default)]
pub struct Signs(Arc<AtomicU64>);

impl Signs {
    /// The plan goes on.
    pub fn give(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were. Never less than the last time.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Machines that are to run a plan do not answer, or were lost while it ran. The same plan may succeed later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EngineAway(pub String);

impl From<EngineAway> for DataFusionError {
    fn from(away: EngineAway) -> Self {
        Self::External(Box::new(away))
    }
}

/// Whether an error of the engine is of machines that may be back later.
pub(crate) fn is_away(error: &DataFusionError) -> bool {
    matches!(error.find_root(), DataFusionError::External(cause) if cause.is::<EngineAway>())
}
