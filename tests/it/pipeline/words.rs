//! The words of messages and answers.

use arrow::datatypes::{DataType, Field, IntervalUnit, TimeUnit};
use views::{did_you_mean, map_of, sql_name, utc_micros, with_article};

#[test]
fn a_type_has_one_name_of_sql_however_it_is_stored() {
    for (name, stored) in [
        ("VARCHAR", vec![DataType::Utf8, DataType::LargeUtf8, DataType::Utf8View]),
        ("BINARY", vec![DataType::Binary, DataType::LargeBinary, DataType::BinaryView]),
        ("DECIMAL(20,2)", vec![DataType::Decimal128(20, 2), DataType::Decimal256(20, 2)]),
        ("TIMESTAMP", vec![utc_micros(), DataType::Timestamp(TimeUnit::Nanosecond, None)]),
        ("MAP", vec![map_of(Field::new("value", DataType::Int64, true))]),
        ("INTERVAL", vec![DataType::Interval(IntervalUnit::MonthDayNano)]),
    ] {
        assert!(stored.iter().all(|stored| sql_name(stored) == name), "{name}");
    }
}

#[test]
fn a_noun_has_the_article_that_it_is_read_with() {
    for expected in ["a BIGINT", "a string", "an ARRAY", "an INT", "an integer"] {
        let (_, noun) = expected.split_once(' ').unwrap();
        assert_eq!(with_article(noun), expected);
    }
}

#[test]
fn what_is_proposed_for_a_short_name_is_a_letter_apart() {
    for (unknown, proposed) in [("mode", None), ("lpad", None), ("cout", Some("count")), ("mdd", Some("md5"))] {
        let hint = did_you_mean(unknown, &["md5", "uuid", "count", "lower"]);
        assert_eq!(hint, proposed.map(|name| format!("did you mean `{name}`?")), "{unknown}");
    }
}
