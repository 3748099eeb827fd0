//! The loop that follows the registry: which definitions are the present ones there, and which of them are being built;
//! and that tells it which ones answer completely by now.
//!
//! Guarantee: a definition is noted as served once the gateway of some process has answered it in every partition.
//! Where nothing changes, nothing is written; a registry that cannot be reached is asked again, and nothing else waits
//! for it.
//! Why here: the gateway knows what tiles, but writes to no store.

use std::sync::Arc;
use std::time::Duration;

use lake::Lake;
use query_gateway::Gateway;
use serving_layer::ServingError;
use serving_layer::registry::DefinitionRegistry;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Definitions, Registered};
use crate::stage::RoleError;

/// Between two looks while a definition is being built.
const BUILDING_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks while all are served: only another process changes anything.
const SERVED_INTERVAL: Duration = Duration::from_secs(5);

/// What the loop works with.
pub struct RegistryFollower {
    registry: DefinitionRegistry,
    gateway: Option<watch::Receiver<Arc<Gateway>>>,
    definitions: Definitions,
    registered: watch::Sender<Registered>,
}

impl RegistryFollower {
    /// Follows the registry of a lake, for the gateway of this process, where it has one. What is found goes to
    /// `registered`; other `definitions` make it look at once.
    pub fn new(
        lake: &Lake,
        gateway: Option<watch::Receiver<Arc<Gateway>>>,
        definitions: Definitions,
        registered: watch::Sender<Registered>,
    ) -> Self {
        Self { registry: DefinitionRegistry::new(lake), gateway, definitions, registered }
    }

    async fn look(&self) -> Result<(), ServingError> {
        let Some(set) = self.registry.present().await? else { return Ok(()) };
        let being_built = set.being_built().map(str::to_owned).collect();
        self.registered.send_replace(Registered { number: Some(set.number), being_built });
        let Some(gateway) = &self.gateway else { return Ok(()) };
        let gateway = gateway.borrow().clone();
        let mut complete = gateway.complete_views().await;
        complete.retain(|view, hash| {
            let building = set.views.get(view.as_str()).and_then(|state| state.building);
            building.is_some_and(|defined| defined.hash == *hash)
        });
        if complete.is_empty() {
            return Ok(());
        }
        self.registry.note_served(&complete).await?;
        let views: Vec<&str> = complete.keys().map(|view| view.as_str()).collect();
        info!(definitions = set.number.0, views = views.join(", "), "served by their new definitions");
        Ok(())
    }

    fn interval(&self) -> Duration {
        if self.registered.borrow().being_built.is_empty() { SERVED_INTERVAL } else { BUILDING_INTERVAL }
    }
}

/// Follows the registry until `stop`.
///
/// # Errors
/// None: what cannot be read is shown as it was, and asked for again.
pub async fn follow_registry(mut follower: RegistryFollower, stop: CancellationToken) -> Result<(), RoleError> {
    let mut is_failing = false;
    while let Some(looked) = stop.run_until_cancelled(follower.look()).await {
        if let Err(error) = &looked
            && !is_failing
        {
            warn!(%error, "the registry of definitions cannot be followed; trying again");
        }
        is_failing = looked.is_err();
        let interval = follower.interval();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = follower.definitions.changed() => {}
            () = sleep(interval) => {}
        }
    }
    Ok(())
}
