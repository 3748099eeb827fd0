//! Parameters of a query: `$1` and `$name` in the text, values beside it.
//!
//! In: a plan with placeholders, and JSON values. Out: the constants that go in their place, each of the type that its
//! place asks for.
//! Guarantee: every placeholder has exactly one value and every value a placeholder, or the error names the one that
//! has not. Pure.
//! Why so: values never become part of the text, so they need no quoting, and a text is planned once for all of them.

use std::collections::BTreeMap;

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{ParamValues, ScalarValue};
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::{Expr, LogicalPlan};
use serde::Deserialize;
use serde_json::{Map, Value};
use views::{sql_name, with_article};

use crate::GatewayError;

/// The values of a query: a list for `$1`, `$2` and so on, or an object for `$name`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "`params` must be a list or an object")]
pub enum SqlParams {
    /// By place, from `$1` on.
    List(Vec<Value>),
    /// By name, without the `$`.
    Named(Map<String, Value>),
}

impl Default for SqlParams {
    fn default() -> Self {
        Self::List(Vec::new())
    }
}

impl SqlParams {
    /// Bytes of all texts.
    pub(crate) fn text_bytes(&self) -> usize {
        let text = |value: &Value| value.as_str().map_or(0, str::len);
        match self {
            Self::List(values) => values.iter().map(text).sum(),
            Self::Named(values) => values.values().map(text).sum(),
        }
    }

    /// The values by placeholder, `$` included.
    fn by_placeholder(&self) -> BTreeMap<String, &Value> {
        match self {
            Self::List(values) => (1_usize..).zip(values).map(|(place, value)| (format!("${place}"), value)).collect(),
            Self::Named(values) => values.iter().map(|(name, value)| (format!("${name}"), value)).collect(),
        }
    }
}

/// The placeholders of a plan, `$` included, and the type that their place asks for, where it tells one.
pub(crate) fn placeholders(plan: &LogicalPlan) -> EngineResult<BTreeMap<String, Option<DataType>>> {
    let mut found: BTreeMap<String, Option<DataType>> = BTreeMap::new();
    plan.apply_with_subqueries(|node| {
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                if let Expr::Placeholder(placeholder) = part {
                    let known = found.entry(placeholder.id.clone()).or_default();
                    let told = placeholder.field.as_ref().map(|field| field.data_type().clone());
                    *known = known.take().or(told);
                }
                Ok(TreeNodeRecursion::Continue)
            })
        })
    })?;
    Ok(found)
}

/// The constants that the placeholders of a plan stand for; `None` where it has none.
///
/// # Errors
/// [`GatewayError::BadRequest`], naming the parameter that is missing, or that does not fit.
pub(crate) fn constants(
    placeholders: &BTreeMap<String, Option<DataType>>,
    params: &SqlParams,
) -> Result<Option<ParamValues>, GatewayError> {
    let given = params.by_placeholder();
    if placeholders.contains_key("?") {
        return Err(GatewayError::bad_with_hint(
            "`?` names no parameter",
            "write parameters as $1, $2, ... or as $name",
        ));
    }
    if let Some(extra) = given.keys().find(|name| !placeholders.contains_key(*name)) {
        let known = placeholders.keys().cloned().collect();
        return Err(GatewayError::bad_name(format!("the query has no parameter {extra}"), known));
    }
    if let Some(missing) = placeholders.keys().find(|name| !given.contains_key(*name)) {
        let hint = r#"send values in `params`: a list for $1, $2, ..., or an object like {"name": 1} for $name"#;
        return Err(GatewayError::bad_with_hint(format!("parameter {missing} has no value"), hint));
    }
    if placeholders.is_empty() {
        return Ok(None);
    }
    let of_type = |(name, value): (&String, &&Value)| -> Result<(String, ScalarValue), GatewayError> {
        let data_type = placeholders.get(name).and_then(Option::as_ref);
        Ok((name.trim_start_matches('$').to_owned(), constant(name, value, data_type)?))
    };
    // By name, also those by place: the engine takes either.
    let values = given.iter().map(of_type).collect::<Result<Vec<_>, _>>()?;
    Ok(Some(ParamValues::from(values)))
}

fn constant(name: &str, value: &Value, data_type: Option<&DataType>) -> Result<ScalarValue, GatewayError> {
    let natural = match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(truth) => ScalarValue::Boolean(Some(*truth)),
        Value::String(text) => ScalarValue::Utf8(Some(text.clone())),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => ScalarValue::Int64(Some(whole)),
            (None, Some(float)) => ScalarValue::Float64(Some(float)),
            (None, None) => return Err(unfit(name, value, data_type)),
        },
        Value::Array(_) | Value::Object(_) => {
            let hint = "send a text, a number, true, false or null";
            return Err(GatewayError::bad_with_hint(format!("parameter {name} is a list or an object"), hint));
        }
    };
    match data_type {
        None => Ok(natural),
        Some(data_type) => fit(&natural, value, data_type).ok_or_else(|| unfit(name, value, Some(data_type))),
    }
}

/// The value in the type of its place, where nothing of it is lost. A number with more digits than a decimal has room
/// for is a double, as it would be in the text.
fn fit(natural: &ScalarValue, value: &Value, data_type: &DataType) -> Option<ScalarValue> {
    let is_text = matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    let fitted = match (value, natural) {
        (Value::Bool(_), _) if !is_text && *data_type != DataType::Boolean => None,
        (Value::Number(_), _) if *data_type == DataType::Boolean || data_type.is_temporal() => None,
        // By their digits: a fraction is no whole number, and a decimal takes all of them.
        (Value::Number(number), ScalarValue::Float64(Some(float)))
            if float.fract() != 0.0 || is_text || number.is_u64() =>
        {
            ScalarValue::Utf8(Some(number.to_string())).cast_to(data_type).ok()
        }
        _ => natural.cast_to(data_type).ok(),
    };
    let fitted = fitted.filter(|fitted| !fitted.is_null() || value.is_null())?;
    Some(if keeps_digits(value, &fitted) { fitted } else { natural.clone() })
}

/// Whether a number is the same in the type of its place: a decimal is rounded to its scale without a word.
fn keeps_digits(value: &Value, fitted: &ScalarValue) -> bool {
    let (true, Some(number)) = (fitted.data_type().is_decimal(), value.as_f64()) else { return true };
    match fitted.cast_to(&DataType::Float64) {
        // Either was rounded to a double.
        Ok(ScalarValue::Float64(Some(kept))) => (kept - number).abs() <= number.abs() * 4.0 * f64::EPSILON,
        _ => false,
    }
}

fn unfit(name: &str, value: &Value, data_type: Option<&DataType>) -> GatewayError {
    let wanted = data_type.map_or("a number".to_owned(), |data_type| with_article(&sql_name(data_type)));
    let shown: String = value.to_string().chars().take(64).collect();
    GatewayError::bad(format!("parameter {name} must be {wanted}, and {shown} is none"))
}
