//! One simulated world: the real roles of the project on one thread, under virtual time, over simulated stores.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use batch_layer::archive::{ArchiveComponents, ArchiveSettings, ArchiveStatus, run_archive};
use batch_layer::hold::HoldWatch;
use batch_layer::recompute::{Mode, run_round};
use batch_layer::{BatchContext, BatchSettings, CompactSettings, FormerDefinitions, RecomputeSettings};
use event_log::memory::MemoryLog;
use event_log::{EventLog, PollLimit};
use futures::TryStreamExt;
use futures::future::try_join_all;
use lake::{Lake, LakeSettings};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::{Backoff, Clock, DefinitionNumber, PartitionId, SourceName};
use query_gateway::{Gateway, GatewayComponents, GatewaySettings, PartitionFacts, StatusSource, SystemFacts};
use records::master::{Hole, MasterDataset, MasterSnapshot};
use serving_layer::PartitionKey;
use serving_layer::memory::MemoryStore;
use serving_layer::registry::FormerView;
use speed_layer::{SpeedComponents, SpeedSettings, SpeedView};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use views::{Pipeline, SourceDefinition};

use super::chance::{Chance, Gate};
use super::clocks::{SimClock, Skew};
use super::log::SimLog;
use super::objects::SimObjects;
use super::plan::{Bug, COURTESY, Plan, ROLES};
use super::readers::{Reader, Violation};
use super::realtime::{Shared, SimRealtime};
use super::traffic::{TOPIC, Traffic, VIEWS, kappa_pipelines, pipelines};
use crate::support::house::House;
use crate::support::object_layer::Layered;
use crate::support::seams::SeededIds;

/// What one role can suffer from outside.
#[derive(Default)]
pub struct Role {
    pub kill: Arc<Notify>,
    pub is_paused: AtomicBool,
    pub waker: Mutex<Option<Waker>>,
    pub generation: AtomicUsize,
    /// Whether it is kept from running.
    is_stopped: watch::Sender<bool>,
    is_up: watch::Sender<bool>,
    /// Tells the present run to end by itself.
    stop: Mutex<CancellationToken>,
    /// How often it has ended because another topic bears the name.
    stops: AtomicUsize,
}

impl Role {
    /// Keeps it from running, and tells a run to end by itself; one that does not within seconds is killed.
    pub async fn stop(&self) {
        self.is_stopped.send_replace(true);
        self.stop.lock().unwrap().cancel();
        let mut is_up = self.is_up.subscribe();
        let ended = is_up.wait_for(|is_up| !is_up);
        if tokio::time::timeout(Duration::from_secs(10), ended).await.is_err() {
            self.kill.notify_one();
        }
    }

    /// Lets it run again.
    pub fn start(&self) {
        self.is_stopped.send_replace(false);
    }
}

/// Read once for all worlds: planning costs as much as living.
static PIPELINES_READ: LazyLock<[[Arc<Pipeline>; 2]; 2]> = LazyLock::new(|| {
    let read = |sql: String| Arc::new(Pipeline::read(&sql, &BTreeMap::new()).unwrap());
    [pipelines().map(read), kappa_pipelines().map(read)]
});

/// What a role says that finds another topic under the name.
const ANOTHER_TOPIC: &str = "deleted and created again";

/// So small that every table begins at a checkpoint soon, which is written and read under the same faults as all else.
pub const CHECKPOINT_INTERVAL: u32 = 4;

/// See the module.
pub struct World {
    pub plan: Plan,
    pub chance: Arc<Chance>,
    pub traffic: tokio::sync::Mutex<Traffic>,
    pub violation: Mutex<Option<Violation>>,
    pub realtime: Arc<Shared>,
    pub log: MemoryLog,
    objects: Arc<InMemory>,
    /// The right time.
    pub clock: Arc<dyn Clock>,
    /// One for each role, then those of the two kinds of gateways.
    clocks: [Arc<dyn Clock>; ROLES + 2],
    pub ids: Arc<SeededIds>,
    pub pipelines: [Arc<Pipeline>; 2],
    pub roles: [Role; ROLES],
    pub archived: [watch::Sender<ArchiveStatus>; 2],
    /// The newest master dataset that was looked at past the dice.
    master: tokio::sync::Mutex<Option<MasterSnapshot>>,
    pub generation: AtomicUsize,
    pub answers: AtomicUsize,
}

/// Tells gateways which partitions there are.
pub struct Board(pub MemoryLog);

#[async_trait]
impl StatusSource for Board {
    async fn facts(&self) -> SystemFacts {
        let known = self.0.partitions(TOPIC).await.unwrap_or_default();
        let partitions = known.into_iter().map(|partition| (partition, PartitionFacts::default())).collect();
        let partitions = BTreeMap::from([(SourceName::new("edits"), partitions)]);
        SystemFacts { partitions, ..SystemFacts::default() }
    }
}

impl World {
    pub async fn new(plan: Plan) -> Arc<Self> {
        let began = Instant::now();
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new(plan.start(), began, Skew::default()));
        let log = MemoryLog::new(clock.clone());
        log.ensure_topic(TOPIC, 2).await.unwrap();
        let pipelines = PIPELINES_READ[usize::from(plan.is_kappa)].clone();
        Arc::new(Self {
            chance: Arc::new(Chance::new(plan.seed, plan.rates)),
            traffic: tokio::sync::Mutex::default(),
            violation: Mutex::default(),
            realtime: Arc::new(Shared::new(MemoryStore::new(1 << 30, clock.clone()))),
            log,
            objects: Arc::new(InMemory::new()),
            clock,
            clocks: plan.skews.map(|skew| Arc::new(SimClock::new(plan.start(), began, skew)) as Arc<dyn Clock>),
            master: tokio::sync::Mutex::default(),
            ids: Arc::new(SeededIds::new(plan.seed)),
            pipelines,
            roles: Default::default(),
            archived: [watch::Sender::default(), watch::Sender::default()],
            generation: AtomicUsize::new(0),
            answers: AtomicUsize::new(0),
            plan,
        })
    }

    /// Notes what went wrong; the first finding stays.
    pub fn report(&self, violation: Violation) {
        self.chance.note(&format!("violation: {violation:?}"));
        self.violation.lock().unwrap().get_or_insert(violation);
    }

    /// The only source.
    pub fn source(&self) -> Arc<SourceDefinition> {
        self.pipelines[0].sources[0].clone()
    }

    /// All tables, past the dice.
    pub fn calm_lake(&self) -> Lake {
        Lake::new(self.objects.clone(), Path::from("lake"))
    }

    /// The table of the master dataset, past the dice.
    pub fn master_dataset(&self) -> MasterDataset {
        MasterDataset::new(&self.calm_lake(), self.source())
    }

    /// The master dataset as it is, read past the dice.
    pub async fn master(&self) -> Option<MasterSnapshot> {
        let mut known = self.master.lock().await;
        let dataset = self.master_dataset();
        *known = match known.take() {
            Some(known) => Some(dataset.refresh(&known).await.unwrap()),
            None => dataset.open().await.unwrap(),
        };
        known.clone()
    }

    /// How many checkpoints stand in the logs of all tables.
    pub async fn checkpoints(&self) -> usize {
        let objects: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        objects.iter().filter(|object| object.location.as_ref().ends_with(".checkpoint.parquet")).count()
    }

    /// What the archive has declared lost.
    pub async fn holes(&self) -> Vec<Hole> {
        let master = if self.plan.has_holes() { self.master().await } else { None };
        master.map(|master| master.facts.holes).unwrap_or_default()
    }

    /// The archivers and speed workers that have not found out that another topic bears the name.
    pub fn unaware(&self) -> Vec<usize> {
        let stops = |role: usize| self.roles[role].stops.load(Ordering::SeqCst);
        (0..4).filter(|role| self.has(*role) && stops(*role) == 0).collect()
    }

    fn has(&self, role: usize) -> bool {
        match role {
            1 => self.plan.has_second_archiver,
            5 => self.plan.has_second_batch,
            _ => true,
        }
    }

    fn gate(&self, role: usize) -> Gate {
        let kill = Some(self.roles[role].kill.clone());
        Gate { chance: self.chance.clone(), role: format!("role {role}"), kill }
    }

    fn lake(&self, gate: &Gate) -> Lake {
        let store = Layered::new(SimObjects { inner: self.objects.clone(), gate: gate.clone(), bug: self.plan.bug });
        let settings = LakeSettings { checkpoint_interval: CHECKPOINT_INTERVAL, ..LakeSettings::default() };
        Lake::with_settings(Arc::new(store), Path::from("lake"), settings)
    }

    fn sim_log(&self, gate: &Gate) -> Arc<SimLog> {
        let hides_ids = self.plan.bug == Some(Bug::NotPrimed);
        Arc::new(SimLog { inner: self.log.clone(), gate: gate.clone(), hides_ids })
    }

    /// Starts all roles of the plan.
    pub fn start(self: &Arc<Self>) {
        for role in (0..ROLES).filter(|role| self.has(*role)) {
            tokio::spawn(self.clone().keep_alive(role));
        }
    }

    /// Runs a role until the end of the world, again and again: killed, it starts anew from the stores alone.
    async fn keep_alive(self: Arc<Self>, role: usize) {
        loop {
            let _ = self.roles[role].is_stopped.subscribe().wait_for(|is_stopped| !is_stopped).await;
            let stop = CancellationToken::new();
            *self.roles[role].stop.lock().unwrap() = stop.clone();
            self.roles[role].is_up.send_replace(true);
            let generation = self.roles[role].generation.load(Ordering::SeqCst);
            let mut run = pin!(async {
                match role {
                    0 | 1 => self.archive(role, generation, stop.clone()).await,
                    2 | 3 => self.speed(role, generation, stop.clone()).await,
                    _ => self.batch(role, generation, stop.clone()).await,
                }
            });
            let state = &self.roles[role];
            let pausable = poll_fn(|context| {
                if state.is_paused.load(Ordering::SeqCst) {
                    *state.waker.lock().unwrap() = Some(context.waker().clone());
                    return Poll::Pending;
                }
                run.as_mut().poll(context)
            });
            let ended = tokio::select! {
                biased;
                () = state.kill.notified() => None,
                ended = pausable => Some(ended),
            };
            state.is_up.send_replace(false);
            match ended {
                None => self.chance.note(&format!("role {role} killed")),
                Some(None) if stop.is_cancelled() => self.chance.note(&format!("role {role} ended")),
                // Whoever watches over it starts it again, and it must not be taken in then either.
                Some(Some(error)) if error.contains(ANOTHER_TOPIC) && self.traffic.lock().await.was_replaced() => {
                    self.chance.note(&format!("role {role} stopped: {error}"));
                    state.stops.fetch_add(1, Ordering::SeqCst);
                }
                Some(error) => return self.report(Violation::new("role stopped", format!("role {role}: {error:?}"))),
            }
            sleep(Duration::from_millis(self.chance.draw(|rng| rand::Rng::random_range(rng, 10..3_000)))).await;
        }
    }

    async fn archive(&self, role: usize, generation: usize, stop: CancellationToken) -> Option<String> {
        let (gate, source) = (self.gate(role), self.pipelines[generation].sources[0].clone());
        let components = ArchiveComponents {
            log: self.sim_log(&gate),
            master: MasterDataset::new(&self.lake(&gate), source.clone()),
            source,
            registry: None,
            clock: self.clocks[role].clone(),
            ids: self.ids.clone(),
            status: self.archived[role].clone(),
        };
        run_archive(components, archive_settings(), stop).await.err().map(|error| error.to_string())
    }

    /// Where what is kept in realtime of a partition lies.
    pub fn places(&self, partition: PartitionId) -> Vec<PartitionKey> {
        let source = self.source();
        if !self.plan.is_kappa {
            return vec![PartitionKey::new(&source.name, partition)];
        }
        let views = self.pipelines.iter().flat_map(|pipeline| &pipeline.views);
        views.map(|view| PartitionKey::of_generation(&source.name, view.hash, partition)).collect()
    }

    /// One worker; in kappa mode one for each view, side by side.
    async fn speed(&self, role: usize, generation: usize, stop: CancellationToken) -> Option<String> {
        let views = self.speed_views(generation, &self.lake(&self.gate(role)));
        let groups: Vec<Vec<SpeedView>> = match self.plan.is_kappa {
            true => views.into_iter().map(|view| vec![view]).collect(),
            false => vec![views],
        };
        let works = groups.into_iter().map(|views| self.keep(role, (generation, views), stop.clone()));
        try_join_all(works).await.err()
    }

    async fn keep(
        &self,
        role: usize,
        (generation, views): (usize, Vec<SpeedView>),
        stop: CancellationToken,
    ) -> Result<(), String> {
        let (gate, pipeline) = (self.gate(role), &self.pipelines[generation]);
        let lake = self.lake(&gate);
        let nothing = Lake::new(Arc::new(InMemory::new()), Path::default());
        let master_lake = if self.plan.bug == Some(Bug::NotPrimed) { &nothing } else { &lake };
        let components = SpeedComponents {
            log: self.sim_log(&gate),
            store: Arc::new(SimRealtime::new(self.realtime.clone(), gate.clone(), self.plan.bug)),
            master: MasterDataset::new(master_lake, pipeline.sources[0].clone()),
            source: pipeline.sources[0].clone(),
            registry: None,
            views,
            definitions: Arc::new(DefinitionNumber(generation as u64 + 1)),
            clock: self.clocks[role].clone(),
            ids: self.ids.clone(),
        };
        let settings = speed_settings(self.plan.is_shared);
        speed_layer::run::run(components, settings, stop).await.map_err(|error| error.to_string())
    }

    async fn batch(&self, role: usize, generation: usize, stop: CancellationToken) -> Option<String> {
        let gate = self.gate(role);
        let context = BatchContext {
            lake: self.lake(&gate),
            pipeline: self.pipelines[generation].clone(),
            clock: self.clocks[role].clone(),
            ids: self.ids.clone(),
        };
        let former = self.former(generation);
        // Other planted mistakes are met at the seeds that are known for them.
        let is_compacting = self.plan.bug.is_none_or(|bug| bug == Bug::BlindCompaction);
        let settings = batch_settings(is_compacting, self.plan.fold_after);
        stop.run_until_cancelled(rounds(&context, former.as_ref(), &settings)).await;
        None
    }

    /// A gateway that reads the stores at each question, or (`refreshes`) beside them.
    pub fn gateway(&self, generation: usize, refreshes: bool, former: Vec<FormerView>) -> Arc<Gateway> {
        let gate = Gate { chance: self.chance.clone(), role: format!("gateway {refreshes}"), kill: None };
        let components = GatewayComponents {
            pipeline: self.pipelines[generation].clone(),
            lake: self.lake(&gate),
            store: Arc::new(SimRealtime::new(self.realtime.clone(), gate.clone(), self.plan.bug)),
            status: Arc::new(Board(self.log.clone())),
            rejected: None,
            runs: None,
            clock: self.clocks[ROLES + usize::from(refreshes)].clone(),
        };
        let gateway = Gateway::with_former(components, gateway_settings(), former).unwrap();
        if refreshes {
            tokio::spawn(query_gateway::run::run(gateway.clone(), CancellationToken::new()));
        }
        gateway
    }

    /// Readers of both kinds of gateways, one per view.
    pub fn readers(&self, generation: usize) -> Vec<Reader> {
        // By a clock that is ahead every end is silent, and a cut may lie inside a run.
        let is_lossless = self.plan.is_lossless() && self.plan.has_right_clocks();
        let of = |refreshes: bool| {
            let gateway = self.gateway(generation, refreshes, Vec::new());
            VIEWS[generation].map(|view| {
                let name = format!("gateway {generation} refreshing {refreshes}");
                Reader::new(name, gateway.clone(), view, is_lossless)
            })
        };
        // Batch tells a gateway of partitions that are added; where there is none, only its own loop does.
        let kinds = if self.plan.is_kappa { vec![of(true)] } else { vec![of(true), of(false)] };
        kinds.into_iter().flatten().collect()
    }
}

/// Small portions and short waits, so that much happens in little time.
pub fn archive_settings() -> ArchiveSettings {
    ArchiveSettings {
        commit_interval: Duration::from_millis(2_100),
        poll: PollLimit { records: 7, bytes: 1 << 20, wait: Duration::from_millis(300) },
        partitions_interval: Duration::from_secs(2),
        backoff: Backoff { first: Duration::from_millis(200), longest: Duration::from_secs(2) },
        ..ArchiveSettings::default()
    }
}

/// The same of speed workers that share the partitions, or own all of them.
pub fn speed_settings(is_shared: bool) -> SpeedSettings {
    SpeedSettings {
        group: is_shared.then(|| "speed".to_owned()),
        tick: Duration::from_millis(250),
        max_records: 5,
        merge_fan_in: 2,
        // What the engine reads side by side ends in an order that no seed draws.
        files_at_once: 1,
        courtesy: COURTESY,
        grace: Duration::from_secs(20),
        touch: Duration::from_secs(2),
        backoff: Backoff { first: Duration::from_millis(100), longest: Duration::from_secs(2) },
        ..SpeedSettings::default()
    }
}

/// The same of batch schedulers.
pub fn batch_settings(is_compacting: bool, fold_after: Option<Duration>) -> BatchSettings {
    BatchSettings {
        interval: Duration::from_millis(5_100),
        backoff: Backoff { first: Duration::from_millis(300), longest: Duration::from_secs(2) },
        recompute: RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() },
        compact: CompactSettings { is_on: is_compacting, min_files: 2, ..CompactSettings::default() },
        fold_after,
        ..BatchSettings::default()
    }
}

/// The same of gateways.
pub fn gateway_settings() -> GatewaySettings {
    GatewaySettings {
        refresh_interval: Duration::from_millis(200),
        version_interval: Duration::from_millis(900),
        ..GatewaySettings::default()
    }
}

/// A round at each interval, with what is done beside rounds behind it. Never ends by itself.
pub async fn rounds(context: &BatchContext, former: &dyn FormerDefinitions, settings: &BatchSettings) {
    let (mut house, mut hold, mut failures) = (House::default(), HoldWatch::default(), 0);
    let mut due = Instant::now();
    loop {
        sleep_until(due).await;
        if hold.look(&context.lake, Instant::now()).await {
            due = Instant::now() + Duration::from_secs(1);
            continue;
        }
        let round = run_round(context, Mode::Incremental, None, &settings.recompute).await;
        failures = if round.values().any(Result::is_err) { failures + 1 } else { 0 };
        let backoff = settings.backoff.delay(failures).min(settings.interval);
        due = Instant::now() + if failures == 0 { settings.interval } else { backoff };
        house.keep(context, former, settings).await;
    }
}
