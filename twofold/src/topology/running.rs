//! A duty that runs.

use super::plan::Subject;
use crate::run::StartedTask;

/// What runs for a duty.
pub(super) struct Running {
    /// What it is about.
    pub(super) subject: Subject,
    /// `None`: it needs no task.
    pub(super) task: Option<StartedTask>,
}

impl Running {
    /// Whether it ended by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.task.as_ref().is_some_and(StartedTask::has_ended)
    }
}
