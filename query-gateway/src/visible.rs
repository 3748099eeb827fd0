//! The states that a principal sees of one pin: the only way from states in memory to an answer, in rows and in SQL.
//!
//! ```text
//!  batch states, run states --row filters, and those of the request--> states --merged, finished--> answer
//! ```
//!
//! Guarantee: no state of another group gets behind this. Dimensions are group keys, so filtering the states of both
//! layers before merging is filtering their groups after it; and no expression of a query ever meets a hidden value,
//! however the engine orders its steps. Without rules and filters nothing is copied; SQL with rules leaves out what is
//! hidden slice by slice while it reads, so that no query holds a copy of a view.
//! Not here: which filters (`access.rs`, `conditions.rs`), how they are computed (`filter.rs`).

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::datasource::MemTable;
use datafusion::error::{DataFusionError, Result as EngineResult};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;

use crate::access::RowFilters;
use crate::filter::{Filter, looks, narrow, passing};
use crate::served::Served;
use crate::states::{SortedStates, in_slices};

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

    /// Bytes of the batch version in memory, whether or not they are visible.
    pub(crate) fn batch_bytes(self) -> usize {
        self.batch.map_or(0, SortedStates::size_bytes)
    }

    /// Those that may pass these filters, too: of the batch version, then of each chunk. Cost: binary searches.
    pub(crate) fn narrow(self, filters: &[Filter]) -> Result<Narrowed, ArrowError> {
        let filters = [self.rules, filters].concat();
        let (mut rows, mut left) = (Vec::new(), Vec::new());
        for states in self.batch.into_iter().chain(self.realtime.iter().map(Arc::as_ref)) {
            let (narrowed, filters) = narrow(states, &filters)?;
            rows.push(narrowed);
            // What is left depends on the filters alone.
            left = filters;
        }
        Ok(Narrowed { rows, left })
    }

    /// For a query that reads them side by side, or in their order.
    pub(crate) fn parts(self, is_parallel: bool) -> Result<VisibleParts, ArrowError> {
        let all = self.batch.into_iter().chain(self.realtime.iter().map(Arc::as_ref));
        let (mut parts, mut left, mut largest_row) = (Vec::new(), Vec::new(), 0);
        for states in all {
            largest_row = largest_row.max(states.largest_row());
            // What is left depends on the filters alone.
            let (rows, filters) = narrow(states, self.rules)?;
            let slices: Vec<RecordBatch> = in_slices(&rows).collect();
            if !slices.is_empty() {
                parts.push(slices);
            }
            left = filters;
        }
        let parts = if is_parallel { parts } else { vec![parts.concat()] };
        Ok(VisibleParts { parts, left: left.into(), largest_row })
    }
}

/// States with the tests that are still to be made of them; owned, so that another thread may make them.
#[derive(Debug)]
pub(crate) struct Narrowed {
    rows: Vec<RecordBatch>,
    left: Vec<Filter>,
}

impl Narrowed {
    /// How many rows may pass.
    pub(crate) fn rows(&self) -> usize {
        self.rows.iter().map(RecordBatch::num_rows).sum()
    }

    /// Looks at values that the tests take, about.
    pub(crate) fn looks(&self) -> usize {
        let of = |rows: &RecordBatch| self.left.iter().map(|filter| looks(filter, rows)).fold(0, usize::saturating_add);
        self.rows.iter().map(of).fold(0, usize::saturating_add)
    }

    /// The rows that pass, in slices, as long as `goes_on`.
    ///
    /// # Errors
    /// Nobody wants them any more; else only for a defect.
    pub(crate) fn passing(&self, goes_on: impl Fn() -> bool) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut all = Vec::new();
        for rows in self.rows.iter().flat_map(in_slices) {
            if !goes_on() {
                return Err(ArrowError::ComputeError("the answer was given up".to_owned()));
            }
            let rows = passing(&rows, &self.left)?;
            if rows.num_rows() > 0 {
                all.push(rows);
            }
        }
        Ok(all)
    }
}

/// The states that are visible of one pin, for the scans of one query.
#[derive(Clone, Debug)]
pub(crate) struct VisibleParts {
    /// What threads read side by side.
    parts: Vec<Vec<RecordBatch>>,
    /// What is still to be tested of them.
    left: Arc<[Filter]>,
    /// Bytes of the largest row, about, whether or not it is visible.
    pub largest_row: usize,
}

impl VisibleParts {
    /// As a table of states of this schema.
    pub(crate) fn table(&self, schema: &SchemaRef) -> EngineResult<Arc<dyn TableProvider>> {
        let parts = if self.parts.is_empty() { vec![Vec::new()] } else { self.parts.clone() };
        if self.left.is_empty() {
            return Ok(Arc::new(MemTable::try_new(schema.clone(), parts)?));
        }
        let tested = |slices| -> Arc<dyn PartitionStream> {
            Arc::new(TestedPart { schema: schema.clone(), slices, left: self.left.clone() })
        };
        Ok(Arc::new(StreamingTable::try_new(schema.clone(), parts.into_iter().map(tested).collect())?))
    }
}

/// A part whose rows are tested when they are read, before anybody else sees them.
#[derive(Debug)]
struct TestedPart {
    schema: SchemaRef,
    slices: Vec<RecordBatch>,
    left: Arc<[Filter]>,
}

impl PartitionStream for TestedPart {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (slices, left) = (self.slices.clone(), self.left.clone());
        let tested = slices.into_iter().map(move |rows| passing(&rows, &left).map_err(DataFusionError::from));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(tested)))
    }
}
