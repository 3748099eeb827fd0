//! One planned aggregate of a view, wrapped so that its state can leave the engine and come back.
//!
//! Why so: the state that DataFusion's accumulators exchange between the partial and the final phase is all that two
//! layers need to agree; wrapping the planned expression works for every aggregate without knowing its mathematics.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StructArray};
use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::physical_expr::aggregate::AggregateFunctionExpr;

use crate::storable::{convert, stored_fields, stored_type};

/// A planned aggregate with the type its state is stored as.
#[derive(Debug)]
pub(crate) struct StoredAggregate {
    inner: AggregateFunctionExpr,
    inputs: Vec<DataType>,
    states: Vec<FieldRef>,
    stored: DataType,
    /// Tells apart calls of one function: arguments, DISTINCT, ORDER BY and types.
    identity: String,
}

impl StoredAggregate {
    /// Wraps a planned aggregate; `inputs` are the types of what it reads, `identity` is its canonical text.
    ///
    /// # Errors
    /// The reason, as text, why its state cannot be stored.
    pub(crate) fn new(
        inner: AggregateFunctionExpr,
        inputs: Vec<DataType>,
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
        Ok(Self { inner, inputs, states, stored, identity })
    }

    /// The aggregate itself.
    pub(crate) fn inner(&self) -> &AggregateFunctionExpr {
        &self.inner
    }

    /// The types of what it reads.
    pub(crate) fn inputs(&self) -> &[DataType] {
        &self.inputs
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

    /// A state column without nulls as the arrays that the engine merges.
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
