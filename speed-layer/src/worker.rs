//! A speed worker: its partitions, and the order of the steps of one turn. Waits for stores, but never sleeps.
//!
//! Guarantee: a failed step of one partition is that partition's own: it is tried again with backoff, or the partition
//! starts again from the stores, while the others go on.
//! Not here: the loop and polling (`run.rs`), the steps (one file each).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use event_log::{EventLogError, Poll};
use futures::future::join_all;
use positions::{Offset, PartitionId, TimestampMicros, micros};
use tracing::{error, info, warn};

use crate::aggregate::{Judge, aggregate};
use crate::append::append_pending;
use crate::context::Context;
use crate::cuts::PublishedCuts;
use crate::expire::expire_runs;
use crate::lookup::{Lookup, look_up};
use crate::merge::{is_broken_blob, merge_once};
use crate::partition::{Attempts, Partition, Phase, Running};
use crate::read::{Chunk, chunks_of, note_expired, read_archived};
use crate::start::start;
use crate::touch::touch;
use crate::{SpeedComponents, SpeedError, SpeedSettings, metrics};

/// The state of one worker: everything here is lost without harm.
pub(crate) struct Worker {
    context: Context,
    cuts: PublishedCuts,
    /// `None` before the first look.
    cuts_seen_at: Option<TimestampMicros>,
    lookup: Attempts,
    partitions: BTreeMap<PartitionId, Partition>,
    is_log_failing: bool,
}

/// What a turn did.
pub(crate) struct Turn {
    is_full: bool,
}

impl Turn {
    /// Whether the next turn may wait for the rest of the tick.
    pub fn is_idle(&self) -> bool {
        !self.is_full
    }
}

impl Worker {
    /// A worker that owns nothing yet.
    ///
    /// # Errors
    /// [`SpeedError::View`]: a view cannot be kept in realtime.
    pub async fn new(components: SpeedComponents, settings: SpeedSettings) -> Result<Self, SpeedError> {
        let cuts = PublishedCuts::new(&components.views);
        let context = Context::new(components, settings).await?;
        Ok(Self {
            context,
            cuts,
            cuts_seen_at: None,
            lookup: Attempts::default(),
            partitions: BTreeMap::new(),
            is_log_failing: false,
        })
    }

    pub fn context(&self) -> &Context {
        &self.context
    }

    /// A look for published versions and partitions, if one is due. It may take long: the caller does it beside the
    /// work, and tells [`Self::note_lookup`] what it found.
    pub fn next_lookup(&mut self) -> Option<impl Future<Output = Result<Lookup, SpeedError>> + Send + 'static> {
        if !self.is_lookup_due(self.context.now()) {
            return None;
        }
        self.partitions.values_mut().for_each(|partition| partition.is_looked_up = true);
        Some(look_up(&self.context, &self.cuts))
    }

    /// Takes in what a look found, or that it failed.
    ///
    /// # Errors
    /// Fatal ones only.
    pub fn note_lookup(&mut self, found: Result<Lookup, SpeedError>) -> Result<(), SpeedError> {
        let now = self.context.now();
        let Lookup { versions, owned } = match found {
            Ok(found) => found,
            Err(error) => return self.note_failed_lookup(error, now),
        };
        self.cuts.note(versions, now);
        self.cuts_seen_at = Some(now);
        self.lookup.note_success();
        if let Some(owned) = owned {
            self.assign(owned, true);
        }
        Ok(())
    }

    /// Whether any partition is being read: it must not wait for what others need.
    pub fn is_reading(&self) -> bool {
        self.partitions.values().any(|partition| partition.running().is_some())
    }

    fn is_lookup_due(&self, now: TimestampMicros) -> bool {
        let refresh = micros(self.context.settings.refresh);
        let is_old = self.cuts_seen_at.is_none_or(|seen_at| now.micros_since(seen_at) >= refresh);
        // A partition starts from the newest cuts.
        let starts = |partition: &Partition| partition.running().is_none() && partition.backoff.is_due(now);
        (is_old || self.partitions.values().any(starts)) && self.lookup.is_due(now)
    }

    fn note_failed_lookup(&mut self, error: SpeedError, now: TimestampMicros) -> Result<(), SpeedError> {
        if error.is_fatal() {
            return Err(error);
        }
        self.partitions.values_mut().for_each(|partition| partition.is_looked_up = false);
        self.lookup.note_failure(now, self.context.settings.retry_min, self.context.settings.retry_max);
        metrics::count(metrics::FAILURES, &self.context.components.source.name, 1);
        warn!(%error, "published versions or partitions cannot be looked up; running partitions go on");
        Ok(())
    }

    /// Starts the partitions that are due, from cuts that were looked up since they wait. Without cuts nobody knows where
    /// one may start.
    ///
    /// # Errors
    /// Fatal ones only.
    pub async fn start_due(&mut self) -> Result<(), SpeedError> {
        if self.cuts_seen_at.is_none() {
            return Ok(());
        }
        let (context, cuts, now) = (&self.context, &self.cuts, self.context.now());
        let is_due = |partition: &&mut Partition| partition.is_looked_up && partition.backoff.is_due(now);
        let starts = self.partitions.values_mut().filter(is_due).filter_map(|partition| match partition.phase {
            Phase::Starting { is_broken } => Some(async move {
                let started = start(context, partition.id, cuts, is_broken).await;
                let started = started.map(|running| partition.phase = Phase::Running(Box::new(running)));
                settle(context, partition, started)
            }),
            Phase::Running(_) => None,
        });
        join_all(starts).await.into_iter().collect()
    }

    fn assign(&mut self, owned: BTreeSet<PartitionId>, is_looked_up: bool) {
        if self.partitions.keys().eq(owned.iter()) {
            return;
        }
        info!(source = %self.context.components.source.name, partitions = ?owned, "partitions assigned");
        self.partitions.retain(|partition, _| owned.contains(partition));
        for partition in owned {
            self.partitions.entry(partition).or_insert_with(|| Partition { is_looked_up, ..Partition::new(partition) });
        }
    }

    /// Where the consumer should read on, if that is not what it does already.
    pub fn take_seek(&mut self) -> Option<BTreeMap<PartitionId, Offset>> {
        let running = self.partitions.values().filter_map(Partition::running);
        if running.into_iter().all(|running| running.is_sought == running.is_readable()) {
            return None;
        }
        let mut starts = BTreeMap::new();
        for partition in self.partitions.values_mut() {
            let id = partition.id;
            let Some(running) = partition.running_mut() else { continue };
            running.is_sought = running.is_readable();
            if running.is_sought {
                starts.insert(id, running.read_from);
            }
        }
        Some(starts)
    }

    /// The consumer was interrupted: it must be told its positions again.
    fn forget_seek(&mut self) {
        for running in self.partitions.values_mut().filter_map(Partition::running_mut) {
            running.is_sought = false;
        }
    }

    /// Notes of which partitions everything was delivered that the log held a while ago.
    pub fn note_ends(&mut self, ends: BTreeMap<PartitionId, Duration>) {
        let now = self.context.now();
        for (partition, age) in ends {
            let running = self.partitions.get_mut(&partition).and_then(Partition::running_mut);
            // An interrupted consumer may have left records out.
            let Some(running) = running.filter(|running| running.is_sought) else { continue };
            let at = now.minus(age);
            running.read_to_end_at = running.read_to_end_at.max(Some(at));
        }
    }

    /// How far all running partitions have been read and stored.
    pub fn progress(&self) -> BTreeMap<PartitionId, Offset> {
        let running = self.partitions.values().filter_map(|partition| Some((partition.id, partition.running()?)));
        running.map(|(partition, running)| (partition, running.position.offset)).collect()
    }

    /// Notes that the log failed; the consumer is told its positions again.
    ///
    /// # Errors
    /// Fatal ones only.
    pub fn note_log_error(&mut self, error: EventLogError) -> Result<(), SpeedError> {
        self.forget_seek();
        if note_expired(&mut self.partitions, &error) {
            warn!(%error, "reading on in the master dataset");
            return Ok(());
        }
        let error = SpeedError::from(error);
        if error.is_fatal() {
            return Err(error);
        }
        if !self.is_log_failing {
            warn!(%error, "event log failed; trying again");
        }
        self.is_log_failing = true;
        metrics::count(metrics::FAILURES, &self.context.components.source.name, 1);
        Ok(())
    }

    /// Takes in what was polled and does everything that follows from it.
    ///
    /// # Errors
    /// Fatal ones only.
    pub async fn process(&mut self, polled: Option<Poll>) -> Result<Turn, SpeedError> {
        let records = match polled {
            Some(Poll::Records(records)) => {
                self.is_log_failing = false;
                records
            }
            Some(Poll::Assigned(owned)) => {
                // Also where nothing changed: after each rebalance the consumer waits to be told its positions.
                self.forget_seek();
                self.assign(owned, false);
                return Ok(Turn { is_full: true });
            }
            None => Vec::new(),
        };
        let bytes: usize = records.iter().map(|record| record.payload.len()).sum();
        let settings = &self.context.settings;
        let is_full = records.len() >= settings.max_records || bytes >= settings.max_bytes;
        let chunks = chunks_of(&self.context.components.source, &self.partitions, records);
        self.compute(chunks).await?;
        self.append_and_tend().await?;
        Ok(Turn { is_full })
    }

    async fn compute(&mut self, chunks: Result<Vec<Chunk>, SpeedError>) -> Result<(), SpeedError> {
        let mut chunks = match chunks {
            Ok(chunks) => chunks,
            Err(error) => return self.note_defect(error),
        };
        chunks.extend(self.read_archived().await?);
        let mut judges = Vec::with_capacity(chunks.len());
        let running = self.partitions.values_mut();
        let mut running: BTreeMap<PartitionId, &mut Running> =
            running.filter_map(|partition| Some((partition.id, partition.running_mut()?))).collect();
        for chunk in &chunks {
            let running = running.remove(&chunk.partition).expect("one chunk per running partition");
            let (mut cuts, holes) = (self.cuts.borders(chunk.partition), running.holes.clone());
            // The archive stands behind a hole before it has read the record that follows.
            cuts.extend(holes.iter().map(|(_, end)| self.context.components.source.border.grid_floor(*end)));
            judges.push(Judge { cuts, copies: &mut running.copies, holes });
        }
        let appends = aggregate(&self.context, &chunks, &mut judges).await;
        match appends {
            Ok(appends) => {
                for (place, append) in appends {
                    let partition = self.partitions.get_mut(&chunks[place].partition);
                    let running = partition.and_then(Partition::running_mut).expect("it was running a moment ago");
                    running.pending = Some(append.known_at(running.read_to_end_at));
                }
                Ok(())
            }
            Err(error) => self.note_defect(error),
        }
    }

    /// What was polled is lost locally: all partitions start again from the stores.
    fn note_defect(&mut self, error: SpeedError) -> Result<(), SpeedError> {
        error!(%error, "a micro-batch cannot be computed; reading it again");
        let (now, settings) = (self.context.now(), &self.context.settings);
        for partition in self.partitions.values_mut() {
            partition.backoff.note_failure(now, settings.retry_min, settings.retry_max);
            partition.restart(false);
        }
        Ok(())
    }

    async fn read_archived(&mut self) -> Result<Vec<Chunk>, SpeedError> {
        let context = &self.context;
        let now = context.now();
        let due = self.partitions.values_mut().filter(|partition| partition.backoff.is_due(now));
        let reads = due.map(|partition| async move {
            let id = partition.id;
            let Some(running) = partition.running_mut().filter(|running| running.expired_below.is_some()) else {
                return Ok(None);
            };
            match read_archived(context, id, running).await {
                Ok(chunk) => Ok(chunk),
                Err(error) => settle(context, partition, Err(error)).map(|()| None),
            }
        });
        let found: Result<Vec<Option<Chunk>>, SpeedError> = join_all(reads).await.into_iter().collect();
        Ok(found?.into_iter().flatten().collect())
    }

    async fn append_and_tend(&mut self) -> Result<(), SpeedError> {
        let (context, cuts, now) = (&self.context, &self.cuts, self.context.now());
        let due = self.partitions.values_mut().filter(|partition| partition.backoff.is_due(now));
        let steps = due.map(|partition| async move {
            let id = partition.id;
            let Some(running) = partition.running_mut() else { return Ok(()) };
            let tended = tend(context, id, running, cuts).await;
            settle(context, partition, tended)
        });
        join_all(steps).await.into_iter().collect()
    }
}

/// Appends what is pending, then drops, merges and touches. Runs are dropped first when the store is full, so that it
/// has room again.
async fn tend(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    cuts: &PublishedCuts,
) -> Result<(), SpeedError> {
    expire_runs(context, partition, running, cuts).await?;
    append_pending(context, partition, running).await?;
    merge(context, partition, running, cuts).await?;
    match running.read_to_end_at {
        Some(as_of) => touch(context, partition, running, as_of).await,
        None => Ok(()),
    }
}

async fn merge(
    context: &Context,
    partition: PartitionId,
    running: &mut Running,
    cuts: &PublishedCuts,
) -> Result<(), SpeedError> {
    let borders = cuts.borders(partition);
    let (now, settings) = (context.now(), &context.settings);
    if !running.merge_backoff.is_due(now) {
        return Ok(());
    }
    for _ in 0..settings.merges_per_tick {
        match merge_once(context, partition, running, &borders).await {
            Ok(true) => running.merge_backoff.note_success(),
            Ok(false) => break,
            // A full store has no room for a merged run beside its parts, yet may have for what is read next.
            Err(error) if is_no_reason_to_stop(&error) => {
                warn!(%partition, %error, "runs cannot be merged; appends go on");
                running.merge_backoff.note_failure(now, settings.retry_min, settings.retry_max);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_no_reason_to_stop(error: &SpeedError) -> bool {
    matches!(
        error,
        SpeedError::View { .. } | SpeedError::Arrow(_) | SpeedError::Serving(serving_layer::ServingError::Full { .. })
    )
}

/// Draws the consequences of a step of a partition: go on, try again later, or start again from the stores.
fn settle(context: &Context, partition: &mut Partition, outcome: Result<(), SpeedError>) -> Result<(), SpeedError> {
    let Err(error) = outcome else {
        partition.backoff.note_success();
        partition.is_full = false;
        return Ok(());
    };
    if error.is_fatal() {
        return Err(error);
    }
    let (id, source) = (partition.id, &context.components.source.name);
    let is_full = matches!(error, SpeedError::Serving(serving_layer::ServingError::Full { .. }));
    if !(is_full && partition.is_full) {
        warn!(%source, partition = %id, %error, "a step failed; trying again");
    }
    partition.is_full = is_full;
    metrics::count(metrics::FAILURES, source, 1);
    partition.backoff.note_failure(context.now(), context.settings.retry_min, context.settings.retry_max);
    match error {
        SpeedError::Lost { what: "a blob", .. } => partition.restart(true),
        SpeedError::Refused { .. } | SpeedError::Lost { .. } => partition.restart(false),
        ref error if is_broken_blob(error) && partition.running().is_some() => partition.restart(true),
        _ => {}
    }
    Ok(())
}
