//! Columns that stand elsewhere in an event than under their own name, and instants in declared forms.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Date32Type, Int64Type, TimestampMicrosecondType};
use records::decode::{decode, event_keys, reading_of};
use views::{Pipeline, SourceDefinition};

use super::{NOW, check_rejected, decode_one, error, record};

const NOON: i64 = 1_769_860_800_000_000;

/// A source of these columns and options, beside its event time.
fn source(columns: &str, options: &str) -> SourceDefinition {
    let sql = format!(
        "CREATE UNBOUNDED EXTERNAL TABLE e (time TIMESTAMP, {columns}) STORED AS JSON LOCATION 'kafka://e' \
         OPTIONS (event_time 'time', future_limit '300 days', strict 'true'{options});"
    );
    let pipeline = Pipeline::read(&sql, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
    SourceDefinition::clone(&pipeline.sources[0])
}

/// The text in a column of the only row, which must be an event.
#[track_caller]
fn text(rows: &RecordBatch, column: &str) -> Option<String> {
    assert_eq!(error(rows, 0), None);
    let column = rows.column_by_name(column).unwrap().as_string::<i32>();
    column.is_valid(0).then(|| column.value(0).to_owned())
}

fn micros(rows: &RecordBatch, column: &str) -> i64 {
    rows.column_by_name(column).unwrap().as_primitive::<TimestampMicrosecondType>().value(0)
}

#[test]
fn a_path_leads_to_a_column() {
    for (path, payload) in [
        ("meta.domain", r#"{"time":1769860800,"meta":{"domain":"x"}}"#),
        ("$.meta.domain", r#"{"time":1769860800,"meta":{"id":7,"domain":"x"}}"#),
        (r#""service.name""#, r#"{"time":1769860800,"service.name":"x"}"#),
        (r#"attributes."service.name""#, r#"{"attributes":{"a":1,"service.name":"x"},"time":1769860800}"#),
        ("_source.user-agent", r#"{"time":1769860800,"_source":{"user-agent":"x"}}"#),
        ("user agent.name", r#"{"time":1769860800,"user agent":{"name":"x"}}"#),
        (r#""say ""x""".a"#, r#"{"time":1769860800,"say \"x\"":{"a":"x"}}"#),
        ("a.b.c.d", r#"{"time":1769860800,"a":{"b":{"c":{"d":"x"}}}}"#),
        // The only key that is near is taken at each level.
        ("meta.domain", r#"{"time":1769860800,"Meta":{"DOMAIN":"x"}}"#),
    ] {
        let declared = source(&format!("k VARCHAR OPTIONS (path = '{}')", path.replace('\'', "''")), "");
        assert_eq!(text(&decode_one(&declared, payload), "k").as_deref(), Some("x"), "{path}");
    }
}

#[test]
fn what_a_path_does_not_reach_is_null_and_refused_where_it_must_be_there() {
    let nullable = source("k VARCHAR OPTIONS (path = 'meta.domain')", "");
    let required = source("k VARCHAR NOT NULL OPTIONS (path = 'meta.domain')", "");
    for rest in ["", r#","meta":{}"#, r#","meta":null"#, r#","meta":"x""#, r#","meta":[{"domain":"x"}]"#, r#","k":"x""#]
    {
        let payload = format!(r#"{{"time":1769860800{rest}}}"#);
        assert_eq!(text(&decode_one(&nullable, payload.clone()), "k"), None, "{payload}");
        check_rejected(&required, payload, &["no value", "column k"]);
    }
    check_rejected(&nullable, r#"{"time":1769860800,"meta":{"domain":{}}}"#, &["wrong type", "column k is VARCHAR"]);
    check_rejected(&nullable, r#"{"time":1769860800,"meta":{},"meta":{}}"#, &["ambiguous", "column k is given twice"]);
}

#[test]
fn one_value_may_be_read_by_several_columns() {
    let declared = source(
        "meta STRUCT<dt TIMESTAMP, id BIGINT>, id VARCHAR OPTIONS (path = 'meta.id'), \
         seen TIMESTAMP OPTIONS (path = 'meta.dt'), copy VARCHAR OPTIONS (path = 'id')",
        "",
    );
    let rows = decode_one(&declared, r#"{"meta":{"id":7,"dt":"2026-01-31T12:00:00Z"},"id":"outer","time":1769860800}"#);
    assert_eq!((text(&rows, "id").as_deref(), text(&rows, "copy").as_deref()), (Some("7"), Some("outer")));
    assert_eq!(micros(&rows, "seen"), NOON);
    let meta = rows.column_by_name("meta").unwrap().as_struct();
    assert_eq!(meta.column_by_name("id").unwrap().as_primitive::<Int64Type>().value(0), 7);
}

#[test]
fn instants_are_read_in_the_declared_form() {
    let fits = [
        ("epoch_s", "1769860800", NOON),
        ("epoch_s", r#""1769860800.5""#, NOON + 500_000),
        ("epoch_s", "12", 12_000_000),
        ("epoch_ms", "1769860800000", NOON),
        ("epoch_ms", "1769860800000.5", NOON + 500),
        ("epoch_ms", "1.7698608e12", NOON),
        ("epoch_ms", "0", 0),
        ("epoch_ms", "-1", -1_000),
        ("epoch_us", "1769860800000000", NOON),
        ("epoch_ns", "1769860800000000999", NOON),
        // What is written otherwise can mean nothing else.
        ("epoch_ms", r#""2026-01-31T12:00:00Z""#, NOON),
        ("%d.%m.%Y %H:%M:%S", r#""31.01.2026 12:00:00""#, NOON),
        ("%d.%m.%Y %H:%M", r#""31.01.2026 12:00""#, NOON),
        ("%d/%b/%Y:%H:%M:%S %z", r#""31/Jan/2026:13:00:00 +0100""#, NOON),
        ("%m/%d/%Y %I:%M %p", r#""01/31/2026 12:00 PM""#, NOON),
        ("%Y%m%d", "20260131", NOON - 43_200_000_000),
        ("%Y-%j", r#""2026-031""#, NOON - 43_200_000_000),
        ("%s", r#""1769860800""#, NOON),
    ];
    for (format, value, expected) in fits {
        let declared = source(&format!("at TIMESTAMP OPTIONS (format '{format}')"), "");
        let rows = decode_one(&declared, format!(r#"{{"time":1769860800,"at":{value}}}"#));
        assert_eq!(error(&rows, 0), None, "{format} {value}");
        assert_eq!(micros(&rows, "at"), expected, "{format} {value}");
    }
    for (format, value) in [
        ("epoch_ms", r#""""#),
        ("epoch_s", "1e400"),
        ("epoch_s", "999999999999999"),
        ("epoch_s", "true"),
        ("%d.%m.%Y", r#""2026-01-31""#),
        ("%d.%m.%Y", r#""31.02.2026""#),
        ("%d.%m.%Y %H:%M", r#""31.01.2026""#),
        ("%d.%m.%Y", r#""31.01.2026 ""#),
    ] {
        let declared = source(&format!("at TIMESTAMP OPTIONS (format = '{format}')"), "");
        let words = format!("column at is TIMESTAMP written as '{format}', found ");
        check_rejected(&declared, format!(r#"{{"time":1769860800,"at":{value}}}"#), &["wrong type", &words]);
    }
    let day = source("day DATE OPTIONS (format = '%d.%m.%Y')", "");
    let rows = decode_one(&day, r#"{"time":1769860800,"day":"31.01.2026"}"#);
    assert_eq!(rows.column_by_name("day").unwrap().as_primitive::<Date32Type>().value(0), 20_484);
}

#[test]
fn the_event_time_may_stand_inside_or_be_the_records_own() {
    let inside = source("meta STRUCT<dt TIMESTAMP>", "");
    let sql = |option: &str, columns: &str| {
        let sql = format!(
            "CREATE UNBOUNDED EXTERNAL TABLE e ({columns}) STORED AS JSON LOCATION 'kafka://e' \
             OPTIONS (event_time '{option}');"
        );
        let pipeline = Pipeline::read(&sql, &Default::default()).unwrap_or_else(|error| panic!("{error}"));
        SourceDefinition::clone(&pipeline.sources[0])
    };
    let nested = sql("meta.dt", "k VARCHAR, meta STRUCT<dt TIMESTAMP, id VARCHAR>");
    let rows = decode_one(&nested, r#"{"k":"a","meta":{"dt":"2026-01-31T11:00:00Z"}}"#);
    assert_eq!(error(&rows, 0), None);
    assert_eq!(micros(&rows, "meta.dt"), NOON - 3_600_000_000);
    check_rejected(&nested, r#"{"k":"a","meta":{}}"#, &["no event time: column meta.dt is null or missing"]);

    let recorded = sql("_timestamp", "k VARCHAR");
    let rows = decode_one(&recorded, r#"{"k":"a"}"#);
    assert_eq!(error(&rows, 0), None);
    assert_eq!((recorded.event_time_name(), micros(&rows, "_timestamp")), ("_timestamp", NOW));
    let mut without = record(0, r#"{"k":"a"}"#);
    without.timestamp = positions::TimestampMicros(-1_000);
    let rows = decode(&recorded, &[without]).unwrap();
    assert_eq!(error(&rows, 0).as_deref(), Some("no event time: column _timestamp is null or missing"));
    assert_ne!(reading_of(&nested), reading_of(&inside));
}

#[test]
fn several_columns_identify_an_event_together() {
    let declared = source("id VARCHAR, line BIGINT", ", event_id 'id, line'");
    let key = |payload: &str| event_keys(&decode_one(&declared, payload.to_owned())).unwrap()[0];
    let first = key(r#"{"time":1769860800,"id":"a","line":11}"#);
    assert!(first.is_some());
    assert_eq!(first, key(r#"{"line":"11","time":1769860800000,"id":"a"}"#));
    for other in [r#""id":"a1","line":1"#, r#""id":"a","line":1"#, r#""id":"b","line":11"#] {
        assert_ne!(first, key(&format!(r#"{{"time":1769860800,{other}}}"#)), "{other}");
    }
    for none in [r#""id":"a""#, r#""line":11"#, r#""id":"","line":11"#, r#""id":null,"line":11"#] {
        assert_eq!(key(&format!(r#"{{"time":1769860800,{none}}}"#)), None, "{none}");
    }
    let single = source("id VARCHAR", ", event_id 'id'");
    let key = event_keys(&decode_one(&single, r#"{"time":1769860800,"id":""}"#)).unwrap()[0];
    assert_eq!(key, None, "an empty id is no id");
}

#[test]
fn each_part_of_the_mapping_is_part_of_the_reading() {
    let readings: Vec<i32> = [
        ("k VARCHAR", ""),
        ("k VARCHAR OPTIONS (path = 'a')", ""),
        ("k VARCHAR OPTIONS (path = 'a.b')", ""),
        ("k VARCHAR OPTIONS (path = '\"a.b\"')", ""),
        ("k TIMESTAMP", ""),
        ("k TIMESTAMP OPTIONS (format = 'epoch_s')", ""),
        ("k TIMESTAMP OPTIONS (format = 'epoch_ms')", ""),
        ("k TIMESTAMP OPTIONS (format = '%Y%m%d')", ""),
        ("k VARCHAR", ", event_id 'k'"),
        ("k VARCHAR", ", events_at 'batch'"),
        ("k VARCHAR", ", events_at 'data.batch'"),
        ("k VARCHAR", ", envelope 'debezium'"),
    ]
    .iter()
    .map(|(columns, options)| reading_of(&source(columns, options)))
    .collect();
    let distinct: std::collections::BTreeSet<i32> = readings.iter().copied().collect();
    assert_eq!(distinct.len(), readings.len(), "{readings:?}");
}
