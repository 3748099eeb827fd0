//! Functions that read JSON text: how a column declared JSON is asked, in views and in SQL over them.
//!
//! | function | answers |
//! |---|---|
//! | `json_get_str(json, step, ...)` | VARCHAR: a string, without its quotes and escapes |
//! | `json_get_int(json, step, ...)` | BIGINT: a whole number |
//! | `json_get_float(json, step, ...)` | DOUBLE: any number |
//! | `json_get_bool(json, step, ...)` | BOOLEAN: a truth value |
//! | `json_get_json(json, step, ...)` | VARCHAR: the value of any kind, as it is written |
//! | `json_as_text(json, step, ...)` | VARCHAR: a string as it is, NULL for null, any other value as it is written |
//! | `json_length(json, step, ...)` | BIGINT: how many items an array has, or an object keys |
//! | `json_contains(json, step, ...)` | BOOLEAN: whether there is a value |
//!
//! A step is a key or the place of an item, from 0, or below it from the end.
//! Guarantee: NULL where there is no such value, or one of another kind; never an error, and what a row is answered
//! depends on this row alone. All columns of text are taken: what is not JSON has no values.
//! Not here: finding values (`scan.rs`).
//! Why our own, under the names of the crate `datafusion-functions-json`: that one would bring eight crates, change the
//! features of those below Arrow, and its rules of what counts as a number with any of its versions. States depend on
//! them.

mod scan;
mod text;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::{DataType, Int64Type};
use datafusion::common::{Result, ScalarValue, internal_err, plan_err};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility};

use scan::Step;
pub(crate) use scan::is_value;
pub use text::{append_unescaped, number_prefix};

/// What a function answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Answer {
    Text,
    Whole,
    Number,
    Truth,
    Json,
    AnyText,
    Length,
    Presence,
}

const ANSWERS: [Answer; 8] = [
    Answer::Text,
    Answer::Whole,
    Answer::Number,
    Answer::Truth,
    Answer::Json,
    Answer::AnyText,
    Answer::Length,
    Answer::Presence,
];

/// All of them.
pub(crate) fn functions() -> impl Iterator<Item = ScalarUDF> {
    let function = |answer| JsonFunction { answer, signature: Signature::user_defined(Volatility::Immutable) };
    ANSWERS.into_iter().map(move |answer| ScalarUDF::from(function(answer)))
}

/// Whether a function is one of them.
pub(crate) fn is_json_function(name: &str) -> bool {
    ANSWERS.iter().any(|answer| answer.function() == name)
}

impl Answer {
    fn function(self) -> &'static str {
        match self {
            Self::Text => "json_get_str",
            Self::Whole => "json_get_int",
            Self::Number => "json_get_float",
            Self::Truth => "json_get_bool",
            Self::Json => "json_get_json",
            Self::AnyText => "json_as_text",
            Self::Length => "json_length",
            Self::Presence => "json_contains",
        }
    }

    fn data_type(self) -> DataType {
        match self {
            Self::Text | Self::Json | Self::AnyText => DataType::Utf8,
            Self::Whole | Self::Length => DataType::Int64,
            Self::Number => DataType::Float64,
            Self::Truth | Self::Presence => DataType::Boolean,
        }
    }

    /// `found`: the value of each row, as it is written; `texts`: what it was looked for in.
    fn array(self, found: &[Option<&str>], texts: &StringArray) -> ArrayRef {
        let found = found.iter().copied();
        match self {
            Self::Text => Arc::new(found.map(|value| value.and_then(scan::string)).collect::<StringArray>()),
            Self::Whole => Arc::new(found.map(|value| value.and_then(scan::whole)).collect::<Int64Array>()),
            Self::Number => Arc::new(found.map(|value| value.and_then(scan::number)).collect::<Float64Array>()),
            Self::Truth => Arc::new(found.map(|value| value.and_then(scan::truth)).collect::<BooleanArray>()),
            Self::Json => Arc::new(found.collect::<StringArray>()),
            Self::AnyText => Arc::new(found.map(|value| value.and_then(scan::any_text)).collect::<StringArray>()),
            Self::Length => Arc::new(found.map(|value| value.and_then(scan::length)).collect::<Int64Array>()),
            Self::Presence => {
                let is_there = |(row, value): (usize, Option<&str>)| texts.is_valid(row).then_some(value.is_some());
                Arc::new(found.enumerate().map(is_there).collect::<BooleanArray>())
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonFunction {
    answer: Answer,
    signature: Signature,
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        self.answer.function()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, arguments: &[DataType]) -> Result<Vec<DataType>> {
        let is_text = |data_type: &DataType| data_type.is_string() || *data_type == DataType::Null;
        let takes = match arguments {
            [json, steps @ ..] => is_text(json) && steps.iter().all(|step| is_text(step) || step.is_integer()),
            [] => false,
        };
        if !takes {
            return plan_err!("'{}' takes JSON as text, then keys or places of items", self.name());
        }
        let wanted = |data_type: &DataType| if data_type.is_integer() { DataType::Int64 } else { DataType::Utf8 };
        Ok(arguments.iter().map(wanted).collect())
    }

    fn return_type(&self, _arguments: &[DataType]) -> Result<DataType> {
        Ok(self.answer.data_type())
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_single = arguments.args.iter().all(|argument| matches!(argument, ColumnarValue::Scalar(_)));
        let rows = if is_single { 1 } else { arguments.number_rows };
        let Some((json, steps)) = arguments.args.split_first() else {
            return internal_err!("'{}' got no argument", self.name());
        };
        let json = json.to_array(rows)?;
        let Some(texts) = json.as_string_opt::<i32>() else {
            return internal_err!("'{}' got {}, not text", self.name(), json.data_type());
        };
        let steps = steps.iter().map(Steps::new).collect::<Result<Vec<_>>>()?;
        let mut path = Vec::with_capacity(steps.len());
        let found: Vec<Option<&str>> = (0..rows).map(|row| value_of_row(texts, &steps, row, &mut path)).collect();
        let values = self.answer.array(&found, texts);
        if is_single {
            return ScalarValue::try_from_array(&values, 0).map(ColumnarValue::Scalar);
        }
        Ok(ColumnarValue::Array(values))
    }
}

/// The value of a row; `path` is room for its steps.
fn value_of_row<'t, 's>(
    texts: &'t StringArray,
    steps: &'s [Steps],
    row: usize,
    path: &mut Vec<Step<'s>>,
) -> Option<&'t str> {
    if texts.is_null(row) {
        return None;
    }
    path.clear();
    for step in steps {
        path.push(step.at(row)?);
    }
    scan::find(texts.value(row), path)
}

/// One step of the path, for all rows.
enum Steps {
    Keys(StringArray),
    Places(Int64Array),
    /// One key for every row; `None`: NULL.
    Key(Option<String>),
    /// One place for every row; `None`: NULL.
    Place(Option<i64>),
}

impl Steps {
    fn new(argument: &ColumnarValue) -> Result<Self> {
        let mismatch = || internal_err!("a step into JSON is {}", argument.data_type());
        match argument {
            ColumnarValue::Scalar(ScalarValue::Utf8(key)) => Ok(Self::Key(key.clone())),
            ColumnarValue::Scalar(ScalarValue::Int64(place)) => Ok(Self::Place(*place)),
            ColumnarValue::Scalar(_) => mismatch(),
            ColumnarValue::Array(steps) => {
                match (steps.as_string_opt::<i32>(), steps.as_primitive_opt::<Int64Type>()) {
                    (Some(keys), _) => Ok(Self::Keys(keys.clone())),
                    (_, Some(places)) => Ok(Self::Places(places.clone())),
                    _ => mismatch(),
                }
            }
        }
    }

    fn at(&self, row: usize) -> Option<Step<'_>> {
        match self {
            Self::Keys(keys) => keys.is_valid(row).then(|| Step::Key(keys.value(row))),
            Self::Places(places) => places.is_valid(row).then(|| Step::Place(places.value(row))),
            Self::Key(key) => key.as_deref().map(Step::Key),
            Self::Place(place) => place.map(Step::Place),
        }
    }
}
