//! What every step of a speed worker shares: components, settings, compiled plans. Immutable once built.

use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::prelude::SessionContext;
use event_log::LifeLog;
use positions::{DefinitionNumber, IndexStamp, Life, PartitionId, RunId, TimestampMicros};
use serving_layer::PartitionKey;

use crate::plans::ViewPlans;
use crate::{SpeedComponents, SpeedError, SpeedSettings};

/// How many files of the master dataset are read at a time. A start reads a little of many small files: it waits for their
/// latency, which no number of cores shortens.
const FILES_AT_ONCE: usize = 16;

/// Shared by all steps of a worker.
pub(crate) struct Context {
    pub components: SpeedComponents,
    /// The log in the present life of the topic.
    pub log: LifeLog,
    pub settings: SpeedSettings,
    /// One per view, in the order of `components.views`.
    pub plans: Vec<ViewPlans>,
    session: SessionState,
}

impl Context {
    /// Compiles the plans of all views, once.
    pub async fn new(components: SpeedComponents, settings: SpeedSettings, life: Life) -> Result<Self, SpeedError> {
        let mut plans = Vec::with_capacity(components.views.len());
        for view in &components.views {
            plans.push(ViewPlans::compile(view.definition.clone()).await?);
        }
        let base = views::session_state();
        let config = base.config().clone().with_target_partitions(FILES_AT_ONCE);
        let session = SessionStateBuilder::new_from_existing(base).with_config(config).build();
        let log = LifeLog::new(components.log.clone(), life);
        Ok(Self { components, log, settings, plans, session })
    }

    /// A session to read the master dataset in.
    pub fn session(&self) -> SessionContext {
        SessionContext::new_with_state(self.session.clone())
    }

    pub fn key(&self, partition: PartitionId) -> PartitionKey {
        PartitionKey { source: self.components.source.name.clone(), partition }
    }

    pub fn now(&self) -> TimestampMicros {
        self.components.clock.now()
    }

    /// The number to write under at this moment.
    pub fn definitions(&self) -> DefinitionNumber {
        self.components.definitions.number()
    }

    pub fn draw_stamp(&self) -> IndexStamp {
        IndexStamp(self.components.ids.next_id())
    }

    pub fn draw_run_id(&self) -> RunId {
        RunId(self.components.ids.next_id())
    }
}
