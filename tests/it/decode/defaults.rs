//! DEFAULT: what a missing key stands for, and nothing else does.

use std::collections::BTreeMap;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use records::decode::{decode, reading_of};
use views::{Pipeline, SourceDefinition, Unreadable, with_default};

use super::{check_rejected, decode_counting, decode_one, error, record, source_with};

fn source(columns: &str) -> SourceDefinition {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE s (time TIMESTAMP NOT NULL, {columns}) STORED AS JSON LOCATION 'kafka://s'
         OPTIONS (event_time 'time', strict 'true')"
    );
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    pipeline.sources[0].as_ref().clone()
}

/// An event with these keys beside its time.
fn event(keys: &str) -> String {
    let comma = if keys.is_empty() { "" } else { "," };
    format!(r#"{{"time":"2026-01-31T12:00:00Z"{comma}{keys}}}"#)
}

fn shown(rows: &RecordBatch, column: usize) -> String {
    assert_eq!(error(rows, 0), None);
    let options = FormatOptions::default().with_null("null");
    ArrayFormatter::try_new(rows.column(column), &options).unwrap().value(0).to_string()
}

/// What the pipeline file takes for a DEFAULT, decoding takes for a value.
#[test]
fn every_type_has_its_constants() {
    for (declared, expected) in [
        ("BOOLEAN DEFAULT TRUE", "true"),
        ("SMALLINT DEFAULT -32768", "-32768"),
        ("INT DEFAULT (7)", "7"),
        ("BIGINT DEFAULT 9223372036854775807", "9223372036854775807"),
        ("FLOAT DEFAULT 0.5", "0.5"),
        ("DOUBLE DEFAULT -1e3", "-1000.0"),
        ("DECIMAL(6, 2) DEFAULT 1234.50", "1234.50"),
        ("DECIMAL(6, 2) DEFAULT -0.5", "-0.50"),
        ("VARCHAR DEFAULT ''", ""),
        ("VARCHAR DEFAULT 'it''s \"q\" \\ \n\u{e9}'", "it's \"q\" \\ \n\u{e9}"),
        ("VARCHAR DEFAULT 'null'", "null"),
        ("DATE DEFAULT '2024-02-29'", "2024-02-29"),
        ("DATE DEFAULT DATE '0001-01-01'", "0001-01-01"),
        ("TIMESTAMP DEFAULT '2026-01-31'", "2026-01-31T00:00:00Z"),
        ("TIMESTAMP DEFAULT '2026-01-31T12:00:00.25Z'", "2026-01-31T12:00:00.250Z"),
        ("TIMESTAMP DEFAULT TIMESTAMP '2026-01-31 13:30+01:30'", "2026-01-31T12:00:00Z"),
        ("TIMESTAMP DEFAULT '2026-01-31T07:00:00-05:00'", "2026-01-31T12:00:00Z"),
        ("JSON DEFAULT '{\"a\": [1, null]}'", "{\"a\": [1, null]}"),
        ("JSON DEFAULT 12.10", "12.10"),
        ("JSON DEFAULT FALSE", "false"),
        ("BIGINT DEFAULT NULL", "null"),
    ] {
        let nullable = source(&format!("v {declared}"));
        assert_eq!(shown(&decode_one(&nullable, event("")), 1), expected, "{declared}");
        if expected != "null" || declared.starts_with("VARCHAR") {
            let required = source(&format!("v {declared} NOT NULL"));
            assert_eq!(shown(&decode_one(&required, event("")), 1), expected, "{declared} NOT NULL");
            let required = source(&format!("v {} ", declared.replacen(" DEFAULT", " NOT NULL DEFAULT", 1)));
            assert_eq!(shown(&decode_one(&required, event("")), 1), expected, "NOT NULL {declared}");
        }
    }
}

#[test]
fn only_a_missing_key_is_filled_in() {
    let nullable = source("v BIGINT DEFAULT 7");
    assert_eq!(shown(&decode_one(&nullable, event("")), 1), "7");
    assert_eq!(shown(&decode_one(&nullable, event(r#""v":null"#)), 1), "null", "a null was given");
    assert_eq!(shown(&decode_one(&nullable, event(r#""v":1"#)), 1), "1");
    assert_eq!(shown(&decode_one(&nullable, event(r#""V":1"#)), 1), "1", "the only key that differs in case");
    assert_eq!(shown(&decode_one(&source("v BIGINT DEFAULT 7, w INT"), event(r#""w":1"#)), 1), "7");
    check_rejected(&nullable, event(r#""v":"many""#), &["wrong type: column v"]);
    check_rejected(&nullable, event(r#""v":1,"v":2"#), &["ambiguous: column v"]);
    check_rejected(&source("v BIGINT NOT NULL DEFAULT 7"), event(r#""v":null"#), &["no value: column v"]);
}

#[test]
fn a_value_that_cannot_be_read_is_null_and_not_the_default() {
    let mut lenient = source("v BIGINT DEFAULT 7");
    lenient.unreadable = Unreadable::Null;
    let records = [record(0, event(r#""v":"many""#)), record(1, event(""))];
    let (rows, lost) = decode_counting(&lenient, &records).unwrap();
    let values = rows.column(1).as_primitive::<Int64Type>();
    assert_eq!(values.iter().collect::<Vec<_>>(), [None, Some(7)]);
    assert_eq!(lost, [0, 1]);
}

/// A rejected row between two that are filled in takes nothing of them with it.
#[test]
fn rows_that_are_taken_back_leave_defaults_alone() {
    let source = source("a VARCHAR DEFAULT 'none', b BIGINT NOT NULL");
    let payloads = [r#""b":1"#, r#""b":"x""#, "", r#""a":"","b":2"#].map(event);
    let records: Vec<_> = (0..).zip(payloads).map(|(offset, payload)| record(offset, payload)).collect();
    let rows = decode(&source, &records).unwrap();
    let texts = rows.column(1).as_string::<i32>();
    assert_eq!(texts.iter().collect::<Vec<_>>(), [Some("none"), None, None, Some("")]);
}

#[test]
fn a_default_is_part_of_the_reading() {
    let readings = ["v BIGINT", "v BIGINT DEFAULT 1", "v BIGINT DEFAULT 2"].map(|columns| reading_of(&source(columns)));
    assert!(readings[0] != readings[1] && readings[1] != readings[2] && readings[0] != readings[2], "{readings:?}");
    assert_eq!(readings[0], reading_of(&source("v BIGINT DEFAULT NULL")), "which says what is so anyway");
}

#[test]
fn a_default_that_its_column_cannot_take_is_a_defect_of_the_definition() {
    for unreadable in [Unreadable::Reject, Unreadable::Null] {
        let field = with_default(Field::new("v", DataType::Int64, true), r#""many""#);
        let source = SourceDefinition { unreadable, ..source_with(vec![field]) };
        let refused = decode(&source, &[]).unwrap_err().to_string();
        assert!(refused.contains(r#"the default "many" of column v: wrong type"#), "{refused}");
    }
}
