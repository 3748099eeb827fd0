//! `ddsketch_percentile`: a percentile whose value is off by at most 1 %.
//!
//! Numbers of any type are kept as doubles; NaN is dropped, infinities are values. The answer is a DOUBLE near the
//! value of that rank; it need not have occurred, but for the least and the greatest.
//! Not here: the sketch (`dd_sketch.rs`), the accumulators (`sketch.rs`), the function (`sketch_function.rs`).
//! Why beside `approx_percentile_cont`: of a rank that is off by 1 % the value may be off by any factor where the
//! distribution has a heavy tail.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, Float64Array};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::AggregateUDF;
use datafusion::logical_expr::function::AccumulatorArgs;

use super::dd_sketch::DdSketch;
use super::percentile::{coerce_types, rank_of};
use super::sketch::{Accumulators, Sketch, SketchGroups, is_wanted};
use super::sketch_function::{SketchFunction, sketch_function};

/// The relative error of a value.
pub(super) const BOUND: f64 = 0.01;

/// The function for a session.
pub(super) fn function() -> AggregateUDF {
    sketch_function::<DdPercentile>()
}

/// The function under its SQL name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct DdPercentile;

impl SketchFunction for DdPercentile {
    const NAME: &'static str = "ddsketch_percentile";
    const STATE: &'static str = "dd";
    const TAKES_WITHIN_GROUP: bool = true;

    fn coerce_types(arguments: &[DataType]) -> Result<Vec<DataType>> {
        let sketched_as = |value: &DataType| value.is_numeric().then_some(DataType::Float64);
        coerce_types(Self::NAME, arguments, ("numbers", sketched_as))
    }

    fn return_type(_arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Float64)
    }

    fn accumulators(arguments: &AccumulatorArgs) -> Result<Box<dyn Accumulators>> {
        Ok(Box::new(SketchGroups::<DdSketch>::new(rank_of(Self::NAME, arguments)?)))
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
        let values = values.ok_or_else(|| exec_datafusion_err!("{} got {}", DdPercentile::NAME, array.data_type()))?;
        for (row, value) in values.values().iter().enumerate() {
            if !value.is_nan() && is_wanted(array, opt_filter, row) {
                each(row, *value)?;
            }
        }
        Ok(())
    }
}
