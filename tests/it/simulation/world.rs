//! One simulated world: the real roles of the project on one thread, under virtual time, over simulated stores.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use async_trait::async_trait;
use batch_layer::BatchParts;
use batch_layer::archive::{ArchiveComponents, ArchiveSettings, ArchiveStatus};
use batch_layer::run::{BatchComponents, BatchStatus, run_archive, run_batch};
use batch_layer::{BatchSettings, RecomputeSettings};
use event_log::master::MasterDataset;
use event_log::memory::MemoryLog;
use event_log::{EventLog, PollLimit};
use lake::Lake;
use object_store::memory::InMemory;
use object_store::path::Path;
use query_gateway::{
    Gateway, GatewayComponents, GatewaySettings, MetricsText, PartitionFacts, StatusSource, SystemFacts,
};
use serving_layer::memory::MemoryStore;
use serving_layer::{BatchViewStore, PartitionKey};
use speed_layer::{SpeedComponents, SpeedSettings, SpeedView};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use views::{Backoff, Clock, DefinitionNumber, Offset, PartitionId, Pipeline, SourceName, TimestampMicros};

use super::chance::{Chance, Gate, Part};
use super::log::SimLog;
use super::objects::SimObjects;
use super::plan::{Act, Bug, Plan, ROLES};
use super::readers::{Reader, Violation};
use super::realtime::{Shared, SimRealtime};
use super::traffic::{PIPELINES, TOPIC, Traffic, VIEWS};
use crate::support::seams::SeededIds;

const START: i64 = 1_700_000_000_000_000;

/// Virtual time as the project's clock.
struct SimClock(Instant);

impl Clock for SimClock {
    fn now(&self) -> TimestampMicros {
        TimestampMicros(START + i64::try_from(self.0.elapsed().as_micros()).unwrap())
    }
}

/// What one role can suffer from outside.
#[derive(Default)]
struct Role {
    kill: Arc<Notify>,
    is_paused: AtomicBool,
    waker: Mutex<Option<Waker>>,
    generation: AtomicUsize,
}

/// See the module.
pub struct World {
    pub plan: Plan,
    pub chance: Arc<Chance>,
    pub traffic: tokio::sync::Mutex<Traffic>,
    pub violation: Mutex<Option<Violation>>,
    pub realtime: Arc<Shared>,
    pub log: MemoryLog,
    objects: Arc<InMemory>,
    clock: Arc<dyn Clock>,
    ids: Arc<SeededIds>,
    pipelines: [Arc<Pipeline>; 2],
    roles: [Role; ROLES],
    archived: [watch::Sender<ArchiveStatus>; 2],
    pub generation: AtomicUsize,
    pub answers: AtomicUsize,
}

struct Board(MemoryLog);

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
        let clock: Arc<dyn Clock> = Arc::new(SimClock(Instant::now()));
        let log = MemoryLog::new(clock.clone());
        log.ensure_topic(TOPIC, 2).await.unwrap();
        let pipelines = PIPELINES.map(|sql| Arc::new(Pipeline::read(sql, &BTreeMap::new()).unwrap()));
        Arc::new(Self {
            chance: Arc::new(Chance::new(plan.seed, plan.rates)),
            traffic: tokio::sync::Mutex::default(),
            violation: Mutex::default(),
            realtime: Arc::new(Shared::new(MemoryStore::new(1 << 30, clock.clone()))),
            log,
            objects: Arc::new(InMemory::new()),
            clock,
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

    fn gate(&self, role: usize) -> Gate {
        let kill = Some(self.roles[role].kill.clone());
        Gate { chance: self.chance.clone(), role: format!("role {role}"), kill }
    }

    fn lake(&self, gate: &Gate) -> Lake {
        let store = SimObjects { inner: self.objects.clone(), gate: gate.clone(), bug: self.plan.bug };
        Lake::new(Arc::new(store), Path::from("lake"))
    }

    fn sim_log(&self, gate: &Gate) -> Arc<SimLog> {
        let hides_ids = self.plan.bug == Some(Bug::NotPrimed);
        Arc::new(SimLog { inner: self.log.clone(), gate: gate.clone(), hides_ids })
    }

    /// Starts all roles of the plan.
    pub fn start(self: &Arc<Self>) {
        let is_there = |role: &usize| match role {
            1 => self.plan.has_second_archiver,
            5 => self.plan.has_second_batch,
            _ => true,
        };
        for role in (0..ROLES).filter(is_there) {
            tokio::spawn(self.clone().keep_alive(role));
        }
    }

    /// Runs a role until the end of the world, again and again: killed, it starts anew from the stores alone.
    async fn keep_alive(self: Arc<Self>, role: usize) {
        loop {
            let generation = self.roles[role].generation.load(Ordering::SeqCst);
            let mut run = pin!(async {
                match role {
                    0 | 1 => self.archive(role, generation).await,
                    2 | 3 => self.speed(role, generation).await,
                    _ => self.batch(role, generation).await,
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
            if let Some(error) = ended {
                self.report(Violation::new("role stopped", format!("role {role}: {error:?}")));
                return;
            }
            self.chance.note(&format!("role {role} killed"));
            sleep(Duration::from_millis(self.chance.draw(|rng| rand::Rng::random_range(rng, 10..3_000)))).await;
        }
    }

    async fn archive(&self, role: usize, generation: usize) -> Option<String> {
        let (gate, source) = (self.gate(role), self.pipelines[generation].sources[0].clone());
        let components = ArchiveComponents {
            log: self.sim_log(&gate),
            master: MasterDataset::new(&self.lake(&gate), source.clone()),
            source,
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            status: self.archived[role].clone(),
        };
        let settings = ArchiveSettings {
            commit_interval: Duration::from_millis(1_500),
            poll: PollLimit { records: 7, bytes: 1 << 20, wait: Duration::from_millis(300) },
            partitions_interval: Duration::from_secs(2),
            backoff: Backoff { first: Duration::from_millis(200), most: Duration::from_secs(2) },
            ..ArchiveSettings::default()
        };
        run_archive(components, settings, CancellationToken::new()).await.err().map(|error| error.to_string())
    }

    async fn speed(&self, role: usize, generation: usize) -> Option<String> {
        let (gate, pipeline) = (self.gate(role), &self.pipelines[generation]);
        let lake = self.lake(&gate);
        let nothing = Lake::new(Arc::new(InMemory::new()), Path::default());
        let raw = if self.plan.bug == Some(Bug::NotPrimed) { &nothing } else { &lake };
        let view = |view: &Arc<views::ViewDefinition>| SpeedView {
            definition: view.clone(),
            published: BatchViewStore::new(&lake, view.clone()),
        };
        let components = SpeedComponents {
            log: self.sim_log(&gate),
            store: Arc::new(SimRealtime::new(self.realtime.clone(), gate.clone(), self.plan.bug)),
            master: MasterDataset::new(raw, pipeline.sources[0].clone()),
            source: pipeline.sources[0].clone(),
            views: pipeline.views.iter().map(view).collect(),
            definitions: DefinitionNumber(generation as u64 + 1),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        };
        let settings = SpeedSettings {
            group: self.plan.is_shared.then(|| "speed".to_owned()),
            tick: Duration::from_millis(250),
            max_records: 5,
            merge_fan_in: 2,
            courtesy: Duration::from_secs(2),
            grace: Duration::from_secs(20),
            touch: Duration::from_secs(2),
            retry_max: Duration::from_secs(2),
            ..SpeedSettings::default()
        };
        speed_layer::run::run(components, settings, CancellationToken::new()).await.err().map(|error| error.to_string())
    }

    async fn batch(&self, role: usize, generation: usize) -> Option<String> {
        let gate = self.gate(role);
        let (_requests, receiver) = mpsc::channel(1);
        let parts = BatchParts {
            lake: self.lake(&gate),
            pipeline: self.pipelines[generation].clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        };
        let components =
            BatchComponents { parts, requests: receiver, status: watch::Sender::new(BatchStatus::default()) };
        let settings = BatchSettings {
            interval: Duration::from_millis(3_700),
            backoff: Backoff { first: Duration::from_millis(300), most: Duration::from_secs(2) },
            recompute: RecomputeSettings { target_partitions: 1, ..RecomputeSettings::default() },
            cleanup_interval: Duration::from_secs(1_000_000),
            ..BatchSettings::default()
        };
        run_batch(components, settings, CancellationToken::new()).await.err().map(|error| error.to_string())
    }

    /// A gateway that reads the stores at each question, or (`refreshes`) beside them.
    fn gateway(&self, generation: usize, refreshes: bool) -> Arc<Gateway> {
        let gate = Gate { chance: self.chance.clone(), role: format!("gateway {refreshes}"), kill: None };
        let components = GatewayComponents {
            pipeline: self.pipelines[generation].clone(),
            lake: self.lake(&gate),
            store: Arc::new(SimRealtime::new(self.realtime.clone(), gate.clone(), self.plan.bug)),
            status: Arc::new(Board(self.log.clone())),
            clock: self.clock.clone(),
            metrics: MetricsText::default(),
        };
        let settings = GatewaySettings {
            refresh_interval: Duration::from_millis(200),
            version_interval: Duration::from_millis(900),
            ..GatewaySettings::default()
        };
        let gateway = Gateway::new(components, settings).unwrap();
        if refreshes {
            tokio::spawn(query_gateway::run::run(gateway.clone(), CancellationToken::new()));
        }
        gateway
    }

    /// Readers of both kinds of gateways, one per view.
    pub fn readers(&self, generation: usize) -> Vec<Reader> {
        let is_lossless = self.plan.is_lossless();
        let of = |refreshes: bool| {
            let gateway = self.gateway(generation, refreshes);
            VIEWS[generation].map(|view| {
                let name = format!("gateway {generation} refreshing {refreshes}");
                Reader::new(name, gateway.clone(), view, is_lossless)
            })
        };
        [of(true), of(false)].into_iter().flatten().collect()
    }

    /// Lets one thing happen.
    pub async fn act(self: &Arc<Self>, act: Act) {
        self.chance.note(&format!("{act:?}"));
        let key = |partition| PartitionKey { source: SourceName::new("edits"), partition: PartitionId(partition) };
        match act {
            Act::Send(count) => {
                for _ in 0..count {
                    let mut rng = self.chance.draw(<rand::rngs::StdRng as rand::SeedableRng>::from_rng);
                    self.traffic.lock().await.send(&self.log, self.clock.now(), &mut rng).await;
                    sleep(Duration::from_millis(self.chance.draw(|rng| rand::Rng::random_range(rng, 1..200)))).await;
                }
            }
            Act::FailOver(partition, back) => self.realtime.fail_over(&key(partition), back).await,
            Act::Wipe => self.realtime.memory.wipe(),
            Act::Evict(partition) => self.realtime.evict(&key(partition)).await,
            Act::Pause(role, seconds) => {
                self.roles[role].is_paused.store(true, Ordering::SeqCst);
                self.later(seconds, move |world| world.resume(role));
            }
            Act::Kill(role) => self.roles[role].kill.notify_one(),
            Act::Expire(partition) => self.expire(PartitionId(partition)),
            Act::Grow => self.log.grow_topic(TOPIC, 3).unwrap(),
            Act::Down(part, seconds) => {
                let part = [Part::Log, Part::Objects, Part::Realtime][usize::from(part)];
                self.chance.set_down(part, true);
                self.later(seconds, move |world| world.chance.set_down(part, false));
            }
            Act::Upgrade => {
                self.generation.store(1, Ordering::SeqCst);
                for role in &self.roles {
                    role.generation.store(1, Ordering::SeqCst);
                    role.kill.notify_one();
                    sleep(Duration::from_millis(self.chance.draw(|rng| rand::Rng::random_range(rng, 0..2_000)))).await;
                }
            }
        }
    }

    fn later(self: &Arc<Self>, seconds: u64, then: impl FnOnce(&Self) + Send + 'static) {
        let world = self.clone();
        tokio::spawn(async move {
            sleep(Duration::from_secs(seconds)).await;
            then(&world);
        });
    }

    /// Lets a paused role go on.
    pub fn resume(&self, role: usize) {
        self.roles[role].is_paused.store(false, Ordering::SeqCst);
        self.roles[role].waker.lock().unwrap().take().into_iter().for_each(Waker::wake);
    }

    fn expire(&self, partition: PartitionId) {
        let end = |told: &watch::Sender<ArchiveStatus>| {
            let told = told.borrow();
            told.facts.partitions.get(&partition).map_or(Offset(0), |known| known.archived.end.offset)
        };
        let archived = self.archived.iter().map(end).max().unwrap_or_default();
        let low = self.chance.draw(|rng| rand::Rng::random_range(rng, 0..=archived.0));
        self.log.expire_below(TOPIC, partition, Offset(low)).unwrap();
    }

    /// From now on everything goes well.
    pub fn calm(&self) {
        self.chance.note("calm");
        self.chance.calm();
        (0..ROLES).for_each(|role| self.resume(role));
    }
}
