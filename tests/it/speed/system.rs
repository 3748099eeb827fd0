//! A speed worker's whole surroundings in memory, and the naive answer that its runs are held against.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use bytes::Bytes;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use event_log::{EventLog, NewRecord, Record};
use positions::{
    Archived, Backoff, Clock, Counters, Cut, DefinitionNumber, IdSource, Incarnation, Index, Offset, PartitionId,
    Position, RecomputeId, TimestampMicros, choose_merge, tile,
};
use rand::Rng;
use rand::rngs::StdRng;
use records::decode::decode;
use records::master::{ArchivedPartition, Hole, MasterDataset};
use serving_layer::memory::MemoryStore;
use serving_layer::{BatchFacts, BatchViewStore, BlobKey, Folded, PartitionKey, RealtimeStore, Version, blob};
use speed_layer::{Keeping, SpeedComponents, SpeedError, SpeedSettings, SpeedView};
use tokio_util::sync::CancellationToken;
use views::{Compiled, PlannedView, SourceDefinition};

pub use crate::support::event::Event;
use crate::support::flaky_store::FlakyStore;
use crate::support::surroundings::Surroundings;

const SQL: &str = r"
CREATE UNBOUNDED EXTERNAL TABLE edits (id VARCHAR, time TIMESTAMP NOT NULL, page VARCHAR, added BIGINT)
STORED AS JSON LOCATION 'kafka://edits'
OPTIONS (event_time 'time', event_id 'id', horizon '10s', gap '3s', grid '16', partitions '2');

CREATE MATERIALIZED VIEW edits_by_page AS
SELECT page, count(*) AS edits, sum(added) AS added FROM edits GROUP BY page;

CREATE MATERIALIZED VIEW pages_by_size AS
SELECT added % 3 AS size, count(*) AS edits, count(DISTINCT page) AS pages FROM edits WHERE added > 10 GROUP BY added % 3;
";

pub const PARTITIONS: [PartitionId; 2] = [PartitionId(0), PartitionId(1)];
const GRID: i64 = 16;
const GAP: i64 = 3_000_000;
const DAY: i64 = 24 * 3_600 * 1_000_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// Everything around a worker, and what was sent.
pub struct System {
    surroundings: Surroundings,
    pub memory: Arc<MemoryStore>,
    pub store: Arc<FlakyStore>,
    pub source: Arc<SourceDefinition>,
    pub views: Vec<PlannedView>,
    /// By partition, in offset order; without an event where the payload is broken.
    pub sent: BTreeMap<PartitionId, Vec<(Record, Option<Event>)>>,
    /// What the versions that are published say of what was erased.
    pub erased: u64,
    log_time: i64,
}

impl Deref for System {
    type Target = Surroundings;

    fn deref(&self) -> &Surroundings {
        &self.surroundings
    }
}

impl System {
    pub async fn new(seed: u64) -> Self {
        Self::with_memory(seed, 1 << 26).await
    }

    pub async fn with_memory(seed: u64, limit_bytes: u64) -> Self {
        Self::of(SQL, seed, limit_bytes).await
    }

    /// Events are remembered for longer than one record may raise the running maximum.
    pub async fn with_long_horizon(seed: u64) -> Self {
        Self::of(&SQL.replace("horizon '10s'", "horizon '60h'"), seed, 1 << 26).await
    }

    /// The first view alone, of a source in kappa mode.
    pub async fn in_kappa(seed: u64) -> Self {
        let mut system = Self::of(&SQL.replace("partitions '2'", "partitions '2', mode 'kappa'"), seed, 1 << 26).await;
        system.views.truncate(1);
        system
    }

    async fn of(sql: &str, seed: u64, limit_bytes: u64) -> Self {
        let surroundings = Surroundings::new(sql, 1_700_000_000_000_000, seed);
        surroundings.log.ensure_topic("edits", 2).await.unwrap();
        let (memory, store) = surroundings.realtime(limit_bytes, seed);
        Self {
            memory,
            store,
            source: surroundings.pipeline.sources[0].clone(),
            views: surroundings.pipeline.views.clone(),
            log_time: surroundings.clock.now().0,
            surroundings,
            sent: BTreeMap::new(),
            erased: 0,
        }
    }

    pub fn components(&self) -> SpeedComponents {
        let view = |view: &PlannedView| SpeedView {
            definition: view.clone(),
            published: BatchViewStore::new(&self.lake, view.clone()),
            keeping: Keeping::Present,
        };
        SpeedComponents {
            log: Arc::new(self.log.clone()),
            store: self.store.clone(),
            master: MasterDataset::new(&self.lake, self.source.clone()),
            source: self.source.clone(),
            registry: None,
            views: self.views.iter().map(view).collect(),
            definitions: Arc::new(DefinitionNumber(1)),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        }
    }

    pub fn settings(rng: &mut StdRng) -> SpeedSettings {
        SpeedSettings {
            tick: Duration::from_millis(1),
            max_records: rng.random_range(1..60),
            merge_fan_in: rng.random_range(2..6),
            courtesy: Duration::from_millis(20),
            refresh: Duration::from_millis(10),
            touch: Duration::from_millis(10),
            backoff: Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(30) },
            shutdown_deadline: PATIENCE,
            ..SpeedSettings::default()
        }
    }

    /// Sends events: copies near and far, broken payloads, records out of order, silences, missing offsets, and now and
    /// then a producer whose clock is far ahead, or days without a record.
    pub async fn send(&mut self, rng: &mut StdRng, count: usize) {
        for _ in 0..count {
            self.log_time += match rng.random_range(0..100) {
                0..3 => rng.random_range(3_000..15_000) * 1_000,
                3 => rng.random_range(0..4 * DAY) / 1_000 * 1_000,
                _ => rng.random_range(0..200) * 1_000,
            };
            if rng.random_bool(0.02) {
                let partition = PARTITIONS[rng.random_range(0..2)];
                self.log.skip_offsets("edits", partition, rng.random_range(1..25)).unwrap();
            }
            let event = if rng.random_bool(0.25) { self.repeated(rng) } else { self.new_event(rng) };
            let timestamp = match rng.random_range(0..100) {
                0 => self.log_time + rng.random_range(0..400 * DAY),
                1 => self.log_time.saturating_mul(1_000),
                _ => self.log_time - rng.random_range(0..500) * 1_000,
            };
            let event = event.filter(|_| !rng.random_bool(0.05));
            self.send_one(event, timestamp).await;
        }
    }

    fn new_event(&self, rng: &mut StdRng) -> Option<Event> {
        Some(Event {
            id: rng.random_bool(0.8).then(|| rng.random_range(0..1_000_000)),
            time: self.log_time - rng.random_range(0..100_000_000),
            page: Some(format!("page {}", rng.random_range(0..8))),
            amount: Some(rng.random_range(-20..200)),
            ..Event::default()
        })
    }

    fn repeated(&self, rng: &mut StdRng) -> Option<Event> {
        let sent: Vec<&Event> = self.sent.values().flatten().filter_map(|(_, event)| event.as_ref()).collect();
        let newest = sent.len().saturating_sub(120);
        (!sent.is_empty()).then(|| sent[rng.random_range(newest..sent.len())].clone())
    }

    /// Sends one event, or a record that is not one.
    pub async fn send_one(&mut self, event: Option<Event>, timestamp: i64) {
        let payload = event.as_ref();
        let payload = payload.map_or(Bytes::from_static(b"{\"time\": 1.5, broken"), |event| event.payload("added"));
        let key = event.as_ref().and_then(Event::key);
        let timestamp = TimestampMicros(timestamp.div_euclid(1_000) * 1_000);
        let record = NewRecord { key, payload: payload.clone(), timestamp, clock_shift: None };
        let (partition, offset) = self.log.append("edits", vec![record]).await.remove(0).unwrap();
        let record = Record { partition, offset, timestamp, payload, event_id: None, clock_shift: None };
        self.sent.entry(partition).or_default().push((record, event));
    }

    pub fn key(&self, partition: PartitionId) -> PartitionKey {
        PartitionKey { generation: self.views[0].generation(), ..PartitionKey::new(&self.source.name, partition) }
    }

    pub async fn index(&self, partition: PartitionId) -> Option<Index> {
        self.memory.read_index(&self.key(partition)).await.unwrap()
    }

    fn records(&self, partition: PartitionId) -> &[(Record, Option<Event>)] {
        self.sent.get(&partition).map_or(&[], Vec::as_slice)
    }

    /// Behind the last record.
    pub fn end(&self, partition: PartitionId) -> Offset {
        self.records(partition).last().map_or(Offset(0), |(record, _)| record.offset.next())
    }

    /// The position at an offset, from its definition.
    pub fn position(&self, partition: PartitionId, offset: Offset) -> Position {
        let before = self.records(partition).iter().map(|(record, _)| record).filter(|record| record.offset < offset);
        let advance = |at: Position, record: &Record| at.advance(record.offset, record.timestamp, record.fingerprint());
        before.fold(Position::start(Incarnation(0)), advance).at_offset(offset)
    }

    /// The cut at the last grid border of a share of the log, in every partition: where an archive of it would stand.
    pub fn grid_cut(&self, share: f64) -> Cut {
        let grid = |partition| {
            let records = self.records(partition);
            let share = &records[..(records.len() as f64 * share) as usize];
            let advance = |at: Archived, (record, _): &(Record, _)| at.advance(&record.mark(), &self.source.border);
            share.iter().fold(Archived::start(Incarnation(0)), advance).grid
        };
        Cut(PARTITIONS.iter().map(|partition| (*partition, grid(*partition))).collect())
    }

    /// Publishes an (empty) batch version of every view at a cut.
    pub async fn publish(&self, cut: &Cut) {
        for view in &self.views {
            self.publish_view(view, cut).await;
        }
    }

    pub async fn publish_view(&self, view: &PlannedView, cut: &Cut) {
        let store = BatchViewStore::new(&self.lake, view.clone());
        let facts = BatchFacts {
            definition: view.hash,
            cut: cut.clone(),
            master_version: Version(0),
            recompute: RecomputeId(self.ids.next_id()),
            published_at: self.clock.now(),
            is_full: true,
            counters: BTreeMap::new(),
            holes: Vec::new(),
            erased: self.erased,
            publisher: None,
            folded: Folded::default(),
        };
        let rows = Box::pin(RecordBatchStreamAdapter::new(store.schema(), futures::stream::empty()));
        let newest = store.newest().await.unwrap();
        store.publish(newest.as_ref(), None, rows, facts, self.ids.next_id()).await.unwrap();
    }

    /// Archives everything below a cut into the master dataset; `holes` are declared instead of archived.
    pub async fn archive(&self, cut: &Cut, holes: &[Hole]) {
        let master = MasterDataset::new(&self.lake, self.source.clone());
        let on = master.create().await.unwrap();
        let mut facts = on.facts.clone();
        facts.holes.extend(holes);
        let mut rows = Vec::new();
        for (partition, end) in &cut.0 {
            let from = facts.partitions.get(partition).map_or(Offset(0), |archived| archived.archived.end.offset);
            let is_lost = |offset| {
                holes.iter().any(|hole| hole.partition == *partition && hole.from <= offset && offset < hole.to)
            };
            let records = self.records(*partition).iter().map(|(record, _)| record.clone());
            let records = records.filter(|record| from <= record.offset && record.offset < end.offset);
            let records: Vec<Record> = records.filter(|record| !is_lost(record.offset)).collect();
            facts.rows += records.len() as u64;
            rows.push(decode(&self.source, &records).unwrap());
            let archived = Archived { end: *end, grid: *end };
            facts.partitions.insert(*partition, ArchivedPartition { archived, counters: Counters::default() });
        }
        master.append(&on, &rows, facts, self.ids.next_id()).await.unwrap();
    }

    /// Lets time pass until `condition` holds.
    pub async fn until<F: Future<Output = bool>>(&self, what: &str, condition: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(Instant::now() < deadline, "not in time: {what}");
            self.clock.advance(Duration::from_millis(5));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Runs a worker until its heads stand at the end of the log and nothing is left to merge, then stops it.
    pub async fn run_to_end(&self, settings: SpeedSettings) {
        let (worker, stop) = self.spawn(settings);
        self.until("heads at the end", || self.is_at_end()).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
    }

    pub fn spawn(
        &self,
        settings: SpeedSettings,
    ) -> (tokio::task::JoinHandle<Result<(), SpeedError>>, CancellationToken) {
        let stop = CancellationToken::new();
        (tokio::spawn(speed_layer::run::run(self.components(), settings, stop.clone())), stop)
    }

    pub async fn is_at_end(&self) -> bool {
        for partition in PARTITIONS {
            let head = self.index(partition).await.map(|index| index.head.offset);
            if head != Some(self.end(partition)) {
                return false;
            }
        }
        true
    }

    /// Whether there is nothing to merge in any partition.
    pub async fn is_merged(&self, fan_in: usize) -> bool {
        for partition in PARTITIONS {
            let runs = self.index(partition).await.map(|index| index.runs).unwrap_or_default();
            if choose_merge(&runs, fan_in, &BTreeSet::new()).is_some() {
                return false;
            }
        }
        true
    }

    /// Lets time pass until the first partition, whose blob is lost, does not name it and is read to its end again.
    pub async fn until_started_again(&self, lost: BlobKey) {
        self.until("no index names the lost blob", async || {
            let index = self.index(PartitionId(0)).await.unwrap();
            index.runs.iter().all(|run| run.id != lost.run) && self.is_at_end().await
        })
        .await;
    }

    /// A worker that dies after being polled some times, wherever it is then.
    pub async fn run_and_kill(&self, settings: SpeedSettings, polls: usize) {
        let worker = speed_layer::run::run(self.components(), settings, CancellationToken::new());
        Mortal { worker: Box::pin(worker), polls }.await;
        self.clock.advance(Duration::from_millis(50));
    }

    /// Compares what the runs above `cut` hold with the fold of the log above it, and looks at every run.
    pub async fn check(&self, cut: &Cut) {
        self.check_to_heads(cut).await;
        assert!(self.is_at_end().await);
    }

    /// Like [`Self::check`], up to wherever the heads stand.
    pub async fn check_to_heads(&self, cut: &Cut) {
        let mut heads = BTreeMap::new();
        for partition in PARTITIONS {
            let index = self.index(partition).await.unwrap();
            self.check_borders(partition, &index);
            heads.insert(partition, index.head.offset);
        }
        let events = self.fresh(cut, &heads);
        let (mut pages, mut sizes) = (BTreeMap::new(), BTreeMap::new());
        for event in &events {
            let page: &mut (i64, i64) = pages.entry(event.page().to_owned()).or_default();
            *page = (page.0 + 1, page.1 + event.amount());
            if event.amount() > 10 {
                let size: &mut (i64, BTreeSet<&str>) = sizes.entry((event.amount() % 3).to_string()).or_default();
                size.0 += 1;
                size.1.insert(event.page());
            }
        }
        let sizes: BTreeMap<String, (i64, i64)> =
            sizes.into_iter().map(|(size, (edits, pages))| (size, (edits, pages.len() as i64))).collect();
        assert_eq!(self.answer(0, cut).await, pages, "edits_by_page above {cut:?}");
        assert_eq!(self.answer(1, cut).await, sizes, "pages_by_size above {cut:?}");
    }

    /// The events that count above a cut, by the definition of `fresh`.
    pub fn fresh(&self, cut: &Cut, heads: &BTreeMap<PartitionId, Offset>) -> Vec<Event> {
        let horizon = self.source.horizon.as_micros() as i64;
        let mut counted = Vec::new();
        for (partition, head) in heads {
            let (mut running_max, mut seen) = (i64::MIN, HashMap::new());
            for (record, event) in self.records(*partition).iter().take_while(|(record, _)| record.offset < *head) {
                running_max = raised(running_max, record.timestamp.0);
                let Some(event) = event else { continue };
                let before = event.id.and_then(|id| seen.insert((id, event.time), running_max));
                let is_copy = before.is_some_and(|before| running_max.saturating_sub(before) <= horizon);
                if !is_copy && record.offset >= cut.offset(*partition) {
                    counted.push(event.clone());
                }
            }
        }
        counted
    }

    /// The finished answer of a view from its runs above a cut: dimension as text, two measures.
    pub async fn answer(&self, view: usize, cut: &Cut) -> BTreeMap<String, (i64, i64)> {
        let view = &self.views[view];
        let mut states = Vec::new();
        for partition in PARTITIONS {
            let index = self.index(partition).await;
            let runs = tile(index.as_ref(), view.hash, cut.position(partition, Incarnation(0))).unwrap().runs;
            let filled = runs.iter().filter(|run| run.rows_of(view.hash) != Some(0));
            let keys: Vec<BlobKey> = filled.map(|run| BlobKey { run: run.id, view: view.hash }).collect();
            for found in self.memory.get_blobs(&self.key(partition), &keys).await.unwrap() {
                states.extend(blob::decode(&found.expect("a named blob is there"), &view.states).unwrap());
            }
        }
        let dimension = view.dimensions[0].name.as_str();
        let finish =
            Compiled::new(view.states.clone(), |scan| view.plans.finish_plan(scan, &[dimension])).await.unwrap();
        finish.execute(states).await.unwrap().iter().flat_map(rows_of).collect()
    }

    fn check_borders(&self, partition: PartitionId, index: &Index) {
        for run in &index.runs {
            let (from, to) = (run.from.offset, run.to.offset);
            assert!(from < to, "a run covers something");
            let crosses = |at: Offset| from < at && at < to;
            let near = self.records(partition).iter().flat_map(|(record, _)| [record.offset, record.offset.next()]);
            assert!(!near.map(|at| Offset(at.0 / GRID * GRID)).any(crosses), "[{from}, {to}) crosses the grid");
            let within =
                self.records(partition).iter().filter(|(record, _)| from <= record.offset && record.offset < to);
            let mut running_max = run.from.max_timestamp.0;
            for (record, _) in within.clone() {
                let is_gap = running_max != i64::MIN && record.timestamp.0.saturating_sub(running_max) >= GAP;
                let is_first = within.clone().next().is_some_and(|(first, _)| first == record);
                assert!(is_first || !is_gap, "[{from}, {to}) crosses a gap at {}", record.offset);
                running_max = raised(running_max, record.timestamp.0);
            }
            assert_eq!(run.from, self.position(partition, from));
            assert_eq!(run.to, self.position(partition, to));
            assert_eq!(run.counters.rows as usize, within.count());
        }
    }
}

/// The running maximum after a record, by its definition: a day at most, and nothing for what cannot come from a clock.
fn raised(before: i64, timestamp: i64) -> i64 {
    let (year_1971, year_2200) = (31_536_000_000_000, 7_258_118_400_000_000);
    match timestamp {
        _ if timestamp < year_1971 || timestamp >= year_2200 || timestamp <= before => before,
        _ if before == i64::MIN => timestamp,
        _ => timestamp.min(before + DAY),
    }
}

fn rows_of(batch: &RecordBatch) -> Vec<(String, (i64, i64))> {
    let names = arrow::compute::cast(batch.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
    let number = |column: usize, row: usize| batch.column(column).as_primitive::<Int64Type>().value(row);
    let row = |row: usize| (names.as_string::<i32>().value(row).to_owned(), (number(1, row), number(2, row)));
    (0..batch.num_rows()).map(row).collect()
}

/// A future that ends after it was polled some times.
struct Mortal<F> {
    worker: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future<Output = Result<(), SpeedError>>> Future for Mortal<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.polls == 0 {
            return Poll::Ready(());
        }
        self.polls -= 1;
        self.worker.as_mut().poll(context).map(|ended| ended.unwrap())
    }
}
