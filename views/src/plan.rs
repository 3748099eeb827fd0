//! The plans of a view: events to states, states to states, states to answers.
//!
//! All three are ordinary logical plans of ordinary aggregates, so any DataFusion engine can run them.
//! Guarantee: for every split of the events, `finish(merge(state(a), state(b))) == finish(state(a + b))` by class.
//! Not here: where the rows come from and where they go.

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use datafusion::logical_expr::LogicalPlan;

use crate::{DefinitionError, ViewDefinition};

/// The planned parts of a view that the SQL reader hands over.
#[derive(Debug)]
pub struct ViewParts {}

impl ViewDefinition {
    /// Events to states. `input` has the columns of `source.events` and those named in `extra_keys`.
    ///
    /// Out: the extra keys in their order, then the columns of `states`; one row per distinct key. Rows are in no order.
    ///
    /// # Errors
    /// [`DefinitionError`] if a column is missing from `input`: a defect of the caller.
    pub fn state_plan(&self, input: LogicalPlan, extra_keys: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let _ = (input, extra_keys);
        todo!()
    }

    /// States to states: merges rows of equal extra keys and dimensions. `input` and out: extra keys, then `states`.
    ///
    /// # Errors
    /// [`DefinitionError`] if a column is missing from `input`: a defect of the caller.
    pub fn merge_plan(&self, input: LogicalPlan, extra_keys: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let _ = (input, extra_keys);
        todo!()
    }

    /// States to answers at the grain of the dimensions named in `by`: those dimensions, then all finished measures.
    ///
    /// # Errors
    /// [`DefinitionError`] if `by` names no dimension of this view.
    pub fn finish_plan(&self, input: LogicalPlan, by: &[&str]) -> Result<LogicalPlan, DefinitionError> {
        let _ = (input, by);
        todo!()
    }
}

/// A physical plan that is built once and executed many times over batches in memory.
#[derive(Debug)]
pub struct Compiled {}

impl Compiled {
    /// Compiles what `build` makes of a scan with the given schema.
    ///
    /// # Errors
    /// [`DefinitionError`] if planning fails.
    pub async fn new(
        input: SchemaRef,
        build: impl FnOnce(LogicalPlan) -> Result<LogicalPlan, DefinitionError>,
    ) -> Result<Self, DefinitionError> {
        let _ = (input, build);
        todo!()
    }

    /// The schema of what [`Self::execute`] returns.
    pub fn output_schema(&self) -> SchemaRef {
        todo!()
    }

    /// Runs the plan over `batches`, single-threaded, in memory. May be called again and again, also concurrently.
    ///
    /// # Errors
    /// [`DefinitionError`] if execution fails, for example on integer overflow or a state beyond its limit.
    pub async fn execute(&self, batches: Vec<RecordBatch>) -> Result<Vec<RecordBatch>, DefinitionError> {
        let _ = batches;
        todo!()
    }
}
