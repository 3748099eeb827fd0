//! Which change of a run's state is worth a notice.
//!
//! Guarantee: pure. A failure is told once, and then nothing until what failed is done again, which is told once: a
//! view that fails each minute wakes nobody each minute. Cancelled runs change nothing.
//! What counts as the same: the schedule and the source; of runs that somebody started, what they do and the source; of
//! runs of `batch.interval`, which have other views each time, each view. So a failing schedule is not called well
//! because another one of its source is done; nor is the folding of a view because that of another one is, or a merging
//! because something was deleted.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use workflow::{RunKind, RunState};

use super::event::{COMPACT, RunEvent};
use crate::config::NoticeKind;
use crate::workflow::interval::INTERVAL;
use crate::workflow::outcomes::meant_by;

/// The most that is remembered to be failing: more than there are schedules, so beyond it names have changed again and
/// again.
const MOST: usize = 10_000;

/// What is failing. As JSON, a list of texts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Judge {
    failing: BTreeSet<String>,
}

impl Judge {
    /// What a change means; `None`: nothing that is told.
    pub fn judge(&mut self, event: &RunEvent) -> Option<NoticeKind> {
        let subjects = subjects(event);
        match event.state {
            RunState::Failed => {
                let mut is_new = false;
                for subject in subjects {
                    if self.failing.len() >= MOST {
                        self.failing.pop_first();
                    }
                    is_new |= self.failing.insert(subject);
                }
                is_new.then_some(NoticeKind::Failure)
            }
            RunState::Done => {
                let over = subjects.iter().filter(|subject| self.failing.remove(*subject));
                (over.count() > 0).then_some(NoticeKind::Recovery)
            }
            RunState::Queued | RunState::Running | RunState::Paused | RunState::Cancelled => None,
        }
    }
}

fn subjects(event: &RunEvent) -> Vec<String> {
    let what = match &event.schedule {
        Some(schedule) if schedule.0 == INTERVAL => {
            let failed = meant_by(event.reason.as_deref().unwrap_or_default(), event.views.iter());
            return failed.into_iter().map(|view| format!("view {view} of {}", event.source)).collect();
        }
        Some(schedule) => format!("schedule {schedule} of {}", event.source),
        None => format!("{} of {}", event.kind, event.source),
    };
    match event.views.as_slice() {
        [view] if event.kind == RunKind::Housekeeping.name() => vec![format!("{what}, view {view}")],
        [] if event.kind == COMPACT => vec![format!("{what}, {COMPACT}")],
        _ => vec![what],
    }
}
