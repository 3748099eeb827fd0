//! What docs/pipeline.md shows: its sources are read, and its events are what it says of them.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use positions::EventKey;
use records::decode::event_keys;
use views::{Pipeline, SourceDefinition};

use crate::decode::{NOW, decode_one, error};

const PAGE: &str = include_str!("../../../docs/pipeline.md");

/// Blocks of code, each with its language.
fn blocks(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("```").skip(1).step_by(2).map(|block| block.split_once('\n').unwrap())
}

/// The source of a block, or one of its columns where it shows no more.
fn source(sql: &str) -> SourceDefinition {
    let sql = match sql.starts_with("CREATE") {
        true => sql.to_owned(),
        false => format!(
            "CREATE UNBOUNDED EXTERNAL TABLE s ({sql}) STORED AS JSON LOCATION 'kafka://s' \
             OPTIONS (event_time '_timestamp')"
        ),
    };
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{sql}\n{problems}"));
    SourceDefinition::clone(&pipeline.sources[0])
}

/// The rows of each block of events, each block being one record of the source above it.
fn mapped() -> Vec<RecordBatch> {
    let (_, section) = PAGE.split_once("\n## Mapping\n").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let (mut above, mut found) = (None, Vec::new());
    for (language, text) in blocks(section) {
        if language == "sql" {
            above = Some(source(text));
            continue;
        }
        let source = above.as_ref().expect("events stand below their source");
        let rows = decode_one(source, text.trim().to_owned());
        for row in 0..rows.num_rows() {
            assert_eq!(error(&rows, row), None, "{text}");
        }
        found.push(rows);
    }
    found
}

fn text<'a>(rows: &'a RecordBatch, column: &str) -> &'a str {
    rows.column_by_name(column).unwrap().as_string::<i32>().value(0)
}

fn micros(rows: &RecordBatch, column: &str) -> i64 {
    rows.column_by_name(column).unwrap().as_primitive::<TimestampMicrosecondType>().value(0)
}

#[test]
fn the_sources_of_the_page_are_read() {
    let sources: Vec<&str> =
        blocks(PAGE).map(|(_, text)| text).filter(|text| text.starts_with("CREATE UNBOUNDED")).collect();
    assert!(sources.len() > 5, "{sources:?}");
    for sql in sources {
        source(sql);
    }
}

#[test]
fn the_mapped_events_of_the_page_are_what_it_says() {
    let examples = mapped();
    let events_and_ids = |rows: &RecordBatch| {
        let ids: BTreeSet<EventKey> = event_keys(rows).unwrap().into_iter().flatten().collect();
        (rows.num_rows(), ids.len())
    };
    let found: Vec<(usize, usize)> = examples.iter().map(events_and_ids).collect();
    assert_eq!(found, [(1, 0), (1, 0), (1, 1), (1, 0), (3, 2), (2, 2), (1, 1)]);

    let [paths, formats, nested, recorded, _, _, inserted] = examples.as_slice() else { panic!("as many as above") };
    assert_eq!((text(paths, "domain"), text(paths, "service")), ("en.wikipedia.org", "checkout"));
    assert_eq!((micros(formats, "changed_at"), micros(formats, "logged_at")), (NOW, NOW));
    assert_eq!((micros(nested, "meta.dt"), micros(recorded, "_timestamp")), (NOW, NOW));
    assert_eq!(micros(inserted, "ordered_at"), NOW);
}
