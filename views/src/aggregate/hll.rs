//! `approx_distinct`: a HyperLogLog sketch of Apache DataSketches.
//!
//! Values are hashed as the Java and C++ libraries hash them, so their sketches of the same values can be united with
//! ours.
//! Guarantee: merged equals direct, bit for bit: the composite estimate depends on the registers alone.
//! Not here: the accumulators (`sketch.rs`), the function (`sketch_function.rs`).

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type, UInt64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_datafusion_err, exec_err, plan_err};
use datafusion::logical_expr::function::AccumulatorArgs;
use datafusion::logical_expr::{AggregateUDF, Signature, Volatility};
use datasketches::hash::value::{canonical_float, raw_bytes};
use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};

use super::sketch::{Accumulators, Sketch, SketchGroups, is_wanted};
use super::sketch_function::{SketchFunction, sketch_function};
use crate::sql_name::sql_name;

/// 2^12 registers: 4 KiB when full, 32 bytes for a handful of values.
const LG_K: u8 = 12;

/// Three standard deviations of the relative error: 3 * 1.04 / sqrt(4096). Of 1,000 estimates 997 lie within, and every
/// one of up to 200 values is exact.
pub(super) const BOUND: f64 = 0.04875;

/// The function for a session.
pub(super) fn function() -> AggregateUDF {
    sketch_function::<ApproxDistinct>()
}

/// The function under its SQL name.
#[derive(Debug, PartialEq, Eq, Hash)]
struct ApproxDistinct;

impl SketchFunction for ApproxDistinct {
    const NAME: &'static str = "approx_distinct";
    const STATE: &'static str = "hll";
    const IS_NULLABLE: bool = false;

    fn signature() -> Signature {
        Signature::any(1, Volatility::Immutable)
    }

    fn return_type(arguments: &[DataType]) -> Result<DataType> {
        match arguments.first() {
            Some(data_type) if hashed_as(data_type).is_some() => Ok(DataType::Int64),
            Some(other) => plan_err!("'approx_distinct' does not take {}; cast it to VARCHAR", sql_name(other)),
            None => plan_err!("approx_distinct takes one argument"),
        }
    }

    fn accumulators(_arguments: &AccumulatorArgs) -> Result<Box<dyn Accumulators>> {
        Ok(Box::new(SketchGroups::<Hll>::new(())))
    }

    fn default_value(_data_type: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Int64(Some(0)))
    }
}

/// A sketch that takes values, or one that takes sketches: the library has a type for each.
#[derive(Debug)]
enum Hll {
    Direct(HllSketch),
    United(HllUnion),
}

impl Hll {
    fn merge(&mut self, sketch: &HllSketch) -> Result<()> {
        if let Self::Direct(direct) = self {
            let mut union = HllUnion::new(LG_K).map_err(sketch_error)?;
            union.update(direct);
            *self = Self::United(union);
        }
        if let Self::United(union) = self {
            union.update(sketch);
        }
        Ok(())
    }

    fn estimate(&self) -> i64 {
        let estimate = match self {
            Self::Direct(sketch) => sketch.composite_estimate(),
            Self::United(union) => union.composite_estimate(),
        };
        // Finite and far below 2^63 for any registers.
        estimate.round() as i64
    }
}

impl Sketch for Hll {
    type Value = Coupon;
    type Question = ();
    const NAME: &'static str = "distinct-count";

    fn empty() -> Result<Self> {
        Ok(Self::Direct(HllSketch::new(LG_K, HllType::Hll8).map_err(sketch_error)?))
    }

    fn update(&mut self, coupon: Coupon) -> Result<()> {
        match self {
            Self::Direct(sketch) => sketch.update_with_coupon(coupon),
            Self::United(union) => {
                let mut single = HllSketch::new(LG_K, HllType::Hll8).map_err(sketch_error)?;
                single.update_with_coupon(coupon);
                union.update(&single);
            }
        }
        Ok(())
    }

    fn merge_state(merged: &mut Option<Self>, state: &[u8]) -> Result<()> {
        let sketch = deserialize(state)?;
        match merged {
            Some(merged) => merged.merge(&sketch),
            None => merged.insert(Self::empty()?).merge(&sketch),
        }
    }

    fn to_state(&self) -> Vec<u8> {
        match self {
            Self::Direct(sketch) => sketch.serialize(),
            Self::United(union) => union.to_sketch(HllType::Hll8).serialize(),
        }
    }

    fn finish(sketches: &[Option<Self>], (): &()) -> Result<ArrayRef> {
        let estimates = sketches.iter().map(|sketch| sketch.as_ref().map_or(0, Self::estimate));
        Ok(Arc::new(Int64Array::from_iter_values(estimates)))
    }

    fn size_bytes(&self) -> usize {
        size_of::<Self>()
            + match self {
                Self::Direct(sketch) => sketch.estimated_size(),
                Self::United(union) => union.estimated_size(),
            }
    }

    fn for_each(
        array: &ArrayRef,
        opt_filter: Option<&BooleanArray>,
        each: impl FnMut(usize, Coupon) -> Result<()>,
    ) -> Result<()> {
        for_each_coupon(array, opt_filter, each)
    }
}

/// Reads a sketch that may come from anywhere.
fn deserialize(bytes: &[u8]) -> Result<HllSketch> {
    /// Offsets in the published format: the count in list mode, the mode, the registers.
    const COUNT: usize = 6;
    const MODE: usize = 7;
    const REGISTERS: usize = 40;
    let sketch = HllSketch::deserialize(bytes).map_err(sketch_error)?;
    if sketch.lg_config_k() != LG_K || sketch.target_type() != HllType::Hll8 {
        return exec_err!("a distinct-count state has 2^{} registers, not 2^{LG_K}", sketch.lg_config_k());
    }
    let is_sound = match bytes[MODE] & 3 {
        // A list is promoted when it is full; the library expects a free place.
        0 => bytes[COUNT] < 8,
        2 => bytes[REGISTERS..].iter().all(|register| *register < 64),
        _ => true,
    };
    if is_sound { Ok(sketch) } else { exec_err!("a distinct-count state is damaged") }
}

fn sketch_error(error: datasketches::error::Error) -> DataFusionError {
    exec_datafusion_err!("distinct-count state: {error}")
}

/// The type whose bytes are hashed.
fn hashed_as(data_type: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match data_type {
        Boolean
        | Int8
        | Int16
        | Int32
        | Int64
        | UInt8
        | UInt16
        | UInt32
        | Date32
        | Date64
        | Timestamp(_, _)
        | Time32(_)
        | Time64(_)
        | Duration(_) => Int64,
        UInt64 => UInt64,
        Float16 | Float32 | Float64 => Float64,
        Utf8 | LargeUtf8 | Utf8View => Utf8,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        Decimal32(precision, scale) | Decimal64(precision, scale) | Decimal128(precision, scale) => {
            Decimal128(*precision, *scale)
        }
        Dictionary(_, value) => hashed_as(value)?,
        Null => Int64,
        _ => return None,
    })
}

fn for_each_coupon(
    array: &ArrayRef,
    opt_filter: Option<&BooleanArray>,
    mut each: impl FnMut(usize, Coupon) -> Result<()>,
) -> Result<()> {
    let Some(hashed) = hashed_as(array.data_type()) else {
        return exec_err!("approx_distinct does not take {}", array.data_type());
    };
    let array = match array.data_type() {
        DataType::Time32(_) => cast(&cast(array, &DataType::Int32)?, &hashed)?,
        from if *from == hashed => Arc::clone(array),
        _ => cast(array, &hashed)?,
    };
    macro_rules! hash_values {
        ($values:expr, $hash:expr) => {{
            let values = $values;
            for row in (0..values.len()).filter(|row| is_wanted(&array, opt_filter, *row)) {
                each(row, $hash(values.value(row)))?;
            }
        }};
    }
    match hashed {
        DataType::Int64 => hash_values!(array.as_primitive::<Int64Type>(), Coupon::from_value),
        DataType::UInt64 => hash_values!(array.as_primitive::<UInt64Type>(), Coupon::from_value),
        DataType::Float64 => hash_values!(array.as_primitive::<Float64Type>(), |value| {
            Coupon::from_value(canonical_float::from_f64(value))
        }),
        DataType::Utf8 => {
            hash_values!(array.as_string::<i32>(), |value| Coupon::from_value(raw_bytes::from_str(value)))
        }
        DataType::Binary => {
            hash_values!(array.as_binary::<i32>(), |value| Coupon::from_value(raw_bytes::from_slice(value)))
        }
        _ => hash_values!(array.as_primitive::<Decimal128Type>(), |value: i128| {
            Coupon::from_value(raw_bytes::from_slice(&value.to_le_bytes()))
        }),
    }
    Ok(())
}
