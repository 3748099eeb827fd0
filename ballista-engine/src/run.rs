//! The two kinds of machines: one scheduler, and executors as many as there are.
//!
//! Guarantee: neither holds anything that is not elsewhere. A scheduler that is started again knows of no job, and the
//! workers send theirs again; an executor that is lost loses what it computed, which others compute again.
//! Not here: TLS and keys, which Ballista does not offer: both belong into a private network.

use std::fs::create_dir_all;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::SessionConfigExt;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::{ConfigProducer, RuntimeProducer};
use ballista_executor::executor_process::{ExecutorProcessConfig, start_executor_process};
use ballista_scheduler::SessionBuilder;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::SchedulerConfig;
use ballista_scheduler::scheduler_process::{create_scheduler, start_grpc_service_with_listener};
use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::PhysicalExtensionCodec;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use lake::Lake;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::net::TcpListener;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::codec::Codec;
use crate::config::{ExecutorSettings, SchedulerSettings};
use crate::error::ClusterError;
use crate::store::OneStore;

/// Between two looks for what executors have kept for too long.
const CLEAN_SECONDS: u64 = 600;
/// Between two looks for executors that are lost.
const LOOK_SECONDS: u64 = 5;

/// Hands out the parts of plans until `shutdown`.
///
/// # Errors
/// [`ClusterError::Ballista`]: it cannot be started, or its port failed.
pub async fn run_scheduler(
    listener: TcpListener,
    settings: &SchedulerSettings,
    shutdown: CancellationToken,
) -> Result<(), ClusterError> {
    let codec = Arc::new(Codec::default());
    // Plans name files of the lake, which a scheduler never reads.
    let nothing: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let session_builder: SessionBuilder = Arc::new(move |config: SessionConfig| {
        let stores = Arc::new(OneStore(Arc::clone(&nothing)));
        let runtime = RuntimeEnvBuilder::new().with_object_store_registry(stores).build_arc()?;
        Ok(views::session_state_builder().with_config(config).with_runtime_env(runtime).build())
    });
    let config = SchedulerConfig {
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        grpc_server_max_decoding_message_size: settings.max_message_bytes,
        grpc_server_max_encoding_message_size: settings.max_message_bytes,
        grpc_client_max_message_size: settings.max_message_bytes,
        executor_timeout_seconds: settings.lost_after.as_secs(),
        no_executors_grace_period_seconds: settings.lost_after.as_secs(),
        // `/readyz` on its port says whether an executor lives.
        min_ready_executors: 1,
        expire_dead_executor_interval_seconds: LOOK_SECONDS.min(settings.lost_after.as_secs()),
        // From its end on, while its rows may still be fetched.
        finished_job_data_clean_up_interval_seconds: settings.keep.as_secs(),
        finished_job_state_clean_up_interval_seconds: settings.keep.as_secs(),
        override_logical_codec: Some(codec.logical()),
        override_physical_codec: Some(codec as Arc<dyn PhysicalExtensionCodec>),
        ..SchedulerConfig::default()
    };
    let cluster = BallistaCluster::new_memory(config.scheduler_id.clone(), session_builder, config_producer());
    let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, Arc::new(config)).await?;
    tokio::select! {
        biased;
        () = shutdown.cancelled() => Ok(()),
        served = start_grpc_service_with_listener(listener, scheduler) => Ok(served?),
    }
}

/// Computes parts of plans until `shutdown`, with the files of `lake`. Waits for the scheduler as long as it takes.
///
/// # Errors
/// [`ClusterError::Folder`]; [`ClusterError::Ballista`]: it cannot be started, or its port failed.
pub async fn run_executor(
    lake: &Lake,
    settings: &ExecutorSettings,
    shutdown: CancellationToken,
) -> Result<(), ClusterError> {
    let (shuffled, spilled) = (settings.folder.join("shuffle"), settings.folder.join("spill"));
    for folder in [&shuffled, &spilled] {
        let told = |error| ClusterError::Folder { folder: folder.display().to_string(), error };
        create_dir_all(folder).map_err(told)?;
    }
    let codec = Arc::new(Codec::default());
    let config = ExecutorProcessConfig {
        bind_host: settings.listen.ip().to_string(),
        external_host: Some(settings.advertised_host.clone().unwrap_or_else(|| settings.listen.ip().to_string())),
        port: settings.listen.port(),
        scheduler_host: settings.scheduler_host.clone(),
        scheduler_port: settings.scheduler_port,
        scheduler_connect_timeout_seconds: u16::MAX,
        vcores: settings.slots,
        task_scheduling_policy: TaskSchedulingPolicy::PullStaged,
        work_dir: Some(shuffled.display().to_string()),
        job_data_ttl_seconds: settings.keep.as_secs(),
        job_data_clean_up_interval_seconds: CLEAN_SECONDS,
        grpc_max_decoding_message_size: settings.max_message_bytes,
        grpc_max_encoding_message_size: settings.max_message_bytes,
        memory_pool_size: Some(settings.memory_bytes),
        override_function_registry: Some(Arc::new(BallistaFunctionRegistry::from(&views::session_state()))),
        override_runtime_producer: Some(runtime_producer(lake, &spilled, settings.spill_limit_bytes)),
        override_config_producer: Some(config_producer()),
        override_logical_codec: Some(codec.logical()),
        override_physical_codec: Some(codec as Arc<dyn PhysicalExtensionCodec>),
        ..ExecutorProcessConfig::default()
    };
    tokio::select! {
        biased;
        ended = start_executor_process(Arc::new(config)) => Ok(ended?),
        // A signal ends it by itself, once its tasks have ended.
        () = after(shutdown, settings.stop_deadline) => Ok(()),
    }
}

async fn after(shutdown: CancellationToken, patience: Duration) {
    shutdown.cancelled().await;
    sleep(patience).await;
}

/// The settings that answers depend on, before those of a plan are laid over them.
fn config_producer() -> ConfigProducer {
    let config = views::session_state().config().clone().upgrade_for_ballista();
    Arc::new(move || config.clone())
}

fn runtime_producer(lake: &Lake, folder: &Path, limit_bytes: u64) -> RuntimeProducer {
    let (store, folder) = (Arc::clone(lake.store()), folder.to_owned());
    Arc::new(move |_config: &SessionConfig| {
        let mode = DiskManagerMode::Directories(vec![folder.clone()]);
        let disk = DiskManagerBuilder::default().with_mode(mode).with_max_temp_directory_size(limit_bytes);
        RuntimeEnvBuilder::new()
            .with_object_store_registry(Arc::new(OneStore(Arc::clone(&store))))
            .with_disk_manager_builder(disk)
            .build_arc()
    })
}
