//! Stored sentences: each tells the kind and the column of the rejection that it was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use event_log::Record;
use positions::SchemaId;
use records::decode::{REASON_KINDS, Reason, Rejection, decode, rejections};

use super::{clicks, record};

const VARIANTS: usize = 22;

/// The number of a variant: a new one does not compile before it is here, and in [`all`].
fn number(rejection: &Rejection) -> usize {
    match rejection {
        Rejection::Empty => 0,
        Rejection::TooLarge { .. } => 1,
        Rejection::NotUtf8 { .. } => 2,
        Rejection::BadJson { .. } => 3,
        Rejection::TooDeep { .. } => 4,
        Rejection::WrongType { .. } => 5,
        Rejection::NoValue { is_strange: false, .. } => 6,
        Rejection::NoValue { is_strange: true, .. } => 14,
        Rejection::GivenTwice { .. } => 7,
        Rejection::NoEventTime { is_strange: false, .. } => 8,
        Rejection::NoEventTime { is_strange: true, .. } => 15,
        Rejection::InFuture { .. } => 9,
        Rejection::ShiftOutOfRange { .. } => 10,
        Rejection::DecoderFailed { .. } => 11,
        Rejection::Envelope { .. } => 12,
        Rejection::TooMany { .. } => 13,
        Rejection::TooLargeAsJson { .. } => 16,
        Rejection::NoSchema { .. } => 17,
        Rejection::UnknownSchema { .. } => 18,
        Rejection::BadSchema { .. } => 19,
        Rejection::BadPayload { .. } => 20,
        Rejection::Erased => 21,
    }
}

/// A rejection of every variant, in a column of this name. What they quote reads like sentences.
fn all(column: &str) -> Vec<Rejection> {
    let column = column.to_owned();
    let found = "`no value: column x is NOT NULL`".to_owned();
    vec![
        Rejection::Empty,
        Rejection::TooLarge { bytes: 2_000_000 },
        Rejection::NotUtf8 { at: 7 },
        Rejection::BadJson { at: 7, problem: "expected a value", found: found.clone() },
        Rejection::TooDeep { at: 7, limit: 64 },
        Rejection::WrongType { column: column.clone(), expected: "BIGINT".to_owned(), found: found.clone() },
        Rejection::NoValue { column: column.clone(), is_strange: false },
        Rejection::NoValue { column: column.clone(), is_strange: true },
        Rejection::GivenTwice { column: column.clone() },
        Rejection::NoEventTime { column: column.clone(), is_strange: false },
        Rejection::NoEventTime { column: column.clone(), is_strange: true },
        Rejection::Envelope { problem: "the change is an update of column x is NOT NULL".to_owned() },
        Rejection::TooMany { limit: 10 },
        Rejection::InFuture {
            column: column.clone(),
            ahead: Duration::from_millis(5_400_500),
            limit: Duration::from_secs(3_600),
        },
        Rejection::ShiftOutOfRange { column, shift_micros: -5 },
        Rejection::DecoderFailed { message: found.clone() },
        Rejection::TooLargeAsJson { limit: 20_000 },
        Rejection::NoSchema { format: "AVRO", found: found.clone() },
        Rejection::UnknownSchema { id: SchemaId(7), why: "which nobody knows" },
        Rejection::BadSchema { id: SchemaId(7), problem: found.clone() },
        Rejection::BadPayload { at: 7, problem: found },
        Rejection::Erased,
    ]
}

#[test]
fn each_sentence_tells_kind_and_column() {
    for column in ["n", "geo.zip", "tags[3].name", "Full name", "größe", "column", "a, b"] {
        let all = all(column);
        assert_eq!(all.iter().map(number).collect::<BTreeSet<_>>(), (0..VARIANTS).collect());
        for rejection in &all {
            let sentence = rejection.to_string();
            let expected = Reason { kind: rejection.kind(), column: rejection.column() };
            assert_eq!(Reason::of(&sentence), expected, "{sentence}");
        }
        let mut told: BTreeSet<&str> = all.iter().map(Rejection::kind).collect();
        told.insert("other");
        assert_eq!(told, BTreeSet::from(REASON_KINDS), "all kinds, and no other");
    }
    assert_eq!(BTreeSet::from(REASON_KINDS).len(), REASON_KINDS.len());
}

#[test]
fn a_sentence_of_another_version_is_of_another_kind() {
    for sentence in ["", "wrong", "checksum: column n differs", "Wrong type: column n is BIGINT"] {
        assert_eq!(Reason::of(sentence), Reason { kind: "other", column: None }, "{sentence}");
    }
    // One that goes on in other words is of its kind, with no column rather than a wrong one.
    assert_eq!(Reason::of("no value: column n must have one"), Reason { kind: "no_value", column: None });
}

#[test]
fn a_batch_counts_its_rejections_by_kind() {
    let payloads = [
        r#"{"time":"2026-01-31T12:00:00Z","page":"/"}"#,
        "no json",
        "",
        r#"{"time":"2026-01-31T12:00:00Z","page":[7]}"#,
        r#"{"time":"2026-01-31T12:00:00Z"}"#,
        r#"{"page":"/"}"#,
        "nor this",
    ];
    let records: Vec<Record> = (0..).zip(payloads).map(|(offset, payload)| record(offset, payload)).collect();
    let rows = decode(&clicks(), &records).unwrap();
    let expected = [("bad_json", 2), ("empty", 1), ("no_event_time", 1), ("no_value", 1), ("wrong_type", 1)];
    assert_eq!(rejections(&rows).unwrap(), BTreeMap::from(expected));
    assert!(rejections(&rows.slice(0, 1)).unwrap().is_empty());
}
