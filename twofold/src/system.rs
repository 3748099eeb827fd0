//! A whole system, or some of its roles, in this process.
//!
//! In: a configuration and a pipeline. Out: a running [`System`] with an address. Guarantee: when `start` returns, the
//! address answers; when `stop` returns, everything acknowledged is in the log, everything archived is committed, and
//! the data directory is free. Dropping a system ends it without order, as a kill would.
//! Not here: what the roles share (`wiring.rs`), which of them run (`topology`), supervising them (`run.rs`).

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, ensure};
use batch_layer::recompute::{Mode, Round};
use event_log::EventLog;
use lake::Lake;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use views::Pipeline;

use crate::access::{self, check_listen};
use crate::certificates::Certificates;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::definition_plan::Planner;
use crate::definition_plan::words::describe;
use crate::definitions::RunningDefinitions;
use crate::environment::SystemClock;
use crate::following::Following;
use crate::following::run::follow_definitions;
use crate::health::Health;
use crate::role::{Role, Roles};
use crate::run::{self, Supervisor};
use crate::runnable::check_sources;
use crate::stage::Stage;
use crate::topology::run::Topology;
use crate::trial::try_pipeline;
use crate::warnings::{origin_warnings, warnings};
use crate::wiring::SharedComponents;
use crate::workflow::by_hand::{NONE_HERE, RoundsByHand};

/// What becomes of the definitions that a system starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// New ones become the present ones; those that were replaced do not, and the registry is followed.
    AtStart,
    /// None become the present ones where there are others that can be run: the registry is followed.
    Follow,
    /// They become the present ones, whatever there was before.
    Asked,
}

/// A running system.
pub struct System {
    address: SocketAddr,
    brokers: String,
    log: Option<Arc<dyn EventLog>>,
    stop: CancellationToken,
    supervisor: JoinSet<Result<()>>,
    topology: Arc<Mutex<Topology>>,
    rounds: Option<RoundsByHand>,
    config: Arc<Config>,
    roles: Roles,
    lake: Lake,
    data_dir: DataDir,
    is_announced: bool,
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("System")
            .field("address", &self.address)
            .field("data_dir", &self.data_dir)
            .finish_non_exhaustive()
    }
}

impl System {
    /// Starts all roles in this process.
    ///
    /// # Errors
    /// Where a view cannot be run, the data directory is in use, a port is taken, a certificate or a store cannot be
    /// used, or a role dies meanwhile: by its name.
    pub async fn start(config: Config, pipeline: Pipeline) -> Result<Self> {
        Self::start_roles(config, pipeline, Roles::all()).await
    }

    /// Starts some roles in this process.
    ///
    /// # Errors
    /// As in [`Self::start`], and where roles in other processes could not work with the configured stores.
    pub async fn start_roles(config: Config, pipeline: Pipeline, roles: Roles) -> Result<Self> {
        Self::start_as(config, pipeline, roles, Claim::AtStart).await
    }

    /// As [`Self::start_roles`]; `claim` says whether definitions that were replaced become the present ones again.
    ///
    /// # Errors
    /// As there.
    pub async fn start_as(config: Config, pipeline: Pipeline, roles: Roles, claim: Claim) -> Result<Self> {
        check_listen(&config)?;
        access::doubt(&config).iter().for_each(|doubt| warn!("{doubt}"));
        roles.check(&config)?;
        check_sources(&config, &roles, &pipeline)?;
        let certificates = Certificates::open(&config.system, Arc::new(SystemClock)).await?;
        try_pipeline(&pipeline).await.context("nothing was started, because a view cannot be run")?;
        if roles.has(Role::Archive) {
            warnings(&config, &pipeline).iter().for_each(|warning| warn!("{warning}"));
        }
        if roles.has(Role::Collector) {
            origin_warnings(&config, &pipeline).iter().for_each(|warning| warn!("{warning}"));
        }
        let data_dir = if roles.is_whole() {
            DataDir::lock(&config.system.data_dir)?
        } else {
            DataDir::open(&config.system.data_dir)?
        };
        let listen = config.system.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("cannot listen on {listen}; choose another address with --listen"))?;
        let address = listener.local_addr().context("the listener has no address")?;

        let health = Arc::new(Health::default());
        let mut supervisor = Supervisor::new(Arc::clone(&health), config.system.shutdown_deadline);
        let shared = SharedComponents::open(config, &roles, &data_dir, &mut supervisor).await?;
        let (config, lake) = (Arc::clone(&shared.config), shared.lake.clone());
        let set = claim_set(&shared, pipeline, claim).await?;
        check_sources(&config, &roles, &set.pipeline).context("the present definitions of the registry")?;
        let (brokers, log) = (shared.brokers.clone(), shared.log.clone());
        let (starter, stop) = (supervisor.starter(), CancellationToken::new());
        let follower = starter.clone();
        let is_announced = roles.is_whole();
        let mut topology = Topology::new(shared, roles.clone(), Arc::clone(&health), starter)?;
        let mut supervisor = run::supervise(supervisor, stop.clone());
        if let Err(error) = begin(&mut topology, set, listener, certificates).await {
            return Err(run::cause_of_death(error, &mut supervisor).await);
        }
        let (rounds, registered) = (topology.rounds(), topology.registered());
        let topology = Arc::new(Mutex::new(topology));
        let following = Following::new(&lake, topology.clone(), (config.clone(), roles.clone()), health);
        let followed = |stop| follow_definitions(following, registered, stop);
        if let Err(error) = follower.start(Stage::Gateway, "definitions followed", followed).await {
            return Err(run::cause_of_death(error, &mut supervisor).await);
        }
        // The note is that of the system which holds the lock; a role beside it leaves it alone.
        if is_announced {
            data_dir.announce(config.system.scheme(), address, None)?;
        }
        info!(%address, data_dir = %data_dir.root().display(), "twofold is running");

        Ok(Self {
            address,
            brokers,
            log,
            stop,
            supervisor,
            topology,
            rounds,
            config,
            roles,
            lake,
            data_dir,
            is_announced,
        })
    }

    /// Tells other commands which pipeline file runs on this data directory, so that they need not name it.
    ///
    /// # Errors
    /// If the file cannot be resolved or the directory cannot be written.
    pub fn announce_pipeline(&self, file: &Path) -> Result<()> {
        let file = file.canonicalize().with_context(|| format!("cannot resolve {}", file.display()))?;
        self.data_dir.announce(self.config.system.scheme(), self.address, Some(&file))
    }

    /// Where collector and gateway listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The same as a URL without a slash at its end.
    pub fn url(&self) -> String {
        format!("{}://{}", self.config.system.scheme(), self.address)
    }

    /// The Kafka brokers; empty where the log is embedded, or no role uses one.
    pub fn brokers(&self) -> &str {
        &self.brokers
    }

    /// Goes over to other definitions: what did not change runs on, what is new starts, what is gone stops.
    ///
    /// # Errors
    /// If a view cannot be run: nothing was changed then. If the definitions cannot be registered, or something of them
    /// cannot be started; what was done stays done.
    pub async fn change_definitions(&mut self, pipeline: Pipeline) -> Result<()> {
        check_sources(&self.config, &self.roles, &pipeline).context("nothing was changed")?;
        pipeline.check_new().context("nothing was changed")?;
        try_pipeline(&pipeline).await.context("nothing was changed, because a view cannot be run")?;
        // Held before the registry has them, so that whoever follows it does not come between.
        let mut topology = self.topology.lock().await;
        let set = RunningDefinitions::claim(&self.lake, pipeline).await?;
        topology.apply(set).await
    }

    /// The event log, for whoever appends to it beside the collector; `None` where no role uses one.
    pub fn log(&self) -> Option<&Arc<dyn EventLog>> {
        self.log.as_ref()
    }

    /// Computes and publishes batch views now, beside the interval.
    ///
    /// # Errors
    /// If the batch role is not one of this system's, or it is stopping.
    pub async fn recompute(&self, mode: Mode) -> Result<Round> {
        self.rounds.as_ref().context(NONE_HERE)?.recompute_all(mode).await
    }

    /// Returns when the system has ended by itself: a role died.
    ///
    /// # Errors
    /// The error of that role.
    pub async fn ended(&mut self) -> Result<()> {
        let ended = self.supervisor.join_next().await;
        if self.is_announced {
            self.data_dir.withdraw();
        }
        ended.ok_or_else(|| anyhow!("the system has ended already"))?.context("the supervisor panicked")?
    }

    /// Stops in the direction of the data and returns when all has stopped.
    ///
    /// # Errors
    /// The error of a role that had died.
    pub async fn stop(mut self) -> Result<()> {
        ensure!(!self.supervisor.is_empty(), "the system has ended already");
        self.stop.cancel();
        self.ended().await
    }
}

/// The definitions that the process runs with; says what they change, where they are new beside others.
async fn claim_set(shared: &SharedComponents, pipeline: Pipeline, claim: Claim) -> Result<RunningDefinitions> {
    let planner = Planner::new(&shared.lake, &shared.workflow, &shared.config.batch.recompute);
    let changes = match claim {
        Claim::Asked => true,
        Claim::AtStart => RunningDefinitions::is_new_beside_others(&shared.lake, &pipeline).await?,
        Claim::Follow => false,
    };
    if changes {
        match planner.plan(&pipeline).await {
            Ok(plan) => describe(&plan).lines().for_each(|line| info!("{line}")),
            // It only tells.
            Err(error) => warn!(error = format!("{error:#}"), "what these definitions change cannot be told"),
        }
    }
    match claim {
        Claim::AtStart => RunningDefinitions::claim_at_start(&shared.lake, pipeline).await,
        Claim::Follow => RunningDefinitions::follow_at_start(&shared.lake, pipeline).await,
        Claim::Asked => {
            pipeline.check_new().context("these definitions were not registered")?;
            RunningDefinitions::claim(&shared.lake, pipeline).await
        }
    }
}

/// Starts what the definitions say, and serves HTTP once it runs.
async fn begin(
    topology: &mut Topology,
    set: RunningDefinitions,
    listener: TcpListener,
    certificates: Option<Certificates>,
) -> Result<()> {
    topology.apply(set).await?;
    topology.serve(listener, certificates).await
}
