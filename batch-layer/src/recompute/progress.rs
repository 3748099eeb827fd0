//! How far the computation of a group is, or a merge of files or of states, for whoever watches it.
//!
//! In: the plans that run, one after the other. Out: rows and bytes read so far, at any moment, from any thread; of
//! plans that run elsewhere, signs that they go on.
//! Why so: operators count what they give out while they run, so that watching costs the rows nothing.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use datafusion::physical_plan::ExecutionPlan;

use crate::Signs;

/// What was read of the files of a master dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadSoFar {
    /// Rows, each as often as it was read: once for the copies, and once for each view.
    pub rows: u64,
    /// Bytes as they are stored, of the columns that were needed.
    pub bytes: u64,
}

impl ReadSoFar {
    fn plus(self, other: Self) -> Self {
        Self { rows: self.rows + other.rows, bytes: self.bytes + other.bytes }
    }
}

/// The progress of one group.
#[derive(Default)]
pub struct GroupProgress {
    // Written by who computes, once for each plan; read by who watches. Neither holds it for long.
    inner: Mutex<Inner>,
    signs: Signs,
}

#[derive(Default)]
struct Inner {
    step: String,
    running: Option<Arc<dyn ExecutionPlan>>,
    /// By the plans before it.
    before: ReadSoFar,
}

impl GroupProgress {
    /// What was read so far. Never less than the last time.
    pub fn read_so_far(&self) -> ReadSoFar {
        let inner = self.lock();
        match &inner.running {
            Some(running) => inner.before.plus(read_by(running.as_ref())),
            None => inner.before,
        }
    }

    /// Of the plans that run elsewhere.
    pub fn signs(&self) -> &Signs {
        &self.signs
    }

    /// What is being computed: `copies`, or the name of a view; and whether other machines do it.
    pub fn step(&self) -> String {
        self.lock().step.clone()
    }

    /// A plan is about to run.
    pub(crate) fn begin(&self, step: &str, plan: &Arc<dyn ExecutionPlan>) {
        self.end();
        let mut inner = self.lock();
        step.clone_into(&mut inner.step);
        inner.running = Some(Arc::clone(plan));
    }

    /// The plan that ran has ended, well or not.
    pub(crate) fn end(&self) {
        let mut inner = self.lock();
        if let Some(ended) = inner.running.take() {
            inner.before = inner.before.plus(read_by(ended.as_ref()));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the scans of a plan gave out.
fn read_by(plan: &dyn ExecutionPlan) -> ReadSoFar {
    let children = plan.children();
    if !children.is_empty() {
        return children.into_iter().map(|child| read_by(child.as_ref())).fold(ReadSoFar::default(), ReadSoFar::plus);
    }
    let Some(metrics) = plan.metrics() else { return ReadSoFar::default() };
    let bytes = metrics.sum_by_name("bytes_scanned").map_or(0, |bytes| bytes.as_usize());
    ReadSoFar { rows: metrics.output_rows().unwrap_or(0) as u64, bytes: bytes as u64 }
}
