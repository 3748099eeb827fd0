//! Which partitions a worker owns, where each one stands, and what is known of the published cuts they start from.
//!
//! In: what a look into stores and log has found, assignments, ends of the log. Out: partitions to start, positions to
//! read from.
//! Guarantee: a partition starts only from cuts that were looked up after it began to wait. Everything here can be lost
//! without harm.
//! Not here: looking up (`lookup.rs`), starting (`start.rs`), what is done with a running partition (`turn.rs`).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::join_all;
use positions::{Offset, PartitionId, TimestampMicros, micros};
use tracing::{info, warn};

use crate::context::Context;
use crate::cuts::PublishedCuts;
use crate::lookup::{Lookup, look_up};
use crate::partition::{Attempts, Partition, Phase, Running};
use crate::policy::{END_IS_RECENT, conclude};
use crate::start::start;
use crate::{SpeedError, SpeedView, metrics};

/// The partitions of one worker.
pub(crate) struct Ownership {
    pub cuts: PublishedCuts,
    pub partitions: BTreeMap<PartitionId, Partition>,
    /// `None` before the first look.
    cuts_seen_at: Option<TimestampMicros>,
    lookup: Attempts,
    /// Without how much of what was erased the published versions are, as far as they were seen.
    erased: u64,
    /// Of learning schemas.
    pub schemas: Attempts,
}

impl Ownership {
    /// Nothing is owned and no cut known yet.
    pub fn new(views: &[SpeedView]) -> Self {
        Self {
            cuts: PublishedCuts::new(views),
            partitions: BTreeMap::new(),
            cuts_seen_at: None,
            lookup: Attempts::default(),
            erased: 0,
            schemas: Attempts::default(),
        }
    }

    /// A look for published versions and partitions, if one is due. It may take long: the caller does it beside the
    /// work, and tells [`Self::note_lookup`] what it found.
    pub fn next_lookup(
        &mut self,
        context: &Context,
    ) -> Option<impl Future<Output = Result<Lookup, SpeedError>> + Send + 'static> {
        if !self.is_lookup_due(context) {
            return None;
        }
        self.partitions.values_mut().for_each(|partition| partition.is_looked_up = true);
        Some(look_up(context, &self.cuts))
    }

    fn is_lookup_due(&self, context: &Context) -> bool {
        let (now, refresh) = (context.now(), micros(context.settings.refresh));
        let is_old = self.cuts_seen_at.is_none_or(|seen_at| now.micros_since(seen_at) >= refresh);
        // A partition starts from the newest cuts.
        let starts = |partition: &Partition| partition.running().is_none() && partition.backoff.is_due(now);
        (is_old || self.partitions.values().any(starts)) && self.lookup.is_due(now)
    }

    /// Takes in what a look found, or that it failed.
    ///
    /// # Errors
    /// Fatal ones only.
    pub fn note_lookup(&mut self, context: &Context, found: Result<Lookup, SpeedError>) -> Result<(), SpeedError> {
        let Lookup { versions, owned } = match found {
            Ok(found) => found,
            Err(error) => return self.note_failed_lookup(context, error),
        };
        let now = context.now();
        let erased = versions.iter().flatten().map(|version| version.facts.erased).max().unwrap_or_default();
        self.cuts.note(versions, now);
        let needed = context.components.views.iter().filter(|view| context.components.needs(view));
        self.cuts.keep(&needed.map(|view| view.definition.hash).collect());
        self.cuts_seen_at = Some(now);
        self.lookup.note_success();
        if let Some(owned) = owned {
            self.assign(context, owned, true);
        }
        // Once for each: where the list was lost, versions name more of it than there is.
        if erased > self.erased {
            self.forget_erased(context, erased);
        }
        self.erased = self.erased.max(erased);
        Ok(())
    }

    /// Starts partitions again without their indexes whose runs are from before these entries of the list: they may
    /// hold what was erased, as may the window that tells copies.
    fn forget_erased(&mut self, context: &Context, erased: u64) {
        for (id, partition) in &mut self.partitions {
            if partition.running().is_some_and(|running| running.erased < erased) {
                info!(source = %context.components.source.name, partition = %id, "events were erased; its runs are computed again");
                partition.restart(false);
            }
        }
    }

    fn note_failed_lookup(&mut self, context: &Context, error: SpeedError) -> Result<(), SpeedError> {
        if error.is_fatal() {
            return Err(error);
        }
        self.partitions.values_mut().for_each(|partition| partition.is_looked_up = false);
        self.lookup.note_failure(context.now(), context.settings.backoff);
        metrics::count(metrics::FAILURES, &context.components.source.name, 1);
        warn!(%error, "published versions or partitions cannot be looked up; running partitions go on");
        Ok(())
    }

    /// Takes in which partitions are owned from now on. `is_looked_up`: the cuts known now are newer than this news.
    pub fn assign(&mut self, context: &Context, owned: BTreeSet<PartitionId>, is_looked_up: bool) {
        if self.partitions.keys().eq(owned.iter()) {
            return;
        }
        info!(source = %context.components.source.name, partitions = ?owned, "partitions assigned");
        self.partitions.retain(|partition, _| owned.contains(partition));
        for partition in owned {
            self.partitions.entry(partition).or_insert_with(|| Partition { is_looked_up, ..Partition::new(partition) });
        }
    }

    /// Starts the partitions that are due. Without cuts nobody knows where one may start.
    ///
    /// # Errors
    /// Fatal ones only.
    pub async fn start_due(&mut self, context: &Context) -> Result<(), SpeedError> {
        if self.cuts_seen_at.is_none() {
            return Ok(());
        }
        let (cuts, erased, now) = (&self.cuts, self.erased, context.now());
        let is_due = |partition: &&mut Partition| partition.is_looked_up && partition.backoff.is_due(now);
        let starts = self.partitions.values_mut().filter(is_due).filter_map(|partition| match partition.phase {
            Phase::Starting { keeps_index } => Some(async move {
                let started = start(context, partition.id, cuts, erased, keeps_index).await;
                let started = started.map(|running| partition.phase = Phase::Running(Box::new(running)));
                conclude(context, partition, started)
            }),
            Phase::Running(_) => None,
        });
        join_all(starts).await.into_iter().collect()
    }

    /// Starts all partitions again from the stores, after a pause: what was read is lost locally.
    pub fn restart_all(&mut self, context: &Context) {
        let now = context.now();
        for partition in self.partitions.values_mut() {
            partition.backoff.note_failure(now, context.settings.backoff);
            partition.restart(true);
        }
    }

    /// Whether any partition is being read: it must not wait for what others need.
    pub fn is_reading(&self) -> bool {
        self.running().next().is_some()
    }

    /// Whether a partition reads the master dataset now: its next rows do not come from a poll.
    pub fn is_reading_archived(&self, now: TimestampMicros) -> bool {
        let is_due = |partition: &&Partition| partition.backoff.is_due(now);
        let mut running = self.partitions.values().filter(is_due).filter_map(Partition::running);
        running.any(|running| running.expired_below.is_some() && running.pending.is_none())
    }

    /// Whether every partition that is read from the log was lately read to its end. Positive evidence only: a log that
    /// tells of no end leaves the worker behind.
    pub fn is_caught_up(&self, now: TimestampMicros) -> bool {
        let is_recent = |at: TimestampMicros| now.micros_since(at) <= micros(END_IS_RECENT);
        let mut read = self.running().filter(|running| running.is_sought);
        read.all(|running| running.read_to_end_at.is_some_and(is_recent))
    }

    /// Where the consumer should read on, if that is not what it does already.
    pub fn take_seek(&mut self) -> Option<BTreeMap<PartitionId, Offset>> {
        if self.running().all(|running| running.is_sought == running.is_readable()) {
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
    pub fn forget_seek(&mut self) {
        for running in self.partitions.values_mut().filter_map(Partition::running_mut) {
            running.is_sought = false;
        }
    }

    /// Notes of which partitions everything was delivered that the log held a while ago.
    pub fn note_ends(&mut self, now: TimestampMicros, ends: BTreeMap<PartitionId, Duration>) {
        for (partition, age) in ends {
            let running = self.partitions.get_mut(&partition).and_then(Partition::running_mut);
            // An interrupted consumer may have left records out.
            let Some(running) = running.filter(|running| running.is_sought) else { continue };
            running.read_to_end_at = running.read_to_end_at.max(Some(now.minus(age)));
        }
    }

    /// How far all running partitions have been read and stored.
    pub fn progress(&self) -> BTreeMap<PartitionId, Offset> {
        let running = self.partitions.values().filter_map(|partition| Some((partition.id, partition.running()?)));
        running.map(|(partition, running)| (partition, running.position.offset)).collect()
    }

    fn running(&self) -> impl Iterator<Item = &Running> {
        self.partitions.values().filter_map(Partition::running)
    }
}
