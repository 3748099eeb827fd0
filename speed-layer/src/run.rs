//! The loop of a speed worker: the only place of this crate that waits.
//!
//! ```text
//!  look up cuts -> start partitions -> poll -> decode, aggregate -> drop, append, touch -> merge -> pause --+
//!  (beside the rest)   ^                                                            (beside the rest)      |
//!                      +------------------------------------------------------------------------------------+
//! ```
//!
//! The poll is the wait: it ends with the first record, so a lone event is taken at once. What follows within one
//! linger becomes the next run, so that a trickle does not make a run of each record. A worker that is behind does not
//! pause. An idle one wakes once a tick, for what time alone makes due.
//!
//! Guarantee: whatever fails or is dropped half way, the stores say where to go on; nothing is counted twice.
//! Errors that only an operator can mend end the worker of this source; all others are tried again with backoff.
//! Why cuts are looked up beside the rest: realtime goes on while the object store is slow or silent. So do partitions
//! whose schemas are known while a schema registry is.
//! Not here: the steps of a turn (`turn.rs`), how long to pause (`policy.rs`).

use std::time::Duration;

use event_log::{EventLog, EventLogError, LogConsumer, Poll, PollLimit};
use records::master::MasterSnapshot;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::context::Context;
use crate::lookup::Lookup;
use crate::merge::EndedMerge;
use crate::merging::{must_wait, next_merge, note_merge};
use crate::policy::Pace;
use crate::schemas::{EndedLesson, next_lesson, note_lesson};
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
    metrics::announce(&components.source.name, components.views.iter().map(|view| &view.definition));
    loop {
        let opened = shutdown.run_until_cancelled(open_master(&components, &settings)).await;
        let Some(master) = opened else { return Ok(()) };
        match run_on(master?, components.clone(), settings.clone(), &shutdown).await {
            Err(news @ SpeedError::NextLife { .. }) => info!(source = %components.source.name, %news),
            ended => return ended,
        }
    }
}

/// What is archived, which names the life of the topic; asked for until it answers.
async fn open_master(
    components: &SpeedComponents,
    settings: &SpeedSettings,
) -> Result<Option<MasterSnapshot>, SpeedError> {
    let mut failures = 0;
    loop {
        match components.master.open().await.map_err(SpeedError::from) {
            Ok(master) => return Ok(master),
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                warn!(source = %components.source.name, %error, "master dataset cannot be read; trying again")
            }
        }
        metrics::count(metrics::FAILURES, &components.source.name, 1);
        failures += 1;
        sleep(settings.backoff.delay(failures)).await;
    }
}

/// Keeps the realtime views in the life of the topic that is being archived. [`SpeedError::NextLife`]: begin again.
async fn run_on(
    master: Option<MasterSnapshot>,
    components: SpeedComponents,
    settings: SpeedSettings,
    shutdown: &CancellationToken,
) -> Result<(), SpeedError> {
    let source = components.source.name.clone();
    let deadline = settings.shutdown_deadline;
    let pauses = Pauses { tick: settings.tick, linger: settings.linger.min(settings.tick) };
    let mut worker = Worker::new(components, settings, master).await?;
    info!(%source, "speed worker started");
    let mut consumer: Option<Box<dyn LogConsumer>> = None;
    let mut beside = Beside::default();
    while !shutdown.is_cancelled() {
        let began = Instant::now();
        let polled = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            polled = gather(&mut worker, &mut consumer, &mut beside) => polled?,
        };
        let polled_at = Instant::now();
        // Not dropped at once by a shutdown: what was read is appended, within the deadline.
        let outcome = tokio::select! {
            biased;
            outcome = worker.process(polled) => Some(outcome),
            () = deadline_after(shutdown, deadline) => None,
        };
        let Some(outcome) = outcome else {
            warn!(%source, "micro-batch given up at shutdown, it is read again after the next start");
            break;
        };
        let pace = outcome?;
        metrics::time_batch(&source, polled_at.elapsed());
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = pauses.keep(pace, began, polled_at) => {}
        }
    }
    info!(%source, "speed worker stopped");
    Ok(())
}

/// How long a turn may be followed by nothing.
struct Pauses {
    tick: Duration,
    /// No longer than the tick.
    linger: Duration,
}

impl Pauses {
    /// Waits until the next turn is due after one that began and whose poll returned at these instants.
    async fn keep(&self, pace: Pace, began: Instant, polled_at: Instant) {
        match pace {
            // Log and store may both be in memory and never wait: others of the thread get their turn here.
            Pace::AtOnce => yield_now().await,
            Pace::Linger => sleep_until(polled_at + self.linger).await,
            Pace::Tick => sleep_until(began + self.tick).await,
        }
    }
}

/// What is done beside the turns. Dropped, it is given up.
#[derive(Default)]
struct Beside {
    /// One at a time.
    lookups: JoinSet<Result<Lookup, SpeedError>>,
    merges: JoinSet<EndedMerge>,
    /// One at a time.
    lessons: JoinSet<EndedLesson>,
}

/// What the next task to end returned; where none has and `waits` is false, or there is no task, `None`.
async fn next_ended<T: 'static>(tasks: &mut JoinSet<T>, waits: bool) -> Option<T> {
    let ended = if waits { tasks.join_next().await } else { tasks.try_join_next() };
    // Nobody aborts one, so it panicked.
    ended.map(|ended| ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())))
}

/// Makes ready what is due, and polls.
async fn gather(
    worker: &mut Worker,
    slot: &mut Option<Box<dyn LogConsumer>>,
    beside: &mut Beside,
) -> Result<Option<Poll>, SpeedError> {
    look_up(worker, &mut beside.lookups).await?;
    merge(worker, &mut beside.merges).await?;
    learn_schemas(worker, &mut beside.lessons).await;
    if beside.lookups.is_empty() {
        worker.ownership.start_due(&worker.context).await?;
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
async fn look_up(worker: &mut Worker, lookups: &mut JoinSet<Result<Lookup, SpeedError>>) -> Result<(), SpeedError> {
    if lookups.is_empty()
        && let Some(lookup) = worker.ownership.next_lookup(&worker.context)
    {
        lookups.spawn(lookup);
    }
    match next_ended(lookups, !worker.ownership.is_reading()).await {
        Some(found) => worker.ownership.note_lookup(&worker.context, found),
        None => Ok(()),
    }
}

/// Begins the merges that are due and takes in those that have ended; waits only where runs would become too many.
async fn merge(worker: &mut Worker, merges: &mut JoinSet<EndedMerge>) -> Result<(), SpeedError> {
    let Worker { context, ownership, .. } = worker;
    loop {
        while merges.len() < context.settings.merges_at_once
            && let Some(merge) = next_merge(context, ownership)
        {
            merges.spawn(merge);
        }
        let Some(ended) = next_ended(merges, must_wait(context, ownership)).await else { return Ok(()) };
        note_merge(context, ownership, ended).await?;
    }
}

/// Begins to learn the schemas that are missing, and goes on with the partitions that waited for those learned by now.
async fn learn_schemas(worker: &mut Worker, lessons: &mut JoinSet<EndedLesson>) {
    let Worker { context, ownership, .. } = worker;
    if let Some(ended) = next_ended(lessons, false).await {
        note_lesson(context, ownership, &ended);
    }
    if lessons.is_empty()
        && let Some(lesson) = next_lesson(context, ownership)
    {
        lessons.spawn(lesson);
    }
}

async fn connect(worker: &mut Worker) -> Result<Option<Box<dyn LogConsumer>>, SpeedError> {
    let Context { components, log, settings, .. } = &*worker.context;
    // Generations are read beside each other, each as a whole.
    let group = settings.group.as_ref().map(|group| match components.generation() {
        Some(generation) => format!("{group}-{generation}"),
        None => group.clone(),
    });
    match log.consumer(&components.source.topic, group.as_deref()).await {
        Ok(consumer) => Ok(Some(consumer)),
        Err(error) => {
            worker.note_log_error(error)?;
            Ok(None)
        }
    }
}

/// Waits for the first record, up to a tick; not at all where the master dataset has more.
async fn poll(worker: &mut Worker, consumer: &mut dyn LogConsumer) -> Result<Poll, EventLogError> {
    let Worker { context, ownership, .. } = worker;
    let settings = &context.settings;
    let wait = if ownership.is_reading_archived(context.now()) { Duration::ZERO } else { settings.tick };
    let limit = PollLimit { records: settings.max_records, bytes: settings.max_bytes, wait };
    if let Some(starts) = ownership.take_seek() {
        consumer.seek(&starts).await?;
    }
    let polled = consumer.poll(limit).await;
    ownership.note_ends(context.now(), consumer.take_ends());
    if polled.is_ok() {
        // For lag tools only: a failure here says nothing that the next poll does not say as well.
        let _ = consumer.report_progress(&ownership.progress()).await;
    }
    polled
}

/// Ends a while after `shutdown`, never before it.
async fn deadline_after(shutdown: &CancellationToken, deadline: Duration) {
    shutdown.cancelled().await;
    sleep(deadline).await;
}
