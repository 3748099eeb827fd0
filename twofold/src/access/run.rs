//! The loop that keeps the rules of access as the files say: looks once a second, and fetches keys that are wanted.
//!
//! Guarantee: a file that cannot be used changes nothing: the rules before it stay in force, the log says so once, and
//! `/v1/status` for as long. The keys of an issuer are fetched for tokens at most once a minute, however many ask for
//! them.

use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::AccessKeeper;
use crate::stage::RoleError;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the rules until `stop`.
///
/// # Errors
/// None: what cannot be read is told, and tried again.
pub async fn keep_rules(mut keeper: AccessKeeper, stop: CancellationToken) -> Result<(), RoleError> {
    let mut next = soon();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            () = sleep_until(next) => {
                // Issuers may take seconds to answer, which a stop does not wait for.
                stop.run_until_cancelled(keeper.look()).await;
                next = soon();
            }
            Some(wanted) = keeper.wanted.recv() => {
                stop.run_until_cancelled(keeper.fetch_wanted(&wanted.issuer)).await;
                // Whoever asked may have gone.
                let _ = wanted.done.send(());
            }
        }
    }
}

fn soon() -> Instant {
    Instant::now() + LOOK
}
