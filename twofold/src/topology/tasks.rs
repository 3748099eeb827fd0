//! What each duty runs: the loops of the layers, given what they work with.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use axum::Router;
use batch_layer::archive::{ArchiveComponents, ArchiveStatus, run_archive};
use batch_layer::run::run_batch;
use batch_layer::{BatchComponents, BatchContext, BatchRequest, BatchSettings, BatchStatus};
use query_gateway::{Gateway, GatewayComponents};
use records::master::MasterDataset;
use serving_layer::BatchViewStore;
use speed_layer::{Keeping, SpeedComponents, SpeedView};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use views::{Pipeline, PlannedView, SourceDefinition};

use crate::definitions::{Definitions, RunningDefinitions};
use crate::health::Health;
use crate::rejected_reader::LakeRejected;
use crate::run::TaskStarter;
use crate::runs_reader::LakeRuns;
use crate::runs_route::run::follow_runs;
use crate::runs_route::{RunsFeed, RunsRoute, runs_router};
use crate::schedules::scheduled_views;
use crate::stage::{RoleError, Stage};
use crate::status::StatusBoard;
use crate::watched_store::WatchedStore;
use crate::wiring::SharedComponents;
use crate::workflow::at_work::JournalAtWork;

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

/// Log to realtime views, of one source.
pub(super) async fn speed(
    shared: SharedComponents,
    (source, pipeline): (Arc<SourceDefinition>, Pipeline),
    definitions: Definitions,
    health: Arc<Health>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let speed_view = |view: PlannedView, keeping| {
        let published = BatchViewStore::new(&shared.lake, view.clone());
        SpeedView { definition: view, published, keeping }
    };
    let former = definitions.current().former.into_iter().filter(|former| former.view.source.name == source.name);
    let former = former.map(|former| {
        let keeping = if former.reads_as(&source) { Keeping::Former } else { Keeping::Standing };
        speed_view(former.view, keeping)
    });
    let present = pipeline.views.into_iter().map(|view| speed_view(view, Keeping::Present));
    let views: Vec<SpeedView> = present.chain(former).collect();
    let components = SpeedComponents {
        log: shared.log().map_err(RoleError::Failed)?,
        store: Arc::new(WatchedStore::new(shared.store().map_err(RoleError::Failed)?, health)),
        master: MasterDataset::new(&shared.lake, source.clone()),
        source: source.clone(),
        registry: shared.registry.clone(),
        views,
        definitions: Arc::new(definitions),
        clock: shared.clock,
        ids: shared.ids,
    };
    let ended = speed_layer::run::run(components, shared.config.speed.clone(), stop).await;
    ended.map_err(|error| RoleError::SourceStopped { source: source.name.to_string(), error: anyhow!(error) })
}

/// Master dataset to batch views, of one source. `turn` is shared with the loops of the other sources. Views that a
/// schedule names are left to it.
pub(super) async fn batch(
    shared: SharedComponents,
    (pipeline, definitions): (Pipeline, Definitions),
    (requests, status, turn): (mpsc::Receiver<BatchRequest>, watch::Sender<BatchStatus>, Arc<Semaphore>),
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let left_out = scheduled_views(&shared.config, &pipeline);
    let settings = BatchSettings { left_out, ..shared.config.batch.clone() };
    let runs = Arc::new(JournalAtWork::new(&shared.workflow));
    let context =
        BatchContext { lake: shared.lake, pipeline: Arc::new(pipeline), clock: shared.clock, ids: shared.ids };
    let components = BatchComponents { context, requests, status, turn, former: Arc::new(definitions), runs };
    let ended = run_batch(components, settings, stop).await;
    ended.map_err(|error| RoleError::Failed(anyhow!(error)))
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
    let route = RunsRoute::new(feed.clone(), definitions, shared.config.clone());
    starter.start(Stage::Gateway, "runs watched", |stop| follow_runs(feed, stop)).await?;
    Ok(runs_router(route))
}

/// Keeps what a gateway has in memory up to date.
pub(super) async fn refresh(gateway: Arc<Gateway>, stop: CancellationToken) -> Result<(), RoleError> {
    query_gateway::run::run(gateway, stop).await.map_err(|error| RoleError::Failed(anyhow!(error)))
}
