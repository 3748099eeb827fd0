//! Which change of a run's state is worth a notice.
//!
//! Guarantee: pure. A failure is told once, and then nothing until what failed is done again, which is told once: a
//! view that fails each minute wakes nobody each minute. Cancelled runs change nothing.
//! What counts as the same: the schedule and the source; of runs that somebody started, what they do and the source. So
//! a failing schedule is not called well because another one of its source is done.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use workflow::RunState;

use super::event::RunEvent;
use crate::config::NoticeKind;

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
        let subject = subject(event);
        match event.state {
            RunState::Failed => {
                if self.failing.len() >= MOST {
                    self.failing.pop_first();
                }
                self.failing.insert(subject).then_some(NoticeKind::Failure)
            }
            RunState::Done => self.failing.remove(&subject).then_some(NoticeKind::Recovery),
            RunState::Queued | RunState::Running | RunState::Paused | RunState::Cancelled => None,
        }
    }
}

fn subject(event: &RunEvent) -> String {
    match &event.schedule {
        Some(schedule) => format!("schedule {schedule} of {}", event.source),
        None => format!("{} of {}", event.kind, event.source),
    }
}
