//! One owned partition of a speed worker: what it knows locally, all of it recomputable from log and stores.

use positions::{Backoff, CopyWindow, Hole, Index, Offset, PartitionId, Position, TimestampMicros};
use records::decode::wire::Waiting;

use crate::pending::PendingRuns;

/// A partition that this worker has been given.
pub(crate) struct Partition {
    pub id: PartitionId,
    pub phase: Phase,
    /// Published cuts have been looked up since this partition began to wait for its start.
    pub is_looked_up: bool,
    pub backoff: Attempts,
    /// The realtime store had no room at the last attempt: logged once, not each time.
    pub is_full: bool,
}

/// Where a partition stands.
pub(crate) enum Phase {
    /// Position and copies are not known yet.
    Starting {
        /// Whether the stored index may be gone on from; one that names a blob that is gone must be replaced.
        keeps_index: bool,
    },
    /// Reading and appending.
    Running(Box<Running>),
}

/// A partition that is being read.
pub(crate) struct Running {
    /// The index as last seen in the store. Another worker may have moved its head: then our next write is refused.
    pub index: Index,
    /// Behind the last record that was read and stored by us: where the next run starts.
    pub position: Position,
    /// The events within the horizon before the last record that was read.
    pub copies: CopyWindow,
    /// Up to which entry of the list of what was erased the runs are without it.
    pub erased: u64,
    /// What was read and computed, and does not stand in the store yet; nothing more is read before it does.
    pub pending: Option<PendingRuns>,
    /// Where the log is read from: the position, or the end of a declared hole behind it.
    pub read_from: Offset,
    /// Whether the consumer delivers this partition from `read_from` on, without interruption.
    pub is_sought: bool,
    /// Everything that the log held at this instant was delivered to us; `None` until that is known for the first time.
    /// It stands still while the reader lags or the log does not answer.
    pub read_to_end_at: Option<TimestampMicros>,
    /// The instant for which we last marked the index in the store as right.
    pub marked_at: Option<TimestampMicros>,
    /// The log begins here, behind `read_from`: what lies between is read from the master dataset.
    pub expired_below: Option<Offset>,
    /// Declared holes of this partition, at or behind the position.
    pub holes: Vec<Hole>,
    /// The next record, while its schema is not known: nothing is read before it is.
    pub waiting: Option<Waiting>,
    /// When the blobs that the index names were last looked for.
    pub looked_at: Option<TimestampMicros>,
    /// A merge is under way.
    pub is_merging: bool,
    /// Runs appended since nothing was left to merge, less those that merges have taken away.
    pub unmerged: usize,
    /// A merge that fails must not hold up appends: it has pauses of its own.
    pub merge_backoff: Attempts,
}

impl Running {
    /// A partition that goes on at `position`, which is the head of `index`.
    pub fn new(index: Index, position: Position, copies: CopyWindow, erased: u64) -> Self {
        Self {
            index,
            position,
            copies,
            erased,
            pending: None,
            read_from: position.offset,
            is_sought: false,
            read_to_end_at: None,
            marked_at: None,
            expired_below: None,
            holes: Vec::new(),
            waiting: None,
            looked_at: None,
            is_merging: false,
            unmerged: 0,
            merge_backoff: Attempts::default(),
        }
    }

    /// Whether records from the log can be taken now.
    pub fn is_readable(&self) -> bool {
        self.pending.is_none() && self.expired_below.is_none() && self.waiting.is_none()
    }
}

impl Partition {
    /// A partition just assigned.
    pub fn new(id: PartitionId) -> Self {
        Self {
            id,
            phase: Phase::Starting { keeps_index: true },
            is_looked_up: false,
            backoff: Attempts::default(),
            is_full: false,
        }
    }

    pub fn running(&self) -> Option<&Running> {
        match &self.phase {
            Phase::Running(running) => Some(running),
            Phase::Starting { .. } => None,
        }
    }

    pub fn running_mut(&mut self) -> Option<&mut Running> {
        match &mut self.phase {
            Phase::Running(running) => Some(running),
            Phase::Starting { .. } => None,
        }
    }

    /// Forgets everything local: the stores say where to go on.
    pub fn restart(&mut self, keeps_index: bool) {
        self.phase = Phase::Starting { keeps_index };
        self.is_looked_up = false;
    }
}

/// When the next attempt is due: later after each failure, at once after a success.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Attempts {
    failures: u32,
    until: Option<TimestampMicros>,
}

impl Attempts {
    /// Whether the next attempt is due.
    pub fn is_due(&self, now: TimestampMicros) -> bool {
        self.until.is_none_or(|until| now >= until)
    }

    pub fn note_failure(&mut self, now: TimestampMicros, backoff: Backoff) {
        self.failures = self.failures.saturating_add(1);
        self.until = Some(now.plus(backoff.delay(self.failures)));
    }

    pub fn note_success(&mut self) {
        *self = Self::default();
    }
}
