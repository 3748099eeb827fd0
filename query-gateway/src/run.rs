//! The refresh loops.
//!
//! Where the store counts its changes, a tick at which nothing is new costs a look at the count.
//! Publications are compared in a loop of their own, so that no answer waits for it.
//! Guarantee: returns when `shutdown` is cancelled; nothing of it runs afterwards. Without it queries read the stores
//! themselves, so that a test or a tool needs no loop.

use std::sync::Arc;
use std::time::Duration;

use positions::IdSource;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::refresh::SourceReader;
use crate::served::SourceState;
use crate::stores::Check;
use crate::{Gateway, GatewayError, metrics};

/// Keeps the realtime states and the batch versions of all views up to date until `shutdown`.
///
/// # Errors
/// None at present: a store that fails shows in answers and in the status, and is tried again.
pub async fn run(gateway: Arc<Gateway>, shutdown: CancellationToken) -> Result<(), GatewayError> {
    let mut tasks = tokio::task::JoinSet::new();
    for source in gateway.sources() {
        source.views().iter().for_each(|reader| metrics::announce_view(&reader.view.name));
        tasks.spawn(refresh_indexes(source.clone(), gateway.clone(), shutdown.clone()));
        tasks.spawn(refresh_versions(source.clone(), gateway.clone(), shutdown.clone()));
    }
    tasks.spawn(refresh_status(gateway.clone(), shutdown.clone()));
    let refreshing = gateway.start_refreshing();
    info!(sources = gateway.sources().len(), "query gateway is refreshing");
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            warn!(%error, "a refresh loop ended early; its source is read on demand from now on");
            gateway.stop_refreshing();
        }
    }
    drop(refreshing);
    Ok(())
}

/// Compares each publication with what it replaced until `shutdown`: to be run beside [`run`], which finds versions.
pub async fn compare(gateway: Arc<Gateway>, ids: Arc<dyn IdSource>, shutdown: CancellationToken) {
    let mut ticks = ticks(gateway.settings().version_interval);
    while next_tick(&mut ticks, &shutdown).await {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = gateway.compare_versions(ids.as_ref()) => {}
        }
    }
}

async fn refresh_indexes(source: Arc<SourceReader>, gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut ticks = ticks(gateway.settings().refresh_interval);
    let mut before = None;
    while next_tick(&mut ticks, &shutdown).await {
        // Asked before the indexes are read: what changes meanwhile is news to the next tick.
        let changes = source.index_changes();
        if changes.is_none() || changes != before || !source.is_settled() {
            source.refresh(Check::IfNeeded).await;
        }
        before = changes;
    }
}

async fn refresh_versions(source: Arc<SourceReader>, gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut ticks = ticks(gateway.settings().version_interval);
    while next_tick(&mut ticks, &shutdown).await {
        source.refresh_versions().await;
    }
}

async fn refresh_status(gateway: Arc<Gateway>, shutdown: CancellationToken) {
    let mut ticks = ticks(gateway.settings().version_interval);
    while next_tick(&mut ticks, &shutdown).await {
        gateway.refresh_partitions().await;
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn next_tick(ticks: &mut tokio::time::Interval, shutdown: &CancellationToken) -> bool {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => false,
        _ = ticks.tick() => true,
    }
}

/// Waits until `is_reached` holds for a state of the source, at most `limit`; the last state either way.
///
/// With the loops running it is told of each new state; without them it reads the stores itself.
pub(crate) async fn wait_for(
    source: &SourceReader,
    is_refreshing: bool,
    limit: Duration,
    is_reached: impl Fn(&SourceState) -> bool,
) -> Arc<SourceState> {
    let deadline = Instant::now() + limit;
    let mut changed = source.subscribe();
    loop {
        if !is_refreshing {
            source.refresh(Check::Always).await;
        }
        let state = source.state();
        if is_reached(&state) || Instant::now() >= deadline {
            return state;
        }
        if is_refreshing {
            let _ = timeout_at(deadline, changed.changed()).await;
        } else {
            sleep(source.settings().refresh_interval.min(deadline - Instant::now())).await;
        }
    }
}
