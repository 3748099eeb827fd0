//! The roles of a process: which parts each one gets, and the tasks it runs in.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use axum::Router;
use batch_layer::BatchParts;
use batch_layer::archive::ArchiveComponents;
use batch_layer::run::{BatchComponents, BatchRequest, BatchStatus, run_archive, run_batch};
use collector::{self, Collector, CollectorComponents};
use event_log::EventLog;
use query_gateway::{Gateway, GatewayComponents, MetricsText};
use records::master::MasterDataset;
use serving_layer::{BatchViewStore, RealtimeStore};
use speed_layer::{SpeedComponents, SpeedView};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use views::SourceDefinition;

use crate::config::{Config, RealtimeSettings};
use crate::health::Health;
use crate::http::{Intake, health_router, whole_router};
use crate::log_route::log_router;
use crate::metrics_text::install_recorder;
use crate::run::{RoleError, Stage, Supervisor, collect_facts, serve};
use crate::status::{FactSources, StatusBoard};
use crate::wiring::Parts;

/// What one process can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Takes events over HTTP.
    Ingest,
    /// Writes the master dataset.
    Archive,
    /// Keeps realtime views.
    Speed,
    /// Publishes batch views.
    Batch,
    /// Answers.
    Gateway,
}

/// What this process does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles(BTreeSet<Role>);

impl Roles {
    /// Everything: `twofold up`.
    pub fn all() -> Self {
        Self([Role::Ingest, Role::Archive, Role::Speed, Role::Batch, Role::Gateway].into())
    }

    /// One role alone.
    pub fn only(role: Role) -> Self {
        Self([role].into())
    }

    /// Whether `role` is among them.
    pub fn has(&self, role: Role) -> bool {
        self.0.contains(&role)
    }

    /// Whether these are all roles, so that nothing needs to be shared with another process.
    pub fn is_whole(&self) -> bool {
        *self == Self::all()
    }

    /// Whether a role uses the event log.
    pub fn use_log(&self) -> bool {
        self.has(Role::Ingest) || self.has(Role::Archive) || self.has(Role::Speed)
    }

    /// Whether a role uses the realtime store.
    pub fn use_store(&self) -> bool {
        self.has(Role::Speed) || self.has(Role::Gateway)
    }

    /// Refuses stores inside this process where their other half would be in another one.
    ///
    /// # Errors
    /// The setting that must be changed.
    pub fn check(&self, config: &Config) -> Result<()> {
        if self.is_whole() {
            return Ok(());
        }
        if self.use_log() && config.log.is_embedded {
            bail!("a role alone cannot use the embedded log: set `log.brokers`, or run `twofold up`");
        }
        if self.use_store() && matches!(config.realtime, RealtimeSettings::Memory { .. }) {
            bail!(
                "a role alone cannot share a store in memory: set `realtime.store` to redis://..., or run `twofold up`"
            );
        }
        Ok(())
    }
}

/// Starts the tasks of all `roles`.
///
/// # Errors
/// Where a role cannot be built from its parts.
pub fn start_roles(
    parts: &Parts,
    roles: &Roles,
    requests: mpsc::Receiver<BatchRequest>,
    listener: TcpListener,
    health: Arc<Health>,
    supervisor: &mut Supervisor,
) -> Result<()> {
    let mut facts = FactSources::new(parts, health);
    let running = parts.pipeline.sources.iter().filter(|source| !facts.health.is_stopped(source.name.as_str()));
    for source in running {
        if roles.has(Role::Archive) {
            let status = start_archive(parts, source, supervisor)?;
            facts.archives.insert(source.name.clone(), status);
        }
        if roles.has(Role::Speed) {
            start_speed(parts, source, supervisor)?;
        }
    }
    if roles.has(Role::Batch) {
        if let Some(folder) = &parts.config.batch.recompute.spill_folder {
            std::fs::create_dir_all(folder)
                .with_context(|| format!("cannot make `batch.spill_folder` {}", folder.display()))?;
        }
        facts.batch = Some(start_batch(parts, requests, supervisor));
    }
    let router = build_router(parts, roles, facts, supervisor)?;
    let token = supervisor.token(Stage::Gateway);
    supervisor.start(Stage::Gateway, "http server", serve(listener, router, token));
    Ok(())
}

fn start_archive(
    parts: &Parts,
    source: &Arc<SourceDefinition>,
    supervisor: &mut Supervisor,
) -> Result<watch::Receiver<batch_layer::archive::ArchiveStatus>> {
    let (status, receiver) = watch::channel(Default::default());
    let components = ArchiveComponents {
        log: log_of(parts)?,
        master: MasterDataset::new(&parts.lake, Arc::clone(source)),
        source: Arc::clone(source),
        clock: Arc::clone(&parts.clock),
        ids: Arc::clone(&parts.ids),
        status,
    };
    let archive = run_archive(components, parts.config.archive, supervisor.token(Stage::Archive));
    let name = source.name.to_string();
    supervisor.start(Stage::Archive, format!("archive of {name}"), async move {
        archive.await.map_err(|error| RoleError::SourceStopped { source: name, error: anyhow!(error) })
    });
    Ok(receiver)
}

fn start_speed(parts: &Parts, source: &Arc<SourceDefinition>, supervisor: &mut Supervisor) -> Result<()> {
    let of_source = parts.pipeline.views.iter().filter(|view| view.source.name == source.name);
    let views = of_source.map(|view| SpeedView {
        definition: Arc::clone(view),
        published: BatchViewStore::new(&parts.lake, Arc::clone(view)),
    });
    let components = SpeedComponents {
        log: log_of(parts)?,
        store: store_of(parts)?,
        master: MasterDataset::new(&parts.lake, Arc::clone(source)),
        source: Arc::clone(source),
        views: views.collect(),
        definitions: parts.definitions,
        clock: Arc::clone(&parts.clock),
        ids: Arc::clone(&parts.ids),
    };
    let speed = speed_layer::run::run(components, parts.config.speed.clone(), supervisor.token(Stage::Speed));
    let name = source.name.to_string();
    supervisor.start(Stage::Speed, format!("speed worker of {name}"), async move {
        speed.await.map_err(|error| RoleError::SourceStopped { source: name, error: anyhow!(error) })
    });
    Ok(())
}

fn start_batch(
    parts: &Parts,
    requests: mpsc::Receiver<BatchRequest>,
    supervisor: &mut Supervisor,
) -> watch::Receiver<BatchStatus> {
    let (status, receiver) = watch::channel(BatchStatus::default());
    let components = BatchComponents { parts: batch_parts(parts), requests, status };
    let batch = run_batch(components, parts.config.batch.clone(), supervisor.token(Stage::Batch));
    supervisor.start(Stage::Batch, "batch loop", async move {
        batch.await.map_err(|error| RoleError::Failed(anyhow!(error)))
    });
    receiver
}

/// What a recompute of this process works with.
pub fn batch_parts(parts: &Parts) -> BatchParts {
    BatchParts {
        lake: parts.lake.clone(),
        pipeline: Arc::clone(&parts.pipeline),
        clock: Arc::clone(&parts.clock),
        ids: Arc::clone(&parts.ids),
    }
}

fn build_router(parts: &Parts, roles: &Roles, facts: FactSources, supervisor: &mut Supervisor) -> Result<Router> {
    let health = Arc::clone(&facts.health);
    let metrics = install_recorder()?;
    let board = Arc::new(StatusBoard::default());
    supervisor.start(
        Stage::Gateway,
        "status",
        collect_facts(facts, Arc::clone(&board), supervisor.token(Stage::Gateway)),
    );
    let answers = if roles.has(Role::Gateway) {
        let components = GatewayComponents {
            pipeline: Arc::clone(&parts.pipeline),
            lake: parts.lake.clone(),
            store: store_of(parts)?,
            status: board,
            clock: Arc::clone(&parts.clock),
            metrics: MetricsText::new(metrics),
        };
        let beside: &[&str] = if roles.has(Role::Ingest) { &collector::ROUTES } else { &[] };
        start_gateway(components, beside, parts, supervisor)?
    } else {
        health_router(metrics, board)
    };
    let collector = if roles.has(Role::Ingest) { Some(start_collector(parts, supervisor)?) } else { None };
    let answers = match &parts.log {
        Some(log) => answers.merge(log_router(Arc::clone(log), Arc::clone(&parts.pipeline))),
        None => answers,
    };
    Ok(whole_router(collector, answers, health))
}

fn start_gateway(
    components: GatewayComponents,
    beside: &'static [&'static str],
    parts: &Parts,
    supervisor: &mut Supervisor,
) -> Result<Router> {
    let gateway = Gateway::new(components, parts.config.gateway.clone()).context("cannot build the query gateway")?;
    let refresh = query_gateway::run::run(Arc::clone(&gateway), supervisor.token(Stage::Gateway));
    supervisor.start(Stage::Gateway, "gateway refresh", async move {
        refresh.await.map_err(|error| RoleError::Failed(anyhow!(error)))
    });
    Ok(query_gateway::router(gateway, beside))
}

fn start_collector(parts: &Parts, supervisor: &mut Supervisor) -> Result<Router> {
    let components = CollectorComponents {
        log: log_of(parts)?,
        pipeline: Arc::clone(&parts.pipeline),
        clock: Arc::clone(&parts.clock),
    };
    let collector = Arc::new(Collector::new(components, parts.config.collector.clone()));
    let intake = Intake::new(supervisor.token(Stage::Intake));
    let drained = intake.clone();
    supervisor.start(Stage::Intake, "collector", async move {
        drained.drained().await;
        Ok(())
    });
    Ok(intake.guard(collector::router(collector)))
}

fn log_of(parts: &Parts) -> Result<Arc<dyn EventLog>> {
    parts.log.clone().context("this role needs the event log")
}

fn store_of(parts: &Parts) -> Result<Arc<dyn RealtimeStore>> {
    parts.store.clone().context("this role needs the realtime store")
}
