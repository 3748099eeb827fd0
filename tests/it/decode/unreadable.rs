//! Sources that are not strict: which values are NULL, what is rejected all the same, and what is counted.

use std::sync::Arc;

use ::records::decode::{column, decode, event_keys, reading_of};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use views::{SourceDefinition, Unreadable};

use super::{check_rejected, clicks, decode_counting, decode_one, error, record, source_with};

const TIME: &str = r#""time":"2026-01-31T12:00:00Z""#;

fn lenient(source: SourceDefinition) -> SourceDefinition {
    SourceDefinition { unreadable: Unreadable::Null, ..source }
}

/// A source with the columns `time`, `v` of this type, and `w BIGINT`.
fn with_value(data_type: DataType, is_nullable: bool) -> SourceDefinition {
    lenient(source_with(vec![Field::new("v", data_type, is_nullable), Field::new("w", DataType::Int64, true)]))
}

fn shown(rows: &RecordBatch, column: usize, row: usize) -> String {
    let options = FormatOptions::default().with_null("null");
    ArrayFormatter::try_new(rows.column(column), &options).unwrap().value(row).to_string()
}

/// Column `v` takes each JSON value as the text beside it, with so many values lost; what follows it is read.
#[track_caller]
fn check(data_type: &DataType, cases: &[(&str, &str, u64)]) {
    let source = with_value(data_type.clone(), true);
    for (json, expected, lost) in cases {
        let payload = format!(r#"{{{TIME},"v": {json} ,"w":7}}"#);
        let (rows, counts) = decode_counting(&source, &[record(0, payload)]).unwrap();
        assert_eq!(error(&rows, 0), None, "{data_type}: {json}");
        assert_eq!((shown(&rows, 1, 0).as_str(), &*shown(&rows, 2, 0)), (*expected, "7"), "{data_type}: {json}");
        assert_eq!(counts, [0, *lost, 0], "{data_type}: {json}");
    }
}

fn pair() -> DataType {
    DataType::Struct(Fields::from(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, true)]))
}

fn list_of(item: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("element", item, true)))
}

#[test]
fn a_value_that_does_not_fit_is_null_and_what_follows_is_read() {
    let never = ["\"\"", "\"many\"", "1.5", "true", "[1,[2]]", r#"{"a":{"b":1}}"#, "1e99"];
    check(&DataType::Int64, &never.map(|json| (json, "null", 1)));
    check(&DataType::Int64, &[("12", "12", 0), ("null", "null", 0), (r#""12""#, "12", 0)]);
    check(&DataType::Boolean, &[("2", "null", 1), ("1", "true", 0)]);
    check(&DataType::Decimal128(4, 2), &[("0.001", "null", 1)]);
    check(&DataType::Utf8, &[("[]", "null", 1), (r#"{"x":"}"}"#, "null", 1), ("7", "7", 0)]);
    check(&DataType::Date32, &[(r#""2026-02-30""#, "null", 1)]);
}

#[test]
fn the_innermost_that_may_be_null_is() {
    let cases = [
        (r#"{"a":1,"b":[]}"#, "{a: 1, b: null}", 1),
        (r#"{"b":{},"a":1}"#, "{a: 1, b: null}", 1),
        // Nothing of what is taken back is counted, and what it is taken back for counts once.
        (r#"{"b":[],"a":"one"}"#, "null", 1),
        (r#"{"a":"one","b":"x","c":[{}]}"#, "null", 1),
        (r#"{"b":"x"}"#, "null", 1),
        (r#"{"a":null}"#, "null", 1),
        ("[]", "null", 1),
    ];
    check(&pair(), &cases);
    let cases = [
        (r#"[{"a":1},7,{"a":true},{"b":"x"}]"#, "[{a: 1, b: null}, null, null, null]", 3),
        (r#"[[{"a":1}]]"#, "[null]", 1),
        (r#""x""#, "null", 1),
    ];
    check(&list_of(pair()), &cases);
    check(&list_of(DataType::Int64), &[(r#"[1,"x",2.5,null]"#, "[1, null, null, null]", 2)]);
}

#[test]
fn what_must_have_a_value_rejects_the_record() {
    let event = |json: &str| format!(r#"{{{TIME},"v":{json},"w":7}}"#);
    let required = with_value(DataType::Int64, false);
    check_rejected(&required, event(r#""""#), &["wrong type: column v is BIGINT"]);
    check_rejected(&required, event("null"), &["no value: column v is NOT NULL"]);
    check_rejected(&required, format!("{{{TIME}}}"), &["no value: column v is NOT NULL"]);
    let required = with_value(pair(), false);
    check_rejected(&required, event(r#"{"a":"one"}"#), &["wrong type: column v.a is BIGINT"]);
    check_rejected(&required, event(r#"{"b":"x"}"#), &["no value: column v.a is NOT NULL"]);
    let optional = with_value(DataType::Int64, true);
    check_rejected(&optional, r#"{"time":"soon","v":1}"#, &["wrong type: column time is TIMESTAMP", "soon"]);
    check_rejected(&optional, r#"{"time":null,"v":1}"#, &["no event time: column time"]);
}

#[test]
fn what_is_no_json_or_is_given_twice_rejects_the_record() {
    let event = |rest: &str| format!(r#"{{{TIME},{rest}}}"#);
    let source = with_value(DataType::Int64, true);
    for rest in [r#""v":tru"#, r#""v":nul"#, r#""v":[1,]"#, r#""v":{"a":01}"#, r#""v":"\x""#, r#""v":"x" "w":1"#] {
        check_rejected(&source, event(rest), &["bad JSON at byte"]);
    }
    check_rejected(&source, event(r#""v":"x","v":1"#), &["ambiguous: column v is given twice"]);
    check_rejected(&source, event(&format!(r#""v":{}{}"#, "[".repeat(70), "]".repeat(70))), &["too deep"]);
    let broken = r#""v":{"a":"one","b":}"#;
    check_rejected(&with_value(pair(), true), event(broken), &["bad JSON at byte"]);
}

#[test]
fn a_key_in_another_case_gives_null_too() {
    let source = with_value(DataType::Int64, true);
    let payload = format!(r#"{{"V":{{"a":[1]}},{TIME},"w":7}}"#);
    let (rows, counts) = decode_counting(&source, &[record(0, payload)]).unwrap();
    assert_eq!((error(&rows, 0), &*shown(&rows, 1, 0), &*shown(&rows, 2, 0)), (None, "null", "7"));
    assert_eq!(counts, [0, 1, 0]);
}

#[test]
fn values_of_rejected_records_do_not_count_and_neighbours_stay_whole() {
    let source = with_value(list_of(DataType::Int64), true);
    let good = format!(r#"{{{TIME},"v":[1,"x"],"w":"y"}}"#);
    let bad = r#"{"v":["x","y"],"w":"z","time":"soon"}"#.to_owned();
    let records = [record(0, good.clone()), record(1, bad.clone()), record(2, bad), record(3, good)];
    let (rows, counts) = decode_counting(&source, &records).unwrap();
    assert_eq!(counts, [0, 2, 2]);
    for row in [0, 3] {
        assert_eq!((shown(&rows, 1, row), error(&rows, row)), ("[1, null]".to_owned(), None));
    }
    assert!([1, 2].iter().all(|row| error(&rows, *row).is_some() && rows.column(1).is_null(*row)));
    // Where records are rejected instead, nothing counts.
    let strict = SourceDefinition { unreadable: Unreadable::Reject, ..source };
    assert_eq!(decode_counting(&strict, &records).unwrap().1, [0, 0, 0]);
}

#[test]
fn an_event_whose_id_cannot_be_read_has_none() {
    let source = lenient(clicks());
    let rows = decode_one(&source, format!(r#"{{{TIME},"page":"/","id":[1]}}"#));
    assert_eq!((error(&rows, 0), event_keys(&rows).unwrap()[0]), (None, None));
}

/// Rows say by which rules they were read, so that they are read again when the source changes its mind.
#[test]
fn rows_bear_what_they_were_read_by() {
    let (strict, lenient) = (clicks(), lenient(clicks()));
    assert_ne!(reading_of(&strict), reading_of(&lenient));
    for source in [strict, lenient] {
        let rows = decode(&source, &[record(0, format!(r#"{{{TIME},"page":"/","bytes":3}}"#))]).unwrap();
        let stored = rows.column_by_name(column::SCHEMA).unwrap().as_primitive::<Int32Type>().value(0);
        assert_eq!(stored, reading_of(&source));
        assert_eq!(rows.column(3).as_primitive::<Int64Type>().value(0), 3);
    }
}
