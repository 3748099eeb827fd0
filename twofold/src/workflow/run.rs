//! The loops of a process that takes part in runs: its tasks and, where it leads, schedules; notices; metrics.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use workflow::{Workflow, WorkflowComponents, run_workflow};

use super::duties::ScheduledRuns;
use super::metrics;
use super::tasks::RecomputeTasks;
use crate::definitions::Definitions;
use crate::notify::run::{Sender, send_all};
use crate::notify::{Judge, Notifier};
use crate::stage::RoleError;
use crate::wiring::SharedComponents;

/// Between two looks at what metrics tell.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// Takes part until `stop`.
///
/// # Errors
/// If no HTTP client can be made for notices. What fails later is logged and tried again.
pub async fn take_part(
    shared: SharedComponents,
    definitions: Definitions,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let config = Arc::clone(&shared.config);
    let (notifier, queues) = Notifier::new(&config.notify, Judge::default());
    let sender = Sender::new(&config.notify, Arc::clone(&shared.clock)).map_err(RoleError::Failed)?;
    metrics::announce(&shared.workflow);
    let components = WorkflowComponents {
        workflow: shared.workflow.clone(),
        executor: Arc::new(RecomputeTasks::new(&shared, definitions.clone())),
        duties: Some(Arc::new(ScheduledRuns::new(&shared, definitions, notifier))),
        name: name_of_process(),
    };
    let taking_part = run_workflow(components, config.workflow.takes_part.clone(), stop.clone());
    let (ended, (), _) = tokio::join!(
        taking_part,
        send_all(sender, queues, stop.clone()),
        stop.run_until_cancelled(tell_metrics(&shared.workflow)),
    );
    ended.map_err(|error| RoleError::Failed(anyhow!(error)))
}

/// Never ends by itself.
async fn tell_metrics(workflow: &Workflow) {
    loop {
        metrics::tell(workflow);
        sleep(METRICS_INTERVAL).await;
    }
}

/// For people who look where a task is: host and process.
fn name_of_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id()).trim().to_owned()
}
