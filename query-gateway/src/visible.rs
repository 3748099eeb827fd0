//! The states that a principal sees of one pin: the only way from states in memory to an answer, in rows and in SQL.
//!
//! ```text
//!  batch states, run states --row filters, and those of the request--> states --merged, finished--> answer
//! ```
//!
//! Guarantee: no state of another group gets behind this. Dimensions are group keys, so filtering the states of both
//! layers before merging is filtering their groups after it; and no expression of a query ever meets a hidden value,
//! however the engine orders its steps. Without rules and filters nothing is copied.
//! Not here: which filters (`access.rs`, `conditions.rs`), how they are computed (`filter.rs`).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use crate::access::RowFilters;
use crate::filter::{Filter, select};
use crate::served::Served;
use crate::states::SortedStates;

/// The states of one pin, by layer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VisibleStates<'a> {
    /// The batch version.
    batch: Option<&'a SortedStates>,
    /// The runs, merged into chunks.
    realtime: &'a [Arc<SortedStates>],
    rules: &'a [Filter],
}

impl<'a> VisibleStates<'a> {
    /// Those of both layers that pass.
    pub(crate) fn new(served: &'a Served, rules: &'a RowFilters) -> Self {
        Self { batch: served.batch.as_deref(), realtime: served.realtime.chunks(), rules: rules.as_slice() }
    }

    /// Those of the runs alone.
    pub(crate) fn without_batch(self) -> Self {
        Self { batch: None, ..self }
    }

    /// Those of the batch version alone.
    pub(crate) fn without_realtime(self) -> Self {
        Self { realtime: &[], ..self }
    }

    /// Those that pass these filters, too: of the batch version, then of each chunk.
    pub(crate) fn select(self, filters: &[Filter]) -> Result<Vec<RecordBatch>, ArrowError> {
        let both;
        let filters = if self.rules.is_empty() {
            filters
        } else {
            both = [self.rules, filters].concat();
            both.as_slice()
        };
        let all = self.batch.into_iter().chain(self.realtime.iter().map(Arc::as_ref));
        all.map(|states| select(states, filters)).collect()
    }
}
