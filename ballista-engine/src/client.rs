//! Running a plan on the machines of a scheduler.
//!
//! In: a physical plan. Out: its rows, from the executors that hold them.
//! Guarantee: a plan is sent once for each call, and is as large as the settings allow. A job that is given up is
//! cancelled, and what one gave is removed once its rows are fetched (`job.rs`).
//! Why a physical plan: a scheduler that plans logical ones does so again and again by what it learns on the way.

use std::sync::Arc;

use ballista_core::client::BallistaClient;
use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::PartitionLocation;
use batch_layer::{EngineAway, PlanEngine, Signs};
use datafusion::common::{exec_datafusion_err, plan_datafusion_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use datafusion_proto::bytes::physical_plan_to_bytes_with_extension_codec;
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt, stream};
use tokio::time::timeout;

use crate::codec::Codec;
use crate::config::ClusterSettings;
use crate::error::ClusterError;
use crate::job::{Job, connect};
use crate::slim::without_statistics;
use crate::verdict::judged;

/// Rows of a batch between operators.
const BATCH_ROWS: usize = 8_192;

/// How often a connection to an executor is tried, and how long after each other.
const FETCH_TRIES: u8 = 3;
const FETCH_WAIT_MILLIS: u64 = 1_000;

/// The machines of one scheduler.
#[derive(Debug)]
pub struct Cluster {
    settings: ClusterSettings,
    codec: Codec,
    session_id: String,
}

impl Cluster {
    /// Does no IO. `session_id` is that of this process: the scheduler keeps its settings under it.
    pub fn new(settings: ClusterSettings, session_id: String) -> Self {
        Self { settings, codec: Codec::default(), session_id }
    }

    /// Connects to the scheduler, and says nothing to it.
    ///
    /// # Errors
    /// [`ClusterError::NoScheduler`].
    pub async fn probe(&self) -> Result<(), ClusterError> {
        let address = self.settings.scheduler_url();
        let connected = connect(&address, &self.prepare(SessionConfig::new())).await;
        connected.map(drop).map_err(|reason| ClusterError::NoScheduler { address, reason })
    }

    async fn run(
        &self,
        name: &str,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
        signs: Signs,
    ) -> Result<SendableRecordBatchStream> {
        let plan = without_statistics(plan)?;
        let (scheduler, schema) = (self.settings.scheduler_url(), plan.schema());
        let sent = self.bytes_of(plan)?;
        let config = config.clone().with_ballista_job_name(name);
        let computing = async {
            let connection = connect(&scheduler, &config).await?;
            let mut job = Job::submit(connection, &self.session_id, sent, &config).await?;
            let locations = job.locations(&signs).await?;
            Ok::<_, String>((job, locations))
        };
        let (job, locations) = match timeout(self.settings.deadline, computing).await {
            Ok(ended) => ended.map_err(|said| judged(&DataFusionError::Execution(said), &scheduler))?,
            Err(_) => {
                let seconds = self.settings.deadline.as_secs();
                let late = format!("executors of {scheduler}: no end within {seconds} s (`ballista.deadline`)");
                return Err(EngineAway(late).into());
            }
        };
        let limit = self.settings.max_message_bytes as usize;
        let rows = stream::iter(locations).map(move |location| {
            // What a job gave is there as long as the job is held.
            let _held = &job;
            stream::once(fetch(location, limit)).try_flatten()
        });
        let rows = rows.flatten().inspect(move |_| signs.give());
        let rows = rows.map_err(move |error| judged(&error, &scheduler));
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    /// The plan as it is sent. One that is too large would only be told of by whoever receives it.
    fn bytes_of(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Vec<u8>> {
        let bytes = physical_plan_to_bytes_with_extension_codec(plan, &self.codec)?;
        let (size, limit) = (bytes.len(), self.settings.max_plan_bytes);
        if size <= limit {
            return Ok(bytes.to_vec());
        }
        Err(plan_datafusion_err!(
            "a plan of {size} bytes cannot be sent to other machines: `ballista.max_plan` is {limit}; raise it and \
             `ballista.max_message`, make `batch.task_bytes` smaller, or let `batch.engine` be \"local\""
        ))
    }
}

/// The rows of one part of the outcome, from the executor that has them.
async fn fetch(location: PartitionLocation, max_message_bytes: usize) -> Result<SendableRecordBatchStream> {
    let (layout, file_id) = (location.layout(), location.file_id);
    let (Some(executor), Some(part)) = (location.executor_meta, location.partition_id) else {
        return Err(exec_datafusion_err!("a part of the outcome is nowhere"));
    };
    let port =
        u16::try_from(executor.port).map_err(|error| exec_datafusion_err!("the port of an executor: {error}"))?;
    let (tries, wait) = (FETCH_TRIES, FETCH_WAIT_MILLIS);
    let client = BallistaClient::try_new(&executor.host, port, max_message_bytes, false, None, tries, wait, 0, 0).await;
    let mut client = client.map_err(|error| exec_datafusion_err!("{error}"))?;
    let rows = client.fetch_partition(&executor.id, &part.into(), file_id, layout, true).await;
    rows.map_err(|error| exec_datafusion_err!("{error}"))
}

impl PlanEngine for Cluster {
    fn takes(&self, bytes: u64) -> bool {
        bytes >= self.settings.from_bytes
    }

    fn prepare(&self, config: SessionConfig) -> SessionConfig {
        config
            .upgrade_for_ballista()
            .with_target_partitions(self.settings.partitions)
            .with_batch_size(BATCH_ROWS)
            .with_ballista_adaptive_query_planner(false)
            .with_ballista_grpc_client_max_message_size(self.settings.max_message_bytes as usize)
    }

    fn execute<'a>(
        &'a self,
        name: &'a str,
        plan: Arc<dyn ExecutionPlan>,
        config: &'a SessionConfig,
        signs: Signs,
    ) -> BoxFuture<'a, Result<SendableRecordBatchStream>> {
        Box::pin(self.run(name, plan, config, signs))
    }
}
