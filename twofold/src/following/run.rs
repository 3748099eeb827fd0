//! The loop that follows the registry.

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Following;
use crate::definitions::Registered;
use crate::stage::RoleError;

/// Goes over to each set that the registry is seen to hold, until `stop`.
///
/// # Errors
/// None: what cannot be followed now is tried again when the registry was looked at again.
pub async fn follow_definitions(
    mut following: Following,
    mut registered: watch::Receiver<Registered>,
    stop: CancellationToken,
) -> Result<(), RoleError> {
    let mut is_failing = false;
    loop {
        let seen = registered.borrow_and_update().number;
        if let Some(present) = seen {
            let Some(stepped) = stop.run_until_cancelled(following.step(present)).await else { break };
            if let Err(error) = &stepped
                && !is_failing
            {
                let error = format!("{error:#}");
                warn!(present = present.0, error, "the present definitions cannot be followed; trying again");
            }
            is_failing = stepped.is_err();
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // Told at each look, also where nothing is new.
            changed = registered.changed() => if changed.is_err() { break },
        }
    }
    Ok(())
}
