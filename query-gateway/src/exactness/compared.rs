//! What was compared of one view, as a gateway knows it: its table, up to which version, and the newest report.
//!
//! Guarantee: the table is read once; a failure is logged once, until it ends.
//! Not here: comparing (`../exactness.rs`).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use positions::IdSource;
use serving_layer::exactness::{ExactnessReport, ExactnessRow, ExactnessStore};
use serving_layer::{Lake, ServingError, Version};
use tracing::warn;
use views::PlannedView;

use super::told::ExactnessStatus;

/// What was compared of one view.
#[derive(Debug)]
pub(crate) struct Compared {
    store: ExactnessStore,
    // Written by the loop that compares; read by the status; never held across a wait.
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// Up to which version there are reports; `None`: the table was not read yet.
    done: Option<Version>,
    /// The newest version that was compared.
    last: Option<Arc<ExactnessStatus>>,
    /// A report that could not be kept yet: it is not made again, since its runs may be gone by then.
    unwritten: Option<Arc<ExactnessReport>>,
    problem: Option<String>,
}

impl Compared {
    pub(crate) fn new(lake: &Lake, view: &PlannedView) -> Self {
        Self { store: ExactnessStore::new(lake, view), known: Mutex::default() }
    }

    /// The newest version that was compared, as far as this gateway knows.
    pub(crate) fn last(&self) -> Option<Arc<ExactnessStatus>> {
        self.known().last.clone()
    }

    /// All reports that are kept, newest first.
    pub(crate) async fn read(&self) -> Result<Vec<ExactnessRow>, ServingError> {
        self.store.read().await
    }

    /// The report of a version that could not be kept so far.
    pub(crate) fn unwritten(&self, version: Version) -> Option<Arc<ExactnessReport>> {
        self.known().unwritten.clone().filter(|report| report.version == version)
    }

    /// Keeps a report, unless another gateway has done so: `false`.
    pub(crate) async fn append(
        &self,
        report: &Arc<ExactnessReport>,
        keep: usize,
        ids: &dyn IdSource,
    ) -> Result<bool, ServingError> {
        self.known().unwritten = Some(Arc::clone(report));
        self.store.append(report, keep, ids).await
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Up to which version there are reports; read from the table once.
    pub(crate) async fn done(&self) -> Result<Version, ServingError> {
        if let Some(done) = self.known().done {
            return Ok(done);
        }
        let rows = self.store.read().await?;
        let done = self.store.compared().await?.unwrap_or(Version(0));
        let mut known = self.known();
        known.last = ExactnessStatus::newest(&rows).map(Arc::new);
        known.done = Some(done);
        Ok(done)
    }

    /// Notes that there is a report, here or of another gateway.
    pub(crate) fn note(&self, report: &ExactnessReport) {
        let mut known = self.known();
        known.done = known.done.max(Some(report.version));
        known.unwritten = None;
        if let Some(status) = ExactnessStatus::newest(&report.rows) {
            known.last = Some(Arc::new(status));
        }
    }

    /// Tells of a failure once, until it ends.
    pub(crate) fn note_problem(&self, view: &PlannedView, problem: Option<String>) {
        let mut known = self.known();
        if let Some(reason) = problem.as_ref().filter(|_| known.problem.is_none()) {
            warn!(view = %view.name, reason, "publications cannot be compared now; it is tried again");
        }
        known.problem = problem;
    }
}
