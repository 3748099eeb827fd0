//! Aggregates with OVER: what they make of each row is counted, and between two rows they end where nobody waits.
//!
//! In: a window function that aggregates. Out: the same, wrapped.
//! Guarantee: the values that windows have made take their share of the memory of all SQL queries until theirs is done;
//! it is refused at the first that has no room.
//! Not here: what a window reads, and window functions that do not aggregate (`window_growth.rs`).
//! Why so: the engine makes all values of a partition in one go and counts none of them. The list of all rows so far,
//! for each of ten thousand rows, is a gigabyte, and the allocator ends a process that has none.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::logical_expr::expr::{AggregateFunctionParams, WindowFunction, WindowFunctionParams};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::AggregateOrderSensitivity;
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ReversedUDAF, SetMonotonicity, Signature, WindowFunctionDefinition,
};

use crate::refusal::Refusal;
use crate::running;

/// Aggregates whose values are as large as what they read.
const GROWING: [&str; 7] = ["array_agg", "first_value", "last_value", "max", "min", "nth_value", "string_agg"];

/// The call with its aggregate wrapped; `None` where there is nothing to wrap. `is_large`: its values are texts, lists
/// and the like.
///
/// # Errors
/// FILTER over whole partitions with a value that may be large: for how many rows it stands is not told to aggregates.
pub(crate) fn watch(
    call: &WindowFunction,
    is_large: bool,
    pool: &Arc<dyn MemoryPool>,
) -> Result<Option<WindowFunction>> {
    let WindowFunctionDefinition::AggregateUDF(function) = &call.fun else { return Ok(None) };
    if function.inner().is::<Watched>() {
        return Ok(None);
    }
    let (name, frame) = (function.name(), &call.params.window_frame);
    let is_whole = call.params.order_by.is_empty() || frame.end_bound.is_unbounded();
    if is_large && is_whole && call.params.filter.is_some() && GROWING.contains(&name) {
        let reason = format!("{name} with FILTER and OVER needs a frame that ends at a row");
        return Err(Refusal::Bad { reason, hint: format!("write {name}(CASE WHEN ... THEN ... END)") }.into());
    }
    let watched = Watched { function: function.clone(), pool: pool.clone() };
    let fun = WindowFunctionDefinition::AggregateUDF(Arc::new(AggregateUDF::new_from_impl(watched)));
    Ok(Some(WindowFunction { fun, params: call.params.clone() }))
}

/// An aggregate whose values are counted.
#[derive(Debug)]
struct Watched {
    function: Arc<AggregateUDF>,
    pool: Arc<dyn MemoryPool>,
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.function == other.function
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.function.hash(state);
    }
}

impl Watched {
    fn over(&self, values: Box<dyn Accumulator>) -> Box<dyn Accumulator> {
        Box::new(Counting { values, pool: self.pool.clone(), fresh_rows: 0 })
    }
}

impl AggregateUDFImpl for Watched {
    fn name(&self) -> &str {
        self.function.name()
    }

    fn aliases(&self) -> &[String] {
        self.function.aliases()
    }

    fn schema_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.function.inner().schema_name(params)
    }

    fn window_function_schema_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.function.inner().window_function_schema_name(params)
    }

    fn display_name(&self, params: &AggregateFunctionParams) -> Result<String> {
        self.function.inner().display_name(params)
    }

    fn window_function_display_name(&self, params: &WindowFunctionParams) -> Result<String> {
        self.function.inner().window_function_display_name(params)
    }

    fn signature(&self) -> &Signature {
        self.function.signature()
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        self.function.return_type(arguments)
    }

    fn return_field(&self, arguments: &[FieldRef]) -> Result<FieldRef> {
        self.function.return_field(arguments)
    }

    fn is_nullable(&self) -> bool {
        self.function.is_nullable()
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        self.function.coerce_types(types)
    }

    fn accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.over(self.function.inner().accumulator(args)?))
    }

    fn create_sliding_accumulator(&self, args: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(self.over(self.function.inner().create_sliding_accumulator(args)?))
    }

    fn state_fields(&self, args: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        self.function.inner().state_fields(args)
    }

    fn with_beneficial_ordering(self: Arc<Self>, is_beneficial: bool) -> Result<Option<Arc<dyn AggregateUDFImpl>>> {
        let ordered = Arc::clone(self.function.inner()).with_beneficial_ordering(is_beneficial)?;
        Ok(ordered.map(|function| {
            let function = Arc::new(AggregateUDF::new_from_shared_impl(function));
            Arc::new(Self { function, pool: self.pool.clone() }) as Arc<dyn AggregateUDFImpl>
        }))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        self.function.inner().order_sensitivity()
    }

    fn reverse_expr(&self) -> ReversedUDAF {
        match self.function.inner().reverse_expr() {
            ReversedUDAF::Reversed(function) => {
                let reversed = Self { function, pool: self.pool.clone() };
                ReversedUDAF::Reversed(Arc::new(AggregateUDF::new_from_impl(reversed)))
            }
            other => other,
        }
    }

    fn is_descending(&self) -> Option<bool> {
        self.function.inner().is_descending()
    }

    fn set_monotonicity(&self, data_type: &DataType) -> SetMonotonicity {
        self.function.inner().set_monotonicity(data_type)
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.function.inner().default_value(data_type)
    }

    fn supports_null_handling_clause(&self) -> bool {
        self.function.inner().supports_null_handling_clause()
    }

    fn supports_within_group_clause(&self) -> bool {
        self.function.inner().supports_within_group_clause()
    }
}

/// The values of one partition.
#[derive(Debug)]
struct Counting {
    values: Box<dyn Accumulator>,
    pool: Arc<dyn MemoryPool>,
    /// Rows since the last value, which may stand for all of them.
    fresh_rows: usize,
}

impl Accumulator for Counting {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.fresh_rows += values.first().map_or(0, |values| values.len());
        self.values.update_batch(values)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        running::check()?;
        let value = self.values.evaluate()?;
        let rows = std::mem::take(&mut self.fresh_rows).max(1);
        if !value.data_type().is_primitive() {
            running::keep(value.size().saturating_mul(rows), &self.pool)?;
        }
        Ok(value)
    }

    fn size(&self) -> usize {
        self.values.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        self.values.state()
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.values.merge_batch(states)
    }

    fn retract_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        self.values.retract_batch(values)
    }

    fn supports_retract_batch(&self) -> bool {
        self.values.supports_retract_batch()
    }
}
