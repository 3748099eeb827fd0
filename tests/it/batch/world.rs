//! A source with its log, its tables and seeded traffic, and the truth about what was sent.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use batch_layer::archive::{ArchiveComponents, ArchiveSettings, ArchiveStatus, run_archive};
use batch_layer::recompute::{Mode, Outcome, recompute};
use batch_layer::{BatchError, BatchSettings, FormerDefinitions, RecomputeSettings};
use event_log::{EventLog, NewRecord, PollLimit};
use positions::{Clock, ViewName};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use records::master::MasterSnapshot;
use serving_layer::{BatchVersion, BatchViewStore};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use views::PlannedView;

use super::faults::{FailingLog, FailingStore, Faults};
use super::store::YieldingStore;
pub use crate::support::event::Event;
use crate::support::house::House;
use crate::support::log_layer;
use crate::support::object_layer::Layered;
use crate::support::surroundings::Surroundings;
pub use crate::support::surroundings::{end_of, wait_until};

pub const GRID: i64 = 8;
pub const START: i64 = 1_700_000_000_000_000;
pub const SECOND: i64 = 1_000_000;
pub const HOUR: i64 = 3600 * SECOND;

const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, id VARCHAR, page VARCHAR, bytes BIGINT)
STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', grid '8', gap '30 seconds', late_after '1 minute', partitions '2');

CREATE MATERIALIZED VIEW by_page AS
SELECT page, count(*) AS hits, sum(bytes) AS bytes, min(bytes) AS least, max(bytes) AS most FROM hits GROUP BY page;

CREATE MATERIALIZED VIEW by_day WITH (bucket = 'day') AS
SELECT date_bin(INTERVAL '1 day', time) AS day, count(*) AS hits, sum(bytes) AS bytes, avg(bytes) AS mean,
       approx_distinct(page) AS pages
FROM hits GROUP BY day;

CREATE MATERIALIZED VIEW in_all WITH (bucket = 'none') AS
SELECT page, count(*) AS hits, sum(bytes) FILTER (WHERE bytes >= 50) AS bytes FROM hits WHERE bytes <> 13 GROUP BY page;
";

/// One record as it was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    pub partition: i32,
    pub offset: i64,
    pub timestamp: i64,
    pub payload: String,
    /// `None`: it must be rejected.
    pub event: Option<Event>,
}

pub struct World {
    pub rng: StdRng,
    surroundings: Surroundings,
    pub disk_full: Arc<AtomicBool>,
    pub disk_stalled: watch::Sender<bool>,
    pub faults: Arc<Faults>,
    pub sent: Vec<Sent>,
}

impl Deref for World {
    type Target = Surroundings;

    fn deref(&self) -> &Surroundings {
        &self.surroundings
    }
}

impl World {
    pub async fn new(seed: u64) -> Self {
        Self::of(seed, PIPELINE).await
    }

    /// Of another pipeline, whose one source is topic `hits` in two partitions.
    pub async fn of(seed: u64, pipeline: &str) -> Self {
        let store = YieldingStore::default();
        let (disk_full, disk_stalled) = (store.fullness(), store.stall());
        let faults = Arc::new(Faults::default());
        let store = FailingStore { inner: Layered::new(store), faults: Arc::clone(&faults) };
        let surroundings = Surroundings::on(Arc::new(Layered::new(store)), pipeline, START, seed);
        surroundings.log.ensure_topic("hits", 2).await.unwrap();
        let rng = StdRng::seed_from_u64(seed);
        Self { rng, surroundings, disk_full, disk_stalled, faults, sent: Vec::new() }
    }

    /// Sends random traffic: late, doubled and broken events among it. Time goes on by up to a second per event.
    pub async fn send(&mut self, count: usize) {
        for _ in 0..count {
            let span = Duration::from_micros(self.rng.random_range(0..SECOND as u64));
            self.clock.advance(span);
            let now = self.clock.now().0;
            let earlier: Vec<Event> = self.sent.iter().filter_map(|sent| sent.event.clone()).collect();
            let event = match self.rng.random_range(0..10) {
                0 => None,
                1 | 2 if !earlier.is_empty() => Some(earlier[self.rng.random_range(0..earlier.len())].clone()),
                _ => Some(self.new_event(now)),
            };
            self.send_one(event).await;
        }
    }

    fn new_event(&mut self, now: i64) -> Event {
        let late = if self.rng.random_bool(0.2) { self.rng.random_range(0..50 * HOUR) } else { 0 };
        Event {
            time: now - late,
            id: self.rng.random_bool(0.8).then(|| self.rng.random_range(0..1000)),
            page: self.rng.random_bool(0.95).then(|| format!("/{}", self.rng.random_range(0..6))),
            amount: self.rng.random_bool(0.9).then(|| self.rng.random_range(0..100)),
            ..Event::default()
        }
    }

    /// Sends one event, or (`None`) something that is not one.
    pub async fn send_one(&mut self, event: Option<Event>) -> (i32, i64) {
        let payload = match &event {
            Some(event) => String::from_utf8(event.payload("bytes").to_vec()).unwrap(),
            None => ["{", "[]", r#"{"time": "soon"}"#, r#"{"id": "x"}"#][self.rng.random_range(0..4)].to_owned(),
        };
        let timestamp = self.clock.now();
        let record = NewRecord { key: None, payload: payload.clone().into(), timestamp, clock_shift: None };
        let (partition, offset) = self.log.append("hits", vec![record]).await.pop().unwrap().unwrap();
        self.sent.push(Sent {
            partition: partition.0,
            offset: offset.0,
            timestamp: timestamp.0.div_euclid(1000) * 1000,
            payload,
            event,
        });
        (partition.0, offset.0)
    }

    pub fn archive_components(&self) -> (ArchiveComponents, watch::Receiver<ArchiveStatus>) {
        let (components, told) = self.surroundings.archive_components();
        let log = log_layer::Layered(FailingLog { inner: self.log.clone(), faults: Arc::clone(&self.faults) });
        (ArchiveComponents { log: Arc::new(log), ..components }, told)
    }

    /// Settings with random sizes of polls and commits.
    pub fn archive_settings(&mut self) -> ArchiveSettings {
        ArchiveSettings {
            commit_interval: Duration::ZERO,
            poll: PollLimit { records: self.rng.random_range(1..40), bytes: 1 << 20, wait: Duration::from_millis(2) },
            partitions_interval: Duration::ZERO,
            backoff: positions::Backoff { first: Duration::from_millis(1), longest: Duration::from_millis(5) },
            ..ArchiveSettings::default()
        }
    }

    /// Archives everything that was sent.
    pub async fn archive(&mut self) {
        let settings = self.archive_settings();
        self.archive_with(settings).await;
    }

    pub async fn archive_with(&self, settings: ArchiveSettings) {
        self.archive_while(settings, async |told| self.wait_until_archived(told).await).await.unwrap();
    }

    /// Runs an archive until `during` is over, which is given its status; answers how the archive ended.
    pub async fn archive_while(
        &self,
        settings: ArchiveSettings,
        during: impl AsyncFnOnce(watch::Receiver<ArchiveStatus>),
    ) -> Result<(), BatchError> {
        let (components, told) = self.archive_components();
        let shutdown = CancellationToken::new();
        let stopping = async {
            during(told).await;
            shutdown.cancel();
        };
        let (ended, ()) = tokio::join!(run_archive(components, settings, shutdown.clone()), stopping);
        ended
    }

    pub async fn snapshot(&self) -> MasterSnapshot {
        self.master().open().await.unwrap().unwrap()
    }

    /// Recomputes all views.
    pub async fn recompute(&self, mode: Mode) -> BTreeMap<ViewName, Outcome> {
        let settings = RecomputeSettings { target_partitions: 2, ..RecomputeSettings::default() };
        self.recompute_with(mode, &settings).await
    }

    pub async fn recompute_with(&self, mode: Mode, settings: &RecomputeSettings) -> BTreeMap<ViewName, Outcome> {
        let round = recompute(&self.recompute_components(), mode, settings).await;
        round.into_iter().map(|(view, outcome)| (view, outcome.unwrap())).collect()
    }

    /// Computes what is new and does what is due beside it, twice: nothing is left behind the second time.
    pub async fn keep_house(&self, former: &dyn FormerDefinitions, settings: &BatchSettings) {
        let (context, mut house) = (self.batch_context(), House::default());
        for _ in 0..2 {
            self.recompute_with(Mode::Incremental, &settings.recompute).await;
            house.keep(&context, former, settings).await;
        }
    }

    pub async fn newest(&self, view: &PlannedView) -> Option<BatchVersion> {
        BatchViewStore::new(&self.lake, view.clone()).newest().await.unwrap()
    }
}
