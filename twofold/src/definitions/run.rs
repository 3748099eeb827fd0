//! The loop that follows the registry: which definitions are the present ones there, and which of them are being built;
//! and that tells it which ones answer completely by now.
//!
//! Guarantee: a definition is noted as served once the gateway of some process has answered it in every partition.
//! Where nothing changes, nothing is written; a registry that cannot be reached is asked again, and nothing else waits
//! for it. A former definition of a view gives way once the present one answers completely in this process and is noted
//! as served, never before; so whoever starts afterwards answers by the present one as well.
//! Why here: the gateway knows what tiles, but writes to no store.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use lake::Lake;
use positions::{DefinitionHash, ViewName};
use query_gateway::Gateway;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet, FormerView};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{Registered, RunningDefinitions};
use crate::stage::RoleError;

/// Between two looks while a definition is being built.
const BUILDING_INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks while former definitions answer in this process: they cost both layers work, and readers wait.
const FORMER_INTERVAL: Duration = Duration::from_millis(500);
/// Between two looks while all are served: only another process changes anything.
const SERVED_INTERVAL: Duration = Duration::from_secs(5);

/// What the loop works with.
pub struct RegistryFollower {
    registry: DefinitionRegistry,
    gateway: Option<watch::Sender<Arc<Gateway>>>,
    definitions: watch::Sender<RunningDefinitions>,
    // Tells of other definitions.
    changed: watch::Receiver<RunningDefinitions>,
    registered: watch::Sender<Registered>,
}

impl RegistryFollower {
    /// Follows the registry of a lake, for the gateway of this process, where it has one. What is found goes to
    /// `registered`; other `definitions` make it look at once. Former definitions that are over leave both.
    pub fn new(
        lake: &Lake,
        gateway: Option<watch::Sender<Arc<Gateway>>>,
        definitions: watch::Sender<RunningDefinitions>,
        registered: watch::Sender<Registered>,
    ) -> Self {
        let changed = definitions.subscribe();
        Self { registry: DefinitionRegistry::new(lake), gateway, definitions, changed, registered }
    }

    async fn look(&self) -> Result<()> {
        let running = self.definitions.borrow().clone();
        let Some(set) = self.registry.present().await? else { return Ok(()) };
        let being_built = set.being_built().map(str::to_owned).collect();
        self.registered.send_replace(Registered { number: Some(set.number), being_built });
        let gateway = self.gateway.as_ref().map(|gateway| gateway.borrow().clone());
        let complete = match &gateway {
            Some(gateway) => gateway.complete_views().await,
            None => BTreeMap::new(),
        };
        let noted = self.note_complete(&set, &complete).await?;
        let is_over = |former: &&FormerView| match &gateway {
            // The registry speaks of other definitions where another process has claimed them since.
            Some(_) => {
                let is_known = is_served(&set, former) || noted.contains(&former.view.name);
                complete.get(&former.view.name) == Some(&former.building) && (is_known || set.number != running.number)
            }
            None => is_served(&set, former),
        };
        let over: BTreeSet<ViewName> =
            running.former.iter().filter(is_over).map(|former| former.view.name.clone()).collect();
        if !over.is_empty() {
            self.end_former(gateway.as_ref(), &running, &over)?;
        }
        Ok(())
    }

    /// Notes the definitions that answer completely and were being built until now; which these are.
    async fn note_complete(
        &self,
        set: &DefinitionSet,
        complete: &BTreeMap<ViewName, DefinitionHash>,
    ) -> Result<BTreeSet<ViewName>> {
        let mut built = complete.clone();
        built.retain(|view, hash| {
            let building = set.views.get(view.as_str()).and_then(|state| state.building);
            building.is_some_and(|defined| defined.hash == *hash)
        });
        if !built.is_empty() {
            self.registry.note_served(&built).await?;
            let views: Vec<&str> = built.keys().map(|view| view.as_str()).collect();
            info!(definitions = set.number.0, views = views.join(", "), "served by their new definitions");
        }
        Ok(built.into_keys().collect())
    }

    /// Lets the present definitions of these views answer; both layers compute the former ones no longer. Where the
    /// gateway or the set is another one meanwhile, that is left to the next look.
    fn end_former(
        &self,
        gateway: Option<&Arc<Gateway>>,
        running: &RunningDefinitions,
        over: &BTreeSet<ViewName>,
    ) -> Result<()> {
        if let (Some(sender), Some(seen)) = (&self.gateway, gateway) {
            let next = seen.without_former(over)?;
            let is_taken = sender.send_if_modified(|current| {
                let is_same = Arc::ptr_eq(current, seen);
                if is_same {
                    *current = next.clone();
                }
                is_same
            });
            if !is_taken {
                return Ok(());
            }
            seen.give_way(&next);
        }
        self.definitions.send_if_modified(|set| {
            let before = set.former.len();
            if set.number == running.number {
                set.former.retain(|former| !over.contains(&former.view.name));
            }
            set.former.len() < before
        });
        let views: Vec<&str> = over.iter().map(ViewName::as_str).collect();
        info!(views = views.join(", "), "answered by their present definitions, the former ones are over");
        Ok(())
    }

    fn interval(&self) -> Duration {
        if !self.definitions.borrow().former.is_empty() {
            return FORMER_INTERVAL;
        }
        if self.registered.borrow().being_built.is_empty() { SERVED_INTERVAL } else { BUILDING_INTERVAL }
    }
}

/// Whether the registry says that the definition which is to take the place of a former one is served.
fn is_served(set: &DefinitionSet, former: &FormerView) -> bool {
    let served = set.views.get(former.view.name.as_str()).and_then(|state| state.served);
    served.is_some_and(|served| served.hash == former.building)
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
            warn!(error = format!("{error:#}"), "the registry of definitions cannot be followed; trying again");
        }
        is_failing = looked.is_err();
        let interval = follower.interval();
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            // The follower holds the sender itself, so this never fails.
            _ = follower.changed.changed() => {}
            () = sleep(interval) => {}
        }
    }
    Ok(())
}
