//! What the looks of `batch.interval` found last of each view, for the status of this process: a view of which nothing
//! is left to compute is well again, whatever became of the last run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use positions::ViewName;
use workflow::RunId;

/// See the module.
#[derive(Debug, Default)]
pub struct Looks {
    // Written by the loop of the interval, read by who gathers the status; held for that only.
    found: Mutex<BTreeMap<ViewName, Look>>,
}

#[derive(Debug)]
enum Look {
    /// It could not be looked at.
    Failed(String),
    /// There was nothing to compute, after runs up to this one.
    Nothing(RunId),
}

impl Looks {
    /// A view could not be looked at.
    pub fn note_failed(&self, view: &ViewName, error: String) {
        self.found().insert(view.clone(), Look::Failed(error));
    }

    /// There was nothing to compute of a view, after runs up to `last`.
    pub fn note_nothing(&self, view: &ViewName, last: RunId) {
        self.found().insert(view.clone(), Look::Nothing(last));
    }

    /// There is something to compute of a view: its run will tell.
    pub fn forget(&self, view: &ViewName) {
        self.found().remove(view);
    }

    /// Forgets the views that are not looked at any more.
    pub fn keep(&self, is_kept: impl Fn(&ViewName) -> bool) {
        self.found().retain(|view, _| is_kept(view));
    }

    /// What is wrong with views: what their last runs failed for, where no look came after that, and what a look did.
    pub fn correct(&self, failing: BTreeMap<ViewName, (RunId, String)>) -> BTreeMap<ViewName, String> {
        let found = self.found();
        let is_over =
            |view: &ViewName, run: RunId| matches!(found.get(view), Some(Look::Nothing(last)) if *last >= run);
        let left = failing.into_iter().filter(|(view, (run, _))| !is_over(view, *run));
        let mut wrong: BTreeMap<ViewName, String> = left.map(|(view, (_, reason))| (view, reason)).collect();
        for (view, look) in found.iter() {
            if let Look::Failed(error) = look {
                wrong.insert(view.clone(), error.clone());
            }
        }
        wrong
    }

    fn found(&self) -> MutexGuard<'_, BTreeMap<ViewName, Look>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
