//! Merging states as rows come: what a window needs, which asks for the value after every row.
//!
//! Guarantee: each value is that of all states so far, whatever the aggregate: an accumulator is asked once and then
//! thrown away, since many of them (lists, percentiles) give away what they hold when they are asked.
//! Not here: merging a group as a whole (`combinator.rs`).

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::format_state_name;
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, Signature, Volatility};

use super::accumulator::{Combinator, StateAccumulator};
use super::overflow_counts::OverflowCounter;
use super::stored::StoredAggregate;
use crate::storable::convert;

/// The function that merges states and finishes them after each.
pub(super) fn running(aggregate: Arc<StoredAggregate>) -> AggregateUDF {
    AggregateUDF::from(RunningFunction {
        name: format!("{}_running_merge", aggregate.inner().fun().name()),
        aggregate,
        signature: Signature::variadic_any(Volatility::Immutable),
        counter: None,
    })
}

/// The same function, counting finished values that do not fit; none where it does not merge states of this aggregate.
pub(super) fn counting(
    function: &AggregateUDF,
    aggregate: &Arc<StoredAggregate>,
    counter: &OverflowCounter,
) -> Option<AggregateUDF> {
    let found = function.inner().downcast_ref::<RunningFunction>()?;
    let is_meant = Arc::ptr_eq(&found.aggregate, aggregate);
    is_meant.then(|| AggregateUDF::from(RunningFunction { counter: Some(counter.clone()), ..found.clone() }))
}

#[derive(Clone, Debug)]
struct RunningFunction {
    name: String,
    aggregate: Arc<StoredAggregate>,
    signature: Signature,
    /// No part of what it computes.
    counter: Option<OverflowCounter>,
}

impl PartialEq for RunningFunction {
    fn eq(&self, other: &Self) -> bool {
        self.aggregate.identity() == other.aggregate.identity()
    }
}

impl Eq for RunningFunction {}

impl Hash for RunningFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.aggregate.identity().hash(state);
    }
}

impl AggregateUDFImpl for RunningFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.aggregate.inner().field().data_type().clone())
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let (aggregate, counter) = (Arc::clone(&self.aggregate), self.counter.clone());
        Ok(Box::new(RunningAccumulator { aggregate, counter, merged: None }))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        let stored = self.aggregate.stored().clone();
        Ok(vec![Arc::new(Field::new(format_state_name(arguments.name, "merged"), stored, true))])
    }

    /// The value of a frame without rows.
    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        self.aggregate.inner().default_value(data_type)
    }
}

#[derive(Debug)]
struct RunningAccumulator {
    aggregate: Arc<StoredAggregate>,
    counter: Option<OverflowCounter>,
    /// The state of all rows so far, as a column of one row.
    merged: Option<ArrayRef>,
}

impl RunningAccumulator {
    fn fresh(&self, combinator: Combinator) -> Result<StateAccumulator> {
        let inner = self.aggregate.inner().create_accumulator()?;
        Ok(StateAccumulator::new(combinator, Arc::clone(&self.aggregate), inner, self.counter.clone()))
    }
}

impl Accumulator for RunningAccumulator {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [column] = values else { return internal_err!("merging takes one state column, not {}", values.len()) };
        if column.is_empty() {
            return Ok(());
        }
        let stored = self.aggregate.stored();
        let column = if column.data_type() == stored { Arc::clone(column) } else { convert(column, stored)? };
        let all = match &self.merged {
            Some(merged) => concat(&[merged.as_ref(), column.as_ref()])?,
            None => column,
        };
        let mut merging = self.fresh(Combinator::MergeState)?;
        merging.update_batch(&[all])?;
        self.merged = Some(merging.evaluate()?.to_array_of_size(1)?);
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        match &self.merged {
            Some(merged) => Ok(vec![ScalarValue::try_from_array(merged, 0)?]),
            None => Ok(vec![ScalarValue::try_from(self.aggregate.stored())?]),
        }
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mut finishing = self.fresh(Combinator::Merge)?;
        if let Some(merged) = &self.merged {
            finishing.update_batch(&[Arc::clone(merged)])?;
        }
        finishing.evaluate()
    }

    fn size(&self) -> usize {
        size_of_val(self) + self.merged.as_ref().map_or(0, |merged| merged.get_array_memory_size())
    }
}
