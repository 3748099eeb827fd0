//! What each duty runs: the loops of the layers, given what they work with.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use axum::Router;
use batch_layer::archive::{ArchiveComponents, ArchiveStatus, run_archive};
use positions::IdSource;
use query_gateway::{Gateway, GatewayComponents};
use records::master::MasterDataset;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use views::SourceDefinition;

use crate::definitions::{Definitions, RunningDefinitions};
use crate::health::Health;
use crate::notices::Notices;
use crate::notices::run::{NoticeLoop, exchange_notices};
use crate::notices::watch::NoticeWatch;
use crate::rejected_reader::LakeRejected;
use crate::role::Roles;
use crate::run::TaskStarter;
use crate::runs::dry_run::Planning;
use crate::runs_reader::LakeRuns;
use crate::runs_route::run::follow_runs;
use crate::runs_route::{RunsFeed, RunsRoute, runs_router};
use crate::stage::{RoleError, Stage};
use crate::status::StatusBoard;
use crate::wiring::SharedComponents;

/// Log to master dataset, of one source.
pub(super) async fn archive(
    shared: SharedComponents,
    source: Arc<SourceDefinition>,
    status: watch::Sender<ArchiveStatus>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let components = ArchiveComponents {
        log: shared.log().map_err(RoleError::Failed)?,
        master: MasterDataset::new(&shared.lake, source.clone()),
        source: source.clone(),
        registry: shared.registry,
        clock: shared.clock,
        ids: shared.ids,
        status,
    };
    let ended = run_archive(components, shared.config.archive, stop).await;
    ended.map_err(|error| RoleError::SourceStopped { source: source.name.to_string(), error: anyhow!(error) })
}

/// The gateway over all views.
pub(super) fn gateway(
    shared: &SharedComponents,
    set: &RunningDefinitions,
    status: Arc<StatusBoard>,
) -> Result<Arc<Gateway>> {
    let rejected = LakeRejected { lake: shared.lake.clone() };
    let components = GatewayComponents {
        pipeline: set.pipeline.clone(),
        lake: shared.lake.clone(),
        store: shared.store()?,
        status,
        rejected: Some(Arc::new(rejected)),
        runs: Some(Arc::new(LakeRuns { workflow: shared.workflow.clone() })),
        clock: shared.clock.clone(),
    };
    let settings = shared.config.gateway.clone();
    Gateway::with_former(components, settings, set.former.clone()).context("cannot build the query gateway")
}

/// The routes of runs, with what reads for who watches them.
pub(super) async fn serve_runs(
    starter: &TaskStarter,
    shared: &SharedComponents,
    definitions: Definitions,
) -> Result<Router> {
    let feed = Arc::new(RunsFeed::new(shared.workflow.clone()));
    let planning = Planning {
        config: shared.config.clone(),
        lake: shared.lake.clone(),
        clock: shared.clock.clone(),
        ids: shared.ids.clone(),
    };
    let route = RunsRoute::new(feed.clone(), definitions, planning);
    starter.start(Stage::Gateway, "runs watched", |stop| follow_runs(feed, stop)).await?;
    Ok(runs_router(route))
}

/// Begins to tell other processes what is wrong here, and to hear what is there: where there can be others, which use
/// the same log.
pub(super) async fn tell_notices(
    starter: &TaskStarter,
    shared: &SharedComponents,
    health: &Arc<Health>,
    roles: &Roles,
    definitions: Definitions,
) -> Result<Arc<Notices>> {
    let notices = Arc::new(Notices::default());
    if roles.is_whole() && shared.config.log.is_embedded {
        return Ok(notices);
    }
    let exchange = NoticeLoop {
        notices: notices.clone(),
        lake: shared.lake.clone(),
        health: health.clone(),
        roles: roles.clone(),
        definitions,
        process: shared.ids.next_id(),
        watch: NoticeWatch::default(),
        beat: 0,
    };
    starter.start(Stage::Gateway, "notices", |stop| exchange_notices(exchange, stop)).await?;
    Ok(notices)
}

/// Keeps what a gateway has in memory up to date, and compares publications.
pub(super) async fn refresh(
    gateway: Arc<Gateway>,
    ids: Arc<dyn IdSource>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let refreshing = query_gateway::run::run(gateway.clone(), stop.clone());
    let comparing = query_gateway::run::compare(gateway, ids, stop);
    let (refreshed, ()) = tokio::join!(refreshing, comparing);
    refreshed.map_err(|error| RoleError::Failed(anyhow!(error)))
}
