//! The limit on states that grow with their input, and the marking of columns as nullable.
//!
//! Guarantee: whether a state is too large depends on its value alone, so both layers refuse the same group.
//! Not here: the memory of a running aggregation, which the engine's memory pool bounds.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{DataType, Field, FieldRef};
use arrow::util::display::array_value_to_string;
use datafusion::common::{DataFusionError, Result, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::error::DefinitionError;

/// What makes a group too large, for the message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Limit {
    pub(crate) view: String,
    pub(crate) measure: String,
    pub(crate) limit_bytes: usize,
    pub(crate) keys: Vec<String>,
}

/// `state` as it is, or an error that names the group of the view if it has more than `limit_bytes`.
pub(crate) fn limited_state(
    state: Expr,
    view: &str,
    measure: &str,
    limit_bytes: usize,
    keys: Vec<(String, Expr)>,
) -> Expr {
    let (names, values): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    let limit = Limit { view: view.to_owned(), measure: measure.to_owned(), limit_bytes, keys: names };
    limited_function(limit).call(std::iter::once(state).chain(values).collect())
}

/// `column` as it is, declared nullable: every stored column is.
pub(crate) fn nullable(column: Expr) -> Expr {
    nullable_function().call(vec![column])
}

/// Whether a function is one of these, and the limit that it holds its argument to; `None` of any other.
pub(crate) fn parts_of(function: &ScalarUDF) -> Option<Option<Limit>> {
    function.inner().downcast_ref::<PassThrough>().map(|function| function.limit.clone())
}

/// The function that marks a column as nullable.
pub(crate) fn nullable_function() -> ScalarUDF {
    pass_through("nullable", None)
}

/// The function that limits states.
pub(crate) fn limited_function(limit: Limit) -> ScalarUDF {
    pass_through("limited_state", Some(limit))
}

fn pass_through(name: &'static str, limit: Option<Limit>) -> ScalarUDF {
    ScalarUDF::from(PassThrough { name, limit, signature: Signature::variadic_any(Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct PassThrough {
    name: &'static str,
    limit: Option<Limit>,
    signature: Signature,
}

impl ScalarUDFImpl for PassThrough {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        internal_err!("{} returns its first argument", self.name)
    }

    fn return_field_from_args(&self, arguments: ReturnFieldArgs) -> Result<FieldRef> {
        match arguments.arg_fields.first() {
            Some(field) => Ok(Arc::new(Field::new(self.name, field.data_type().clone(), true))),
            None => internal_err!("{} takes at least one argument", self.name),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = arguments.number_rows;
        let mut values = arguments.args.into_iter();
        let Some(state) = values.next() else {
            return internal_err!("{} takes at least one argument", self.name);
        };
        if let Some(limit) = &self.limit {
            let state = state.to_array(rows)?;
            if state.to_data().get_slice_memory_size()? > limit.limit_bytes {
                let keys = values.map(|value| value.to_array(rows)).collect::<Result<Vec<_>>>()?;
                limit.check(&state, &keys)?;
            }
        }
        Ok(state)
    }
}

impl Limit {
    fn check(&self, state: &ArrayRef, keys: &[ArrayRef]) -> Result<()> {
        for row in 0..state.len() {
            let size_bytes = value_bytes(state.as_ref(), row);
            if size_bytes > self.limit_bytes {
                let group = self.keys.iter().zip(keys).map(|(name, values)| {
                    let value = array_value_to_string(values, row).unwrap_or_default();
                    format!("{name}={value}")
                });
                let error = DefinitionError::StateTooLarge {
                    view: self.view.clone(),
                    measure: self.measure.clone(),
                    group: group.collect::<Vec<_>>().join(", "),
                    size_bytes,
                    limit_bytes: self.limit_bytes,
                };
                return Err(DataFusionError::External(Box::new(error)));
            }
        }
        Ok(())
    }
}

/// The bytes that one value takes, offsets not counted.
fn value_bytes(array: &dyn Array, row: usize) -> usize {
    if array.is_null(row) {
        return 0;
    }
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().value(row).len(),
        DataType::Binary => array.as_binary::<i32>().value(row).len(),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|child| value_bytes(child, row)).sum(),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            match items.data_type().primitive_width() {
                Some(width) => items.len() * width,
                None => (0..items.len()).map(|item| value_bytes(items.as_ref(), item)).sum(),
            }
        }
        other => other.primitive_width().unwrap_or(1),
    }
}
