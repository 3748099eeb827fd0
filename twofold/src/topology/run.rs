//! Brings what runs to what should run, step by step, and waits for each step.
//!
//! Guarantee: when [`Topology::apply`] returns, exactly the duties of the definitions run; duties that did not change
//! ran all the time, and answers about their sources were given all the time. Stopped alone, a duty has the deadline of
//! a shutdown, and is ended by force after it.
//! Why the numbers of definitions change between stops and starts: a speed worker never writes under the number of a
//! set in which its source or views are others than those it was built from. One that lives on writes under the new
//! number.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use batch_layer::recompute::{Mode, Round};
use collector::{Collector, CollectorComponents, OpenSources};
use event_log::EventLogError;
use positions::{DefinitionNumber, Life, SourceName, ViewName};
use query_gateway::Gateway;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use views::{Pipeline, SourceDefinition};

use super::plan::{Difference, Duties, Duty, DutyStart, desired_duties, difference};
use super::running::Running;
use super::speed::{SpeedSubject, SpeedWorker};
use super::tasks;
use super::topics::make_topic;
use crate::certificates::Certificates;
use crate::certificates::run::follow_certificates;
use crate::definitions::gateway::follow_gateway;
use crate::definitions::run::{RegistryFollower, follow_registry};
use crate::definitions::{Definitions, Registered, RunningDefinitions};
use crate::definitions_route::definitions_router;
use crate::explain_route::explain_router;
use crate::health::{Health, TOPIC};
use crate::http::{Intake, guarded, health_router, routes_beside, status_router, whole_router};
use crate::lives::Lives;
use crate::log_route::log_router;
use crate::metrics_text::{MetricsText, install_recorder};
use crate::read_again_route::read_again_router;
use crate::rejected_route::rejected_router;
use crate::role::{Role, Roles};
use crate::run::{StartedTask, TaskStarter, serve};
use crate::stage::Stage;
use crate::status::run::collect_facts;
use crate::status::{FactSuppliers, Progress, StatusBoard, TroubleBook};
use crate::watched_log::WatchedLog;
use crate::wiring::SharedComponents;
use crate::workflow::by_hand::{NONE_HERE, RoundsByHand};
use crate::workflow::looks::Looks;
use crate::workflow::run::{BatchFindings, take_part};
use crate::workflow::tables::Tables;

/// So long a start waits for the first facts about the process.
const FIRST_FACTS: Duration = Duration::from_secs(5);

/// What runs in this process.
pub struct Topology {
    shared: SharedComponents,
    roles: Roles,
    starter: TaskStarter,
    health: Arc<Health>,
    definitions: watch::Sender<RunningDefinitions>,
    running: BTreeMap<Duty, Running>,
    /// Sources whose topics are known to exist.
    with_topic: BTreeMap<SourceName, Arc<SourceDefinition>>,
    sources: Arc<OpenSources>,
    lives: Arc<Lives>,
    looks: Arc<Looks>,
    tables: Arc<Tables>,
    gateway: Option<watch::Sender<Arc<Gateway>>>,
    progress: Arc<Progress>,
    board: Arc<StatusBoard>,
    metrics: MetricsText,
    /// What the registry said last: written by the loop that looks at it.
    registered: watch::Sender<Registered>,
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let duties: Vec<String> = self.running.keys().map(ToString::to_string).collect();
        f.debug_struct("Topology").field("duties", &duties).finish_non_exhaustive()
    }
}

impl Topology {
    /// A process in which nothing runs yet. `starter` is that of a supervisor that runs, or will.
    ///
    /// # Errors
    /// If the spill folder cannot be made, or somebody else records the metrics of this process.
    pub fn new(shared: SharedComponents, roles: Roles, health: Arc<Health>, starter: TaskStarter) -> Result<Self> {
        let spill_folder = shared.config.batch.recompute.spill_folder.as_ref().filter(|_| roles.take_part_in_runs());
        if let Some(folder) = spill_folder {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make `batch.spill_folder` {}", folder.display()))?;
        }
        let lives = Arc::new(Lives::new(shared.lake.clone()));
        let sources = health.open_sources();
        Ok(Self {
            shared,
            lives,
            roles,
            starter,
            health,
            definitions: watch::Sender::default(),
            running: BTreeMap::new(),
            with_topic: BTreeMap::new(),
            sources,
            looks: Arc::default(),
            tables: Arc::default(),
            gateway: None,
            progress: Arc::default(),
            board: Arc::default(),
            metrics: install_recorder()?,
            registered: watch::Sender::default(),
        })
    }

    /// The number of the definitions that run.
    pub fn number(&self) -> DefinitionNumber {
        self.definitions.borrow().number
    }

    /// What the registry says, from [`Self::serve`] on.
    pub fn registered(&self) -> watch::Receiver<Registered> {
        self.registered.subscribe()
    }

    /// Makes what runs agree with these definitions. Duties that have ended by themselves are started again.
    ///
    /// # Errors
    /// If a topic or a duty cannot be used, or the process is stopping. What was done stays done: apply again.
    pub async fn apply(&mut self, set: RunningDefinitions) -> Result<()> {
        let unusable = self.make_topics(&set.pipeline).await?;
        self.forget_ended();
        self.health.keep_sources(|name| set.pipeline.sources.iter().any(|source| source.name.as_str() == name));
        let running: Duties = self.running.iter().map(|(duty, it)| (duty.clone(), it.subject.clone())).collect();
        let Difference { stops, starts } = difference(&running, &desired_duties(&set.pipeline, &self.roles, &unusable));
        for duty in stops {
            self.stop(&duty).await;
        }
        let number = set.number;
        self.definitions.send_replace(set);
        for start in starts {
            let name = start.duty.to_string();
            self.start(start).await.with_context(|| format!("cannot start {name}"))?;
        }
        info!(definitions = number.0, duties = self.running.len(), "running as defined");
        Ok(())
    }

    /// Serves HTTP: events in, where this process takes them, answers out, or what the process tells of itself. To be
    /// called once, after the first definitions were applied.
    ///
    /// # Errors
    /// If the process is stopping.
    pub async fn serve(&self, listener: TcpListener, certificates: Option<Certificates>) -> Result<()> {
        let (gateway, definitions) = (self.gateway.clone(), self.definitions.clone());
        let follower = RegistryFollower::new(&self.shared, gateway, definitions, self.registered.clone());
        self.starter.start(Stage::Gateway, "definitions", |stop| follow_registry(follower, stop)).await?;
        let definitions = Definitions::of(&self.definitions);
        let notices = tasks::tell_notices(&self.starter, &self.shared, &self.health, &self.roles, definitions).await?;
        let facts = Arc::new(FactSuppliers {
            shared: self.shared.clone(),
            definitions: Definitions::of(&self.definitions),
            open: self.sources.clone(),
            lives: self.lives.clone(),
            registered: self.registered.subscribe(),
            progress: self.progress.clone(),
            looks: self.looks.clone(),
            tables: self.tables.clone(),
            health: self.health.clone(),
            notices,
            roles: self.roles.clone(),
            gateway: self.gateway.as_ref().map(watch::Sender::subscribe),
            book: TroubleBook::default(),
        });
        let mut gathering = self.board.subscribe();
        let (board, gathered) = (self.board.clone(), facts.clone());
        self.starter.start(Stage::Gateway, "status", |stop| collect_facts(gathered, board, stop)).await?;
        // The first answer about the process is whole, unless what is asked does not answer.
        let _ = timeout(FIRST_FACTS, gathering.changed()).await;
        let has_collector = self.roles.has(Role::Collector);
        let beside = routes_beside(self.shared.log.is_some(), has_collector, self.gateway.is_some());
        let answers = match &self.gateway {
            Some(gateway) => query_gateway::router(gateway.subscribe(), beside),
            None => status_router(self.board.clone(), beside),
        };
        let explain = self.gateway.as_ref().map(|gateway| {
            let spill = self.shared.config.batch.recompute.clone();
            explain_router(gateway.subscribe(), self.shared.lake.clone(), spill)
        });
        let log = self.shared.log.as_ref();
        let log = log.map(|log| log_router(log.clone(), self.lives.clone(), Definitions::of(&self.definitions)));
        let collector = if has_collector { Some(self.start_collector().await?) } else { None };
        let (lake, definitions) = (self.shared.lake.clone(), Definitions::of(&self.definitions));
        let rejected = rejected_router(lake.clone(), definitions.clone());
        let read_again = read_again_router(lake, definitions.clone(), self.rounds());
        let runs = tasks::serve_runs(&self.starter, &self.shared, definitions).await?;
        let hindrances = move || {
            let facts = facts.clone();
            async move { facts.hindrances().await }
        };
        let health = health_router(self.metrics.clone(), hindrances);
        let (by, seen) = ((self.shared.config.clone(), self.roles.clone()), self.registered.clone());
        let defined = definitions_router(&self.shared.lake, &self.shared.workflow, by, seen);
        let beside =
            [Some(health), log, Some(rejected), Some(read_again), Some(defined), Some(runs), explain, collector];
        let routes = whole_router(answers, beside.into_iter().flatten());
        let router = guarded(routes, self.shared.access.clone(), &self.shared.config);
        let (connections, tls) = (self.shared.config.system.connections, certificates.as_ref().map(Certificates::tls));
        if let Some(certificates) = certificates {
            let following = |stop| follow_certificates(certificates, self.health.clone(), stop);
            self.starter.start(Stage::Gateway, "certificates", following).await?;
        }
        let serving = |stop| async move {
            serve(listener, router, connections, tls, stop).await;
            Ok(())
        };
        self.starter.start(Stage::Gateway, "http server", serving).await?;
        Ok(())
    }

    /// Computes and publishes batch views now, beside the interval.
    ///
    /// # Errors
    /// If the batch role is not one of this process's, or it is stopping.
    pub async fn recompute(&self, mode: Mode) -> Result<Round> {
        self.rounds().context(NONE_HERE)?.recompute_all(mode).await
    }

    /// Rounds by hand, where this process has the batch role.
    pub fn rounds(&self) -> Option<RoundsByHand> {
        self.roles.has(Role::Batch).then(|| RoundsByHand::new(&self.shared, Definitions::of(&self.definitions)))
    }

    /// Makes and raises topics as the sources say; the sources whose topic cannot be used. They do not keep the others
    /// from running, unless it is the only one.
    async fn make_topics(&mut self, pipeline: &Pipeline) -> Result<BTreeSet<SourceName>> {
        let mut unusable = BTreeSet::new();
        let Some(log) = &self.shared.log else { return Ok(unusable) };
        let is_known = |source: &&Arc<SourceDefinition>| self.with_topic.get(&source.name) == Some(*source);
        let unknown: Vec<_> = pipeline.sources.iter().filter(|source| !is_known(source)).collect();
        for source in unknown {
            let shared = &self.shared;
            match make_topic(log.as_ref(), shared.embedded.as_ref(), &shared.brokers, source).await {
                Ok(()) => {
                    self.health.clear_source(source.name.as_str(), TOPIC);
                    self.with_topic.insert(source.name.clone(), source.clone());
                }
                Err(error @ EventLogError::Unusable(_))
                    if !self.roles.has(Role::Collector) || pipeline.sources.len() > 1 =>
                {
                    error!(source = %source.name, %error, "source cannot be used");
                    self.health.stop_source(source.name.as_str(), TOPIC, &anyhow!(error));
                    unusable.insert(source.name.clone());
                }
                Err(error) => bail!(anyhow!(error).context(format!("source {} cannot be used", source.name))),
            }
        }
        self.with_topic.retain(|name, _| pipeline.sources.iter().any(|source| source.name == *name));
        Ok(unusable)
    }

    async fn stop(&mut self, duty: &Duty) {
        let Some(running) = self.running.remove(duty) else { return };
        let deadline = self.shared.config.system.shutdown_deadline;
        if let Some(task) = running.task {
            task.stop(deadline).await;
        }
        if let (Stage::Intake, Some(source)) = (duty.stage, &duty.source)
            && timeout(deadline, self.sources.close(source)).await.is_err()
        {
            warn!(%source, "requests are still under way at the deadline");
        }
        self.forget(duty);
        info!(%duty, "stopped");
    }

    /// What ended by itself does not run, whatever was noted.
    fn forget_ended(&mut self) {
        let ended = self.running.iter().filter(|(_, running)| running.has_ended()).map(|(duty, _)| duty.clone());
        for duty in ended.collect::<Vec<_>>() {
            self.running.remove(&duty);
            self.forget(&duty);
        }
    }

    fn forget(&mut self, duty: &Duty) {
        let Some(source) = &duty.source else { return };
        if duty.stage == Stage::Archive {
            self.progress.remove_archive(source);
        }
        self.health.clear_source(source.as_str(), duty.stage.name());
    }

    async fn start(&mut self, start: DutyStart) -> Result<()> {
        let DutyStart { duty, subject } = start;
        let task = match (duty.stage, subject.0.sources.first()) {
            (Stage::Gateway, _) => Some(self.start_gateway().await?),
            (Stage::Intake, Some(source)) => {
                // Events are taken also while the object store is away. Only where the topic was ever reset do tokens
                // name too early a place until the status, which asks every second, has told the collector of the life.
                let life = self.lives.of(source).await.unwrap_or_else(|error| {
                    warn!(source = %source.name, %error, "the life of the topic is not known yet; taken for its first");
                    Life::default()
                });
                self.sources.open(source.clone(), life);
                None
            }
            (Stage::Archive, Some(source)) => Some(self.start_archive(source).await?),
            (Stage::Speed, Some(source)) => {
                Some(self.start_speed((source.clone(), subject.0.clone()), duty.view.clone()).await?)
            }
            (Stage::Batch, None) => Some(self.start_runs().await?),
            (stage, _) => bail!("there is no duty of stage {}", stage.name()),
        };
        let before = self.running.insert(duty, Running { subject, task });
        // What took its place runs already.
        if let Some(task) = before.and_then(|before| before.task) {
            task.stop(self.shared.config.system.shutdown_deadline).await;
        }
        Ok(())
    }

    async fn start_archive(&self, source: &Arc<SourceDefinition>) -> Result<StartedTask> {
        let (status, receiver) = watch::channel(Default::default());
        self.progress.add_archive(source.name.clone(), receiver);
        let name = format!("archive of {}", source.name);
        let (shared, source) = (self.shared.clone(), source.clone());
        self.starter.start(Stage::Archive, name, |stop| tasks::archive(shared, source, status, stop)).await
    }

    /// `view`: of its generation alone.
    async fn start_speed(&self, (source, pipeline): SpeedSubject, view: Option<ViewName>) -> Result<StartedTask> {
        let (shared, health) = (self.shared.clone(), self.health.clone());
        let worker = SpeedWorker { shared, health, definitions: Definitions::of(&self.definitions) };
        let of_view = view.as_ref().map(|view| format!(", view {view}")).unwrap_or_default();
        let name = format!("speed worker of {}{of_view}", source.name);
        self.starter.start(Stage::Speed, name, |stop| worker.keep((source, pipeline), view.is_some(), stop)).await
    }

    /// The runs of all sources: by the definitions of the moment, so that it lives on when these change.
    async fn start_runs(&self) -> Result<StartedTask> {
        let (shared, definitions) = (self.shared.clone(), Definitions::of(&self.definitions));
        let findings = || BatchFindings {
            registered: self.registered.subscribe(),
            looks: self.looks.clone(),
            tables: self.tables.clone(),
        };
        let findings = self.roles.has(Role::Batch).then(findings);
        self.starter.start(Stage::Batch, "runs", |stop| take_part(shared, definitions, findings, stop)).await
    }

    /// The gateway over the definitions of the moment.
    async fn start_gateway(&mut self) -> Result<StartedTask> {
        let next = match &self.gateway {
            Some(current) => follow_gateway(current, &self.definitions).await?,
            None => {
                let first = tasks::gateway(&self.shared, &self.definitions.borrow().clone(), self.board.clone())?;
                self.gateway = Some(watch::channel(first.clone()).0);
                first
            }
        };
        let ids = self.shared.ids.clone();
        self.starter.start(Stage::Gateway, "gateway refresh", |stop| tasks::refresh(next, ids, stop)).await
    }

    async fn start_collector(&self) -> Result<axum::Router> {
        let components = CollectorComponents {
            log: Arc::new(WatchedLog::new(self.shared.log()?, self.health.clone())),
            sources: self.sources.clone(),
            clock: self.shared.clock.clone(),
        };
        let collector = Arc::new(Collector::new(components, self.shared.config.collector.clone()));
        let intake = Intake::new(self.starter.token(Stage::Intake));
        let drained = intake.clone();
        let wait = |_: CancellationToken| async move {
            drained.drained().await;
            Ok(())
        };
        self.starter.start(Stage::Intake, "collector", wait).await?;
        let router = intake.guard(collector::router(collector));
        Ok(collector::allow_origins(router, self.shared.config.collector.allowed_origins.clone()))
    }
}
