//! The loop that keeps the status board up to date.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{FactSuppliers, StatusBoard};
use crate::stage::RoleError;

/// Between two looks at what the gateway cannot know.
const FACTS_INTERVAL: Duration = Duration::from_secs(1);

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
        if stop.run_until_cancelled(tokio::time::sleep(FACTS_INTERVAL)).await.is_none() {
            break;
        }
    }
    Ok(())
}
