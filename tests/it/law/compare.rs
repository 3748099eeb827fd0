//! Comparing answers, by the class of each measure.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{DataType, Float64Type, TimeUnit};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use views::{AggregateClass, ViewDefinition};

/// Rows by their keys, as text.
fn rows(batches: &[RecordBatch], keys: usize) -> BTreeMap<String, Vec<ScalarValue>> {
    let Some(first) = batches.first() else { return BTreeMap::new() };
    let batch = concat_batches(&first.schema(), batches).unwrap();
    let micros = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
    let value = |column: &ArrayRef, row| ScalarValue::try_from_array(column, row).unwrap();
    (0..batch.num_rows())
        .map(|row| {
            let key = |column: &ArrayRef| match column.data_type() {
                // The engine's own date_bin answers in nanoseconds.
                DataType::Timestamp(_, _) => value(&cast(column, &micros).unwrap(), row).to_string(),
                _ => value(column, row).to_string(),
            };
            let key: Vec<String> = batch.columns()[..keys].iter().map(key).collect();
            (key.join("|"), batch.columns()[keys..].iter().map(|column| value(column, row)).collect())
        })
        .collect()
}

/// Fails with the measure, the group and both values where a merged answer is not the direct one.
///
/// For a sketch `direct` is the exact list of values (a percentile, with its rank) or their exact number.
pub fn assert_same(view: &ViewDefinition, keys: usize, merged: &[RecordBatch], direct: &[RecordBatch], case: &str) {
    let (merged, direct) = (rows(merged, keys), rows(direct, keys));
    let groups: (Vec<_>, Vec<_>) = (merged.keys().collect(), direct.keys().collect());
    assert_eq!(groups.0, groups.1, "{case}: other groups");
    for (group, found) in &merged {
        for ((measure, found), wanted) in view.measures.iter().zip(found).zip(&direct[group]) {
            let is_same = match measure.class {
                AggregateClass::Exact | AggregateClass::Unbounded if !is_float(found) => same_value(found, wanted),
                AggregateClass::Sketch { bound } if measure.name.starts_with('p') => {
                    is_percentile(&measure.name, found, wanted, bound)
                }
                AggregateClass::Sketch { bound } => is_near_count(found, wanted, bound),
                _ => is_near(found, wanted),
            };
            assert!(is_same, "{case}: {} in group {group}: merged {found}, direct {wanted}", measure.name);
        }
    }
}

/// Fails where two answers that were computed in two ways of the same events differ: bit for bit, floating-point
/// numbers up to rounding, or (without `has_floats`) not at all. Few events, so sketches are exact.
pub fn assert_equal(
    view: &ViewDefinition,
    keys: usize,
    one: &[RecordBatch],
    other: &[RecordBatch],
    has_floats: bool,
    case: &str,
) {
    let (one, other) = (rows(one, keys), rows(other, keys));
    assert_eq!(one.keys().collect::<Vec<_>>(), other.keys().collect::<Vec<_>>(), "{case}: other groups");
    for (group, found) in &one {
        for ((measure, found), wanted) in view.measures.iter().zip(found).zip(&other[group]) {
            let is_same = match is_float(found) {
                true => !has_floats || is_near(found, wanted),
                false => found == wanted,
            };
            assert!(is_same, "{case}: {} in group {group}: {found} and {wanted}", measure.name);
        }
    }
}

/// Bit for bit, whatever the width of text and integers.
fn same_value(found: &ScalarValue, wanted: &ScalarValue) -> bool {
    let wanted = cast(&wanted.to_array().unwrap(), &found.data_type()).unwrap();
    found.eq_array(&wanted, 0).unwrap()
}

fn is_float(value: &ScalarValue) -> bool {
    value.data_type().is_floating()
}

fn number(value: &ScalarValue) -> Option<f64> {
    let number = cast(&value.to_array().unwrap(), &DataType::Float64).unwrap();
    let number = number.as_primitive::<Float64Type>();
    number.is_valid(0).then(|| number.value(0))
}

/// Equal up to the rounding of sums in another order: values reach 10^3, or 2^63 where integers are averaged.
fn is_near(found: &ScalarValue, wanted: &ScalarValue) -> bool {
    match (number(found), number(wanted)) {
        (None, None) => true,
        (Some(found), Some(wanted)) => {
            let both_nan = found.is_nan() && wanted.is_nan();
            both_nan || (found - wanted).abs() <= 1e-9 * wanted.abs().max(1e3)
        }
        _ => false,
    }
}

/// Four standard deviations, of which the bound is three: thousands of groups are compared.
fn is_near_count(found: &ScalarValue, wanted: &ScalarValue, bound: f64) -> bool {
    let (found, wanted) = (number(found).unwrap(), number(wanted).unwrap());
    (found - wanted).abs() <= 4.0 / 3.0 * bound * wanted
}

/// `p90_x` against the sorted list of all values: the rank may be off by the bound.
fn is_percentile(name: &str, found: &ScalarValue, wanted: &ScalarValue, bound: f64) -> bool {
    let percentile = name[1..3].parse::<f64>().unwrap() / 100.0;
    let ScalarValue::List(list) = wanted else { panic!("the direct answer of {name} is a list") };
    let values = list.is_valid(0).then(|| list.value(0)).map(|values| cast(&values, &DataType::Float64).unwrap());
    let values: Vec<f64> =
        values.map_or(vec![], |values| values.as_primitive::<Float64Type>().iter().flatten().collect());
    let Some(found) = number(found) else { return values.is_empty() };
    let count = values.len() as f64;
    let below = values.iter().filter(|value| **value < found).count() as f64 / count;
    let up_to = values.iter().filter(|value| **value <= found).count() as f64 / count;
    let slack = if values.len() <= 200 { 1e-9 } else { 3.0 * bound };
    below <= percentile + slack && up_to >= percentile - slack
}
