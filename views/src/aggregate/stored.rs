//! One planned aggregate of a view, wrapped so that its state can leave the engine and come back.
//!
//! Why so: the state that DataFusion's accumulators exchange between the partial and the final phase is all that two
//! layers need to agree; wrapping the planned expression works for every aggregate without knowing its mathematics.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray};
use arrow::compute::kernels::zip::zip;
use arrow::compute::{and, is_not_null, prep_null_mask_filter};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{DFSchemaRef, Result, ScalarValue, internal_err};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Accumulator, Expr};
use datafusion::physical_expr::aggregate::{AggregateFunctionExpr, LoweredAggregateBuilder};

use super::one_group::OneGroup;
use crate::storable::{convert, stored_fields, stored_type};

/// What an aggregate is planned of.
#[derive(Clone, Debug)]
pub(crate) struct CallRecipe {
    /// The call, without its FILTER.
    pub(crate) call: Expr,
    /// The columns that it is over.
    pub(crate) input: DFSchemaRef,
    /// The function, as it is called in SQL.
    pub(crate) name: String,
}

impl CallRecipe {
    /// Plans the call as the engine would.
    ///
    /// # Errors
    /// If the function does not take these arguments.
    pub(crate) fn plan(&self) -> Result<AggregateFunctionExpr> {
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let lowered = LoweredAggregateBuilder::new(&self.call, &self.input, self.input.as_arrow(), &props, &context);
        Ok(Arc::unwrap_or_clone(lowered.with_name(&self.name).build()?.aggregate))
    }
}

/// A planned aggregate with the type its state is stored as.
#[derive(Debug)]
pub(crate) struct StoredAggregate {
    /// What it was planned of.
    recipe: CallRecipe,
    inner: AggregateFunctionExpr,
    states: Vec<FieldRef>,
    stored: DataType,
    /// The state of a group without rows.
    neutral: ScalarValue,
    /// Tells apart calls of one function: arguments, DISTINCT, ORDER BY and types.
    identity: String,
}

impl StoredAggregate {
    /// Wraps what was planned of `recipe`; `identity` is its canonical text.
    ///
    /// # Errors
    /// The reason, as text, why its state cannot be stored.
    pub(crate) fn new(
        recipe: CallRecipe,
        inner: AggregateFunctionExpr,
        identity: String,
    ) -> std::result::Result<Self, String> {
        let states = inner.state_fields().map_err(|error| error.to_string())?;
        let stored = match states.as_slice() {
            [] => return Err("it has no state".to_owned()),
            [single] => stored_type(single.data_type())?,
            several => {
                DataType::Struct(stored_fields(several.iter().map(|field| (field.name().as_str(), field.data_type())))?)
            }
        };
        let neutral = ScalarValue::try_from(&stored).map_err(|error| error.to_string())?;
        let mut aggregate = Self { recipe, inner, states, stored, neutral, identity };
        let empty = aggregate.one_group().and_then(|mut empty| empty.state());
        let neutral = empty.and_then(|states| aggregate.encode_scalar(states));
        aggregate.neutral = neutral.map_err(|error| error.to_string())?;
        Ok(aggregate)
    }

    /// What it was planned of.
    pub(crate) fn recipe(&self) -> &CallRecipe {
        &self.recipe
    }

    /// The aggregate itself.
    pub(crate) fn inner(&self) -> &AggregateFunctionExpr {
        &self.inner
    }

    /// The fields that the engine exchanges between its phases.
    pub(crate) fn state_fields(&self) -> &[FieldRef] {
        &self.states
    }

    /// The type of the state column.
    pub(crate) fn stored(&self) -> &DataType {
        &self.stored
    }

    /// The canonical text: equal for calls whose states mean the same.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    /// The accumulator of one group: made of that of many wherever there is one, so that both have the same states.
    ///
    /// # Errors
    /// If the aggregate does not take its arguments.
    pub(crate) fn one_group(&self) -> Result<Box<dyn Accumulator>> {
        let mut row = self.inner.create_accumulator()?;
        if !self.inner.groups_accumulator_supported() {
            return Ok(row);
        }
        // Without rows both kinds have the same state, but for a count of nothing beside a sum that is missing: to the
        // engine's means of many groups that is a value.
        let mut neutral = row.state()?;
        if neutral.iter().any(ScalarValue::is_null) {
            let missing = neutral.iter().map(|part| ScalarValue::try_from(&part.data_type()));
            neutral = missing.collect::<Result<_>>()?;
        }
        Ok(Box::new(OneGroup::new(self.inner.create_groups_accumulator()?, neutral)))
    }

    /// The engine's state arrays as one storable column.
    pub(crate) fn encode(&self, states: &[ArrayRef]) -> Result<ArrayRef> {
        match (states, &self.stored) {
            ([single], stored) if self.states.len() == 1 => convert(single, stored),
            (several, DataType::Struct(fields)) if several.len() == fields.len() && !several.is_empty() => {
                let children = several
                    .iter()
                    .zip(fields)
                    .map(|(state, field)| convert(state, field.data_type()))
                    .collect::<Result<Vec<_>>>()?;
                Ok(Arc::new(StructArray::try_new(fields.clone(), children, None)?))
            }
            _ => internal_err!("{} returned {} state columns", self.inner.name(), states.len()),
        }
    }

    /// One group's state as a storable scalar.
    pub(crate) fn encode_scalar(&self, states: Vec<ScalarValue>) -> Result<ScalarValue> {
        let arrays = states.iter().map(|state| state.to_array_of_size(1)).collect::<Result<Vec<_>>>()?;
        ScalarValue::try_from_array(&self.encode(&arrays)?, 0)
    }

    /// A state column with the neutral state where there is none, or where `opt_filter` says so.
    ///
    /// Leaving rows out would not do: the engine's accumulators count on a row for every group they are told of.
    pub(crate) fn with_neutral(&self, column: &ArrayRef, opt_filter: Option<&BooleanArray>) -> Result<ArrayRef> {
        let filter =
            opt_filter.map(|mask| if mask.null_count() > 0 { prep_null_mask_filter(mask) } else { mask.clone() });
        let has_gaps = column.null_count() > 0 && !self.neutral.is_null();
        let kept = match (filter, has_gaps) {
            (None, false) => return Ok(Arc::clone(column)),
            (Some(filter), false) => filter,
            (None, true) => is_not_null(column)?,
            (Some(filter), true) => and(&filter, &is_not_null(column)?)?,
        };
        let column =
            if column.data_type() == &self.stored { Arc::clone(column) } else { convert(column, &self.stored)? };
        Ok(zip(&kept, &column, &self.neutral.to_scalar()?)?)
    }

    /// A state column without gaps as the arrays that the engine merges.
    ///
    /// # Errors
    /// If the column was not written by this aggregate.
    pub(crate) fn decode(&self, column: &ArrayRef) -> Result<Vec<ArrayRef>> {
        if column.data_type() != &self.stored {
            let column = convert(column, &self.stored)?;
            return self.decode(&column);
        }
        match self.states.as_slice() {
            [single] => Ok(vec![convert(column, single.data_type())?]),
            several => {
                let parts = column.as_struct();
                parts.columns().iter().zip(several).map(|(part, field)| convert(part, field.data_type())).collect()
            }
        }
    }
}
