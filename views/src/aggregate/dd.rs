//! `ddsketch_percentile`: a percentile whose value is off by at most 1 %.
//!
//! Numbers of any type are kept as doubles; NaN is dropped, infinities are values. The answer is a DOUBLE near the
//! value of that rank; it need not have occurred, but for the least and the greatest.
//! Not here: the sketch (`dd_sketch.rs`), the accumulators (`sketch.rs`).
//! Why beside `approx_percentile_cont`: of a rank that is off by 1 % the value may be off by any factor where the
//! distribution has a heavy tail.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::{Result, exec_datafusion_err, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::utils::{AggregateOrderSensitivity, format_state_name};
use datafusion::logical_expr::{Accumulator, AggregateUDF, AggregateUDFImpl, GroupsAccumulator, Signature, Volatility};

use super::dd_sketch::DdSketch;
use super::percentile::rank_of;
use super::sketch::{Accumulators, Sketch, SketchGroups, is_wanted};

/// The relative error of a value.
pub(super) const BOUND: f64 = 0.01;

const NAME: &str = "ddsketch_percentile";

/// The function for a session.
pub(super) fn function() -> AggregateUDF {
    AggregateUDF::from(DdPercentile { signature: Signature::user_defined(Volatility::Immutable) })
}

/// The function under its SQL name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DdPercentile {
    signature: Signature,
}

impl DdPercentile {
    fn accumulators(arguments: &AccumulatorArgs) -> Result<Box<SketchGroups<DdSketch>>> {
        Ok(Box::new(SketchGroups::new(rank_of(NAME, arguments)?)))
    }
}

impl AggregateUDFImpl for DdPercentile {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        match arguments {
            [value, _] if value.is_numeric() => Ok(vec![DataType::Float64, DataType::Float64]),
            [value, _] => plan_err!("'{NAME}' does not take {value}; it takes numbers"),
            _ => plan_err!("'{NAME}' takes a value and a percentile, not {} arguments", arguments.len()),
        }
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn state_fields(&self, arguments: StateFieldsArgs) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format_state_name(arguments.name, "dd"), DataType::Binary, true))])
    }

    fn accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn Accumulator>> {
        Ok(Self::accumulators(&arguments)?.for_one_group())
    }

    fn groups_accumulator_supported(&self, _arguments: AccumulatorArgs) -> bool {
        true
    }

    fn create_groups_accumulator(&self, arguments: AccumulatorArgs) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Self::accumulators(&arguments)?.for_groups())
    }

    fn order_sensitivity(&self) -> AggregateOrderSensitivity {
        AggregateOrderSensitivity::Insensitive
    }

    fn supports_within_group_clause(&self) -> bool {
        true
    }
}

impl Sketch for DdSketch {
    type Value = f64;
    /// The percentile as a rank in ascending order.
    type Question = f64;
    const NAME: &'static str = "percentile";

    fn empty() -> Result<Self> {
        Ok(Self::default())
    }

    fn update(&mut self, value: f64) -> Result<()> {
        self.update(value)
    }

    fn merge_state(merged: &mut Option<Self>, state: &[u8]) -> Result<()> {
        let sketch = Self::from_bytes(state)?;
        match merged {
            Some(merged) => merged.merge(&sketch)?,
            none => *none = Some(sketch),
        }
        Ok(())
    }

    fn to_state(&self) -> Vec<u8> {
        self.to_bytes()
    }

    fn finish(sketches: &[Option<Self>], rank: &f64) -> Result<ArrayRef> {
        let values = sketches.iter().map(|sketch| sketch.as_ref().and_then(|sketch| sketch.quantile(*rank)));
        Ok(Arc::new(values.collect::<Float64Array>()))
    }

    fn size_bytes(&self) -> usize {
        self.heap_bytes()
    }

    fn for_each(
        array: &ArrayRef,
        opt_filter: Option<&BooleanArray>,
        mut each: impl FnMut(usize, f64) -> Result<()>,
    ) -> Result<()> {
        let values = array.as_primitive_opt::<Float64Type>();
        let values = values.ok_or_else(|| exec_datafusion_err!("{NAME} got {}", array.data_type()))?;
        for (row, value) in values.values().iter().enumerate() {
            if !value.is_nan() && is_wanted(array, opt_filter, row) {
                each(row, *value)?;
            }
        }
        Ok(())
    }
}
