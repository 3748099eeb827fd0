//! What both layers and a gateway stand in during one history, all of it in memory.
//!
//! In: a view and a history. Out: what its roles are made of. Guarantee: nothing of it outlives its value.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use batch_layer::archive::{ArchiveComponents, ArchiveSettings, ArchiveStatus};
use batch_layer::recompute::RecomputeComponents;
use event_log::PollLimit;
use event_log::memory::MemoryLog;
use lake::Lake;
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::{BorderRule, DefinitionNumber, Offset, PartitionId, SourceName, TimestampMicros};
use query_gateway::{
    Gateway, GatewayComponents, GatewayError, GatewaySettings, PartitionFacts, StatusSource, SystemFacts,
};
use records::master::MasterDataset;
use serving_layer::BatchViewStore;
use serving_layer::memory::MemoryStore;
use speed_layer::{Keeping, SpeedComponents, SpeedSettings, SpeedView};
use tokio::sync::watch;
use views::{Pipeline, PlannedView, SourceDefinition, SourceMode, ViewDefinition};

use super::expected::MAX_ROWS;
use super::history::History;
use crate::seams::{ManualClock, SeededIds};

/// Longer than any history lasts by its clock, which jumps as its events do.
const FOR_EVER: Duration = Duration::from_secs(1_000_000_000);
/// Of realtime views.
const STORE_BYTES: u64 = 1 << 30;
/// How long a role waits for what may come.
const TICK: Duration = Duration::from_millis(2);

/// See the module.
pub(super) struct Surroundings {
    pub source: Arc<SourceDefinition>,
    pub view: PlannedView,
    pub clock: Arc<ManualClock>,
    pub log: MemoryLog,
    pub store: Arc<MemoryStore>,
    ids: Arc<SeededIds>,
    lake: Lake,
    partitions: i32,
}

impl Surroundings {
    /// Of a view over its source with the grid and the partitions of the history, at an instant.
    pub fn new(view: &PlannedView, history: &History, start: TimestampMicros) -> Self {
        let border = BorderRule { grid: history.grid, gap: view.source.border.gap };
        let partitions = Some(history.partitions);
        // Both layers take a view's part here whatever its mode: what they must agree on is the same.
        let mode = SourceMode::Lambda;
        let source = Arc::new(SourceDefinition { border, partitions, mode, ..(*view.source).clone() });
        let definition = ViewDefinition { source: Arc::clone(&source), ..(*view.definition).clone() };
        let clock = Arc::new(ManualClock::at(start.0));
        Self {
            source,
            view: PlannedView { definition: Arc::new(definition), ..view.clone() },
            log: MemoryLog::new(clock.clone()),
            store: Arc::new(MemoryStore::new(STORE_BYTES, clock.clone())),
            clock,
            ids: Arc::new(SeededIds::new(history.salt)),
            lake: Lake::new(Arc::new(InMemory::new()), Path::from("lake")),
            partitions: history.partitions,
        }
    }

    /// All partitions.
    pub fn partitions(&self) -> impl Iterator<Item = PartitionId> {
        (0..self.partitions).map(PartitionId)
    }

    /// What an archive is made of that commits at once.
    pub fn archive(&self, status: watch::Sender<ArchiveStatus>) -> (ArchiveComponents, ArchiveSettings) {
        let components = ArchiveComponents {
            log: Arc::new(self.log.clone()),
            master: self.master(),
            source: Arc::clone(&self.source),
            registry: None,
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            status,
        };
        let settings = ArchiveSettings {
            commit_interval: Duration::ZERO,
            poll: PollLimit { records: 10_000, bytes: 4 << 20, wait: TICK },
            ..ArchiveSettings::default()
        };
        (components, settings)
    }

    /// What a speed worker is made of that makes runs as the history says.
    pub fn speed(&self, history: &History) -> (SpeedComponents, SpeedSettings) {
        let view = SpeedView {
            definition: self.view.clone(),
            published: BatchViewStore::new(&self.lake, self.view.clone()),
            keeping: Keeping::Present,
        };
        let components = SpeedComponents {
            log: Arc::new(self.log.clone()),
            store: self.store.clone(),
            master: self.master(),
            source: Arc::clone(&self.source),
            registry: None,
            views: vec![view],
            definitions: Arc::new(DefinitionNumber(1)),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        };
        let settings = SpeedSettings {
            tick: TICK,
            linger: Duration::ZERO,
            max_records: history.max_records,
            merge_fan_in: history.merge_fan_in,
            blob_time_to_live: FOR_EVER,
            grace: FOR_EVER,
            refresh: Duration::from_millis(20),
            ..SpeedSettings::default()
        };
        (components, settings)
    }

    /// What batch views are computed with.
    pub fn recompute(&self) -> RecomputeComponents {
        RecomputeComponents {
            lake: self.lake.clone(),
            master: self.master(),
            views: vec![self.view.clone()],
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        }
    }

    /// A gateway that reads the stores at each question.
    pub fn gateway(&self) -> Result<Arc<Gateway>, GatewayError> {
        let pipeline = Pipeline {
            sources: vec![Arc::clone(&self.source)],
            views: vec![self.view.clone()],
            doubts: Vec::new(),
            refusals: Vec::new(),
            text: Arc::from(""),
            static_files: BTreeMap::new(),
        };
        let components = GatewayComponents {
            pipeline: Arc::new(pipeline),
            lake: self.lake.clone(),
            store: self.store.clone(),
            status: Arc::new(Board { source: self.source.name.clone(), partitions: self.partitions().collect() }),
            rejected: None,
            runs: None,
            clock: self.clock.clone(),
        };
        Gateway::new(components, GatewaySettings { max_rows: MAX_ROWS, ..GatewaySettings::default() })
    }

    fn master(&self) -> MasterDataset {
        MasterDataset::new(&self.lake, Arc::clone(&self.source))
    }
}

/// Tells the gateway which partitions there are.
struct Board {
    source: SourceName,
    partitions: Vec<PartitionId>,
}

#[async_trait]
impl StatusSource for Board {
    async fn facts(&self) -> SystemFacts {
        let facts = PartitionFacts { produced: Some(Offset(0)), archived: None };
        let partitions = self.partitions.iter().map(|partition| (*partition, facts)).collect();
        SystemFacts { partitions: BTreeMap::from([(self.source.clone(), partitions)]), ..SystemFacts::default() }
    }
}
