//! Records that hold several events, or one in an envelope: a row for each, judged by itself.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use records::decode::{column, decode, marks, record_ends};
use views::{Pipeline, SourceDefinition};

use super::{error, record};

fn source(options: &str) -> SourceDefinition {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE e (id VARCHAR, time TIMESTAMP NOT NULL, n BIGINT) STORED AS JSON \
         LOCATION 'kafka://e' OPTIONS (event_time 'time', event_id 'id', strict 'true'{options});"
    );
    let pipeline = Pipeline::read(&sql, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
    SourceDefinition::clone(&pipeline.sources[0])
}

fn event(n: i64) -> String {
    format!(r#"{{"id":"i{n}","time":1769860800,"n":{n}}}"#)
}

/// For each row its offset, its number in the record, and `n` or why it was rejected.
fn outline(rows: &RecordBatch) -> Vec<(i64, i32, Result<i64, String>)> {
    let offsets = rows.column_by_name(views::column::OFFSET).unwrap().as_primitive::<Int64Type>();
    let items = rows.column_by_name(column::ITEM).unwrap().as_primitive::<Int32Type>();
    let numbers = rows.column_by_name("n").unwrap().as_primitive::<Int64Type>();
    let outcome = |row| error(rows, row).map_or_else(|| Ok(numbers.value(row)), Err);
    (0..rows.num_rows()).map(|row| (offsets.value(row), items.value(row), outcome(row))).collect()
}

fn payloads(rows: &RecordBatch) -> Vec<Option<String>> {
    let payloads = rows.column_by_name(column::PAYLOAD).unwrap().as_binary::<i32>();
    payloads.iter().map(|payload| payload.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())).collect()
}

#[test]
fn an_array_and_json_lines_are_several_events() {
    let [one, two, three] = [event(1), event(2), event(3)];
    for payload in [
        format!("[{one},{two},{three}]"),
        format!(" [ {one} , {two},\n{three} ] \n"),
        format!("{one}\n{two}\n{three}"),
        format!("{one}\r\n\r\n{two}\n{three}\n"),
        format!("\u{feff}{one} \n {two}\n{three} "),
    ] {
        let rows =
            decode(&source(""), &[record(0, event(0)), record(1, payload.clone()), record(2, event(4))]).unwrap();
        let expected = [(0, 0, Ok(0)), (1, 1, Ok(1)), (1, 2, Ok(2)), (1, 3, Ok(3)), (2, 0, Ok(4))];
        assert_eq!(outline(&rows), expected, "{payload}");
        assert_eq!(payloads(&rows), [Some(event(0)), Some(payload), None, None, Some(event(4))]);
        assert_eq!(record_ends(&rows).unwrap(), [1, 4, 5]);
    }
}

#[test]
fn one_bad_event_costs_no_other_of_its_record() {
    let bad = r#"{"time":1769860800,"n":"x"}"#;
    let payload = format!("[{},{bad},5,{}]", event(1), event(2));
    let rows = decode(&source(""), &[record(7, payload.clone())]).unwrap();
    let outline = outline(&rows);
    assert_eq!((&outline[0], &outline[3]), (&(7, 1, Ok(1)), &(7, 4, Ok(2))));
    assert!(outline[1].2.as_ref().is_err_and(|error| error.contains("column n is BIGINT")), "{outline:?}");
    assert!(outline[2].2.as_ref().is_err_and(|error| error.contains("expected an object")), "{outline:?}");
    // A part that was rejected is kept by itself, so that it can be shown.
    assert_eq!(payloads(&rows), [Some(payload), Some(bad.to_owned()), Some("5".to_owned()), None]);
}

#[test]
fn what_is_no_json_is_one_rejected_record() {
    let good = event(1);
    for payload in [
        format!("{good}\n{{\"id\":"),
        format!("[{good},"),
        format!("[{good}] x"),
        format!("[{good}][{good}]"),
        format!("[{good}]{good}"),
        format!("{good}, {good}"),
        format!("{good} 5"),
        format!("{good}{good}"),
        format!("{good} {good}"),
        "[]".to_owned(),
        "[ ]".to_owned(),
        format!("[{}]", vec![good.as_str(); 10_001].join(",")),
        vec![good.as_str(); 10_001].join("\n"),
    ] {
        let rows =
            decode(&source(""), &[record(0, event(0)), record(1, payload.clone()), record(2, event(2))]).unwrap();
        let shown: String = payload.chars().take(100).collect();
        assert_eq!(rows.num_rows(), 3, "{shown}");
        assert!(outline(&rows)[1].2.is_err() && outline(&rows)[2].2 == Ok(2), "{shown}: {:?}", outline(&rows));
        assert_eq!(payloads(&rows)[1].as_ref(), Some(&payload), "{shown}");
    }
    let most = format!("[{}]", vec![good.as_str(); 10_000].join(","));
    assert_eq!(decode(&source(""), &[record(1, most)]).unwrap().num_rows(), 10_000);
}

#[test]
fn a_mistake_made_a_thousand_times_in_one_record_is_told_a_hundred_times() {
    let good = event(1);
    let payload = format!("[{}{good}]", "\"x\",".repeat(9_000));
    let rows = decode(&source(""), &[record(0, payload), record(1, event(2))]).unwrap();
    let outline = outline(&rows);
    assert_eq!(outline.iter().filter(|row| row.2.is_err()).count(), 100);
    assert_eq!((&outline[100].2, &outline[101].2), (&Ok(1), &Ok(2)));
}

#[test]
fn positions_know_records_not_events() {
    let records =
        [record(3, event(1)), record(4, format!("[{},{}]", event(2), event(3))), record(9, "no"), record(10, "[]")];
    let rows = decode(&source(""), &records).unwrap();
    assert_eq!(marks(&rows).unwrap(), records.iter().map(event_log::Record::mark).collect::<Vec<_>>());
    assert_eq!(record_ends(&rows).unwrap(), [1, 3, 4, 5]);
}

#[test]
fn events_stand_where_the_source_says() {
    let batch = source(", events_at 'batch'");
    let deep = source(", events_at 'data.items'");
    for (source, payload, expected) in [
        (&batch, format!(r#"{{"batch":[{},{}],"sentAt":"x"}}"#, event(1), event(2)), vec![1, 2]),
        (&batch, format!(r#"{{"id":"outer","batch":{}}}"#, event(1)), vec![1]),
        // A record without the key is an event itself.
        (&batch, event(3), vec![3]),
        (&batch, format!("[{},{}]", event(1), event(2)), vec![1, 2]),
        (&batch, format!("{}\n{}", event(1), event(2)), vec![1, 2]),
        (&deep, format!(r#"{{"data":{{"x":[1],"items":[{}]}},"y":{{}}}}"#, event(1)), vec![1]),
    ] {
        let rows = decode(source, &[record(0, payload.clone())]).unwrap();
        let found: Vec<Result<i64, String>> = outline(&rows).into_iter().map(|row| row.2).collect();
        assert_eq!(found, expected.into_iter().map(Ok).collect::<Vec<_>>(), "{payload}");
    }
    for (source, payload, words) in [
        (&batch, r#"{"batch":[]}"#.to_owned(), "expected an event in the array"),
        (&batch, r#"{"batch":null}"#.to_owned(), "expected an object"),
        (&batch, format!(r#"{{"batch":[{}]}} x"#, event(1)), "expected nothing after the object"),
        (&batch, format!(r#"{{"batch":[{}],"z":}}"#, event(1)), "expected a value"),
        (&batch, r#"{"batch":[],"batch":[]}"#.to_owned(), "given twice"),
        (&deep, r#"{"data":{"x":1}}"#.to_owned(), "nothing stands at data.items"),
        (&deep, r#"{"data":5}"#.to_owned(), "nothing stands at data.items"),
    ] {
        let rows = decode(source, &[record(0, payload.clone())]).unwrap();
        assert_eq!(rows.num_rows(), 1, "{payload}");
        assert!(error(&rows, 0).is_some_and(|error| error.contains(words)), "{payload}: {:?}", error(&rows, 0));
    }
}

#[test]
fn without_the_option_the_error_names_it() {
    for payload in [
        format!(r#"{{"batch":[{}],"sentAt":"2026-01-31T12:00:01Z"}}"#, event(1)),
        format!(r#"{{"schema":{{}},"payload":{{"before":null,"after":{},"op":"c"}}}}"#, event(1)),
    ] {
        let rows = decode(&source(""), &[record(0, payload)]).unwrap();
        let error = error(&rows, 0).unwrap();
        let words = ["no value: ", "at the top of the event", "events_at and envelope", "column time"];
        assert!(words.iter().all(|words| error.contains(words)), "{error}");
    }
}

#[test]
fn what_debezium_saw_inserted_is_an_event() {
    let source = source(", envelope 'debezium'");
    let change =
        |op: &str, after: &str| format!(r#"{{"before":null,"after":{after},"op":"{op}","ts_ms":1772366400000}}"#);
    for payload in [change("c", &event(1)), change("r", &event(1))] {
        for payload in [payload.clone(), format!(r#"{{"schema":{{"op":1}},"payload":{payload}}}"#)] {
            let rows = decode(&source, &[record(0, payload.clone())]).unwrap();
            assert_eq!(outline(&rows), [(0, 0, Ok(1))], "{payload}");
        }
    }
    for (payload, words) in [
        (change("u", &event(1)), "an update"),
        (change("d", "null"), "a deletion"),
        (change("t", "null"), "no insert"),
        (change("c", "null"), "no `after`"),
        (event(1), "no change of Debezium"),
        (format!("{} x", change("c", &event(1))), "expected nothing after the object"),
    ] {
        let rows = decode(&source, &[record(0, payload.clone())]).unwrap();
        assert_eq!(rows.num_rows(), 1, "{payload}");
        assert!(error(&rows, 0).is_some_and(|error| error.contains(words)), "{payload}: {:?}", error(&rows, 0));
    }
}
