//! What is checked of a whole record, what it is known by, and what the layers ask of a batch.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, TimestampMicrosecondType};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches;
use bytes::Bytes;
use event_log::Record;
use positions::{Counters, EventKey, TimestampMicros, event_key};
use records::decode::{
    MAX_DEPTH, MAX_PAYLOAD_BYTES, RowClass, classes, column, decode, event_ids, event_keys, late_events, marks,
    master_schema, reading_of,
};

use super::{NOW, check_rejected, clicks, decode_one, error, record, source_with};

const GOOD: &str = r#"{"time":"2026-01-31T11:59:30Z","id":"a1","page":"/","bytes":7,"geo":{"country":"de","zip":null},"tags":["x",null]}"#;

fn nested(levels: usize) -> String {
    let lists = levels - 1;
    format!(r#"{{"time":"2026-01-31T12:00:00Z","page":"/","more":{}{}}}"#, "[".repeat(lists), "]".repeat(lists))
}

#[test]
fn each_record_gives_one_row_of_the_master_schema() {
    let source = clicks();
    let rows = decode(&source, &[record(7, GOOD), record(8, "{"), record(9, "")]).unwrap();
    assert_eq!(rows.schema(), master_schema(&source));
    let shown = rows.project(&[2, 3, 4, 5, 6, 7, 8, 10]).unwrap();
    let expected = "\
+------+-------+----------------------+-------+------------+---------+----------------------+------------------------------------------------------------+
| page | bytes | geo                  | tags  | _partition | _offset | _timestamp           | _error                                                     |
+------+-------+----------------------+-------+------------+---------+----------------------+------------------------------------------------------------+
| /    | 7     | {country: de, zip: } | [x, ] | 0          | 7       | 2026-01-31T12:00:00Z |                                                            |
|      |       |                      |       | 0          | 8       | 2026-01-31T12:00:00Z | bad JSON at byte 1: the text ends too early, found nothing |
|      |       |                      |       | 0          | 9       | 2026-01-31T12:00:00Z | empty payload                                              |
+------+-------+----------------------+-------+------------+---------+----------------------+------------------------------------------------------------+";
    assert_eq!(pretty_format_batches(&[shown]).unwrap().to_string(), expected);
    assert_eq!(decode(&source, &[]).unwrap().schema(), master_schema(&source));
}

#[test]
fn payload_timestamp_and_version_are_kept_of_every_record() {
    let rows = decode(&clicks(), &[record(7, GOOD), record(8, &b"\xff\x00"[..])]).unwrap();
    let payloads = rows.column_by_name(column::PAYLOAD).unwrap().as_binary::<i32>();
    assert_eq!((payloads.value(0), payloads.value(1)), (GOOD.as_bytes(), &b"\xff\x00"[..]));
    let versions = rows.column_by_name(column::SCHEMA).unwrap();
    assert_eq!(versions.as_primitive::<arrow::datatypes::Int32Type>().values(), &[reading_of(&clicks()); 2]);
    let late = rows.column_by_name(column::LATE).unwrap();
    assert!(late.is_valid(0) && late.is_null(1));
}

#[test]
fn what_is_not_one_json_object_is_bad_json() {
    let bad = [
        "{",
        "}",
        "[]",
        "1",
        "null",
        "\"x\"",
        "{}{}",
        "{} x",
        "{,}",
        "{\"a\":1,}",
        "{\"a\"}",
        "{\"a\":}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1e}",
        "{\"a\":-}",
        "{\"a\":NaN}",
        "{\"a\":tru}",
        "{\"a\":nul}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\u12",
        "{\"a\":\"x",
        "{\"a\":\"\u{1}\"}",
        "{\"a\":\"\n\"}",
        "{\"a\":[1,]}",
        "{\"a\":[1 2]}",
        "{\"a\":[}",
        "{}\u{feff}",
        "  ",
        "{\"a\":1}\0",
        "{\"page\":tru}",
        "{\"bytes\":1.}",
    ];
    let columns = [("page", DataType::Utf8), ("bytes", DataType::Int64)];
    let lenient = source_with(columns.map(|(name, data_type)| Field::new(name, data_type, true)).to_vec());
    for payload in bad {
        check_rejected(&lenient, payload, &["bad JSON at byte"]);
    }
    check_rejected(&clicks(), &b"{\"a\":\"\xff\"}"[..], &["bad JSON at byte 6: not UTF-8"]);
    check_rejected(&clicks(), "", &["empty payload"]);
    check_rejected(&clicks(), r#"{"page": broken here}"#, &["byte 9", "`broken here}`"]);
}

#[test]
fn reasons_name_the_column_inside_and_quote_no_more_than_a_line() {
    let source = clicks();
    let event = |rest: &str| format!(r#"{{"time":"2026-01-31T12:00:00Z",{rest}}}"#);
    check_rejected(&source, event(r#""page":"/","bytes":"12x""#), &["column bytes is BIGINT", r#"`"12x"`"#]);
    check_rejected(&source, event(r#""page":"/","bytes":"""#), &["column bytes is BIGINT", "no value is null"]);
    check_rejected(&source, event(r#""page":"/","geo":{"country":[7]}"#), &["column geo.country is VARCHAR", "`[7]`"]);
    check_rejected(&source, event(r#""page":"/","tags":["a",["b"]]"#), &["column tags[1] is VARCHAR", r#"`["b"]`"#]);
    check_rejected(&source, event(r#""page":"/","geo":{"zip":1}"#), &["no value: column geo.country is NOT NULL"]);
    check_rejected(&source, event(r#""page":"/","geo":{"country":null}"#), &["no value: column geo.country"]);
    check_rejected(&source, event(r#""page":null"#), &["no value: column page is NOT NULL"]);
    check_rejected(&source, event(r#""bytes":1"#), &["no value: column page is NOT NULL"]);
    let long = "x".repeat(10_000);
    let rows = decode_one(&source, event(&format!(r#""page":"/","bytes":"{long}""#)));
    assert!(error(&rows, 0).unwrap().len() < 150);
}

#[test]
fn a_declared_column_given_twice_is_ambiguous_and_an_unknown_key_is_not() {
    let source = clicks();
    check_rejected(&source, r#"{"time":"2026-01-31T12:00:00Z","page":"a","page":"a"}"#, &["ambiguous: column page"]);
    check_rejected(&source, r#"{"page":"a","p\u0061ge":"b"}"#, &["ambiguous: column page"]);
    check_rejected(&source, r#"{"page":"a","geo":{"country":"a","country":"b"}}"#, &["ambiguous: column geo.country"]);
    let fine = r#"{"x":1,"x":{"x":[1e999,"\ud800"]},"Page":1,"time":"2026-01-31T12:00:00Z","page":"a","pag":2}"#;
    assert_eq!(error(&decode_one(&source, fine), 0), None);
}

#[test]
fn a_column_takes_the_only_key_that_differs_in_case_and_its_own_first() {
    let fields = Fields::from(vec![Field::new("zipcode", DataType::Int64, true)]);
    let columns = [("userid", DataType::Utf8, true), ("page", DataType::Utf8, false)];
    let columns = columns.map(|(name, data_type, is_nullable)| Field::new(name, data_type, is_nullable));
    let geo = Field::new("geo", DataType::Struct(fields), true);
    let source = source_with(columns.into_iter().chain([geo]).collect());
    let event = |rest: &str| format!(r#"{{"Time":"2026-01-31T12:00:00Z","PAGE":"p",{rest}}}"#);
    let check = |rest: &str, expected: &str| {
        let rows = decode_one(&source, event(rest));
        assert_eq!(error(&rows, 0), None, "{rest}");
        let shown = |column: usize| ArrayFormatter::try_new(rows.column(column), &FormatOptions::default()).unwrap();
        let shown = [1, 2, 3].map(|column| shown(column).value(0).to_string()).join(" ");
        assert_eq!(shown, expected, "{rest}");
    };
    check(r#""userId":"u1""#, "u1 p ");
    check(r#""userId":"u1","userid":"u2""#, "u2 p ");
    check(r#""userid":"u2","userId":"u1""#, "u2 p ");
    check(r#""userid":null,"userId":"u1""#, " p ");
    check(r#""user\u0049d":"u1","user_id":"u3""#, "u1 p ");
    check(
        r#""GEO":{"deep":[{}],"zipCode":7,"x":{}},"UserId":{"a":1}"#.replace(r#"{"a":1}"#, "5").as_str(),
        "5 p {zipcode: 7}",
    );
    // Of two nobody can say which was meant.
    check(r#""userId":"u1","USERID":"u2""#, " p ");
    check_rejected(&source, event(r#""userId":[1]"#), &["column userid is VARCHAR", "`[1]`"]);
    check_rejected(&source, event(r#""geo":{"zipCode":"x"}"#), &["column geo.zipcode is BIGINT"]);
    check_rejected(&source, event(r#""Page":"q""#), &["no value: column page"]);
}

#[test]
fn a_byte_order_mark_is_skipped() {
    assert_eq!(error(&decode_one(&clicks(), format!("\u{feff}{GOOD}")), 0), None);
    check_rejected(&clicks(), "\u{feff}[]", &["bad JSON at byte 5: expected an event in the array"]);
}

#[test]
fn size_and_depth_have_limits() {
    let source = clicks();
    assert_eq!(error(&decode_one(&source, nested(MAX_DEPTH)), 0), None);
    check_rejected(&source, nested(MAX_DEPTH + 1), &["too deep"]);
    check_rejected(&source, "[".repeat(500_000), &["bad JSON"]);
    check_rejected(&source, nested(400_000), &["too deep"]);
    let padded = |bytes: usize| format!("{GOOD}{}", " ".repeat(bytes - GOOD.len()));
    assert_eq!(error(&decode_one(&source, padded(MAX_PAYLOAD_BYTES)), 0), None);
    check_rejected(&source, padded(MAX_PAYLOAD_BYTES + 1), &["too large: 1048577 bytes"]);
}

#[test]
fn event_time_must_be_there_and_not_far_ahead_of_the_record() {
    let source = clicks();
    let at = |time: &str| format!(r#"{{"page":"/","time":{time}}}"#);
    check_rejected(&source, at("null"), &["no event time: column time"]);
    check_rejected(&source, r#"{"page":"/"}"#, &["no event time: column time"]);
    assert_eq!(error(&decode_one(&source, at(r#""2026-01-31T12:10:00Z""#)), 0), None);
    check_rejected(&source, at(r#""2026-01-31T12:10:00.000001Z""#), &["too far in the future", "600.000001s"]);
    assert_eq!(error(&decode_one(&source, at(r#""0000-01-01T00:00:00Z""#)), 0), None);
    // A record's timestamp that is no clock's says nothing: none, -1, a millisecond, seconds for milliseconds (in
    // microseconds here), or nanoseconds for microseconds.
    for timestamp in [0, -1, 1_000, NOW / 1_000, NOW * 1_000] {
        let late = Record { timestamp: TimestampMicros(timestamp), ..record(0, at(r#""2026-01-31T12:10:01Z""#)) };
        assert_eq!(error(&decode(&source, &[late]).unwrap(), 0), None, "{timestamp}");
    }
}

#[test]
fn late_is_older_than_the_record_by_more_than_the_limit() {
    let is_late = |time: &str| {
        let rows = decode_one(&clicks(), format!(r#"{{"page":"/","time":"{time}"}}"#));
        rows.column_by_name(column::LATE).unwrap().as_boolean().value(0)
    };
    assert!(!is_late("2026-01-31T11:59:00Z"));
    assert!(is_late("2026-01-31T11:58:59.999999Z"));
    assert!(!is_late("2026-01-31T12:05:00Z"));
}

fn key_of(record: Record) -> Option<EventKey> {
    let number = source_with(vec![Field::new("id", DataType::Int64, true)]);
    let is_number =
        record.payload.windows(5).any(|part| part == b"\"id\":" as &[u8]) && !record.payload.contains(&b'/');
    let source = if is_number { number } else { clicks() };
    event_keys(&decode(&source, &[record]).unwrap()).unwrap()[0]
}

#[test]
fn identity_is_id_and_time_as_sent() {
    let time = TimestampMicros(NOW);
    let event = |id: &str| format!(r#"{{"time":"2026-01-31T13:00:00+01:00","page":"/","id":{id}}}"#);
    let number = |id: &str| format!(r#"{{"time":"2026-01-31T12:00:00Z","id":{id}}}"#);
    assert_eq!(key_of(record(0, event(r#""42""#))), event_key(Some(b"42"), time));
    assert_eq!(key_of(record(0, event(r#""4\u0032""#))), event_key(Some(b"42"), time));
    assert_eq!(key_of(record(0, number("42"))), event_key(Some(b"42"), time));
    assert_eq!(key_of(record(0, event("42"))), event_key(Some(b"42"), time));
    assert_eq!(key_of(record(0, event("null"))), None);
    let by_header = Record { event_id: Some(Bytes::from_static(b"h")), ..record(0, event(r#""42""#)) };
    assert_eq!(key_of(by_header), event_key(Some(b"h"), time));
    assert_eq!(key_of(record(0, "no json")), None);
}

#[test]
fn a_clock_shift_moves_what_views_see_and_not_who_the_event_is() {
    let source = clicks();
    let shifted = |micros: i64| Record { clock_shift: Some(micros), ..record(0, GOOD) };
    let sent = TimestampMicros(NOW - 30_000_000);
    let rows = decode(&source, &[record(0, GOOD), shifted(-40_000_000), shifted(1_000)]).unwrap();
    let times = rows.column(0).as_primitive::<TimestampMicrosecondType>();
    assert_eq!(times.values(), &[sent.0, sent.0 - 40_000_000, sent.0 + 1_000]);
    assert_eq!(event_keys(&rows).unwrap(), [event_key(Some(b"a1"), sent); 3]);
    assert_eq!(
        rows.column_by_name(column::LATE).unwrap().as_boolean().iter().flatten().collect::<Vec<_>>(),
        [false, true, false]
    );
    let far = decode(&source, &[shifted(i64::MAX), shifted(i64::MIN), shifted(700_000_000)]).unwrap();
    assert!(error(&far, 0).unwrap().contains("clock shift"));
    assert!(error(&far, 1).unwrap().contains("clock shift"));
    assert!(error(&far, 2).unwrap().contains("too far in the future"));
}

#[test]
fn layers_get_classes_marks_and_ids() {
    let source = clicks();
    let late = GOOD.replace("11:59:30", "10:00:00").replace("a1", "a2");
    let records = [record(5, GOOD), record(6, "bad"), record(9, late), record(11, "")];
    let rows = decode(&source, &records).unwrap();
    let found = classes(&rows).unwrap();
    let [on_time, late] = [false, true].map(|is_late| RowClass::Event { is_late });
    assert_eq!(found, [on_time, RowClass::Rejected, late, RowClass::Rejected]);
    let counted: Counters = found.iter().map(|class| class.counters()).sum();
    assert_eq!((counted.rows, counted.rejected, counted.late, counted.copies), (4, 2, 1, 0));
    let is_late = late_events(&rows).unwrap();
    assert_eq!(is_late.iter().collect::<Vec<_>>(), [false, false, true, false].map(Some));
    assert_eq!(marks(&rows).unwrap(), records.iter().map(Record::mark).collect::<Vec<_>>());
    let ids = event_ids(&source, &rows).unwrap().unwrap();
    assert_eq!(ids.iter().collect::<Vec<_>>(), [Some("a1"), None, Some("a2"), None]);
}

/// Decodes in pieces and puts them together.
fn decode_in(source: &views::SourceDefinition, records: &[Record], size: usize) -> RecordBatch {
    let pieces: Vec<RecordBatch> = records.chunks(size).map(|piece| decode(source, piece).unwrap()).collect();
    concat_batches(&master_schema(source), &pieces).unwrap()
}

#[test]
fn any_batching_gives_the_same_rows() {
    let source = clicks();
    let payloads = [
        GOOD,
        "",
        "bad",
        r#"{"page":1}"#,
        r#"{"time":"2026-01-31T12:00:00Z","page":"p","tags":["a","b"],"geo":{"country":5}}"#,
    ];
    let records: Vec<Record> = (0..500).map(|offset| record(offset, payloads[(offset * 7 % 5) as usize])).collect();
    let whole = decode(&source, &records).unwrap();
    for size in [1, 2, 3, 64, 499] {
        assert_eq!(decode_in(&source, &records, size), whole, "batches of {size}");
    }
}
