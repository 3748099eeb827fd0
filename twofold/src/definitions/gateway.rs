//! The gateway of a process goes over to other definitions.
//!
//! In: the gateway that answers, the definitions of the moment. Out: one over these in its place.
//! Guarantee: the one before goes on answering until the next one has read the stores, and what waits at it goes over
//! to the next one. Former definitions that end meanwhile do not come back with it: nobody may compute them any more.
//! Not here: ending former definitions (`run.rs`).

use std::sync::Arc;

use anyhow::{Context, Result};
use query_gateway::Gateway;
use tokio::sync::watch;

use super::RunningDefinitions;

/// See the module; the gateway that answers now.
///
/// # Errors
/// Only for a defect: a query engine that refuses its settings.
pub async fn follow_gateway(
    current: &watch::Sender<Arc<Gateway>>,
    definitions: &watch::Sender<RunningDefinitions>,
) -> Result<Arc<Gateway>> {
    loop {
        let (present, set) = (current.borrow().clone(), definitions.borrow().clone());
        let next = present.successor(set.pipeline, set.former).context("cannot build the query gateway")?;
        // Reads each source that it has not read yet.
        let _ = next.complete_views().await;
        if take_place(current, &present, &next) {
            return Ok(next);
        }
    }
}

/// Lets `next` answer where `seen` does, also what waits there for a position, and no less far; whether it did.
pub(super) fn take_place(current: &watch::Sender<Arc<Gateway>>, seen: &Arc<Gateway>, next: &Arc<Gateway>) -> bool {
    let is_taken = current.send_if_modified(|answering| {
        let is_seen = Arc::ptr_eq(answering, seen);
        if is_seen {
            next.take_over_from(seen);
            *answering = Arc::clone(next);
        }
        is_seen
    });
    if is_taken {
        seen.give_way(next);
    }
    is_taken
}
