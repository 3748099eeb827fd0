//! Values of an answer and of an expectation, as JSON: when they are the same.
//!
//! Guarantee: pure. What is written in two ways and is one value of the column's type is the same: `12.50` and `12.5`
//! of a DECIMAL, an instant with and without its offset, `3` and `3.0` of a number.

use arrow::datatypes::DataType;
use records::decode::instant_of_text;
use serde_json::Value;
use views::AggregateClass;

/// Rounding that floating-point sums in another order may show, relative to the expected value.
pub(super) const ROUNDING: f64 = 1e-9;

/// How far a value may be from what is expected.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Tolerance {
    /// Not at all.
    None,
    /// By this share of the expected value.
    Relative(f64),
    /// By this much.
    Absolute(f64),
}

impl Tolerance {
    /// What the class of a measure guarantees; `asked` takes its place.
    pub fn of(class: AggregateClass, asked: Option<f64>) -> Self {
        match (asked, class) {
            (Some(asked), _) => Self::Absolute(asked),
            (None, AggregateClass::Exact | AggregateClass::Unbounded) => Self::None,
            (None, AggregateClass::Float) => Self::Relative(ROUNDING),
            (None, AggregateClass::Sketch { bound }) => Self::Relative(bound),
        }
    }

    fn allows(self, found: f64, wanted: f64) -> bool {
        let off = (found - wanted).abs();
        match self {
            Self::None => found == wanted,
            Self::Relative(share) => off <= share * wanted.abs(),
            Self::Absolute(most) => off <= most,
        }
    }
}

/// Whether a found value is what is expected.
pub(super) fn is_same(found: &Value, wanted: &Value, data_type: &DataType, tolerance: Tolerance) -> bool {
    if canonical(found, data_type) == canonical(wanted, data_type) {
        return true;
    }
    if tolerance == Tolerance::None {
        return false;
    }
    match (found, wanted) {
        (Value::Array(found), Value::Array(wanted)) => {
            let items = item_type(data_type);
            let is_same = |(found, wanted)| is_same(found, wanted, items, tolerance);
            found.len() == wanted.len() && found.iter().zip(wanted).all(is_same)
        }
        (Value::Object(found), Value::Object(wanted)) => {
            let is_same = |(name, value): (&String, &Value)| {
                let wanted = wanted.get(name);
                wanted.is_some_and(|wanted| is_same(value, wanted, member_type(data_type, name), tolerance))
            };
            found.len() == wanted.len() && found.iter().all(is_same)
        }
        _ => match (number(found, data_type), number(wanted, data_type)) {
            (Some(found), Some(wanted)) => tolerance.allows(found, wanted),
            _ => false,
        },
    }
}

/// One text for all ways to write a value.
pub(super) fn canonical(value: &Value, data_type: &DataType) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Array(items) => {
            let items = items.iter().map(|item| canonical(item, item_type(data_type)));
            format!("[{}]", items.collect::<Vec<_>>().join(","))
        }
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| {
                format!("{name:?}:{}", canonical(value, member_type(data_type, name)))
            };
            let mut members: Vec<String> = members.iter().map(member).collect();
            members.sort_unstable();
            format!("{{{}}}", members.join(","))
        }
        Value::Bool(_) => value.to_string(),
        Value::Number(number) => plain_number(&number.to_string(), data_type),
        Value::String(text) => plain_text(text, data_type),
    }
}

/// Whether a value can stand in an answer's column of this type: among instants only what names one, or NULL.
pub(super) fn may_be(value: &Value, data_type: &DataType) -> bool {
    match (value, data_type) {
        (Value::String(text), DataType::Timestamp(_, _)) => instant_of_text(text).is_some(),
        (value, DataType::Timestamp(_, _)) => value.is_null(),
        _ => true,
    }
}

fn plain_text(text: &str, data_type: &DataType) -> String {
    match data_type {
        DataType::Timestamp(_, _) => instant_of_text(text).map_or_else(|| format!("{text:?}"), |at| at.0.to_string()),
        // Integers that no double holds may be written as texts, as answers write them for such clients.
        _ if data_type.is_numeric() && text.parse::<f64>().is_ok_and(f64::is_finite) => plain_number(text, data_type),
        _ => format!("{text:?}"),
    }
}

fn plain_number(text: &str, data_type: &DataType) -> String {
    // Decimals keep all their digits, and integers beyond 2^53, too.
    let is_floating = data_type.is_floating() || text.contains(['e', 'E']);
    if is_floating && let Ok(number) = text.parse::<f64>() {
        return format!("{number}");
    }
    match text.split_once('.') {
        Some((whole, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() { whole.to_owned() } else { format!("{whole}.{fraction}") }
        }
        None => text.to_owned(),
    }
}

fn number(value: &Value, data_type: &DataType) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if data_type.is_numeric() => text.parse().ok().filter(|number: &f64| number.is_finite()),
        _ => None,
    }
}

fn item_type(data_type: &DataType) -> &DataType {
    match data_type {
        DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => item.data_type(),
        _ => &DataType::Null,
    }
}

fn member_type<'a>(data_type: &'a DataType, name: &str) -> &'a DataType {
    match data_type {
        DataType::Struct(fields) => fields.find(name).map_or(&DataType::Null, |(_, field)| field.data_type()),
        _ => &DataType::Null,
    }
}
