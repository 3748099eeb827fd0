//! The loop of a speed worker: the only place of this crate that waits.
//!
//! ```text
//!  look up cuts -> start partitions -> poll -> decode, aggregate -> append -> merge, expire, touch --+
//!  (beside the rest)   ^-----------------------------------------------------------------------------+
//! ```
//!
//! Guarantee: whatever fails or is dropped half way, the stores say where to go on; nothing is counted twice.
//! Errors that only an operator can mend end the worker of this source; all others are tried again with backoff.
//! Why cuts are looked up beside the rest: realtime goes on while the object store is slow or silent.
//! Not here: the steps themselves, each in its own file.

use std::time::Duration;

use event_log::{EventLogError, LogConsumer, Poll, PollLimit};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::lookup::Lookup;
use crate::worker::Worker;
use crate::{SpeedComponents, SpeedError, SpeedSettings, metrics};

/// Keeps the realtime views of one source until `shutdown`.
///
/// # Errors
/// Only what an operator must mend: another topic under the same name, an unusable log or store, a view that cannot be
/// planned. The process may go on with its other sources.
pub async fn run(
    components: SpeedComponents,
    settings: SpeedSettings,
    shutdown: CancellationToken,
) -> Result<(), SpeedError> {
    let source = components.source.name.clone();
    metrics::announce(&source, components.views.iter().map(|view| &view.definition.name));
    let (tick, deadline) = (settings.tick, settings.shutdown_deadline);
    let mut worker = Worker::new(components, settings).await?;
    info!(%source, "speed worker started");
    let mut consumer: Option<Box<dyn LogConsumer>> = None;
    let mut lookups = JoinSet::new();
    while !shutdown.is_cancelled() {
        let started = Instant::now();
        let polled = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            polled = gather(&mut worker, &mut consumer, &mut lookups) => polled?,
        };
        let polled_at = Instant::now();
        // Not dropped at once by a shutdown: what was read is appended, within the deadline.
        let outcome = tokio::select! {
            outcome = worker.process(polled) => Some(outcome),
            () = deadline_after(&shutdown, deadline) => None,
        };
        let Some(outcome) = outcome else {
            warn!(%source, "micro-batch given up at shutdown, it is read again after the next start");
            break;
        };
        let is_idle = outcome?.is_idle();
        metrics::time_batch(&source, polled_at.elapsed());
        if is_idle {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = sleep(tick.saturating_sub(started.elapsed())) => {}
            }
        }
    }
    info!(%source, "speed worker stopped");
    Ok(())
}

/// At most one at a time. Dropped, it is given up.
type Lookups = JoinSet<Result<Lookup, SpeedError>>;

/// Makes ready what is due, and polls.
async fn gather(
    worker: &mut Worker,
    slot: &mut Option<Box<dyn LogConsumer>>,
    lookups: &mut Lookups,
) -> Result<Option<Poll>, SpeedError> {
    look_up(worker, lookups).await?;
    if lookups.is_empty() {
        worker.start_due().await?;
    }
    if slot.is_none() {
        *slot = connect(worker).await?;
    }
    let Some(consumer) = slot else { return Ok(None) };
    match poll(worker, consumer.as_mut()).await {
        Ok(polled) => Ok(Some(polled)),
        Err(error) => {
            worker.note_log_error(error)?;
            Ok(None)
        }
    }
}

/// Waits for a look under way only where nothing else can go on.
async fn look_up(worker: &mut Worker, lookups: &mut Lookups) -> Result<(), SpeedError> {
    if lookups.is_empty()
        && let Some(lookup) = worker.next_lookup()
    {
        lookups.spawn(lookup);
    }
    let ended = if worker.is_reading() { lookups.try_join_next() } else { lookups.join_next().await };
    match ended {
        Some(Ok(found)) => worker.note_lookup(found),
        // Nobody aborts it, so it panicked.
        Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        None => Ok(()),
    }
}

async fn connect(worker: &mut Worker) -> Result<Option<Box<dyn LogConsumer>>, SpeedError> {
    let components = &worker.context().components;
    let (log, topic, group) =
        (components.log.clone(), components.source.topic.clone(), worker.context().settings.group.clone());
    match log.consumer(&topic, group.as_deref()).await {
        Ok(consumer) => Ok(Some(consumer)),
        Err(error) => {
            worker.note_log_error(error)?;
            Ok(None)
        }
    }
}

async fn poll(worker: &mut Worker, consumer: &mut dyn LogConsumer) -> Result<Poll, EventLogError> {
    let settings = &worker.context().settings;
    let limit = PollLimit { records: settings.max_records, bytes: settings.max_bytes, wait: settings.tick };
    if let Some(starts) = worker.take_seek() {
        consumer.seek(&starts).await?;
    }
    let polled = consumer.poll(limit).await;
    worker.note_ends(consumer.take_ends());
    if polled.is_ok() {
        // For lag tools only: a failure here says nothing that the next poll does not say as well.
        let _ = consumer.report_progress(&worker.progress()).await;
    }
    polled
}

/// Ends a while after `shutdown`, never before it.
async fn deadline_after(shutdown: &CancellationToken, deadline: Duration) {
    shutdown.cancelled().await;
    sleep(deadline).await;
}
