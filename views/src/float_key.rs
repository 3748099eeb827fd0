//! Floating group keys, and what else is compared by its bits (`one_zero.rs`): one zero and one NaN.
//!
//! In: a floating number. Out: the same in the one form that aggregates take it in (`aggregate/normal.rs`).
//! Why so: states are sorted, merged and looked up by the bits of their keys, and in SQL both zeros are equal.

use arrow::datatypes::DataType;
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::aggregate::normal;

/// A floating group key as it is stored, under the name of what it is made of.
pub(crate) fn float_key(key: Expr) -> Expr {
    float_key_function().call(vec![key])
}

/// The function itself.
pub(crate) fn float_key_function() -> ScalarUDF {
    ScalarUDF::from(FloatKey { signature: Signature::user_defined(Volatility::Immutable) })
}

/// Whether a function is it.
pub(crate) fn is_float_key(function: &ScalarUDF) -> bool {
    function.inner().is::<FloatKey>()
}

/// What such a key is made of; `None` of any other expression.
pub(crate) fn without_float_key(expr: &Expr) -> Option<&Expr> {
    let Expr::ScalarFunction(call) = expr else { return None };
    call.args.first().filter(|_| is_float_key(&call.func))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct FloatKey {
    signature: Signature,
}

impl ScalarUDFImpl for FloatKey {
    fn name(&self) -> &'static str {
        "float_key"
    }

    /// That of its argument: what stands above names columns by it.
    fn schema_name(&self, arguments: &[Expr]) -> Result<String> {
        Ok(arguments.iter().map(|argument| argument.schema_name().to_string()).collect())
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
            [ColumnarValue::Array(keys)] => Ok(ColumnarValue::Array(normal(keys)?)),
            [ColumnarValue::Scalar(key)] => {
                let key = normal(&key.to_array()?)?;
                Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&key, 0)?))
            }
            other => internal_err!("a floating key of {} arguments", other.len()),
        }
    }
}
