//! The loops of a process that takes part in runs: its tasks and, where it leads, schedules; with the batch role the
//! interval and the looks at tables; notices; metrics.

use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use workflow::{Workflow, WorkflowComponents, run_workflow};

use super::duties::ScheduledRuns;
use super::interval::run::{Interval, compute_at_intervals};
use super::looks::Looks;
use super::metrics;
use super::tables::Tables;
use super::tables::run::look_after_tables;
use super::tasks::RecomputeTasks;
use crate::definitions::{Definitions, Registered};
use crate::notify::run::{Sender, send_all};
use crate::notify::{Judge, Notifier};
use crate::stage::RoleError;
use crate::wiring::SharedComponents;

/// Between two looks at what metrics tell.
const METRICS_INTERVAL: Duration = Duration::from_secs(1);

/// What a process with the batch role tells in its status, and what it hears.
pub struct BatchFindings {
    /// What the registry says of its definitions.
    pub registered: watch::Receiver<Registered>,
    /// Of views that no schedule names.
    pub looks: Arc<Looks>,
    /// Of all tables.
    pub tables: Arc<Tables>,
}

/// Takes part until `stop`. With the batch role, whose `findings` are given then, it starts runs of views that no
/// schedule names, and of housekeeping, and looks after tables.
///
/// # Errors
/// If no HTTP client can be made for notices. What fails later is logged and tried again.
pub async fn take_part(
    shared: SharedComponents,
    definitions: Definitions,
    findings: Option<BatchFindings>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let config = Arc::clone(&shared.config);
    let (notifier, queues) = Notifier::new(&config.notify, Judge::default());
    let sender = Sender::new(&config.notify, Arc::clone(&shared.clock)).map_err(RoleError::Failed)?;
    metrics::announce(&shared.workflow);
    let batch = batch_role(shared.clone(), definitions.clone(), findings);
    let components = WorkflowComponents {
        workflow: shared.workflow.clone(),
        executor: Arc::new(RecomputeTasks::new(&shared, definitions.clone())),
        duties: Some(Arc::new(ScheduledRuns::new(&shared, definitions, notifier))),
        name: name_of_process(),
    };
    let taking_part = run_workflow(components, config.workflow.takes_part.clone(), stop.clone());
    let (ended, _, (), _) = tokio::join!(
        taking_part,
        stop.run_until_cancelled(batch),
        send_all(sender, queues, stop.clone()),
        stop.run_until_cancelled(tell_metrics(&shared.workflow)),
    );
    ended.map_err(|error| RoleError::Failed(anyhow!(error)))
}

/// What a process does that has the batch role. Never ends by itself there.
async fn batch_role(shared: SharedComponents, definitions: Definitions, findings: Option<BatchFindings>) {
    let Some(BatchFindings { registered, looks, tables }) = findings else { return };
    let interval = Interval::new(&shared, (definitions.clone(), registered), looks);
    tokio::join!(compute_at_intervals(interval), look_after_tables(shared, definitions, tables));
}

/// Never ends by itself.
async fn tell_metrics(workflow: &Workflow) {
    loop {
        metrics::tell(workflow);
        sleep(METRICS_INTERVAL).await;
    }
}

/// For people who look where a task is: host and process.
pub(super) fn name_of_process() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{} {}", host.trim(), std::process::id()).trim().to_owned()
}
