//! What a layer under test stands in, all of it in this process: a pipeline, a clock that is moved by hand, ids of a
//! seed, a log and tables. Suites add their traffic, their faults and the truth that answers are held against.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use batch_layer::BatchContext;
use batch_layer::archive::{ArchiveComponents, ArchiveStatus};
use batch_layer::recompute::RecomputeComponents;
use event_log::EventLog;
use event_log::memory::MemoryLog;
use lake::Lake;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::{Offset, PartitionId};
use records::master::MasterDataset;
use serving_layer::memory::MemoryStore;
use tokio::sync::watch;
use views::{Pipeline, PlannedView, SourceDefinition, ViewPlans};

use super::flaky_store::FlakyStore;
use super::seams::{ManualClock, SeededIds};

/// See the module.
pub struct Surroundings {
    pub pipeline: Arc<Pipeline>,
    pub clock: Arc<ManualClock>,
    pub ids: Arc<SeededIds>,
    pub log: MemoryLog,
    pub lake: Lake,
}

impl Surroundings {
    /// For a pipeline, at an instant in microseconds; the log has no topic yet.
    pub fn new(sql: &str, start: i64, seed: u64) -> Self {
        Self::on(Arc::new(InMemory::new()), sql, start, seed)
    }

    /// The same with tables on another store.
    pub fn on(objects: Arc<dyn ObjectStore>, sql: &str, start: i64, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::at(start));
        Self {
            pipeline: Arc::new(Pipeline::read(sql, &BTreeMap::new()).unwrap()),
            log: MemoryLog::new(clock.clone()),
            clock,
            ids: Arc::new(SeededIds::new(seed)),
            lake: Lake::new(objects, Path::from("lake")),
        }
    }

    /// A realtime store that fails when it is told to, and the one below it, which never does.
    pub fn realtime(&self, limit_bytes: u64, seed: u64) -> (Arc<MemoryStore>, Arc<FlakyStore>) {
        let memory = Arc::new(MemoryStore::new(limit_bytes, self.clock.clone()));
        (memory.clone(), Arc::new(FlakyStore::new(memory, seed)))
    }

    /// The first source, in most pipelines the only one.
    pub fn source(&self) -> Arc<SourceDefinition> {
        Arc::clone(&self.pipeline.sources[0])
    }

    pub fn view(&self, name: &str) -> PlannedView {
        self.pipeline.view(name).unwrap().clone()
    }

    pub fn master(&self) -> MasterDataset {
        MasterDataset::new(&self.lake, self.source())
    }

    pub fn recompute_components(&self) -> RecomputeComponents {
        RecomputeComponents {
            lake: self.lake.clone(),
            master: self.master(),
            views: self.pipeline.views.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        }
    }

    pub fn batch_context(&self) -> BatchContext {
        BatchContext {
            lake: self.lake.clone(),
            pipeline: self.pipeline.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        }
    }

    /// An archive of the source, and what it will tell.
    pub fn archive_components(&self) -> (ArchiveComponents, watch::Receiver<ArchiveStatus>) {
        let (status, told) = watch::channel(ArchiveStatus::default());
        let components = ArchiveComponents {
            log: Arc::new(self.log.clone()),
            master: self.master(),
            source: self.source(),
            registry: None,
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            status,
        };
        (components, told)
    }

    /// Behind the last record of each partition of the source.
    pub async fn ends(&self) -> BTreeMap<PartitionId, Offset> {
        let (topic, mut ends) = (&self.pipeline.sources[0].topic, BTreeMap::new());
        for partition in self.log.partitions(topic).await.unwrap() {
            ends.insert(partition, self.log.bounds(topic, partition).await.unwrap().high);
        }
        ends
    }

    /// Waits until everything is archived that has been sent by now.
    pub async fn wait_until_archived(&self, told: watch::Receiver<ArchiveStatus>) {
        let ends = self.ends().await;
        wait_until(told, |status| ends.iter().all(|(partition, end)| end_of(status, *partition) >= *end)).await;
    }
}

/// Plans over other columns than any source of these tests has: a view that gets them fails whenever it is run.
pub fn foreign_plans() -> Arc<ViewPlans> {
    let other = "CREATE UNBOUNDED EXTERNAL TABLE o (time TIMESTAMP, place VARCHAR) STORED AS JSON LOCATION 'kafka://o'
        OPTIONS (event_time 'time');
        CREATE MATERIALIZED VIEW v AS SELECT place, count(*) AS n FROM o GROUP BY place;";
    Arc::clone(&Pipeline::read(other, &BTreeMap::new()).unwrap().views[0].plans)
}

/// How far a partition is archived.
pub fn end_of(status: &ArchiveStatus, partition: PartitionId) -> Offset {
    status.facts.partitions.get(&partition).map_or(Offset(0), |known| known.archived.end.offset)
}

/// Waits for a status, with a deadline.
pub async fn wait_until(mut told: watch::Receiver<ArchiveStatus>, is_reached: impl Fn(&ArchiveStatus) -> bool) {
    let waiting = told.wait_for(|status| is_reached(status));
    let outcome = tokio::time::timeout(Duration::from_secs(30), waiting).await.map(|told| told.is_ok());
    assert!(outcome == Ok(true), "the archive did not get there in time");
}
