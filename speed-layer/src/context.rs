//! What every step of a speed worker shares: components, settings, compiled plans. Immutable once built.

use serving_layer::PartitionKey;
use views::{IndexStamp, PartitionId, RunId, TimestampMicros};

use crate::aggregate::ViewPlans;
use crate::{SpeedComponents, SpeedError, SpeedSettings};

/// The surroundings of a step.
pub(crate) struct Context {
    pub components: SpeedComponents,
    pub settings: SpeedSettings,
    /// One per view, in the order of `components.views`.
    pub plans: Vec<ViewPlans>,
}

impl Context {
    /// Compiles the plans of all views, once.
    pub async fn new(components: SpeedComponents, settings: SpeedSettings) -> Result<Self, SpeedError> {
        let mut plans = Vec::with_capacity(components.views.len());
        for view in &components.views {
            plans.push(ViewPlans::compile(view.definition.clone()).await?);
        }
        Ok(Self { components, settings, plans })
    }

    pub fn key(&self, partition: PartitionId) -> PartitionKey {
        PartitionKey { source: self.components.source.name.clone(), partition }
    }

    pub fn now(&self) -> TimestampMicros {
        self.components.clock.now()
    }

    pub fn draw_stamp(&self) -> IndexStamp {
        IndexStamp(self.components.ids.next_id())
    }

    pub fn draw_run_id(&self) -> RunId {
        RunId(self.components.ids.next_id())
    }
}
