//! Looks again and again whether a job has ended, and tells a scheduler that nobody needs one any more.

use std::time::Duration;

use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, CleanJobDataParams, GetJobStatusParams, PartitionLocation, job_status,
};
use batch_layer::Signs;
use tokio::runtime::Handle;
use tokio::time::sleep;
use tonic::transport::Channel;
use tracing::warn;

/// A connection to a scheduler.
pub(crate) type Scheduler = SchedulerGrpcClient<Channel>;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// So many looks in a row at a job that its scheduler does not know: it was started again meanwhile.
const UNKNOWN: u32 = 50;

/// Where the rows of a job lie once it has ended. Gives a sign at each look until then.
pub(super) async fn ended(
    scheduler: &mut Scheduler,
    id: &str,
    signs: &Signs,
) -> Result<Vec<PartitionLocation>, String> {
    let mut unknown = 0;
    loop {
        let asked = scheduler.get_job_status(GetJobStatusParams { job_id: id.to_owned() }).await;
        let told = asked.map_err(|status| status.to_string())?.into_inner();
        match told.status.and_then(|status| status.status) {
            Some(job_status::Status::Successful(job)) => return Ok(job.partition_location),
            Some(job_status::Status::Failed(job)) => return Err(job.error),
            Some(job_status::Status::Queued(_) | job_status::Status::Running(_)) => {
                unknown = 0;
                signs.give();
            }
            None if unknown == UNKNOWN => return Err("the scheduler knows of no such job any more".to_owned()),
            None => unknown += 1,
        }
        sleep(LOOK).await;
    }
}

/// Cancels a job, or has removed what one gave that has ended, beside whatever else is done: whoever drops it does not
/// wait.
pub(super) fn let_go(mut scheduler: Scheduler, id: String, has_ended: bool) {
    // Without a runtime nothing can be told; the process ends.
    let Ok(runtime) = Handle::try_current() else { return };
    runtime.spawn(async move {
        let job_id = id.clone();
        let told = match has_ended {
            true => {
                scheduler.clean_job_data(CleanJobDataParams { job_id, ..CleanJobDataParams::default() }).await.map(drop)
            }
            false => scheduler.cancel_job(CancelJobParams { job_id }).await.map(drop),
        };
        if let Err(status) = told {
            warn!(job = id, %status, "the scheduler could not be told that nobody needs a job any more");
        }
    });
}
