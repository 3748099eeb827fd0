//! Floating group keys: one zero and one NaN.
//!
//! In: a floating number. Out: the same, 0.0 for -0.0, and one NaN for all.
//! Why so: states are sorted, merged and looked up by the bits of their keys, and in SQL both zeros are equal.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::datatypes::{DataType, Float32Type, Float64Type};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// A floating group key as it is stored.
pub(crate) fn float_key(key: Expr) -> Expr {
    ScalarUDF::from(FloatKey { signature: Signature::user_defined(Volatility::Immutable) }).call(vec![key])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatKey {
    signature: Signature,
}

impl ScalarUDFImpl for FloatKey {
    fn name(&self) -> &'static str {
        "float_key"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        Ok(arguments.to_vec())
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [float] if float.is_floating() => Ok(float.clone()),
            _ => internal_err!("a floating key of {arguments:?}"),
        }
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match arguments.args.as_slice() {
            [ColumnarValue::Array(keys)] => Ok(ColumnarValue::Array(normalised(keys)?)),
            [ColumnarValue::Scalar(key)] => {
                let key = normalised(&key.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&key, 0)?))
            }
            other => internal_err!("a floating key of {} arguments", other.len()),
        }
    }
}

fn normalised(keys: &ArrayRef) -> Result<ArrayRef> {
    // The sum of both zeros is the positive one.
    let one: ArrayRef = match keys.data_type() {
        DataType::Float32 => {
            let plain = |key: f32| if key.is_nan() { f32::NAN } else { key + 0.0 };
            Arc::new(keys.as_primitive::<Float32Type>().unary::<_, Float32Type>(plain))
        }
        DataType::Float64 => {
            let plain = |key: f64| if key.is_nan() { f64::NAN } else { key + 0.0 };
            Arc::new(keys.as_primitive::<Float64Type>().unary::<_, Float64Type>(plain))
        }
        other => return internal_err!("a floating key of type {other}"),
    };
    Ok(one)
}
