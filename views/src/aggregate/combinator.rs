//! The functions around one aggregate: state, merge-state and merge; and whether a merged value does not fit its type.
//!
//! They are ordinary aggregate functions, so plans that use them stay plain logical plans: they run in two phases, over
//! many partitions, with spilling, or on a distributed engine.
//!
//! # Source
//! ClickHouse's -State, -MergeState and -Merge.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::accumulator::{Combinator, StateAccumulator, StateGroupsAccumulator};
use super::overflow_counts::OverflowCounter;
use super::stored::StoredAggregate;

/// Makes one of the functions of an aggregate.
pub(crate) fn combinator(combinator: Combinator, aggregate: Arc<StoredAggregate>) -> AggregateUDF {
    let suffix = match combinator {
        Combinator::State => "state",
        Combinator::MergeState => "merge_state",
        Combinator::Merge => "merge",
        Combinator::Overflows => "overflows",
    };
    AggregateUDF::from(CombinatorFunction {
        name: format!("{}_{suffix}", aggregate.inner().fun().name()),
        combinator,
        aggregate,
        signature: Signature::variadic_any(Volatility::Immutable),
        counter: None,
    })
}

/// What such a function makes of which aggregate; `None` of any other.
pub(crate) fn parts_of(function: &AggregateUDF) -> Option<(Combinator, &StoredAggregate)> {
    let function = function.inner().downcast_ref::<CombinatorFunction>()?;
    Some((function.combinator, &function.aggregate))
}

/// The same function, counting finished values that do not fit; none where it is not the merge of this aggregate.
pub(super) fn counting(
    function: &AggregateUDF,
    aggregate: &Arc<StoredAggregate>,
    counter: &OverflowCounter,
) -> Option<AggregateUDF> {
    let found = function.inner().downcast_ref::<CombinatorFunction>()?;
    let is_meant = found.combinator == Combinator::Merge && Arc::ptr_eq(&found.aggregate, aggregate);
    is_meant.then(|| AggregateUDF::from(CombinatorFunction { counter: Some(counter.clone()), ..found.clone() }))
}

#[derive(Clone, Debug)]
struct CombinatorFunction {
    name: String,
    combinator: Combinator,
    aggregate: Arc<StoredAggregate>,
    signature: Signature,
    /// No part of what it computes.
    counter: Option<OverflowCounter>,
}

impl PartialEq for CombinatorFunction {
    fn eq(&self, other: &Self) -> bool {
        self.combinator == other.combinator && self.aggregate.identity() == other.aggregate.identity()
    }
}

impl Eq for CombinatorFunction {}

impl Hash for CombinatorFunction {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.combinator.hash(state);
        self.aggregate.identity().hash(state);
    }
}

impl AggregateUDFImpl for CombinatorFunction {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(match self.combinator {
            Combinator::State | Combinator::MergeState => self.aggregate.stored().clone(),
            Combinator::Merge => self.aggregate.inner().field().data_type().clone(),
            Combinator::Overflows => DataType::Boolean,
        })
    }

    fn accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        let inner = self.aggregate.one_group()?;
        Ok(Box::new(StateAccumulator::new(self.combinator, Arc::clone(&self.aggregate), inner, self.counter.clone())))
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        // Named by the call, so that two aggregates of one function stay apart where states are exchanged or spilled.
        let named = self.aggregate.state_fields().iter().enumerate().map(|(part, field)| {
            Arc::new(field.as_ref().clone().with_name(format_state_name(arguments.name, &part.to_string())))
        });
        Ok(named.collect())
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        self.aggregate.inner().groups_accumulator_supported()
    }

    fn create_groups_accumulator(&self, _arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        let inner = self.aggregate.inner().create_groups_accumulator()?;
        let counter = self.counter.clone();
        Ok(Box::new(StateGroupsAccumulator::new(self.combinator, Arc::clone(&self.aggregate), inner, counter)))
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        // Where the order matters the sort keys are arguments and travel inside the state.
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        match self.combinator {
            Combinator::Merge => self.aggregate.inner().default_value(data_type),
            Combinator::State | Combinator::MergeState | Combinator::Overflows => ScalarValue::try_from(data_type),
        }
    }
}
