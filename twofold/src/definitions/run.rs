//! The loop that looks at the registry: which definitions are the present ones there, and which of them are being
//! built; and that tells it which ones answer completely by now.
//!
//! Guarantee: a definition is noted as served once the gateway of some process has answered it in every partition.
//! Where nothing changes, nothing is written; a registry that cannot be reached is asked again, and nothing else waits
//! for it. A former definition of a view gives way once the present one answers completely in this process and is noted
//! as served, never before; so whoever starts afterwards answers by the present one as well. That is looked at as soon
//! as another gateway stands, so what was kept complete answers again without waiting for a run or an interval.
//! Why here: the gateway knows what tiles, but writes to no store.
//! Not here: going over to what others have registered (`following.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use lake::Lake;
use positions::{Clock, CurrentDefinitions, DefinitionHash, ViewName};
use query_gateway::Gateway;
use serving_layer::registry::{DefinitionRegistry, DefinitionSet, FormerView};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::gateway::take_place;
use super::{Definitions, Registered, RunningDefinitions};
use crate::stage::RoleError;
use crate::wiring::SharedComponents;

/// Between two looks: a process goes over to what others have registered within a second or two.
const INTERVAL: Duration = Duration::from_secs(1);
/// Between two looks while this process goes on with definitions that are not the present ones: they cost both layers
/// work, and readers wait for the present ones, or whoever goes back for those that were replaced.
const FORMER_INTERVAL: Duration = Duration::from_millis(250);

/// What the loop works with.
pub struct RegistryFollower {
    registry: DefinitionRegistry,
    gateway: Option<watch::Sender<Arc<Gateway>>>,
    definitions: watch::Sender<RunningDefinitions>,
    // Tells of other definitions.
    changed: watch::Receiver<RunningDefinitions>,
    // Tells of another gateway, which has read the stores once: what is complete already answers at once.
    swapped: Option<watch::Receiver<Arc<Gateway>>>,
    registered: watch::Sender<Registered>,
    clock: Arc<dyn Clock>,
    /// How long a replaced definition is computed on; `None`: not at all.
    keep: Option<Duration>,
}

impl RegistryFollower {
    /// Looks at the registry of a lake, for the gateway of this process, where it has one. What is found goes to
    /// `registered`; other `definitions` make it look at once. Former definitions that are over leave both.
    pub fn new(
        shared: &SharedComponents,
        gateway: Option<watch::Sender<Arc<Gateway>>>,
        definitions: watch::Sender<RunningDefinitions>,
        registered: watch::Sender<Registered>,
    ) -> Self {
        let changed = definitions.subscribe();
        let keep = Some(shared.config.system.keep_replaced).filter(|keep| !keep.is_zero());
        let (registry, clock) = (DefinitionRegistry::new(&shared.lake), shared.clock.clone());
        let swapped = gateway.as_ref().map(watch::Sender::subscribe);
        Self { registry, gateway, definitions, changed, swapped, registered, clock, keep }
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
        self.end_kept(&set).await?;
        let is_over = |former: &&FormerView| {
            let view = &former.view;
            let is_known = is_served(&set, &view.name, former.building);
            if gateway.is_none() {
                return is_known;
            }
            let is_known = is_known || noted.contains(&view.name);
            let is_left = set.number != running.number && !is_served(&set, &view.name, view.hash);
            complete.get(&view.name) == Some(&former.building) && (is_known || is_left)
        };
        // A gateway that was being made while a former definition ended may have it still.
        let is_of_set = |former: &&FormerView| {
            let present = running.pipeline.view(former.view.name.as_str());
            present.is_some_and(|present| present.hash == former.building)
        };
        let answering = gateway.iter().flat_map(|gateway| gateway.former()).filter(is_of_set);
        let over: BTreeSet<ViewName> =
            running.former.iter().chain(answering).filter(is_over).map(|former| former.view.name.clone()).collect();
        if !over.is_empty() {
            self.end_former(gateway.as_ref(), &running, &over)?;
        }
        Ok(())
    }

    /// Notes the definitions that answer completely and were being built until now; which it has noted.
    async fn note_complete(
        &self,
        set: &DefinitionSet,
        complete: &BTreeMap<ViewName, DefinitionHash>,
    ) -> Result<BTreeSet<ViewName>> {
        let built = set.due(complete);
        if built.is_empty() {
            return Ok(BTreeSet::new());
        }
        let keep_until = self.keep.map(|keep| self.clock.now().plus(keep));
        // What is not noted now is noted by another process, which the next look shows, or its set is over.
        let noted = self.registry.note_served(&built, keep_until).await?;
        if !noted.is_empty() {
            let views: Vec<&str> = noted.keys().map(|view| view.as_str()).collect();
            info!(definitions = set.number.0, views = views.join(", "), "served by their new definitions");
        }
        Ok(noted.into_keys().collect())
    }

    /// Ends the keeping of replaced definitions: in the registry, where their time is over, and in this process, where
    /// the registry keeps them no longer.
    async fn end_kept(&self, set: &DefinitionSet) -> Result<()> {
        let now = self.clock.now();
        let mut kept = set.views.values().filter_map(|state| state.kept);
        if kept.any(|kept| kept.until <= now) {
            for view in self.registry.end_kept(now).await? {
                info!(view, "its replaced definition is computed no longer: going back to it has to catch up");
            }
        }
        let is_kept = |former: &FormerView| {
            let state = set.views.get(former.view.name.as_str());
            state.and_then(|state| state.kept).is_some_and(|kept| kept.defined.hash == former.view.hash)
        };
        self.definitions.send_if_modified(|running| {
            let before = running.kept.len();
            if set.number == running.number {
                running.kept.retain(is_kept);
            }
            running.kept.len() < before
        });
        Ok(())
    }

    /// Lets the present definitions of these views answer; both layers go on with the former ones only where they are
    /// kept. Where the gateway or the set is another one meanwhile, that is left to the next look.
    fn end_former(
        &self,
        gateway: Option<&Arc<Gateway>>,
        running: &RunningDefinitions,
        over: &BTreeSet<ViewName>,
    ) -> Result<()> {
        let next = match (&self.gateway, gateway) {
            (Some(sender), Some(seen)) if Arc::ptr_eq(&sender.borrow(), seen) => {
                Some((sender, seen.without_former(over)?))
            }
            (Some(_), _) => return Ok(()),
            (None, _) => None,
        };
        // Before the gateway: one that is being made meanwhile is made again where another one answers by then.
        self.definitions.send_if_modified(|set| {
            let before = set.former.len();
            if set.number == running.number {
                let all = std::mem::take(&mut set.former);
                let (ended, left): (Vec<_>, Vec<_>) =
                    all.into_iter().partition(|former| over.contains(&former.view.name));
                set.former = left;
                if self.keep.is_some() {
                    // Until the registry says otherwise.
                    set.kept.retain(|kept| !over.contains(&kept.view.name));
                    set.kept.extend(ended);
                }
            }
            set.former.len() < before
        });
        if let (Some((sender, next)), Some(seen)) = (next, gateway)
            && !take_place(sender, seen, &next)
        {
            return Ok(());
        }
        let views: Vec<&str> = over.iter().map(ViewName::as_str).collect();
        info!(views = views.join(", "), "answered by their present definitions, the former ones are over");
        Ok(())
    }

    fn interval(&self) -> Duration {
        let set = self.definitions.borrow();
        let is_alone = set.former.is_empty() && set.kept.is_empty();
        if is_alone { INTERVAL } else { FORMER_INTERVAL }
    }
}

/// Whether the registry says that a view is served by this definition, whatever this process makes of it.
fn is_served(set: &DefinitionSet, view: &ViewName, hash: DefinitionHash) -> bool {
    let served = set.views.get(view.as_str()).and_then(|state| state.served);
    served.is_some_and(|served| served.hash == hash)
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
            // The follower holds the senders itself, so neither fails.
            _ = follower.changed.changed() => {}
            () = another(&mut follower.swapped) => {}
            () = sleep(interval) => {}
        }
    }
    Ok(())
}

/// Cancels `over` once nobody needs any of these former definitions, and `grace` has gone by, in which gateways of
/// other processes go over to their successors. Whether it did so; not if somebody else cancelled it before.
pub async fn cancel_once_over(
    mut definitions: Definitions,
    former: &[DefinitionHash],
    over: &CancellationToken,
    grace: Duration,
) -> bool {
    while former.iter().any(|former| definitions.needs(*former)) {
        tokio::select! {
            biased;
            () = over.cancelled() => return false,
            () = definitions.changed() => {}
        }
    }
    // A process that stops meanwhile is rid of them all the same.
    let _ = over.run_until_cancelled(sleep(grace)).await;
    over.cancel();
    true
}

/// The definitions of earlier sets that nobody needs, after `grace`, in which processes that run them may go over to
/// others; none once `stop` is cancelled.
pub async fn replaced_definitions(
    lake: &Lake,
    definitions: &Definitions,
    (grace, stop): (Duration, &CancellationToken),
) -> BTreeSet<DefinitionHash> {
    if stop.run_until_cancelled(sleep(grace)).await.is_none() {
        return BTreeSet::new();
    }
    let mut replaced = DefinitionRegistry::new(lake).replaced().await.unwrap_or_else(|error| {
        warn!(%error, "generations that nobody needs are left in the realtime store until the next start");
        BTreeSet::new()
    });
    // Those of a process that others have overtaken are replaced, and it runs them all the same.
    let own = definitions.current();
    replaced.retain(|hash| own.pipeline.views.iter().all(|view| view.hash != *hash) && !definitions.needs(*hash));
    replaced
}

/// Returns when there is another gateway; never where there is none.
async fn another(swapped: &mut Option<watch::Receiver<Arc<Gateway>>>) {
    let is_told = match swapped {
        Some(swapped) => swapped.changed().await.is_ok(),
        None => false,
    };
    if !is_told {
        std::future::pending::<()>().await;
    }
}
