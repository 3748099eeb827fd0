//! The coercion table: what each declared type accepts, and what it refuses.

use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, Field, Fields};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use records::decode::reading_of;
use views::{SourceDefinition, Unreadable, as_json, map_of};

use super::{check_rejected, decode_one, error, record, source_with, timestamp};

/// Fails unless column `v` takes each good JSON value as the text beside it, and rejects each bad one by its name.
#[track_caller]
fn check(data_type: &DataType, good: &[(&str, &str)], bad: &[&str]) {
    let source = source_with(vec![Field::new("v", data_type.clone(), true)]);
    for (json, expected) in good {
        let rows = decode_one(&source, format!(r#"{{"time":"2026-01-31T12:00:00Z","v":{json}}}"#));
        assert_eq!(error(&rows, 0), None, "{data_type}: {json}");
        let options = FormatOptions::default().with_null("null");
        let shown = ArrayFormatter::try_new(rows.column(1), &options).unwrap().value(0).to_string();
        assert_eq!(shown, *expected, "{data_type}: {json}");
    }
    for json in bad {
        let payload = format!(r#"{{"time":"2026-01-31T12:00:00Z","v":{json}}}"#);
        check_rejected(&source, payload, &["wrong type: column v"]);
    }
}

#[test]
fn booleans_are_true_or_false() {
    let good = [
        ("true", "true"),
        ("false", "false"),
        ("1", "true"),
        ("0", "false"),
        (r#""true""#, "true"),
        (r#""False""#, "false"),
        (r#""1""#, "true"),
        ("null", "null"),
    ];
    check(&DataType::Boolean, &good, &["2", "-1", "1.0", r#""yes""#, r#""tRuE""#, r#""""#, "[]", "{}"]);
}

#[test]
fn integers_are_digits_in_range() {
    let never = ["1.9", "1e-1", r#""1.5""#, r#"" 1""#, r#""+1""#, r#""0x1""#, "true", "[1]", "{}", r#""""#];
    let good = [
        ("0", "0"),
        ("-0", "0"),
        ("127", "127"),
        ("-128", "-128"),
        ("12.0", "12"),
        ("-1.20e1", "-12"),
        (r#""12""#, "12"),
        (r#""12.00""#, "12"),
        ("null", "null"),
    ];
    check(&DataType::Int8, &good, &[&never[..], &["128", "-129"]].concat());
    check(&DataType::Int16, &[("32767", "32767"), ("-32768", "-32768")], &[&never[..], &["32768", "-32769"]].concat());
    let (least, most) = ("-2147483648", "2147483647");
    check(&DataType::Int32, &[(least, least), (most, most)], &[&never[..], &["2147483648", "-2147483649"]].concat());
    let (least, most) = ("-9223372036854775808", "9223372036854775807");
    let beyond = ["9223372036854775808", "-9223372036854775809", "100000000000000000000000"];
    let exact =
        [(least, least), (most, most), ("9007199254740993.0", "9007199254740993"), ("9.223372036854775807e18", most)];
    check(&DataType::Int64, &exact, &[&never[..], &beyond].concat());
}

#[test]
fn floats_are_rounded_to_the_nearest() {
    let good = [
        ("1", "1.0"),
        ("-0.5", "-0.5"),
        ("1e3", "1000.0"),
        ("2.5E-1", "0.25"),
        ("1e-400", "0.0"),
        (r#""0.304""#, "0.304"),
    ];
    let bad =
        [r#""NaN""#, r#""inf""#, r#""1,5""#, r#"".5""#, r#""+1""#, r#""""#, "true", "[1.5]", "1e400", r#""-1e400""#];
    check(&DataType::Float64, &good, &bad);
    check(
        &DataType::Float64,
        &[("9007199254740993", "9007199254740992.0"), ("123456789.12345678", "123456789.12345678")],
        &[],
    );
    check(&DataType::Float32, &[("16777217", "16777216.0"), ("0.1", "0.1")], &["1e39", r#""1e39""#]);
}

#[test]
fn decimals_are_kept_without_loss_or_refused() {
    let good = [
        ("12.5", "12.50"),
        (r#""12.50""#, "12.50"),
        ("12.500000000000000000000000000000000000000000000", "12.50"),
        ("125e-1", "12.50"),
        ("1.25E+1", "12.50"),
        ("-0.01", "-0.01"),
        ("0", "0.00"),
        ("0e999999", "0.00"),
        ("99999999.99", "99999999.99"),
        ("null", "null"),
    ];
    let bad = [
        "0.001",
        "100000000",
        "1e9",
        "1e2147483647",
        "1e99999999999",
        r#""1,5""#,
        r#"" 1""#,
        r#""""#,
        r#""+1""#,
        r#"".5""#,
        "true",
    ];
    check(&DataType::Decimal128(10, 2), &good, &bad);
    let most = "99999999999999999999999999999999999999";
    check(&DataType::Decimal128(38, 0), &[(most, most)], &["999999999999999999999999999999999999990"]);
}

#[test]
fn texts_are_strings_with_their_escapes_resolved() {
    let good = [
        (r#""""#, ""),
        (r#""plain""#, "plain"),
        (r#""größer \u00e9\t\"q\" \\ \/ \ud83d\ude00""#, "größer é\t\"q\" \\ / 😀"),
        (r#""12345678""#, "12345678"),
        (r#""1234567\u0041""#, "1234567A"),
        ("42", "42"),
        ("-1.50e3", "-1.50e3"),
        ("true", "true"),
        (r#""a\u0000b""#, "a\0b"),
        (r#""a\ud800""#, "a\u{fffd}"),
        (r#""\ude00b""#, "\u{fffd}b"),
        (r#""\ud800\u0041""#, "\u{fffd}A"),
        (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
        ("null", "null"),
    ];
    let bad = ["{}", "[]", "[1]"];
    check(&DataType::Utf8, &good, &bad);
    check(&DataType::Utf8View, &good, &bad);
    check(&DataType::LargeUtf8, &good, &bad);
}

#[test]
fn dates_are_calendar_days() {
    let good = [
        (r#""1970-01-01""#, "1970-01-01"),
        (r#""2024-02-29""#, "2024-02-29"),
        (r#""0001-01-01""#, "0001-01-01"),
        (r#""20240229""#, "2024-02-29"),
        (r#""2026-01-31T00:00:00Z""#, "2026-01-31"),
        (r#""2026-01-31 01:00:00+01:00""#, "2026-01-31"),
        ("20513", "2026-03-01"),
        ("-1", "1969-12-31"),
    ];
    let bad = [
        r#""2023-02-29""#,
        r#""2100-02-29""#,
        r#""2026-1-31""#,
        r#""2026-04-31""#,
        r#""2026-00-01""#,
        r#""2026-01-00""#,
        r#""2026-01-31T00:00:01Z""#,
        r#""2026-01-31T00:00:00+01:00""#,
        "20260131",
        "20513.5",
        r#""20513""#,
        r#""31.01.2026""#,
        r#""""#,
        r#""２０２６-01-31""#,
    ];
    check(&DataType::Date32, &good, &bad);
}

#[test]
fn timestamps_are_taken_in_every_form_that_means_one_instant() {
    let noon = "2026-01-31T12:00:00Z";
    let half = "2026-01-31T12:00:00.500Z";
    let good = [
        (r#""2026-01-31T12:00:00Z""#, noon),
        (r#""2026-01-31t12:00:00z""#, noon),
        (r#""2026-01-31 12:00:00""#, noon),
        (r#""2026-01-31T12:00:00""#, noon),
        (r#""2026-01-31T13:30:00+01:30""#, noon),
        (r#""2026-01-31T13:30:00\u002B01:30""#, noon),
        (r#""2026-01-31T07:00:00-0500""#, noon),
        (r#""2026-01-31T11:59:60Z""#, noon),
        (r#""2026-01-31T12:00Z""#, noon),
        (r#""2026-01-31 12:00""#, noon),
        (r#""2026-01-31T13:00:00+01""#, noon),
        (r#""2026-01-31 17:45:00 +0545""#, noon),
        (r#""2026-01-31T12:00:00 Z""#, noon),
        (r#""2026-01-31 12:00:00 UTC""#, noon),
        (r#""2026-01-31T13:00:00+01:00[Europe/Berlin]""#, noon),
        (r#""2026-01-31 12:00:00 +0000 UTC""#, noon),
        (r#""2026-01-31 13:00:00.000000001 +0100 CET""#, noon),
        (r#""Sat, 31 Jan 2026 07:00:00 -0500 (EST)""#, noon),
        (r#""20260131T120000Z""#, noon),
        (r#""20260131T1200+0000""#, noon),
        (r#""Sat, 31 Jan 2026 12:00:00 GMT""#, noon),
        (r#""31 Jan 2026 13:00:00 +0100""#, noon),
        (r#""2026-01-31T12:00:00,5Z""#, half),
        (r#""2026-01-31T12:00:00.5Z""#, half),
        (r#""2026-01-31""#, "2026-01-31T00:00:00Z"),
        (r#""20260131""#, "2026-01-31T00:00:00Z"),
        (r#""2026-01-31T12:00:00.123456789Z""#, "2026-01-31T12:00:00.123456Z"),
        (r#""1969-12-31T23:59:59.999999Z""#, "1969-12-31T23:59:59.999999Z"),
        (r#""0000-01-01T00:00:00Z""#, "0000-01-01T00:00:00Z"),
        ("null", "null"),
    ];
    let bad = [
        r#""2026-01-31T24:00:00Z""#,
        r#""2026-01-31T12:60:00Z""#,
        r#""2026-01-31T12:00:61Z""#,
        r#""2026-02-30T12:00:00Z""#,
        r#""2026-01-31T12Z""#,
        r#""2026-01-31T12:00:00.Z""#,
        r#""2026-01-31T12:00:00+1""#,
        r#""2026-01-31T12:00:00 CET""#,
        r#""2026-01-31 12:00:00 (CET)""#,
        r#""2026-01-31 12:00:00 UTC CET""#,
        r#""2026-01-31 12:00:00 +0100 cet""#,
        r#""2026-01-31 12:00:00 +0100 (CET""#,
        r#""2026-01-31 12:00:00 +0100 ""#,
        r#""2026-01-31 12:00:00 +0000 UTC m=+0.1""#,
        r#""2026-01-31T12:00:00[Europe/Berlin]""#,
        r#""2026-01-31T12:00:00 ""#,
        r#"" 2026-01-31T12:00:00Z""#,
        r#""Sat, 31 Jan 2026 12:00:00""#,
        r#""Sat, 31 Jam 2026 12:00:00 GMT""#,
        r#""Mon, 32 Jan 2026 12:00:00 GMT""#,
        r#""31.01.2026 12:00""#,
        r#""01/31/2026""#,
        r#""now""#,
        r#""""#,
        r#""2026-01-31T12:00:0é""#,
        "true",
        "{}",
    ];
    check(&timestamp(), &good, &bad);
}

#[test]
fn a_number_is_an_instant_in_the_unit_that_its_size_tells() {
    let noon = "2026-01-31T12:00:00Z";
    let good = [
        ("1769860800", noon),
        ("1769860800000", noon),
        ("1769860800000000", noon),
        ("1769860800000000000", noon),
        (r#""1769860800""#, noon),
        (r#""1769860800000""#, noon),
        (r#""1769860800000000""#, noon),
        (r#""1769860800000000000""#, noon),
        ("1.7698608e9", noon),
        ("1769860800.0", noon),
        ("1769860800.123456789", "2026-01-31T12:00:00.123456Z"),
        (r#""1769860800.5""#, "2026-01-31T12:00:00.500Z"),
        // Ten digits in a string are seconds, whatever else they might be.
        (r#""2026013112""#, "2034-03-15T05:25:12Z"),
        ("1769860800000.25", "2026-01-31T12:00:00.000250Z"),
        ("1769860800000000999", noon),
        ("100000000", "1973-03-03T09:46:40Z"),
        ("9999999999", "2286-11-20T17:46:39Z"),
        ("100000000000", "1973-03-03T09:46:40Z"),
        ("9999999999999.9", "2286-11-20T17:46:39.999900Z"),
        ("-200000000.5", "1963-08-31T04:26:39.500Z"),
    ];
    let bad = [
        "0",
        "1",
        "2026",
        "99999999",
        "20260131",
        "10000000000",
        "20260131120000",
        r#""20260131120000""#,
        "1e30",
        "1769860800000000000000",
    ];
    check(&timestamp(), &good, &bad);
}

#[test]
fn every_day_is_the_day_that_another_library_names() {
    let source = source_with(vec![Field::new("v", DataType::Date32, true)]);
    let mut day = chrono::NaiveDate::from_ymd_opt(1, 1, 1).unwrap();
    let epoch = chrono::NaiveDate::from_ymd_opt(1970, 1, 1).unwrap();
    while day < chrono::NaiveDate::from_ymd_opt(9999, 12, 1).unwrap() {
        let rows = decode_one(&source, format!(r#"{{"time":"2026-01-31T12:00:00Z","v":"{day}"}}"#));
        let days = arrow::array::AsArray::as_primitive::<arrow::datatypes::Date32Type>(rows.column(1)).value(0);
        assert_eq!(i64::from(days), (day - epoch).num_days(), "{day}");
        day = day + chrono::Days::new(97);
    }
}

#[test]
fn structs_and_lists_follow_the_same_rules_inside() {
    let fields = Fields::from(vec![Field::new("a", DataType::Int64, false), Field::new("b", DataType::Utf8, true)]);
    let structure = DataType::Struct(fields);
    check(
        &structure,
        &[(r#"{"a":1,"b":"x","c":[{}]}"#, "{a: 1, b: x}"), (r#"{"a":1}"#, "{a: 1, b: null}"), ("null", "null")],
        &["[]", "1", r#""x""#, r#"{"a":"one"}"#, r#"{"a":1,"b":[]}"#],
    );
    let list = DataType::List(Arc::new(Field::new("element", structure, true)));
    check(
        &list,
        &[
            ("[]", "[]"),
            (r#"[{"a":1},null,{"b":"x","a":2}]"#, "[{a: 1, b: null}, null, {a: 2, b: x}]"),
            ("null", "null"),
        ],
        &["{}", r#""x""#, "[1]", r#"[{"a":1},{"a":true}]"#],
    );
}

#[test]
fn maps_take_objects_of_any_keys() {
    let map = map_of(Field::new("value", DataType::Int64, true));
    let good = [
        ("{}", "{}"),
        (r#"{"b": 1, "a": "2", "": null, "\u0062b": 3.0}"#, "{b: 1, a: 2, : null, bb: 3}"),
        ("null", "null"),
    ];
    check(&map, &good, &["[]", "1", r#""x""#, r#"{"a":[]}"#, r#"{"a":1,"b":"one"}"#]);
    let source = source_with(vec![Field::new("v", map.clone(), true)]);
    let payload = |value: &str| format!(r#"{{"time":"2026-01-31T12:00:00Z","v":{value}}}"#);
    check_rejected(&source, payload(r#"{"a":1,"b":true}"#), &["column v.b is BIGINT, found `true`"]);
    check_rejected(&source, payload(r#"{"a":1,"b":2,"\u0061":1}"#), &["ambiguous: column v.a is given twice"]);
    let many = |last: usize| {
        let keys: Vec<String> = (0..100).chain([last]).map(|key| format!(r#""k{key}":{key}"#)).collect();
        payload(&format!("{{{}}}", keys.join(",")))
    };
    assert_eq!(error(&decode_one(&source, many(100)), 0), None);
    check_rejected(&source, many(50), &["ambiguous: column v.k50 is given twice"]);
    let long = format!(r#"{{"{}":true}}"#, "k".repeat(1000));
    let shown = format!("column v.{} is BIGINT", "k".repeat(60));
    check_rejected(&source, payload(&long), &[shown.as_str()]);

    // Half a map that was read before what was wrong with it leaves nothing behind.
    let payloads = [payload(r#"{"a":1}"#), payload(r#"{"b":2,"c":"x"}"#), payload(r#"{"d":4}"#)];
    let records: Vec<_> = (0..).zip(payloads).map(|(offset, payload)| record(offset, payload)).collect();
    let rows = records::decode::decode(&source, &records).unwrap();
    let shown = ArrayFormatter::try_new(rows.column(1), &FormatOptions::default().with_null("null")).unwrap();
    assert_eq!([0, 1, 2].map(|row| shown.value(row).to_string()), ["{a: 1}", "null", "{d: 4}"]);
    let lenient = SourceDefinition { unreadable: Unreadable::Null, ..source.clone() };
    let rows = records::decode::decode(&lenient, &records).unwrap();
    let shown = ArrayFormatter::try_new(rows.column(1), &FormatOptions::default().with_null("null")).unwrap();
    assert_eq!([0, 1, 2].map(|row| shown.value(row).to_string()), ["{a: 1}", "{b: 2, c: null}", "{d: 4}"]);
}

#[test]
fn json_is_kept_as_it_is_written() {
    let json = |name: &str, is_nullable| as_json(Field::new(name, DataType::Utf8, is_nullable));
    let source = source_with(vec![json("v", true)]);
    let payload = |value: &str| format!(r#"{{"time":"2026-01-31T12:00:00Z","v": {value} }}"#);
    for value in [
        r#"{"b" : 1.0, "a":[ 1,2 ],"b":2, "\u00e9\/": {} }"#,
        "[ ]",
        r#""half \ud800 a pair""#,
        "12.10",
        "-0",
        "1e400",
        "true",
        r#""""#,
    ] {
        let rows = decode_one(&source, payload(value));
        assert_eq!(error(&rows, 0), None, "{value}");
        assert_eq!(rows.column(1).as_string::<i32>().value(0), value);
    }
    assert!(decode_one(&source, payload("null")).column(1).is_null(0));
    assert!(decode_one(&source, r#"{"time":"2026-01-31T12:00:00Z"}"#).column(1).is_null(0));
    for bad in ["{a:1}", "[1,]", "tru", "'x'", "01"] {
        check_rejected(&source, payload(bad), &["bad JSON"]);
    }
    check_rejected(&source, payload(&"[".repeat(70)), &["too deep"]);
    check_rejected(&source_with(vec![json("v", false)]), payload("null"), &["no value: column v"]);

    // Inside, an item or a field is JSON by the same rules, and NULL where it is null.
    let inside = Fields::from(vec![json("doc", true), Field::new("n", DataType::Int64, true)]);
    let list = DataType::List(Arc::new(Field::new("element", DataType::Struct(inside), true)));
    let good =
        (r#"[{"doc": {"a": [1]}, "n": 1}, {"doc": null}]"#, r#"[{doc: {"a": [1]}, n: 1}, {doc: null, n: null}]"#);
    check(&list, &[good], &[]);
}

#[test]
fn json_and_text_are_different_readings_of_one_stored_type() {
    let text = Field::new("v", DataType::Utf8, true);
    let reading = |field: &Field| reading_of(&source_with(vec![field.clone()]));
    assert_ne!(reading(&text), reading(&as_json(text.clone())));
    let list_of = |item: Field| Field::new("v", DataType::List(Arc::new(item.with_name("element"))), true);
    assert_ne!(reading(&list_of(text.clone())), reading(&list_of(as_json(text))), "inside an ARRAY, too");
}

#[test]
fn a_type_that_events_cannot_have_is_a_defect_of_the_definition() {
    let source = source_with(vec![Field::new("v", DataType::Binary, true)]);
    let refused = records::decode::decode(&source, &[]).unwrap_err();
    assert!(refused.to_string().contains("column v has type Binary"), "{refused}");
}
