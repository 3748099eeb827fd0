//! How large the largest row of a batch is. Pure.
//!
//! Guarantee: never less than what a copy of that row takes, but for its few bytes of fixed size.
//! Why so: joins make thousands of rows of one in a batch, each with a copy of its texts.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use crate::expression_cost::{list_lengths, size_of};

/// Bytes that a copy of the largest row takes: the largest value of each column, added up.
pub(crate) fn largest_row(rows: &RecordBatch) -> usize {
    rows.columns().iter().map(|column| largest_value(column.as_ref())).sum()
}

/// Bytes of the largest value.
pub(crate) fn largest_value(values: &dyn Array) -> usize {
    match values.data_type() {
        DataType::Utf8 => largest(&mut values.as_string::<i32>().offsets().lengths()),
        DataType::LargeUtf8 => largest(&mut values.as_string::<i64>().offsets().lengths()),
        DataType::Utf8View => largest(&mut values.as_string_view().iter().flatten().map(str::len)),
        DataType::Binary => largest(&mut values.as_binary::<i32>().offsets().lengths()),
        DataType::LargeBinary => largest(&mut values.as_binary::<i64>().offsets().lengths()),
        DataType::BinaryView => largest(&mut values.as_binary_view().iter().flatten().map(<[u8]>::len)),
        DataType::List(_) => {
            let items = values.as_list::<i32>().values();
            largest(&mut list_lengths(values)).saturating_mul(largest_value(items.as_ref()))
        }
        DataType::LargeList(_) => {
            let items = values.as_list::<i64>().values();
            largest(&mut list_lengths(values)).saturating_mul(largest_value(items.as_ref()))
        }
        DataType::Struct(_) => values.as_struct().columns().iter().map(|column| largest_value(column.as_ref())).sum(),
        DataType::Boolean => 1,
        other => other.primitive_width().unwrap_or_else(|| size_of(values)),
    }
}

fn largest(lengths: &mut dyn Iterator<Item = usize>) -> usize {
    lengths.max().unwrap_or(0)
}
