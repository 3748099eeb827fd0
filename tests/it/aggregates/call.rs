//! One call of an aggregate with what it comes to, and the values that oracles are made of.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Float64Type, Int64Type};

use super::oracle::{Value, floats};
use super::rows::Row;

/// A call, and what it comes to.
pub struct Call {
    pub name: &'static str,
    pub sql: &'static str,
    pub answer: fn(&[Row]) -> Value,
}

pub const fn call(name: &'static str, sql: &'static str, answer: fn(&[Row]) -> Value) -> Call {
    Call { name, sql, answer }
}

pub fn xs(rows: &[Row]) -> Vec<f64> {
    floats(rows, |row| row.x)
}

pub fn ns(rows: &[Row]) -> Vec<i128> {
    rows.iter().filter_map(|row| row.n).map(i128::from).collect()
}

pub fn cs(rows: &[Row]) -> Vec<i128> {
    rows.iter().filter_map(|row| row.c).collect()
}

pub fn ds(rows: &[Row]) -> Vec<i128> {
    rows.iter().filter_map(|row| row.d).collect()
}

pub fn bs(rows: &[Row]) -> Vec<bool> {
    rows.iter().filter_map(|row| row.b).collect()
}

pub fn texts(rows: &[Row]) -> Vec<&'static str> {
    rows.iter().filter_map(|row| row.s).collect()
}

pub fn distinct_texts(rows: &[Row]) -> Vec<&'static str> {
    texts(rows).into_iter().collect::<BTreeSet<_>>().into_iter().collect()
}

pub fn number(count: usize) -> Value {
    Value::Int(count as i128)
}

pub fn int(value: Option<i128>) -> Value {
    value.map_or(Value::Null, Value::Int)
}

pub fn exactly(value: Option<f64>) -> Value {
    value.map_or(Value::Null, Value::exactly)
}

pub fn text(value: Option<&str>) -> Value {
    value.map_or(Value::Null, |text| Value::Text(text.to_owned()))
}

pub fn joined(texts: &[&str]) -> Value {
    if texts.is_empty() { Value::Null } else { Value::Text(texts.join(",")) }
}

pub fn list(values: Vec<Value>) -> Value {
    if values.is_empty() { Value::Null } else { Value::List(values) }
}

/// What an answer has in a row.
pub fn value(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Boolean => Value::Bool(column.as_boolean().value(row)),
        DataType::Decimal128(..) => Value::Int(column.as_primitive::<Decimal128Type>().value(row)),
        DataType::Float64 => Value::exactly(column.as_primitive::<Float64Type>().value(row)),
        DataType::Utf8 => Value::Text(column.as_string::<i32>().value(row).to_owned()),
        DataType::List(_) => {
            let values = column.as_list::<i32>().value(row);
            Value::List((0..values.len()).map(|at| value(&values, at)).collect())
        }
        DataType::Struct(_) => Value::List(column.as_struct().columns().iter().map(|part| value(part, row)).collect()),
        _ => Value::Int(cast(column, &DataType::Int64).unwrap().as_primitive::<Int64Type>().value(row).into()),
    }
}
