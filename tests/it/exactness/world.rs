//! Both layers and a gateway over one source in memory, led step by step: send, publish, compare.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use batch_layer::RecomputeSettings;
use batch_layer::archive::{ArchiveSettings, run_archive};
use batch_layer::recompute::{Mode, recompute};
use edge::Principal;
use event_log::{EventLog, NewRecord, PollLimit};
use positions::{Clock, DefinitionNumber, PartitionId};
use query_gateway::{ExactnessReports, Gateway, GatewayComponents, GatewaySettings, NoStatus, VersionReport};
use serving_layer::memory::MemoryStore;
use serving_layer::{BatchVersion, BatchViewStore, PartitionKey, RealtimeStore};
use speed_layer::{Keeping, SpeedComponents, SpeedSettings, SpeedView};
use tokio_util::sync::CancellationToken;
use views::PlannedView;

pub use crate::support::event::Event;
use crate::support::surroundings::Surroundings;

pub const START: i64 = 1_700_000_000_000_000;
pub const SECOND: i64 = 1_000_000;
pub const HOUR: i64 = 3600 * SECOND;
pub const VIEWS: [&str; 2] = ["by_page", "by_hour"];

pub const PIPELINE: &str = "
CREATE UNBOUNDED EXTERNAL TABLE hits (time TIMESTAMP NOT NULL, id VARCHAR, page VARCHAR, bytes BIGINT)
STORED AS JSON LOCATION 'kafka://hits'
OPTIONS (event_time 'time', event_id 'id', horizon '10s', grid '8', gap '1s', late_after '1 minute', partitions '2');

CREATE MATERIALIZED VIEW by_page AS
SELECT page, count(*) AS hits, sum(bytes) AS bytes, max(bytes) AS most FROM hits GROUP BY page;

CREATE MATERIALIZED VIEW by_hour AS
SELECT date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS hits, avg(bytes) AS mean, approx_distinct(page) AS pages
FROM hits GROUP BY hour;
";
const PARTITIONS: [PartitionId; 2] = [PartitionId(0), PartitionId(1)];
const PATIENCE: Duration = Duration::from_secs(60);

/// See the module.
pub struct World {
    surroundings: Surroundings,
    store: Arc<MemoryStore>,
    pub gateway: Arc<Gateway>,
}

impl Deref for World {
    type Target = Surroundings;

    fn deref(&self) -> &Surroundings {
        &self.surroundings
    }
}

impl World {
    pub async fn new(seed: u64) -> Self {
        Self::with_settings(seed, GatewaySettings::default()).await
    }

    pub async fn with_settings(seed: u64, settings: GatewaySettings) -> Self {
        let surroundings = Surroundings::new(PIPELINE, START, seed);
        surroundings.log.ensure_topic("hits", 2).await.unwrap();
        let store = Arc::new(MemoryStore::new(1 << 28, surroundings.clock.clone()));
        let gateway = gateway(&surroundings, &store, settings);
        Self { surroundings, store, gateway }
    }

    /// Another gateway on the same stores.
    pub fn another_gateway(&self) -> Arc<Gateway> {
        gateway(&self.surroundings, &self.store, GatewaySettings::default())
    }

    /// Sends an event under a key, which chooses the partition.
    pub async fn send(&self, event: &Event, key: &str) -> PartitionId {
        let record = NewRecord {
            key: Some(key.to_owned().into()),
            payload: event.payload("bytes"),
            timestamp: self.clock.now(),
            clock_shift: None,
        };
        self.log.append("hits", vec![record]).await.remove(0).unwrap().0
    }

    /// Sends what no event can be read from.
    pub async fn send_nonsense(&self, key: &str) -> PartitionId {
        let (key, payload) = (Some(key.to_owned().into()), "no event".into());
        let record = NewRecord { key, payload, timestamp: self.clock.now(), clock_shift: None };
        self.log.append("hits", vec![record]).await.remove(0).unwrap().0
    }

    /// Realtime and archive have all that was sent, and the log is silent: the next cut covers all of it.
    pub async fn settle(&self) {
        self.settle_without(None).await;
    }

    /// The same where the speed layer leaves a view out, as it does while another definition has its place.
    pub async fn settle_without(&self, view: Option<&str>) {
        self.run_speed(view).await;
        self.run_archive().await;
        self.clock.advance(Duration::from_secs(2));
    }

    /// Publishes what is new of each view.
    pub async fn publish(&self, mode: Mode) {
        let settings = RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() };
        for outcome in recompute(&self.recompute_components(), mode, &settings).await.into_values() {
            outcome.unwrap();
        }
    }

    /// Lets a gateway find the versions, and compare them.
    pub async fn compare(&self, gateway: &Gateway) {
        gateway.status(&Principal::anyone()).await;
        gateway.compare_versions(self.ids.as_ref()).await;
    }

    /// All reports of a view.
    pub async fn reports(&self, view: &str) -> ExactnessReports {
        self.gateway.exactness(&Principal::anyone(), view).await.unwrap()
    }

    /// Settles, publishes and compares; the report of the newest version of a view.
    pub async fn round(&self, view: &str) -> Option<VersionReport> {
        self.settle().await;
        self.publish(Mode::Incremental).await;
        self.compare(&self.gateway).await;
        self.reports(view).await.reports.into_iter().next()
    }

    pub async fn newest(&self, view: &str) -> BatchVersion {
        BatchViewStore::new(&self.lake, self.view(view)).newest().await.unwrap().unwrap()
    }

    /// Forgets the runs of all partitions, as a store does that was wiped.
    pub async fn wipe_realtime(&self) {
        for partition in PARTITIONS {
            self.store.forget(&key(partition)).await.unwrap();
        }
    }

    /// Realtime alone comes to the end of the log, without a view that is left out.
    pub async fn run_speed(&self, left_out: Option<&str>) {
        let is_kept = |view: &&PlannedView| left_out != Some(view.name.as_str());
        let view = |view: &PlannedView| SpeedView {
            definition: view.clone(),
            published: BatchViewStore::new(&self.lake, view.clone()),
            keeping: Keeping::Present,
        };
        let components = SpeedComponents {
            log: Arc::new(self.log.clone()),
            store: self.store.clone(),
            master: self.master(),
            source: self.source(),
            registry: None,
            views: self.pipeline.views.iter().filter(is_kept).map(view).collect(),
            definitions: Arc::new(DefinitionNumber(1)),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        };
        let settings = SpeedSettings {
            tick: Duration::from_millis(1),
            linger: Duration::ZERO,
            // Runs stay until they were compared, however long the clock says that was.
            courtesy: Duration::from_secs(1_000_000),
            refresh: Duration::from_millis(10),
            touch: Duration::from_millis(10),
            shutdown_deadline: PATIENCE,
            ..SpeedSettings::default()
        };
        let stop = CancellationToken::new();
        let worker = tokio::spawn(speed_layer::run::run(components, settings, stop.clone()));
        let deadline = Instant::now() + PATIENCE;
        while !self.is_read_to_its_end().await {
            assert!(Instant::now() < deadline, "the worker did not come to the end in time");
            self.clock.advance(Duration::from_millis(5));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
        worker.await.unwrap().unwrap();
    }

    async fn is_read_to_its_end(&self) -> bool {
        for (partition, end) in self.ends().await {
            let index = self.store.read_index(&key(partition)).await.unwrap();
            if !index.is_some_and(|index| index.head.offset >= end && index.as_of.0 > 0) {
                return false;
            }
        }
        true
    }

    /// So does the archive.
    pub async fn run_archive(&self) {
        let (components, told) = self.archive_components();
        let settings = ArchiveSettings {
            commit_interval: Duration::ZERO,
            poll: PollLimit { records: 1_000, bytes: 1 << 20, wait: Duration::from_millis(2) },
            ..ArchiveSettings::default()
        };
        let stop = CancellationToken::new();
        let reached = async {
            self.wait_until_archived(told).await;
            stop.cancel();
        };
        let (ended, ()) = tokio::join!(run_archive(components, settings, stop.clone()), reached);
        ended.unwrap();
    }
}

fn gateway(surroundings: &Surroundings, store: &Arc<MemoryStore>, settings: GatewaySettings) -> Arc<Gateway> {
    let components = GatewayComponents {
        pipeline: surroundings.pipeline.clone(),
        lake: surroundings.lake.clone(),
        store: store.clone(),
        status: Arc::new(NoStatus),
        rejected: None,
        runs: None,
        clock: surroundings.clock.clone(),
    };
    Gateway::new(components, settings).unwrap()
}

fn key(partition: PartitionId) -> PartitionKey {
    PartitionKey::new(&positions::SourceName::new("hits"), partition)
}
