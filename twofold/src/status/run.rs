//! The loop that keeps the status board up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{FactSuppliers, StatusBoard};
use crate::stage::RoleError;

/// Between two looks at what the gateway cannot know.
const FACTS_INTERVAL: Duration = Duration::from_secs(1);

/// So long a start waits for the first facts.
const FIRST_LIMIT: Duration = Duration::from_secs(5);

/// Puts the first facts up, so that the first answer about the process is whole. Where something that is asked does not
/// answer in time, the start goes on, and [`collect_facts`] asks it again.
pub async fn gather_first(suppliers: &FactSuppliers, board: &StatusBoard) {
    if let Ok(facts) = timeout(FIRST_LIMIT, suppliers.gather()).await {
        board.put(facts);
    }
}

/// Keeps the status board up to date until `stop`.
///
/// # Errors
/// None: what cannot be asked is shown as unknown.
pub async fn collect_facts(
    suppliers: Arc<FactSuppliers>,
    board: Arc<StatusBoard>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    while let Some(facts) = stop.run_until_cancelled(suppliers.gather()).await {
        board.put(facts);
        if stop.run_until_cancelled(sleep(FACTS_INTERVAL)).await.is_none() {
            break;
        }
    }
    Ok(())
}
