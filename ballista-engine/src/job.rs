//! One plan on its way through a scheduler: sent, waited for, and let go.
//!
//! Guarantee: a job that is dropped before it ended is cancelled, and what one gave that has ended is removed, as far
//! as its scheduler can be reached. So its owner keeps it until its rows are fetched.
//! Not here: the rows, which lie with the executors (`client.rs` fetches them).
//! Why not Ballista's own client: it keeps to itself which job it waits for, so that nobody could cancel it.

mod run;

use ballista_core::extension::SessionConfigExt;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::{ExecuteQueryParams, KeyValuePair, PartitionLocation, execute_query_result};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use ballista_core::version::insert_version_header;
use batch_layer::Signs;
use datafusion::prelude::SessionConfig;
use tonic::Request;

use self::run::{Scheduler, ended, let_go};

/// Connects to a scheduler, and says nothing to it.
///
/// # Errors
/// What kept it from answering.
pub(crate) async fn connect(address: &str, config: &SessionConfig) -> Result<Scheduler, String> {
    let settings = config.ballista_config();
    let endpoint = create_grpc_client_endpoint(address.to_owned(), Some(&GrpcClientConfig::from(&settings)));
    let channel = endpoint.map_err(|error| error.to_string())?.connect().await;
    let channel = channel.map_err(|error| format!("it does not answer: {error}"))?;
    let limit = settings.grpc_client_max_message_size();
    Ok(Scheduler::new(channel).max_encoding_message_size(limit).max_decoding_message_size(limit))
}

/// A job that a scheduler has accepted.
pub(crate) struct Job {
    scheduler: Scheduler,
    id: String,
    has_ended: bool,
}

impl Job {
    /// Sends a plan with the settings that it was made with.
    ///
    /// # Errors
    /// What the scheduler says.
    pub(crate) async fn submit(
        mut scheduler: Scheduler,
        session_id: &str,
        plan: Vec<u8>,
        config: &SessionConfig,
    ) -> Result<Self, String> {
        let entries = config.options().entries();
        let settings = entries.into_iter().map(|entry| KeyValuePair { key: entry.key, value: entry.value });
        let query = ExecuteQueryParams {
            query: Some(Query::PhysicalPlan(plan)),
            settings: settings.collect(),
            session_id: session_id.to_owned(),
            operation_id: session_id.to_owned(),
        };
        let mut request = Request::new(query);
        insert_version_header(request.metadata_mut());
        let accepted = scheduler.execute_query(request).await.map_err(|status| status.to_string())?;
        match accepted.into_inner().result {
            Some(execute_query_result::Result::Success(job)) => {
                Ok(Self { scheduler, id: job.job_id, has_ended: false })
            }
            refused => Err(format!("a plan was refused: {refused:?}")),
        }
    }

    /// Waits for its end, and gives signs meanwhile: where its rows lie, in their order.
    ///
    /// # Errors
    /// What the job failed on, or what the scheduler says.
    pub(crate) async fn locations(&mut self, signs: &Signs) -> Result<Vec<PartitionLocation>, String> {
        let ended = ended(&mut self.scheduler, &self.id, signs).await;
        self.has_ended = ended.is_ok();
        ended
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let_go(self.scheduler.clone(), std::mem::take(&mut self.id), self.has_ended);
    }
}
