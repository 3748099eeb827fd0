//! The words of messages and answers.

use arrow::datatypes::{DataType, IntervalUnit, TimeUnit};
use views::{sql_name, utc_micros};

#[test]
fn a_type_has_one_name_of_sql_however_it_is_stored() {
    for (name, stored) in [
        ("VARCHAR", vec![DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View]),
        ("BINARY", vec![DataType::Binary, DataType::LargeBinary, DataType::BinaryView]),
        ("DECIMAL(20,2)", vec![DataType::Decimal128(20, 2), DataType::Decimal256(20, 2)]),
        ("TIMESTAMP", vec![utc_micros(), DataType::Timestamp(TimeUnit::Nanosecond, None)]),
        ("INTERVAL", vec![DataType::Interval(IntervalUnit::MonthDayNano)]),
    ] {
        assert!(stored.iter().all(|stored| sql_name(stored) == name), "{name}");
    }
}
