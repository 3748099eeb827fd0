//! A source without event ids, whose records bring one in a header: both layers count such an event once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use batch_layer::RecomputeSettings;
use batch_layer::archive::{ArchiveComponents, ArchiveSettings, run_archive};
use batch_layer::recompute::{Mode, RecomputeComponents, recompute};
use bytes::Bytes;
use event_log::memory::MemoryLog;
use event_log::{EventLog, EventLogError, LogConsumer, NewRecord, Poll, PollLimit};
use lake::Lake;
use positions::{Clock, Cut, DefinitionNumber, IdSource, Offset, PartitionId, tile};
use records::master::MasterDataset;
use serving_layer::memory::MemoryStore;
use serving_layer::{BatchViewStore, BlobKey, PartitionKey, RealtimeStore, blob};
use speed_layer::{Keeping, SpeedComponents, SpeedSettings, SpeedView};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use views::{Pipeline, PlannedView, SourceDefinition};

use super::world::{START, end_of, wait_until};
use crate::support::log_layer::{Layered, LogLayer};
use crate::support::seams::{ManualClock, SeededIds};

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, page VARCHAR)
STORED AS JSON LOCATION 'kafka://hits' OPTIONS (event_time 'time', partitions '1');
CREATE MATERIALIZED VIEW by_page AS SELECT page, count(*) AS hits FROM hits GROUP BY page;
";
const PLACE: PartitionId = PartitionId(0);

/// A log whose records of these offsets all bring one id in their header.
struct WithHeaders {
    inner: MemoryLog,
    marked: BTreeSet<i64>,
}

#[async_trait]
impl LogLayer for WithHeaders {
    fn inner(&self) -> &MemoryLog {
        &self.inner
    }

    async fn consumer(&self, topic: &str, group: Option<&str>) -> Result<Box<dyn LogConsumer>, EventLogError> {
        let inner = self.inner.consumer(topic, group).await?;
        Ok(Box::new(Marking { inner, marked: self.marked.clone() }))
    }
}

struct Marking {
    inner: Box<dyn LogConsumer>,
    marked: BTreeSet<i64>,
}

#[async_trait]
impl LogConsumer for Marking {
    async fn seek(&mut self, starts: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.inner.seek(starts).await
    }

    async fn poll(&mut self, limit: PollLimit) -> Result<Poll, EventLogError> {
        let mut poll = self.inner.poll(limit).await?;
        if let Poll::Records(records) = &mut poll {
            for record in records.iter_mut().filter(|record| self.marked.contains(&record.offset.0)) {
                record.event_id = Some(Bytes::from_static(b"the same"));
            }
        }
        Ok(poll)
    }

    fn take_ends(&mut self) -> BTreeMap<PartitionId, Duration> {
        self.inner.take_ends()
    }

    async fn report_progress(&mut self, offsets: &BTreeMap<PartitionId, Offset>) -> Result<(), EventLogError> {
        self.inner.report_progress(offsets).await
    }
}

struct Scene {
    log: Arc<Layered<WithHeaders>>,
    lake: Lake,
    clock: Arc<ManualClock>,
    ids: Arc<SeededIds>,
    source: Arc<SourceDefinition>,
    view: PlannedView,
}

/// Five equal records, of which two bring the same id in their header.
async fn scene() -> Scene {
    let clock = Arc::new(ManualClock::at(START));
    let inner = MemoryLog::new(Arc::clone(&clock) as Arc<dyn Clock>);
    inner.ensure_topic("hits", 1).await.unwrap();
    let time = chrono::DateTime::from_timestamp_micros(START).unwrap().to_rfc3339();
    let payload = Bytes::from(format!(r#"{{"time": "{time}", "page": "/a"}}"#));
    for _ in 0..5 {
        let record = NewRecord { key: None, payload: payload.clone(), timestamp: clock.now(), clock_shift: None };
        inner.append("hits", vec![record]).await.pop().unwrap().unwrap();
    }
    clock.advance(Duration::from_secs(60));
    let pipeline = Pipeline::read(PIPELINE, &BTreeMap::new()).unwrap();
    Scene {
        log: Arc::new(Layered(WithHeaders { inner, marked: BTreeSet::from([1, 3]) })),
        lake: Lake::new(Arc::new(object_store::memory::InMemory::new()), object_store::path::Path::default()),
        clock,
        ids: Arc::new(SeededIds::new(1)),
        source: Arc::clone(&pipeline.sources[0]),
        view: pipeline.views[0].clone(),
    }
}

fn hits_in(states: &[RecordBatch]) -> i64 {
    let hits = |batch: &RecordBatch| -> i64 {
        batch.column_by_name("hits").unwrap().as_primitive::<Int64Type>().values().iter().sum()
    };
    states.iter().map(hits).sum()
}

/// What the batch view counts, and how many copies it left out.
async fn batch_count(scene: &Scene) -> (i64, u64) {
    let master = MasterDataset::new(&scene.lake, Arc::clone(&scene.source));
    let (status, told) = watch::channel(Default::default());
    let archive = ArchiveComponents {
        log: Arc::clone(&scene.log) as Arc<dyn EventLog>,
        master: master.clone(),
        source: Arc::clone(&scene.source),
        registry: None,
        clock: Arc::clone(&scene.clock) as Arc<dyn Clock>,
        ids: Arc::clone(&scene.ids) as Arc<dyn IdSource>,
        status,
    };
    let settings = ArchiveSettings { commit_interval: Duration::ZERO, ..ArchiveSettings::default() };
    let shutdown = CancellationToken::new();
    let reached = async {
        wait_until(told, |status| end_of(status, PLACE) == Offset(5)).await;
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(run_archive(archive, settings, shutdown.clone()), reached);
    ended.unwrap();
    let components = RecomputeComponents {
        lake: scene.lake.clone(),
        master,
        views: vec![scene.view.clone()],
        clock: Arc::clone(&scene.clock) as Arc<dyn Clock>,
        ids: Arc::clone(&scene.ids) as Arc<dyn IdSource>,
    };
    recompute(&components, Mode::Full, &RecomputeSettings::default()).await.into_values().for_each(|outcome| {
        outcome.unwrap();
    });
    let store = BatchViewStore::new(&scene.lake, scene.view.clone());
    let version = store.newest().await.unwrap().unwrap();
    assert_eq!(version.facts.cut.offset(PLACE), Offset(5));
    (hits_in(&store.load(&version, usize::MAX).await.unwrap()), version.facts.counters[&PLACE].copies)
}

/// What the runs of the realtime view count, and how many copies they left out.
async fn realtime_count(scene: &Scene) -> (i64, u64) {
    let store = Arc::new(MemoryStore::new(1 << 26, Arc::clone(&scene.clock) as Arc<dyn Clock>));
    let definition = scene.view.clone();
    let published = BatchViewStore::new(&scene.lake, scene.view.clone());
    let components = SpeedComponents {
        log: Arc::clone(&scene.log) as Arc<dyn EventLog>,
        store: Arc::clone(&store) as Arc<dyn RealtimeStore>,
        master: MasterDataset::new(&scene.lake, Arc::clone(&scene.source)),
        source: Arc::clone(&scene.source),
        registry: None,
        views: vec![SpeedView { definition, published, keeping: Keeping::Present }],
        definitions: Arc::new(DefinitionNumber(1)),
        clock: Arc::clone(&scene.clock) as Arc<dyn Clock>,
        ids: Arc::clone(&scene.ids) as Arc<dyn IdSource>,
    };
    let key = PartitionKey::new(&scene.source.name, PLACE);
    let shutdown = CancellationToken::new();
    let reached = async {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let index = store.read_index(&key).await.unwrap();
            if let Some(index) = index.filter(|index| index.head.offset == Offset(5)) {
                shutdown.cancel();
                return index;
            }
            assert!(Instant::now() < deadline, "the speed layer did not get there in time");
            tokio::task::yield_now().await;
        }
    };
    let settings = SpeedSettings { tick: Duration::from_millis(1), ..SpeedSettings::default() };
    let (ended, index) = tokio::join!(speed_layer::run::run(components, settings, shutdown.clone()), reached);
    ended.unwrap();
    let runs =
        tile(Some(&index), scene.view.hash, Cut::default().position(PLACE, index.head.incarnation)).unwrap().runs;
    let keys: Vec<BlobKey> = runs.iter().map(|run| BlobKey { run: run.id, view: scene.view.hash }).collect();
    let mut states = Vec::new();
    for found in store.get_blobs(&key, &keys).await.unwrap() {
        states.extend(blob::decode(&found.unwrap(), &scene.view.states).unwrap());
    }
    (hits_in(&states), index.counters.copies)
}

#[tokio::test]
async fn an_id_in_the_header_counts_once_in_both_layers_where_the_source_names_none() {
    let scene = scene().await;
    // Before anything is published: the runs cover the log from its start.
    assert_eq!(realtime_count(&scene).await, (4, 1), "realtime");
    assert_eq!(batch_count(&scene).await, (4, 1), "batch");
}
