//! A small world for the gateway: a log in memory, runs and versions made by hand through the public stores, and the
//! direct fold that answers are compared with.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arrow::array::{
    ArrayRef, AsArray, Decimal128Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Field, Int64Type, Schema, SchemaRef, TimestampMicrosecondType};
use async_trait::async_trait;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use edge::Principal;
use positions::{
    Counters, Cut, DefinitionNumber, Fingerprint, IdSource, Incarnation, Index, IndexStamp, Offset, PartitionId,
    Position, PositionToken, RecomputeId, Run, RunId, RunView, SourceName, TimestampMicros,
};
use query_gateway::{
    Gateway, GatewayComponents, GatewayError, GatewaySettings, PartitionFacts, RowsAnswer, RowsRequest, SqlAnswer,
    SqlRequest, StatusSource, SystemFacts,
};
use serving_layer::memory::MemoryStore;
use serving_layer::registry::FormerView;
use serving_layer::{BatchFacts, BatchViewStore, BlobKey, Folded, PartitionKey, RealtimeStore, Swap, Version, blob};
use views::{Compiled, Pipeline, PlannedView, ViewDefinition, bucket_of, column};

pub(super) use crate::support::event::Event;
use crate::support::flaky_store::FlakyStore;
use crate::support::surroundings::Surroundings;

/// Two views over one source; `by_page` has a measure of every kind.
const PIPELINE: &str = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW by_page AS
SELECT page, date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS edits, sum(added) AS added,
       approx_distinct("user") AS editors, sum(added) / count(*) AS mean_added, sum(price) AS price,
       avg(weight) AS weight
FROM edits GROUP BY page, hour;

CREATE MATERIALIZED VIEW totals AS
SELECT page, count(*) AS edits, max(added) AS largest FROM edits GROUP BY page;
"#;

/// 2026-01-01T00:00:00Z.
pub(super) const START: i64 = 1_767_225_600_000_000;
const MINUTE: i64 = 60_000_000;
const LONG: Duration = Duration::from_secs(3_600);

/// An event of a page, written short.
pub(super) fn event(minute: i64, page: &'static str, user: &str, added: i64) -> Event {
    Event {
        time: START + minute * MINUTE,
        page: Some(page.to_owned()),
        user: Some(user.to_owned()),
        amount: Some(added),
        ..Event::default()
    }
}

/// What the direct fold knows of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group {
    pub edits: i64,
    pub added: i64,
    pub editors: BTreeSet<String>,
}

/// Facts that a test puts up.
#[derive(Default)]
pub(super) struct Board(pub Mutex<SystemFacts>);

#[async_trait]
impl StatusSource for Board {
    async fn facts(&self) -> SystemFacts {
        self.0.lock().unwrap().clone()
    }
}

/// Everything around one gateway.
pub(super) struct World {
    surroundings: Surroundings,
    pub store: Arc<FlakyStore>,
    // Below it: fails never.
    pub memory: Arc<MemoryStore>,
    pub board: Arc<Board>,
    pub gateway: Arc<Gateway>,
    log: Mutex<BTreeMap<PartitionId, Vec<Event>>>,
    // Version and cut as published last, by view.
    published: Mutex<BTreeMap<String, serving_layer::BatchVersion>>,
}

impl Deref for World {
    type Target = Surroundings;

    fn deref(&self) -> &Surroundings {
        &self.surroundings
    }
}

impl World {
    /// An empty world with default settings.
    pub(super) fn new() -> Self {
        Self::with_settings(GatewaySettings::default())
    }

    /// An empty world.
    pub(super) fn with_settings(settings: GatewaySettings) -> Self {
        Self::on(PIPELINE, settings)
    }

    /// An empty world whose source writes no number of partitions.
    pub(super) fn without_a_number() -> Self {
        let pipeline = PIPELINE.replace(", partitions '2'", "");
        assert_ne!(pipeline, PIPELINE);
        Self::on(&pipeline, GatewaySettings::default())
    }

    /// An empty world of views of another text, over a source of the same columns.
    pub(super) fn on(pipeline: &str, settings: GatewaySettings) -> Self {
        let surroundings = Surroundings::new(pipeline, START, 7);
        let (memory, store) = surroundings.realtime(1 << 30, 7);
        let board = Arc::new(Board::default());
        let gateway = gateway(&surroundings, &store, &board, settings);
        Self { surroundings, store, memory, board, gateway, log: Mutex::default(), published: Mutex::default() }
    }

    /// Another gateway on the same stores, which has served nothing yet.
    pub(super) fn another_gateway(&self) -> Arc<Gateway> {
        self.another_gateway_with(GatewaySettings::default())
    }

    /// The same with other settings.
    pub(super) fn another_gateway_with(&self, settings: GatewaySettings) -> Arc<Gateway> {
        gateway(&self.surroundings, &self.store, &self.board, settings)
    }

    /// Another gateway that answers `by_page` by a former definition, which lacked a measure.
    pub(super) fn gateway_by_former(&self) -> Arc<Gateway> {
        let text = PIPELINE.replace("sum(added) / count(*) AS mean_added, ", "");
        let view = Pipeline::read(&text, &BTreeMap::new()).unwrap().view("by_page").unwrap().clone();
        let building = self.view("by_page").hash;
        assert_ne!(view.hash, building);
        let former = vec![FormerView { view, set: DefinitionNumber(1), building }];
        let components = components(&self.surroundings, &self.store, &self.board);
        Gateway::with_former(components, GatewaySettings::default(), former).unwrap()
    }

    pub(super) fn view(&self, name: &str) -> PlannedView {
        self.pipeline.views.iter().find(|view| view.name.as_str() == name).unwrap().clone()
    }

    /// Writes events to the log of a partition.
    pub(super) fn send(&self, partition: i32, events: impl IntoIterator<Item = Event>) {
        self.log.lock().unwrap().entry(PartitionId(partition)).or_default().extend(events);
    }

    /// Writes an index without runs, as a worker does that starts on an empty partition.
    pub(super) async fn own(&self, partition: i32) {
        self.own_as_of(partition, positions::Clock::now(self.clock.as_ref())).await;
    }

    /// Says of an empty partition when its worker saw its end.
    pub(super) async fn own_as_of(&self, partition: i32, as_of: TimestampMicros) {
        let before = self.memory.read_index(&key(partition)).await.unwrap();
        let stamp = IndexStamp(self.ids.next_id());
        let index = Index::new(stamp, DefinitionNumber(1), Position::start(Incarnation(0)), as_of);
        self.swap(partition, before.as_ref(), &index).await;
    }

    /// Takes back that a partition was read to its end: its worker is on its way there.
    pub(super) async fn forget_end(&self, partition: i32) {
        let index = self.memory.read_index(&key(partition)).await.unwrap().unwrap();
        let on_its_way = Index { stamp: IndexStamp(self.ids.next_id()), as_of: TimestampMicros(0), ..index.clone() };
        self.swap(partition, Some(&index), &on_its_way).await;
    }

    /// Makes the last run of a partition follow a record of another log, at the same offset.
    pub(super) async fn forge_last_run(&self, partition: i32) {
        let index = self.memory.read_index(&key(partition)).await.unwrap().unwrap();
        let mut forged = Index { stamp: IndexStamp(self.ids.next_id()), ..index.clone() };
        forged.runs.last_mut().unwrap().from.fingerprint = Fingerprint(77);
        self.swap(partition, Some(&index), &forged).await;
    }

    /// Appends one run up to the end of the log.
    pub(super) async fn append_run(&self, partition: i32) -> RunId {
        let names: Vec<&str> = self.pipeline.views.iter().map(|view| view.name.as_str()).collect();
        self.append_run_of(partition, &names).await
    }

    /// Appends one run up to the end of the log that may be merged with the one before.
    pub(super) async fn append_to_segment(&self, partition: i32) -> RunId {
        let names: Vec<&str> = self.pipeline.views.iter().map(|view| view.name.as_str()).collect();
        self.append(partition, &names, false).await
    }

    /// Appends one run that holds only some views.
    pub(super) async fn append_run_of(&self, partition: i32, views: &[&str]) -> RunId {
        self.append(partition, views, true).await
    }

    async fn append(&self, partition: i32, views: &[&str], starts_at_border: bool) -> RunId {
        let key = key(partition);
        let id = RunId(self.ids.next_id());
        let index = self.memory.read_index(&key).await.unwrap();
        let from = index.as_ref().map_or(Position::start(Incarnation(0)), |index| index.head);
        let to = self.position(partition, self.log_end(partition));
        let events = self.events(partition, from.offset.0, to.offset.0);
        let mut held = Vec::new();
        let mut blobs = Vec::new();
        for name in views {
            let view = self.view(name);
            let states = states_of(&view, &events, false).await;
            held.push(RunView { view: view.hash, rows: states.num_rows() as u64 });
            if states.num_rows() > 0 {
                blobs.push((BlobKey { run: id, view: view.hash }, blob::encode(&[states]).unwrap()));
            }
        }
        self.memory.put_blobs(&key, blobs, LONG).await.unwrap();
        let counters = Counters { rows: events.num_rows() as u64, ..Counters::default() };
        let run = Run { id, from, to, views: held, counters, starts_at_border };
        let now = positions::Clock::now(self.clock.as_ref());
        let start = Index::new(IndexStamp(self.ids.next_id()), DefinitionNumber(1), from, now);
        let stamp = IndexStamp(self.ids.next_id());
        let next = index.as_ref().unwrap_or(&start).append(stamp, DefinitionNumber(1), run, now).unwrap();
        self.swap(partition, index.as_ref(), &next).await;
        id
    }

    /// Puts one run in the place of the last ones of a partition, as the speed layer does within a segment.
    pub(super) async fn merge_last_runs(&self, partition: i32, count: usize) {
        let key = key(partition);
        let index = self.memory.read_index(&key).await.unwrap().unwrap();
        let parts = &index.runs[index.runs.len() - count..];
        let id = RunId(self.ids.next_id());
        let (mut held, mut blobs) = (Vec::new(), Vec::new());
        for view in &self.pipeline.views {
            let keys: Vec<BlobKey> = parts.iter().map(|run| BlobKey { run: run.id, view: view.hash }).collect();
            let found = self.memory.get_blobs(&key, &keys).await.unwrap();
            let states = found.iter().flatten().flat_map(|bytes| blob::decode(bytes, &view.states).unwrap());
            let merge = view.plans.compile_merge().await.unwrap();
            let merged = merge.execute(states.collect()).await.unwrap();
            let merged = concat_batches(&merge.output_schema(), &merged).unwrap();
            held.push(RunView { view: view.hash, rows: merged.num_rows() as u64 });
            blobs.push((BlobKey { run: id, view: view.hash }, blob::encode(&[merged]).unwrap()));
        }
        self.memory.put_blobs(&key, blobs, LONG).await.unwrap();
        let counters = parts.iter().map(|run| run.counters).sum();
        let merged = Run { id, to: parts[count - 1].to, views: held, counters, ..parts[0].clone() };
        let replaced: Vec<RunId> = parts.iter().map(|run| run.id).collect();
        let next = index.merge(IndexStamp(self.ids.next_id()), &replaced, merged).unwrap();
        self.swap(partition, Some(&index), &next).await;
    }

    /// Drops the runs of a partition below an offset.
    pub(super) async fn expire(&self, partition: i32, below: i64) {
        let Some(index) = self.memory.read_index(&key(partition)).await.unwrap() else { return };
        let next = index.drop_below(IndexStamp(self.ids.next_id()), Offset(below));
        self.swap(partition, Some(&index), &next).await;
    }

    async fn swap(&self, partition: i32, expected: Option<&Index>, next: &Index) {
        let expected = expected.map(|index| index.stamp);
        let swapped = self.memory.swap_index(&key(partition), expected, next, LONG).await.unwrap();
        assert_eq!(swapped, Swap::Done);
    }

    /// Publishes a version of a view with these cuts, by partition from 0. Gives its number.
    pub(super) async fn publish(&self, name: &str, cuts: &[i64]) -> Version {
        self.publish_partitions(name, &(0..).zip(cuts.iter().copied()).collect::<Vec<_>>()).await
    }

    /// Publishes a version of a view with the cuts of these partitions. Gives its number.
    pub(super) async fn publish_partitions(&self, name: &str, cuts: &[(i32, i64)]) -> Version {
        let view = self.view(name);
        let partitions = cuts.iter().copied();
        let batches: Vec<RecordBatch> =
            partitions.clone().map(|(partition, cut)| self.events(partition, 0, cut)).collect();
        let events = concat_batches(&view.source.events, &batches).unwrap();
        let states = states_of(&view, &events, true).await;
        let cut = partitions.clone().map(|(partition, cut)| (PartitionId(partition), self.position(partition, cut)));
        let counters = partitions.map(|(partition, cut)| {
            (PartitionId(partition), Counters { rows: cut.unsigned_abs(), ..Counters::default() })
        });
        let facts = BatchFacts {
            definition: view.hash,
            cut: Cut(cut.collect()),
            master_version: Version(1),
            recompute: RecomputeId(self.ids.next_id()),
            published_at: positions::Clock::now(self.clock.as_ref()),
            is_full: true,
            counters: counters.collect(),
            holes: Vec::new(),
            erased: 0,
            publisher: None,
            folded: Folded::default(),
        };
        let on = self.published.lock().unwrap().get(name).cloned();
        let store = BatchViewStore::new(&self.lake, view);
        let rows = RecordBatchStreamAdapter::new(states.schema(), futures::stream::iter([Ok(states)]));
        let version = store.publish(on.as_ref(), None, Box::pin(rows), facts, self.ids.next_id()).await.unwrap();
        let number = version.snapshot.version();
        self.published.lock().unwrap().insert(name.to_owned(), version);
        number
    }

    /// Leaves nothing of a view but its newest version, as an erasing does.
    pub(super) async fn purge(&self, name: &str) {
        let newest = self.published.lock().unwrap()[name].snapshot.clone();
        newest.table().purge(&newest).await.unwrap();
    }

    /// Offsets in the log of a partition.
    pub(super) fn log_end(&self, partition: i32) -> i64 {
        self.log.lock().unwrap().get(&PartitionId(partition)).map_or(0, |events| events.len() as i64)
    }

    /// A token for the end of the log of a partition, or beyond.
    pub(super) fn token(&self, partition: i32, beyond: i64) -> String {
        let mut token = PositionToken::default();
        token.cover(&SourceName::new("edits"), PartitionId(partition), Offset(self.log_end(partition) + beyond));
        token.encode()
    }

    /// Groups by page and hour of everything below these heads: the specification.
    pub(super) fn fold(&self, heads: &BTreeMap<PartitionId, Offset>) -> BTreeMap<(String, i64), Group> {
        let log = self.log.lock().unwrap();
        let mut groups: BTreeMap<(String, i64), Group> = BTreeMap::new();
        for (partition, head) in heads {
            for event in log.get(partition).into_iter().flatten().take(usize::try_from(head.0).unwrap()) {
                let hour = (event.time - START).div_euclid(60 * MINUTE);
                let group = groups.entry((event.page().to_owned(), hour)).or_default();
                group.edits += 1;
                group.added += event.amount();
                group.editors.extend(event.user.clone());
            }
        }
        groups
    }

    /// Asks for rows.
    pub(super) async fn rows(&self, view: &str, parameters: &[(&str, &str)]) -> Result<RowsAnswer, GatewayError> {
        self.gateway.rows(&Principal::anyone(), request(view, parameters)).await
    }

    /// Asks in SQL.
    pub(super) async fn sql(&self, sql: &str) -> Result<SqlAnswer, GatewayError> {
        self.gateway.sql(&Principal::anyone(), SqlRequest::new(sql)).await
    }

    /// Puts up that the log lists these partitions.
    pub(super) fn announce_partitions(&self, partitions: &[i32]) {
        let facts = PartitionFacts { produced: Some(Offset(0)), archived: None };
        let listed = partitions.iter().map(|partition| (PartitionId(*partition), facts)).collect();
        self.board.0.lock().unwrap().partitions.insert(SourceName::new("edits"), listed);
    }

    fn position(&self, partition: i32, offset: i64) -> Position {
        if offset == 0 {
            return Position::start(Incarnation(0));
        }
        Position {
            offset: Offset(offset),
            max_timestamp: TimestampMicros(START),
            fingerprint: Fingerprint(
                1 + u128::from(partition.unsigned_abs()) * 1_000_000 + offset.unsigned_abs() as u128,
            ),
            ..Position::start(Incarnation(0))
        }
    }

    fn events(&self, partition: i32, from: i64, to: i64) -> RecordBatch {
        let log = self.log.lock().unwrap();
        let all = log.get(&PartitionId(partition)).map(Vec::as_slice).unwrap_or_default();
        let range = usize::try_from(from).unwrap()..usize::try_from(to).unwrap();
        event_batch(&self.pipeline.sources[0].events, partition, from, &all[range])
    }
}

fn gateway(
    surroundings: &Surroundings,
    store: &Arc<FlakyStore>,
    board: &Arc<Board>,
    settings: GatewaySettings,
) -> Arc<Gateway> {
    Gateway::new(components(surroundings, store, board), settings).unwrap()
}

fn components(surroundings: &Surroundings, store: &Arc<FlakyStore>, board: &Arc<Board>) -> GatewayComponents {
    GatewayComponents {
        pipeline: surroundings.pipeline.clone(),
        lake: surroundings.lake.clone(),
        store: store.clone(),
        status: board.clone(),
        rejected: None,
        runs: None,
        clock: surroundings.clock.clone(),
    }
}

/// A rows request from pairs.
pub(super) fn request(view: &str, parameters: &[(&str, &str)]) -> RowsRequest {
    parameters.iter().fold(RowsRequest::new(view), |request, (name, value)| request.with(*name, *value))
}

fn key(partition: i32) -> PartitionKey {
    PartitionKey::new(&SourceName::new("edits"), PartitionId(partition))
}

fn event_batch(schema: &SchemaRef, partition: i32, from: i64, events: &[Event]) -> RecordBatch {
    let count = events.len();
    let times = || events.iter().map(|event| event.time);
    let time = || Arc::new(TimestampMicrosecondArray::from_iter_values(times()).with_timezone("UTC"));
    let price = Decimal128Array::from_iter_values(events.iter().map(|event| i128::from(event.amount()) * 10 + 5));
    let columns: Vec<ArrayRef> = vec![
        time(),
        Arc::new(StringArray::from_iter_values(events.iter().map(Event::page))),
        Arc::new(StringArray::from_iter(events.iter().map(|event| event.user.as_deref()))),
        Arc::new(Int64Array::from_iter_values(events.iter().map(Event::amount))),
        Arc::new(price.with_precision_and_scale(10, 2).unwrap()),
        Arc::new(Float64Array::from_iter_values(events.iter().map(|event| event.amount() as f64 / 2.0))),
        Arc::new(Int32Array::from_value(partition, count)),
        Arc::new(Int64Array::from_iter_values((from..).take(count))),
        time(),
    ];
    RecordBatch::try_new(schema.clone(), columns).unwrap()
}

/// The states of events, with or without the bucket in front, sorted.
async fn states_of(view: &PlannedView, events: &RecordBatch, with_bucket: bool) -> RecordBatch {
    let (input, keys): (RecordBatch, &[&str]) =
        if with_bucket { (add_bucket(view, events), &[column::BUCKET]) } else { (events.clone(), &[]) };
    let plan = Compiled::new(input.schema(), |scan| view.plans.state_plan(scan, keys)).await.unwrap();
    let states = concat_batches(&plan.output_schema(), &plan.execute(vec![input]).await.unwrap()).unwrap();
    if states.num_rows() < 2 {
        return states;
    }
    let sorted = states.columns()[..keys.len() + view.dimensions.len()].iter();
    let sorted: Vec<SortColumn> = sorted.map(|values| SortColumn { values: values.clone(), options: None }).collect();
    take_record_batch(&states, &lexsort_to_indices(&sorted, None).unwrap()).unwrap()
}

fn add_bucket(view: &ViewDefinition, events: &RecordBatch) -> RecordBatch {
    let times = events.column(view.source.event_time).as_primitive::<TimestampMicrosecondType>();
    let buckets = times.values().iter().map(|time| bucket_of(view.bucket, TimestampMicros(*time)).0);
    let buckets = TimestampMicrosecondArray::from_iter_values(buckets).with_timezone("UTC");
    let mut fields: Vec<Arc<Field>> = events.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(column::BUCKET, arrow::array::Array::data_type(&buckets).clone(), true)));
    let mut columns = events.columns().to_vec();
    columns.push(Arc::new(buckets));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

/// Reads `page`, `hour`, `edits`, `added` and `editors` back from an answer over all dimensions.
pub(super) fn groups_of(rows: &RecordBatch) -> BTreeMap<(String, i64), (i64, i64, i64)> {
    let number = |name: &str| rows.column_by_name(name).unwrap().clone();
    let pages = rows.column_by_name("page").unwrap().clone();
    let hours = rows.column_by_name("hour").unwrap().clone();
    let (edits, added, editors) = (number("edits"), number("added"), number("editors"));
    let editors = arrow::compute::cast(&editors, &arrow::datatypes::DataType::Int64).unwrap();
    let value = |column: &ArrayRef, row: usize| column.as_primitive::<Int64Type>().value(row);
    (0..rows.num_rows())
        .map(|row| {
            let hour = hours.as_primitive::<TimestampMicrosecondType>().value(row) - START;
            let key = (pages.as_string::<i32>().value(row).to_owned(), hour / (60 * MINUTE));
            (key, (value(&edits, row), value(&added, row), value(&editors, row)))
        })
        .collect()
}

/// Compares an answer over all dimensions of `by_page` with the fold at the heads of its own envelope.
pub(super) fn check_against_fold(world: &World, answer: &RowsAnswer) {
    let expected: BTreeMap<(String, i64), (i64, i64, i64)> = world
        .fold(&answer.envelope.head)
        .into_iter()
        .map(|(key, group)| (key, (group.edits, group.added, group.editors.len() as i64)))
        .collect();
    assert_eq!(groups_of(&answer.rows), expected, "at {:?}", answer.envelope);
}
