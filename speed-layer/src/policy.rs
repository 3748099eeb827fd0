//! What follows from an outcome: of an error for its partition, of a turn for the pause before the next one.
//!
//! Guarantee: a failed step is its partition's own matter; the others go on. Decisions are pure functions on values and
//! look at types alone, never at the text of an error.
//! Not here: the steps that fail (`turn.rs`, `ownership.rs`), waiting (`run.rs`).

use std::time::Duration;

use serving_layer::ServingError;
use tracing::warn;

use crate::context::Context;
use crate::partition::Partition;
use crate::{SpeedError, SpeedSettings, StoredPart, metrics};

/// What an error of a step means for the partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Consequence {
    /// The worker ends: until an operator has acted, or to start again in another life of the topic.
    Stop,
    /// The same step again, after a pause.
    Retry,
    /// Everything local is forgotten; after a pause the partition starts again from the stores.
    Restart { keeps_index: bool },
}

impl Consequence {
    fn of(error: &SpeedError) -> Self {
        match error {
            error if error.is_fatal() || matches!(error, SpeedError::NextLife { .. }) => Self::Stop,
            SpeedError::Lost { part, .. } | SpeedError::Unreadable { part, .. } => {
                Self::Restart { keeps_index: *part == StoredPart::Index }
            }
            SpeedError::Refused { .. } => Self::Restart { keeps_index: true },
            _ => Self::Retry,
        }
    }
}

/// Applies what follows from a step of a partition: go on, try again later, or start again from the stores.
///
/// # Errors
/// Those that end the worker.
pub(crate) fn conclude(
    context: &Context,
    partition: &mut Partition,
    outcome: Result<(), SpeedError>,
) -> Result<(), SpeedError> {
    let Err(error) = outcome else {
        partition.backoff.note_success();
        partition.is_full = false;
        return Ok(());
    };
    let consequence = Consequence::of(&error);
    if consequence == Consequence::Stop {
        return Err(error);
    }
    let (id, source) = (partition.id, &context.components.source.name);
    if !(is_full(&error) && partition.is_full) {
        warn!(%source, partition = %id, %error, "a step failed; trying again");
    }
    partition.is_full = is_full(&error);
    metrics::count(metrics::FAILURES, source, 1);
    partition.backoff.note_failure(context.now(), context.settings.backoff);
    if let Consequence::Restart { keeps_index } = consequence {
        partition.restart(keeps_index);
    }
    Ok(())
}

/// Whether a failed merge may be put off while appends go on. A full store has no room for a merged run beside its
/// parts, yet may have for what is read next.
pub(crate) fn can_put_off_merge(error: &SpeedError) -> bool {
    matches!(error, SpeedError::View { .. } | SpeedError::Arrow(_)) || is_full(error)
}

fn is_full(error: &SpeedError) -> bool {
    matches!(error, SpeedError::Serving(ServingError::Full { .. }))
}

/// For how long a partition counts as read to its end after it was. A log may tell its ends only once a second, and
/// takes a while to answer; a reader that falls behind meanwhile pauses as if it had not, for no longer than this.
pub(crate) const END_IS_RECENT: Duration = Duration::from_secs(3);

/// A poll of this share of its bounds is large: a run of it is cheap enough per record, and a log that returned so much
/// has more, or will soon.
const LARGE_SHARE: usize = 4;

/// Whether a poll was large within its bounds.
pub(crate) fn is_large(settings: &SpeedSettings, records: usize, bytes: usize) -> bool {
    records >= settings.max_records.div_ceil(LARGE_SHARE) || bytes >= settings.max_bytes.div_ceil(LARGE_SHARE)
}

/// When the next turn begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// At once: more is known to wait, or nothing is known of the end.
    AtOnce,
    /// One linger after this turn's records were taken: those that follow them become one run.
    Linger,
    /// One tick after this turn began. The poll has waited for as long unless it failed.
    Tick,
}

/// What a turn did, as far as the pause after it depends on it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TurnFacts {
    /// Records were taken in, from the log or the master dataset.
    pub has_records: bool,
    /// So many records were polled that waiting for more would save nothing.
    pub is_large: bool,
    /// Records were read from the master dataset: the log is still to come.
    pub has_archived: bool,
    /// Every partition that is being read was lately read to the end of the log.
    pub is_caught_up: bool,
}

impl Pace {
    /// The pace after a turn. A worker that is behind never pauses while records come.
    pub fn after(turn: TurnFacts) -> Self {
        let is_behind = turn.is_large || turn.has_archived || !turn.is_caught_up;
        match (turn.has_records, is_behind) {
            (false, _) => Self::Tick,
            (true, true) => Self::AtOnce,
            (true, false) => Self::Linger,
        }
    }
}
