//! Sketches as functions of SQL: what all aggregates over sketches have in common.
//!
//! State: the serialised sketch (BINARY), null for a group without values.
//! Not here: what tells them apart (`hll.rs`, `kll.rs`, `dd.rs`), the accumulators (`sketch.rs`).

use std::fmt::Debug;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::sketch::Accumulators;

/// What tells one aggregate over a sketch from another.
pub(super) trait SketchFunction: Debug + Eq + Hash + Send + Sync + 'static {
    /// The name in SQL.
    const NAME: &'static str;
    /// The name of the state.
    const STATE: &'static str;
    /// Whether the value may be named by `WITHIN GROUP (ORDER BY ...)`.
    const TAKES_WITHIN_GROUP: bool = false;
    /// Whether a group without values has none.
    const IS_NULLABLE: bool = true;

    fn signature() -> Signature {
        Signature::user_defined(Volatility::Immutable)
    }

    /// The types that the arguments are cast to.
    fn coerce_types(arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(arguments: &[DataType]) -> Result<DataType>;

    fn accumulators(arguments: &AccumulatorArgs) -> Result<Box<dyn Accumulators>>;

    /// The value of no rows.
    fn default_value(data_type: &DataType) -> Result<ScalarValue> {
        ScalarValue::try_from(data_type)
    }
}

/// The function for a session.
pub(super) fn sketch_function<F: SketchFunction>() -> AggregateUDF {
    AggregateUDF::from(Shell::<F> { signature: F::signature(), function: PhantomData })
}

/// A function as the engine sees it.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Shell<F> {
    signature: Signature,
    function: PhantomData<F>,
}

impl<F: SketchFunction> AggregateUDFImpl for Shell<F> {
    fn name(&self) -> &str {
        F::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        F::coerce_types(arguments)
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        F::return_type(arguments)
    }

    fn is_nullable(&self) -> bool {
        F::IS_NULLABLE
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(arguments.name, F::STATE), DataType::Binary, true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(F::accumulators(&arguments)?.for_one_group())
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(F::accumulators(&arguments)?.for_groups())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn default_value(&self, data_type: &DataType) -> Result<ScalarValue> {
        F::default_value(data_type)
    }

    fn supports_within_group_clause(&self) -> bool {
        F::TAKES_WITHIN_GROUP
    }
}
