//! Types and instants in the words of a pipeline file, for messages and answers.
//!
//! Guarantee: pure; a type that SQL has a word for gets that one, however the engine stores it. A type that the engine
//! alone knows keeps its name there.

use arrow::datatypes::{DataType, Field};

use crate::declared::is_json;

/// How messages of the engine name types, the longer names first, and how a pipeline file does.
const WORDS: [(&str, &str); 20] = [
    ("Timestamp(µs, \"UTC\")", "TIMESTAMP"),
    ("Timestamp(ns, \"UTC\")", "TIMESTAMP"),
    ("Timestamp(ns)", "TIMESTAMP"),
    ("Timestamp(µs)", "TIMESTAMP"),
    ("Interval(MonthDayNano)", "INTERVAL"),
    ("Int64Array", "BIGINT"),
    ("Int32Array", "INT"),
    (", field: 'element'", ""),
    ("LargeUtf8", "VARCHAR"),
    ("Utf8View", "VARCHAR"),
    ("Utf8", "VARCHAR"),
    ("UInt64", "BIGINT"),
    ("Int64", "BIGINT"),
    ("Int32", "INT"),
    ("Float64", "DOUBLE"),
    ("Date32", "DATE"),
    ("Decimal128", "DECIMAL"),
    ("Decimal256", "DECIMAL"),
    ("List(", "ARRAY("),
    ("Struct(", "STRUCT("),
];

/// What is wrong with a time of a time zone that the engine cannot take for an instant.
pub const NO_INSTANT: &str = "clocks of the time zone show a time twice or not at all";
/// The way out of [`NO_INSTANT`].
pub const AS_INSTANT: &str =
    "write the instant in UTC and without AT TIME ZONE, as in `TIMESTAMP '2026-01-31T12:00:00Z'`";

/// A message of the engine with the names of types in the words of a pipeline file.
pub fn in_sql_words(message: &str) -> String {
    WORDS.iter().fold(message.to_owned(), |text, (engine, sql)| text.replace(engine, sql))
}

/// The name of the type that a column was declared with.
pub fn declared_name(field: &Field) -> String {
    if is_json(field) { "JSON".to_owned() } else { sql_name(field.data_type()) }
}

/// The name of a type in the words of a pipeline file.
pub fn sql_name(data_type: &DataType) -> String {
    match data_type {
        DataType::Boolean => "BOOLEAN".to_owned(),
        DataType::Int8 => "TINYINT".to_owned(),
        DataType::Int16 => "SMALLINT".to_owned(),
        DataType::Int32 => "INT".to_owned(),
        DataType::Int64 => "BIGINT".to_owned(),
        DataType::Float32 => "FLOAT".to_owned(),
        DataType::Float64 => "DOUBLE".to_owned(),
        DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
            format!("DECIMAL({precision},{scale})")
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "VARCHAR".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "BINARY".to_owned(),
        DataType::Date32 => "DATE".to_owned(),
        DataType::Timestamp(..) => "TIMESTAMP".to_owned(),
        DataType::Interval(_) => "INTERVAL".to_owned(),
        DataType::Struct(_) => "STRUCT".to_owned(),
        DataType::List(_) => "ARRAY".to_owned(),
        DataType::Map(..) => "MAP".to_owned(),
        other => other.to_string(),
    }
}
