//! Operators as functions: what makes a text, or may take long, is wrapped like a function (`values.rs`).
//!
//! Guarantee: the values of the operator itself. Pure.
//! Not here: `~`, which the engine has as a function, too.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Datum, Scalar};
use arrow::compute::kernels::comparison::{ilike, like};
use arrow::compute::kernels::concat_elements::concat_elements_dyn;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use datafusion::common::{ScalarValue, plan_err};
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, Expr, Like, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::expression_cost::{LIKE_NAMES, like_weight};

/// As many wildcards are looked for without a second look at any letter: `x%`, `%x`, `%x%`.
const FEW_WILDCARDS: usize = 2;

/// `||`.
pub(crate) fn join_texts() -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(JoinTexts { signature: two_of_any() }))
}

/// LIKE, or ILIKE.
pub(crate) fn match_like(ignores_case: bool) -> Arc<ScalarUDF> {
    Arc::new(ScalarUDF::new_from_impl(MatchLike { ignores_case, signature: two_of_any() }))
}

/// Whether it may go over a text more than once, or that cannot be told. Of another escape than the usual one the
/// engine says that there is none.
pub(crate) fn is_slow_like(like: &Like) -> bool {
    let is_usual = like.escape_char.is_none_or(|escape| escape == '\\');
    let is_fast = match like.pattern.as_ref() {
        Expr::Literal(pattern, _) => {
            pattern.try_as_str().flatten().is_none_or(|pattern| like_weight(pattern) <= FEW_WILDCARDS)
        }
        _ => false,
    };
    is_usual && !is_fast
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> std::result::Result<BooleanArray, ArrowError>;

fn two_of_any() -> Signature {
    Signature::any(2, Volatility::Immutable)
}

/// The values of an operator on two arguments: one for all rows where both are constants.
fn of_two(
    args: &ScalarFunctionArgs,
    operate: impl FnOnce(&ColumnarValue, &ColumnarValue, usize) -> Result<ArrayRef>,
) -> Result<ColumnarValue> {
    let is_constant = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
    let rows = if is_constant { 1 } else { args.number_rows };
    let values = operate(&args.args[0], &args.args[1], rows)?;
    if is_constant {
        return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
    }
    Ok(ColumnarValue::Array(values))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JoinTexts {
    signature: Signature,
}

impl ScalarUDFImpl for JoinTexts {
    fn name(&self) -> &str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arguments: &[DataType]) -> Result<DataType> {
        match arguments {
            [left, right] if left == right => Ok(left.clone()),
            other => plan_err!("`||` joins two texts, not {other:?}"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        of_two(&args, |left, right, rows| {
            Ok(concat_elements_dyn(left.to_array(rows)?.as_ref(), right.to_array(rows)?.as_ref())?)
        })
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct MatchLike {
    ignores_case: bool,
    signature: Signature,
}

impl ScalarUDFImpl for MatchLike {
    fn name(&self) -> &str {
        LIKE_NAMES[usize::from(self.ignores_case)]
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let matches: Kernel = if self.ignores_case { ilike } else { like };
        of_two(&args, |texts, pattern, rows| {
            let texts = texts.to_array(rows)?;
            let matched = match pattern {
                // Made ready once for all rows.
                ColumnarValue::Scalar(pattern) => matches(&texts, &Scalar::new(pattern.to_array()?))?,
                ColumnarValue::Array(patterns) => matches(&texts, patterns)?,
            };
            Ok(Arc::new(matched))
        })
    }
}
