//! On how many rows the expressions of a view failed, and so are NULL: counted while a plan runs.
//!
//! Guarantee: a row is counted where an operator itself fails on it, the innermost one alone; how the rows are cut
//! into batches does not matter. A row that is computed again is counted again: it says what was lost while computing,
//! and is part of no state.
//! Not here: failing (`or_null.rs`), which operators can (`fallible.rs`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows on which expressions failed, by the expression as it is written.
#[derive(Debug, Default)]
pub struct FailedRows {
    // Written by the threads that run a plan, once for a batch with such rows; emptied by whoever tells of them.
    by_expression: Mutex<BTreeMap<String, u64>>,
}

impl FailedRows {
    /// Those that were counted since the last call.
    pub fn take(&self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.by_expression.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts the rows that one expression fails on.
#[derive(Clone, Debug)]
pub(crate) struct FailureCounter {
    failed: Arc<FailedRows>,
    expression: String,
}

impl FailureCounter {
    pub(crate) fn new(failed: &Arc<FailedRows>, expression: String) -> Self {
        Self { failed: Arc::clone(failed), expression }
    }

    pub(crate) fn add(&self, rows: usize) {
        if rows > 0 {
            let mut by_expression = self.failed.by_expression.lock().unwrap_or_else(PoisonError::into_inner);
            *by_expression.entry(self.expression.clone()).or_default() += rows as u64;
        }
    }
}
