//! One source with its stores and settings: what every reading of it works with.

use std::sync::Arc;

use positions::{Clock, DefinitionHash, PartitionId, TimestampMicros};
use serving_layer::{PartitionKey, RealtimeStore};
use views::SourceDefinition;

use crate::GatewaySettings;

/// Whether a refresh lists the batch versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// Only where no version in memory tiles: another task lists them from time to time.
    IfNeeded,
    /// Always: nobody else does.
    Always,
}

/// What every reading of one source works with.
pub(crate) struct SourceStores {
    /// The source.
    pub source: Arc<SourceDefinition>,
    /// The generation whose indexes are read; `None`: those above the batch views of the source.
    pub generation: Option<DefinitionHash>,
    /// Its realtime views.
    pub store: Arc<dyn RealtimeStore>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// How it is read.
    pub settings: GatewaySettings,
}

impl SourceStores {
    /// Where a partition is in the realtime store.
    pub(crate) fn key(&self, partition: PartitionId) -> PartitionKey {
        PartitionKey { generation: self.generation, ..PartitionKey::new(&self.source.name, partition) }
    }

    /// The present instant.
    pub(crate) fn now(&self) -> TimestampMicros {
        self.clock.now()
    }
}
