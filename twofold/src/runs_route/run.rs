//! The one reader of a process for all streams of events of runs.
//!
//! Guarantee: nothing is read while nobody follows; followed by many, as much as by one. Told to stop, all streams end.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::feed::{Latest, RunsFeed};
use crate::stage::RoleError;

/// Between two readings: how far tasks are is told as often, by whoever works at them.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads until `stop`.
///
/// # Errors
/// None at present: what fails is logged and tried again.
pub async fn follow_runs(feed: Arc<RunsFeed>, stop: CancellationToken) -> Result<(), RoleError> {
    let mut failures = 0_u32;
    while stop.run_until_cancelled(feed.wanted()).await.is_some() {
        match stop.run_until_cancelled(feed.workflow().overview()).await {
            None => break,
            Some(Ok(overview)) => {
                failures = 0;
                feed.tell(Latest::Read(Arc::new(overview)));
            }
            Some(Err(error)) if failures == 0 => {
                failures = 1;
                warn!(%error, "runs cannot be read for who watches them; trying again");
            }
            Some(Err(error)) => {
                failures = failures.saturating_add(1);
                debug!(%error, failures, "runs cannot be read for who watches them; trying again");
            }
        }
        // Whoever comes anew is told at once.
        let _ = stop.run_until_cancelled(timeout(PAUSE, feed.joined())).await;
    }
    feed.tell(Latest::Ended);
    Ok(())
}
