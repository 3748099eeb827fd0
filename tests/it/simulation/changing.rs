//! Whole processes that follow a registry which operators change: the loops of all roles over the stores of the
//! simulation, with the real follower of the registry and the real way from one gateway to the next.
//!
//! A process lives until the dice or an act kill it, and starts again with its own file, which may be an old one.
//! Here is what runs; what happens to it is in `operators.rs`.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use batch_layer::BatchContext;
use batch_layer::archive::{ArchiveComponents, run_archive};
use event_log::EventLog;
use event_log::memory::MemoryLog;
use lake::{Lake, LakeSettings};
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::{Clock, DefinitionNumber, TimestampMicros};
use query_gateway::{Gateway, GatewayComponents};
use rand::Rng;
use records::master::MasterDataset;
use serving_layer::memory::MemoryStore;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet};
use serving_layer::{BatchViewStore, ServingError};
use speed_layer::{Keeping, SpeedComponents, SpeedView};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};
use twofold::access::AccessProblems;
use twofold::config::{Config, ConfigInputs};
use twofold::definitions::gateway::follow_gateway;
use twofold::definitions::run::{RegistryFollower, follow_registry};
use twofold::definitions::{Definitions, Registered, RunningDefinitions};
use twofold::wiring::SharedComponents;
use views::PlannedView;
use workflow::Workflow;

use super::chance::{Chance, Gate};
use super::clocks::{SimClock, Skew};
use super::family::{member, running};
use super::log::SimLog;
use super::objects::SimObjects;
use super::operators::{ChangePlan, Tally};
use super::readers::Violation;
use super::realtime::{Shared, SimRealtime};
use super::traffic::{TOPIC, Traffic};
use super::world::{
    Board, CHECKPOINT_INTERVAL, archive_settings, batch_settings, gateway_settings, rounds, speed_settings,
};
use crate::support::object_layer::Layered;
use crate::support::seams::SeededIds;

/// So many processes there are, each with all roles.
pub const PROCESSES: usize = 2;

/// When worlds begin.
const START: TimestampMicros = TimestampMicros(1_700_000_000_000_000);

/// One in which replaced definitions are kept for a while, and one in which they are not.
static CONFIGS: LazyLock<[Arc<Config>; 2]> = LazyLock::new(|| {
    ["30s", "0s"].map(|keep| {
        let files = vec![("test".to_owned(), format!("[system]\nkeep_replaced = \"{keep}\"\n"))];
        Arc::new(Config::read(ConfigInputs { files, ..ConfigInputs::default() }).unwrap())
    })
});

/// What a process shows to those who ask it.
#[derive(Clone)]
pub struct Answering {
    /// Which of its lives.
    pub life: u64,
    pub gateway: watch::Receiver<Arc<Gateway>>,
    pub definitions: watch::Receiver<RunningDefinitions>,
    /// The views that the registry said are served when it read its set.
    pub served: Arc<Mutex<BTreeSet<String>>>,
}

impl Answering {
    /// Whether this gateway is the one that answers.
    pub fn is_by(&self, gateway: &Arc<Gateway>) -> bool {
        Arc::ptr_eq(gateway, &self.gateway.borrow())
    }
}

/// One process, from outside.
#[derive(Default)]
pub struct Process {
    pub kill: Arc<Notify>,
    /// The member of the family that it starts with.
    pub file: AtomicUsize,
    pub answering: Mutex<Option<Answering>>,
    lives: AtomicU64,
}

/// One life of a process, from inside.
struct Life {
    number: usize,
    gate: Gate,
    lake: Lake,
    registry: DefinitionRegistry,
    definitions: watch::Sender<RunningDefinitions>,
    gateway: watch::Sender<Arc<Gateway>>,
    registered: watch::Sender<Registered>,
    served: Arc<Mutex<BTreeSet<String>>>,
    /// Ends the refresh loops of the gateway before.
    refreshing: Mutex<Option<DropGuard>>,
}

/// See the module.
pub struct Changing {
    pub plan: ChangePlan,
    pub chance: Arc<Chance>,
    pub traffic: tokio::sync::Mutex<Traffic>,
    pub log: MemoryLog,
    pub clock: Arc<dyn Clock>,
    pub processes: [Process; PROCESSES],
    pub violation: Mutex<Option<Violation>>,
    pub tally: Mutex<Tally>,
    realtime: Arc<Shared>,
    pub ids: Arc<SeededIds>,
    objects: Arc<InMemory>,
}

impl Changing {
    pub async fn new(plan: ChangePlan) -> Arc<Self> {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new(START, Instant::now(), Skew::default()));
        let log = MemoryLog::new(clock.clone());
        log.ensure_topic(TOPIC, 2).await.unwrap();
        Arc::new(Self {
            chance: Arc::new(Chance::new(plan.seed, plan.rates)),
            traffic: tokio::sync::Mutex::default(),
            log,
            realtime: Arc::new(Shared::new(MemoryStore::new(1 << 30, clock.clone()))),
            clock,
            processes: Default::default(),
            violation: Mutex::default(),
            tally: Mutex::default(),
            objects: Arc::new(InMemory::new()),
            ids: Arc::new(SeededIds::new(plan.seed)),
            plan,
        })
    }

    /// Notes what went wrong; the first finding stays.
    pub fn report(&self, violation: Violation) {
        self.chance.note(&format!("violation: {violation:?}"));
        self.violation.lock().unwrap().get_or_insert(violation);
    }

    /// Whether anything was found.
    pub fn has_failed(&self) -> bool {
        if let Some(overlap) = self.realtime.overlap.lock().unwrap().take() {
            self.report(Violation::new("runs overlap", overlap));
        }
        self.violation.lock().unwrap().is_some()
    }

    /// The registry past the dice.
    pub fn calm_registry(&self) -> DefinitionRegistry {
        DefinitionRegistry::new(&Lake::new(self.objects.clone(), Path::from("lake")))
    }

    /// The registry as an operator reaches it.
    pub fn operators_registry(&self, operator: usize) -> DefinitionRegistry {
        DefinitionRegistry::new(&self.lake(&self.gate(format!("operator {operator}"), None)))
    }

    /// Starts all processes.
    pub fn start(self: &Arc<Self>) {
        for number in 0..PROCESSES {
            tokio::spawn(self.clone().keep_alive(number));
        }
    }

    fn gate(&self, role: String, kill: Option<Arc<Notify>>) -> Gate {
        Gate { chance: self.chance.clone(), role, kill }
    }

    fn lake(&self, gate: &Gate) -> Lake {
        let store = Layered::new(SimObjects { inner: self.objects.clone(), gate: gate.clone(), bug: None });
        let settings = LakeSettings { checkpoint_interval: CHECKPOINT_INTERVAL, ..LakeSettings::default() };
        Lake::with_settings(Arc::new(store), Path::from("lake"), settings)
    }

    fn store(&self, gate: &Gate) -> Arc<SimRealtime> {
        Arc::new(SimRealtime::new(self.realtime.clone(), gate.clone(), None))
    }

    fn sim_log(&self, gate: &Gate) -> Arc<SimLog> {
        Arc::new(SimLog { inner: self.log.clone(), gate: gate.clone(), hides_ids: false })
    }

    async fn keep_alive(self: Arc<Self>, number: usize) {
        loop {
            let process = &self.processes[number];
            let ended = tokio::select! {
                biased;
                () = process.kill.notified() => None,
                ended = self.live(number) => Some(ended),
            };
            *process.answering.lock().unwrap() = None;
            match ended {
                None => self.chance.note(&format!("process {number} killed")),
                Some(()) => {
                    let text = format!("process {number} ended by itself");
                    return self.report(Violation::new("process ended", text));
                }
            }
            sleep(Duration::from_millis(self.chance.draw(|rng| rng.random_range(10..2_000)))).await;
        }
    }

    /// From a start to a kill.
    async fn live(&self, number: usize) {
        let gate = self.gate(format!("process {number}"), Some(self.processes[number].kill.clone()));
        let lake = self.lake(&gate);
        let registry = DefinitionRegistry::new(&lake);
        let set = loop {
            match self.begin(&registry, number).await {
                Ok(set) => break set,
                Err(error) => self.chance.note(&format!("process {number} cannot start: {error}")),
            }
            sleep(Duration::from_millis(200)).await;
        };
        let first = self.first_gateway(number, &set);
        let life = Life {
            number,
            gate,
            registry,
            definitions: watch::Sender::new(running(&set)),
            gateway: watch::Sender::new(first.clone()),
            registered: watch::Sender::default(),
            served: Arc::default(),
            refreshing: Mutex::default(),
            lake,
        };
        let follower = RegistryFollower::new(
            &self.shared(&life.lake),
            Some(life.gateway.clone()),
            life.definitions.clone(),
            life.registered.clone(),
        );
        *self.processes[number].answering.lock().unwrap() = Some(Answering {
            life: self.processes[number].lives.fetch_add(1, Ordering::SeqCst),
            gateway: life.gateway.subscribe(),
            definitions: life.definitions.subscribe(),
            served: life.served.clone(),
        });
        tokio::select! {
            biased;
            () = self.take_duties(&life, first, served_in(&set)) => {}
            _ = follow_registry(follower, CancellationToken::new()) => {}
        }
    }

    /// As a process that starts with a file: what was never there is applied, what was replaced follows.
    async fn begin(&self, registry: &DefinitionRegistry, number: usize) -> Result<DefinitionSet, ServingError> {
        let file = self.processes[number].file.load(Ordering::SeqCst);
        let standing = registry.claim_at_start(&member(file)).await?;
        self.chance.note(&format!("process {number} starts with member {file}: {standing:?}"));
        Ok(registry.present().await?.expect("one is registered"))
    }

    /// All roles by one set after the other, as the topology of a process goes over to them.
    async fn take_duties(&self, life: &Life, first: Arc<Gateway>, mut served: BTreeSet<String>) {
        let (mut registered, mut first) = (life.registered.subscribe(), Some(first));
        loop {
            let set = life.definitions.borrow().clone();
            let stop = CancellationToken::new();
            let answering = first.take();
            let following = async {
                let gateway = match answering {
                    Some(first) => first,
                    None => follow_gateway(&life.gateway, &life.definitions).await.unwrap(),
                };
                *life.served.lock().unwrap() = served.clone();
                let refresh = CancellationToken::new();
                tokio::spawn(query_gateway::run::run(gateway, refresh.clone()));
                *life.refreshing.lock().unwrap() = Some(refresh.drop_guard());
                let next = next_set(life, &mut registered, set.number).await;
                stop.cancel();
                next
            };
            let (next, (), (), ()) = tokio::join!(
                following,
                self.archive(life, &set, stop.clone()),
                self.speed(life, &set, stop.clone()),
                self.batch(life, &set, stop.clone()),
            );
            self.chance.note(&format!("process {} goes over to set {}", life.number, next.number.0));
            life.definitions.send_replace(running(&next));
            // The gateway before answers until the next one stands.
            served = served_in(&next);
            life.served.lock().unwrap().retain(|view| served.contains(view));
        }
    }

    fn check_end(&self, life: &Life, what: &str, ended: Option<String>) {
        if let Some(error) = ended {
            let text = format!("{what} of process {}: {error}", life.number);
            self.report(Violation::new("role stopped", text));
        }
    }

    async fn archive(&self, life: &Life, set: &RunningDefinitions, stop: CancellationToken) {
        let source = set.pipeline.sources[0].clone();
        let components = ArchiveComponents {
            log: self.sim_log(&life.gate),
            master: MasterDataset::new(&life.lake, source.clone()),
            source,
            registry: None,
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            status: watch::Sender::default(),
        };
        let ended = run_archive(components, archive_settings(), stop).await;
        self.check_end(life, "archive", ended.err().map(|error| error.to_string()));
    }

    async fn speed(&self, life: &Life, set: &RunningDefinitions, stop: CancellationToken) {
        let source = &set.pipeline.sources[0];
        let keep = |view: &PlannedView, keeping| SpeedView {
            definition: view.clone(),
            published: BatchViewStore::new(&life.lake, view.clone()),
            keeping,
        };
        let present = set.pipeline.views.iter().map(|view| keep(view, Keeping::Present));
        let former = set.former.iter().chain(set.kept_in_realtime()).map(|former| {
            let keeping = if former.reads_as(source) { Keeping::Former } else { Keeping::Standing };
            keep(&former.view, keeping)
        });
        let components = SpeedComponents {
            log: self.sim_log(&life.gate),
            store: self.store(&life.gate),
            master: MasterDataset::new(&life.lake, source.clone()),
            source: source.clone(),
            registry: None,
            views: present.chain(former).collect(),
            definitions: Arc::new(Definitions::of(&life.definitions)),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        };
        let ended = speed_layer::run::run(components, speed_settings(self.plan.is_shared), stop).await;
        self.check_end(life, "speed worker", ended.err().map(|error| error.to_string()));
    }

    async fn batch(&self, life: &Life, set: &RunningDefinitions, stop: CancellationToken) {
        let context = BatchContext {
            lake: life.lake.clone(),
            pipeline: set.pipeline.clone(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
        };
        let former = Definitions::of(&life.definitions);
        stop.run_until_cancelled(rounds(&context, &former, &batch_settings(true, None))).await;
    }

    fn first_gateway(&self, number: usize, set: &DefinitionSet) -> Arc<Gateway> {
        // Those who ask must not be left waiting for a process that died.
        let gate = self.gate(format!("gateway {number}"), None);
        let set = running(set);
        let components = GatewayComponents {
            pipeline: set.pipeline,
            lake: self.lake(&gate),
            store: self.store(&gate),
            status: Arc::new(Board(self.log.clone())),
            rejected: None,
            runs: None,
            clock: self.clock.clone(),
        };
        Gateway::with_former(components, gateway_settings(), set.former).unwrap()
    }

    /// What the follower takes of a process.
    fn shared(&self, lake: &Lake) -> SharedComponents {
        SharedComponents {
            config: CONFIGS[usize::from(!self.plan.is_keeping)].clone(),
            access: edge::Access::Local,
            access_problems: AccessProblems::default(),
            clock: self.clock.clone(),
            ids: self.ids.clone(),
            lake: lake.clone(),
            workflow: Workflow::new(lake, self.clock.clone(), self.ids.clone()),
            registry: None,
            log: None,
            brokers: String::new(),
            store: None,
            embedded: None,
        }
    }
}

/// The views that a set says are served.
fn served_in(set: &DefinitionSet) -> BTreeSet<String> {
    set.views.iter().filter(|(_, state)| state.served.is_some()).map(|(name, _)| name.clone()).collect()
}

/// Waits until the registry is seen to hold a later set, and reads it.
async fn next_set(
    life: &Life,
    registered: &mut watch::Receiver<Registered>,
    running: DefinitionNumber,
) -> DefinitionSet {
    loop {
        let seen = registered.borrow_and_update().number;
        if seen.is_some_and(|seen| seen > running)
            && let Ok(Some(set)) = life.registry.present().await
            && set.number > running
        {
            return set;
        }
        // Told at each look; the sender lives as long as this.
        let _ = registered.changed().await;
    }
}
