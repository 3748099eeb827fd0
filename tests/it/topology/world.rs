//! A whole process on log, tables and realtime views in memory, with the dice of the simulation before each of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use batch_layer::recompute::Mode;
use event_log::memory::MemoryLog;
use lake::Lake;
use object_store::memory::InMemory;
use object_store::path::Path;
use positions::{Clock, DefinitionHash, Index, PartitionId, SourceName};
use serving_layer::PartitionKey;
use serving_layer::memory::MemoryStore;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use twofold::access::AccessProblems;
use twofold::client::Client;
use twofold::config::{Config, ConfigInputs};
use twofold::definitions::RunningDefinitions;
use twofold::environment::{RandomIds, SystemClock};
use twofold::health::Health;
use twofold::role::Roles;
use twofold::run::{Supervisor, supervise};
use twofold::topology::run::Topology;
use twofold::wiring::SharedComponents;
use twofold::workflow::specs::{RunRequest, runs_of};
use views::Pipeline;
use workflow::{Run, Workflow};

use super::traffic::{Feed, rows, total};
use crate::simulation::chance::{Chance, Gate};
use crate::simulation::log::SimLog;
use crate::simulation::objects::SimObjects;
use crate::simulation::plan::Rates;
use crate::simulation::realtime::{Shared, SimRealtime};
use crate::support::object_layer::Layered;

const DEADLINE: Duration = Duration::from_secs(60);

const SETTINGS: &str = r#"
[system]
keep_replaced = "0s"
[archive]
commit_interval = "50ms"
poll_wait = "20ms"
[batch]
interval = "300ms"
[workflow]
poll = "50ms"
beat = "200ms"
retry_min = "50ms"
retry_max = "500ms"
retries = 20
[speed]
tick = "20ms"
"#;

/// What outlives a process.
pub struct World {
    chance: Arc<Chance>,
    log: MemoryLog,
    shared: SharedComponents,
}

/// A process that serves HTTP.
pub struct Process {
    pub client: Client,
    pub lake: Lake,
    pub health: Arc<Health>,
    topology: Topology,
    stop: CancellationToken,
    supervisor: JoinSet<Result<()>>,
}

impl World {
    pub fn new(seed: u64, rates: Rates) -> Self {
        Self::with(seed, rates, "")
    }

    /// With further settings.
    pub fn with(seed: u64, rates: Rates, settings: &str) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let chance = Arc::new(Chance::new(seed, rates));
        let gate = Gate { chance: chance.clone(), role: "process".to_owned(), kill: None };
        let objects = SimObjects { inner: Arc::new(InMemory::new()), gate: gate.clone(), bug: None };
        let store = Arc::new(Shared::new(MemoryStore::new(1 << 30, clock.clone())));
        let log = MemoryLog::new(clock.clone());
        let files = [("test", SETTINGS), ("further", settings)];
        let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).to_vec();
        let lake = Lake::new(Arc::new(Layered::new(objects)), Path::from("lake"));
        let workflow = Workflow::new(&lake, clock.clone(), Arc::new(RandomIds));
        let shared = SharedComponents {
            config: Arc::new(Config::read(ConfigInputs { files, ..ConfigInputs::default() }).unwrap()),
            access: edge::Access::Local,
            access_problems: AccessProblems::default(),
            clock: clock.clone(),
            ids: Arc::new(RandomIds),
            lake,
            workflow,
            registry: None,
            log: Some(Arc::new(SimLog { inner: log.clone(), gate: gate.clone(), hides_ids: false })),
            brokers: String::new(),
            store: Some(Arc::new(SimRealtime::new(store, gate, None))),
            embedded: None,
        };
        Self { chance, log, shared }
    }

    /// While it is so, the log does not answer.
    pub fn silence_log(&self, is_silent: bool) {
        self.log.set_reachable(!is_silent);
    }

    /// From now on nothing fails.
    pub fn calm(&self) {
        self.chance.calm();
    }

    /// The realtime store loses everything; no process runs.
    pub fn wipe(&mut self) {
        let store = MemoryStore::new(1 << 30, self.shared.clock.clone());
        self.shared.store = Some(Arc::new(store));
    }

    /// What the realtime store holds of a partition.
    pub async fn index(&self, source: &str, partition: i32) -> Option<Index> {
        let key = PartitionKey::new(&SourceName::new(source), PartitionId(partition));
        self.shared.store.as_ref().unwrap().read_index(&key).await.unwrap()
    }

    /// What the realtime store holds of a partition of a generation.
    pub async fn generation(&self, source: &str, generation: DefinitionHash, partition: i32) -> Option<Index> {
        let key = PartitionKey::of_generation(&SourceName::new(source), generation, PartitionId(partition));
        self.shared.store.as_ref().unwrap().read_index(&key).await.unwrap()
    }

    /// Runs as a process sees them that takes no part.
    pub fn workflow(&self) -> Workflow {
        Workflow::new(&self.shared.lake, self.shared.clock.clone(), self.shared.ids.clone())
    }

    /// Starts a run over these definitions, and waits for its end.
    pub async fn run(&self, pipeline: &Pipeline, request: &RunRequest) -> Arc<Run> {
        let (workflow, deadline) = (self.workflow(), Instant::now() + DEADLINE);
        let (spec, tasks) = runs_of(pipeline, request, &self.shared.config).unwrap().pop().unwrap();
        let id = workflow.start(spec, &tasks).await.unwrap().run();
        loop {
            let state = workflow.refresh().await.unwrap();
            if let Some(run) = state.runs.get(&id).filter(|run| run.state.is_ended()) {
                return run.clone();
            }
            assert!(Instant::now() < deadline, "run {id} never ends: {:?}", state.run(id));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub async fn start(&self, sql: &str) -> Process {
        self.start_roles(Pipeline::read(sql, &BTreeMap::new()).unwrap(), Roles::all()).await
    }

    pub async fn start_roles(&self, pipeline: Pipeline, roles: Roles) -> Process {
        let health = Arc::new(Health::default());
        let supervisor = Supervisor::new(health.clone(), Duration::from_secs(30));
        let (starter, stop) = (supervisor.starter(), CancellationToken::new());
        // Runs know one process from another by an id that is drawn at its start.
        let shared = SharedComponents { workflow: self.workflow(), ..self.shared.clone() };
        let topology = Topology::new(shared, roles, health.clone(), starter).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = Client::new(&listener.local_addr().unwrap().to_string()).unwrap();
        let supervisor = supervise(supervisor, stop.clone());
        let lake = self.shared.lake.clone();
        let mut process = Process { client, lake, health, topology, stop, supervisor };
        process.apply_pipeline(pipeline).await;
        process.topology.serve(listener, None).await.unwrap();
        process
    }
}

impl Process {
    /// Goes over to other definitions. The registry may fail by chance: then again.
    pub async fn apply(&mut self, sql: &str) {
        self.apply_pipeline(Pipeline::read(sql, &BTreeMap::new()).unwrap()).await;
    }

    async fn apply_pipeline(&mut self, pipeline: Pipeline) {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match RunningDefinitions::claim(&self.lake, pipeline.clone()).await {
                Ok(set) => return self.topology.apply(set).await.unwrap(),
                Err(error) => assert!(Instant::now() < deadline, "{error:#}"),
            }
        }
    }

    /// How often partitions of a source have been started by its speed worker.
    pub async fn starts_of(&self, source: &str) -> String {
        let text = reqwest::get(format!("{}/metrics", self.client.base())).await.unwrap().text().await.unwrap();
        let label = format!("twofold_speed_starts_total{{source=\"{source}\"}}");
        text.lines().find(|line| line.starts_with(&label)).unwrap_or_default().to_owned()
    }

    /// Recomputes until batch views cover everything.
    pub async fn recompute_until_covered(&self, mode: Mode, feeds: [&Feed; 2]) {
        let deadline = Instant::now() + DEADLINE;
        for feed in feeds {
            loop {
                self.topology.recompute(mode).await.unwrap();
                let answer = rows(&self.client, &feed.view(), &feed.token()).await.unwrap();
                if answer["envelope"]["realtime_rows"] == 0 && total(&answer) > 0 {
                    break;
                }
                assert!(Instant::now() < deadline, "batch never covered everything: {answer:#}");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }

    pub async fn stop(mut self) {
        self.stop.cancel();
        self.supervisor.join_next().await.unwrap().unwrap().unwrap();
    }
}
