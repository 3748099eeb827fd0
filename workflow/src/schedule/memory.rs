//! What was decided so far, by schedule: what the journal keeps of schedules.
//!
//! Guarantee: a pure fold over decisions; bounded by the number of schedules. What a later version adds is passed over.

use std::collections::BTreeMap;

use positions::TimestampMicros;
use serde::{Deserialize, Serialize};

use super::plan::ScheduleName;

/// What was decided so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// By schedule.
    pub schedules: BTreeMap<ScheduleName, Kept>,
    /// The last start, and whose.
    pub last_start: Option<(ScheduleName, TimestampMicros)>,
}

/// What is known of one schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// Of the timing that the rest is about.
    pub timing: u64,
    /// Occurrences up to this one need no decision any more.
    pub handled: TimestampMicros,
    /// What is due and could not start yet.
    pub waiting: Option<Waiting>,
    /// The newest occurrence whose missed deadline was told.
    pub told: Option<TimestampMicros>,
}

/// An occurrence that is due and could not start yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// Which one.
    pub occurrence: TimestampMicros,
    /// Whether it makes up for one that was due while nothing ran.
    pub is_catch_up: bool,
}

/// What is to be done, and to be remembered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// A schedule is new, or due at other times than before.
    Learn {
        /// Which.
        schedule: ScheduleName,
        /// Of its timing.
        timing: u64,
        /// Occurrences count from here on.
        from: TimestampMicros,
        /// What is due at once, of an interval.
        first: Option<TimestampMicros>,
    },
    /// A schedule is gone.
    Forget {
        /// Which.
        schedule: ScheduleName,
    },
    /// An occurrence is due and waits; decided once.
    Wait {
        /// Of which schedule.
        schedule: ScheduleName,
        /// What waits.
        waiting: Waiting,
        /// For what.
        reason: WaitReason,
    },
    /// An occurrence is left out, and those before it.
    Skip {
        /// Of which schedule.
        schedule: ScheduleName,
        /// Which.
        occurrence: TimestampMicros,
        /// Why.
        reason: SkipReason,
    },
    /// An occurrence starts.
    Start(Start),
    /// The run of an occurrence is not done in time; decided once.
    MissedDeadline {
        /// Of which schedule.
        schedule: ScheduleName,
        /// Which.
        occurrence: TimestampMicros,
        /// Its run; `None`: it waits to start.
        run: Option<String>,
    },
}

/// The start of an occurrence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Of which schedule.
    pub schedule: ScheduleName,
    /// Which: the deadline counts from it. With the schedule's name, the key by which its run is the same however often
    /// it is asked for.
    pub occurrence: TimestampMicros,
    /// The newest occurrence that this run stands for.
    pub up_to: TimestampMicros,
    /// Whether it makes up for one that was due while nothing ran.
    pub is_catch_up: bool,
    /// Runs that are to be cancelled first.
    pub replaces: Vec<String>,
    /// When this was decided.
    pub at: TimestampMicros,
}

/// What an occurrence waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitReason {
    /// The run of the same schedule before it, or one of others that goes first.
    Overlap,
    /// As many runs of schedules as are allowed.
    Places,
    /// Another schedule has just started.
    Distance,
}

/// Why an occurrence is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The run of the same schedule before it is not done.
    Overlap,
    /// It was due while nothing ran.
    Downtime,
    /// A look found nothing new to compute.
    NothingNew,
}

impl Decision {
    /// Whether the journal has to hold it. What is left out is decided anew by whoever leads next, or costs one run
    /// more: so a short interval beside a long run writes nothing.
    pub fn is_to_be_kept(&self) -> bool {
        !matches!(self, Self::Skip { .. })
    }
}

impl Memory {
    /// Remembers a decision.
    pub fn apply(&mut self, decision: &Decision) {
        match decision {
            Decision::Learn { schedule, timing, from, first } => {
                let waiting = first.map(|occurrence| Waiting { occurrence, is_catch_up: false });
                let kept = Kept { timing: *timing, handled: *from, waiting, told: None };
                self.schedules.insert(schedule.clone(), kept);
            }
            Decision::Forget { schedule } => {
                self.schedules.remove(schedule);
            }
            Decision::Wait { schedule, waiting, .. } => {
                self.change(schedule, |kept| kept.waiting = Some(*waiting));
            }
            Decision::Skip { schedule, occurrence, .. } => self.change(schedule, |kept| kept.handle(*occurrence)),
            Decision::Start(start) => {
                self.change(&start.schedule, |kept| kept.handle(start.up_to));
                self.last_start = Some((start.schedule.clone(), start.at));
            }
            Decision::MissedDeadline { schedule, occurrence, .. } => {
                self.change(schedule, |kept| kept.told = Some(*occurrence));
            }
        }
    }

    /// A decision on a schedule that was forgotten meanwhile has nothing to change.
    fn change(&mut self, schedule: &ScheduleName, change: impl FnOnce(&mut Kept)) {
        if let Some(kept) = self.schedules.get_mut(schedule) {
            change(kept);
        }
    }
}

impl Kept {
    fn handle(&mut self, up_to: TimestampMicros) {
        self.handled = self.handled.max(up_to);
        self.waiting = None;
    }
}
