//! The machines of a build that has them: settings as their crate wants them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use ballista_engine::{Cluster, ClusterSettings, ExecutorSettings, SchedulerSettings};
use batch_layer::PlanEngine;
use lake::Lake;
use positions::IdSource;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config::{BallistaSection, Config, Engine};
use crate::data_dir::DataDir;

/// For the scheduler to say whether it has executors.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who computes large groups of this process; `None`: the process itself.
pub fn engine(config: &Config, ids: &dyn IdSource) -> Option<Arc<dyn PlanEngine>> {
    match config.ballista.engine {
        Engine::Local => None,
        Engine::Ballista => Some(Arc::new(cluster(&config.ballista, ids))),
    }
}

/// Looks whether the scheduler answers. Returns whether it knows of an executor that lives.
///
/// # Errors
/// Its address, and what kept it from answering.
pub async fn check_scheduler(settings: &BallistaSection, ids: &dyn IdSource) -> Result<bool> {
    cluster(settings, ids).probe().await?;
    let (host, port) = &settings.scheduler;
    let client = reqwest::Client::builder().timeout(TIMEOUT).no_proxy().build();
    let asked = client.context("cannot make an HTTP client")?.get(format!("http://{host}:{port}/readyz")).send().await;
    let told =
        asked.with_context(|| format!("the scheduler at {host}:{port} does not say whether it has executors"))?;
    Ok(told.status().is_success())
}

/// Runs a scheduler until `shutdown`.
///
/// # Errors
/// If its port cannot be used.
pub async fn run_scheduler(config: &Config, shutdown: CancellationToken) -> Result<()> {
    let settings = &config.ballista;
    let listen = settings.scheduler_listen;
    let listener = TcpListener::bind(listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {listen} (`ballista.scheduler_listen`)"))?;
    let scheduler = SchedulerSettings {
        max_message_bytes: settings.max_message_bytes,
        lost_after: settings.lost_after,
        keep: settings.keep,
    };
    Ok(ballista_engine::run_scheduler(listener, &scheduler, shutdown).await?)
}

/// Runs an executor over the files of `lake` until `shutdown`.
///
/// # Errors
/// If its port or its folder cannot be used.
pub async fn run_executor(config: &Config, data_dir: &DataDir, lake: &Lake, shutdown: CancellationToken) -> Result<()> {
    let settings = &config.ballista;
    let (scheduler_host, scheduler_port) = settings.scheduler.clone();
    let executor = ExecutorSettings {
        listen: settings.executor_listen,
        advertised_host: settings.advertised_host.clone(),
        scheduler_host,
        scheduler_port,
        slots: settings.slots,
        memory_bytes: settings.memory_bytes,
        folder: settings.folder.clone().unwrap_or_else(|| data_dir.root().join("executor")),
        spill_limit_bytes: settings.spill_limit_bytes,
        max_message_bytes: settings.max_message_bytes,
        keep: settings.keep,
        stop_deadline: config.system.shutdown_deadline,
    };
    Ok(ballista_engine::run_executor(lake, &executor, shutdown).await?)
}

fn cluster(settings: &BallistaSection, ids: &dyn IdSource) -> Cluster {
    let (scheduler_host, scheduler_port) = settings.scheduler.clone();
    let settings = ClusterSettings {
        scheduler_host,
        scheduler_port,
        from_bytes: settings.from_bytes,
        partitions: settings.partitions,
        max_plan_bytes: settings.max_plan_bytes,
        max_message_bytes: settings.max_message_bytes,
        deadline: settings.deadline,
    };
    Cluster::new(settings, format!("twofold-{:032x}", ids.next_id()))
}
