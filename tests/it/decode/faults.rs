//! Broken, random and hostile bytes: one record never costs its neighbours, and nothing stops the decoder.

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::util::pretty::pretty_format_batches;
use event_log::Record;
use rand::Rng;
use rand::rngs::StdRng;
use records::decode::{Rejection, classes, decode, guarded, master_schema, record_ends};
use serde::de::IgnoredAny;
use views::{SourceDefinition, Unreadable};

use super::{clicks, decode_one, error, record, source_with};
use crate::support::seeds::for_each_seed;

fn event(random: &mut StdRng) -> String {
    let number: i64 = random.random_range(-1_000..1_000);
    let tags: Vec<String> = (0..random.random_range(0..4)).map(|tag| format!("\"tag \\u00e9 {tag}\"")).collect();
    let geo = match random.random_range(0..3) {
        0 => "null".to_owned(),
        1 => r#"{"country":"de","zip":12345,"city":{"name":"Köln","at":[50.9,6.9e0]}}"#.to_owned(),
        _ => r#"{ "zip" : null , "country" : "fr" }"#.to_owned(),
    };
    let second = random.random_range(0..60);
    format!(
        r#"{{"time":"2026-01-31T11:59:{second:02}.{number:04}Z","id":"i{number}","page":"/p/{number}","bytes":{number},"geo":{geo},"tags":[{}]}}"#,
        tags.join(",")
    )
    .replace(".-", ".1")
}

fn mutated(event: &str, random: &mut StdRng) -> Vec<u8> {
    let mut bytes = event.as_bytes().to_vec();
    for _ in 0..random.random_range(1..4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..6) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => drop(bytes.remove(at)),
            3 => bytes.insert(at, *b"{}[]\",:\\0e-.u\0".get(random.random_range(0..14)).unwrap()),
            4 => bytes.truncate(at + 1),
            _ => bytes.extend_from_within(at..),
        }
    }
    bytes
}

#[test]
fn one_bad_row_never_costs_its_neighbours() {
    for_each_seed(200, |mut random| {
        let unreadable = if random.random_bool(0.5) { Unreadable::Null } else { Unreadable::Reject };
        let source = SourceDefinition { unreadable, ..clicks() };
        let mut records: Vec<Record> = Vec::new();
        for offset in 0..random.random_range(1..40) {
            let event = event(&mut random);
            let payload = if random.random_bool(0.5) { mutated(&event, &mut random) } else { event.into_bytes() };
            records.push(record(offset, payload));
        }
        let alone = records.iter().map(|one| decode(&source, std::slice::from_ref(one)).unwrap());
        let alone = concat_batches(&master_schema(&source), &alone.collect::<Vec<RecordBatch>>()).unwrap();
        assert_eq!(decode(&source, &records).unwrap(), alone);
    });
}

#[test]
fn no_bytes_make_the_decoder_fail() {
    for_each_seed(400, |mut random| {
        let unreadable = if random.random_bool(0.5) { Unreadable::Null } else { Unreadable::Reject };
        let source = SourceDefinition { unreadable, ..clicks() };
        let mutant = |offset| {
            let event = event(&mut random);
            record(offset, mutated(&event, &mut random))
        };
        let records: Vec<Record> = (0..100).map(mutant).collect();
        let rows = decode(&source, &records).unwrap();
        assert_eq!(record_ends(&rows).unwrap().len(), records.len());
        for row in 0..rows.num_rows() {
            let error = error(&rows, row).unwrap_or_default();
            assert!(!error.contains("decoder failed"), "{error}");
        }
    });
}

/// Where unreadable values are NULL, more records are accepted, and none is read otherwise.
#[test]
fn what_is_read_at_all_is_read_alike_where_unreadable_values_are_null() {
    let strict = clicks();
    let lenient = SourceDefinition { unreadable: Unreadable::Null, ..clicks() };
    for_each_seed(5_000, |mut random| {
        let payload = mutated(&event(&mut random), &mut random);
        let (one, other) = (decode_one(&strict, payload.clone()), decode_one(&lenient, payload));
        let declared: Vec<usize> = (0..strict.declared.fields().len()).collect();
        match (error(&one, 0), error(&other, 0)) {
            (None, None) => assert_eq!(one.project(&declared).unwrap(), other.project(&declared).unwrap()),
            (Some(error), None) => assert!(error.starts_with("wrong type") || error.starts_with("no value"), "{error}"),
            (None, Some(error)) => panic!("rejected where more is accepted: {error}"),
            (Some(_), Some(_)) => {}
        }
    });
}

#[test]
fn what_counts_as_json_is_what_another_reader_says() {
    let source = source_with(vec![]);
    for_each_seed(20_000, |mut random| {
        let payload = mutated(&event(&mut random).replace("\"time\"", "\"at\""), &mut random);
        let ours = error(&decode_one(&source, payload.clone()), 0).unwrap();
        let is_object = payload.trim_ascii_start().first() == Some(&b'{');
        let is_json = std::str::from_utf8(&payload).is_ok() && serde_json::from_slice::<IgnoredAny>(&payload).is_ok();
        let shown = String::from_utf8_lossy(&payload);
        assert_eq!(ours.contains("no event time"), is_json && is_object, "{ours}: {shown}");
    });
}

#[test]
fn a_panic_in_the_decoder_rejects_one_record() {
    let rejected = guarded::<()>(|| panic!("an index out of bounds")).unwrap_err();
    assert_eq!(*rejected, Rejection::DecoderFailed { message: "`an index out of bounds`".to_owned() });
    assert_eq!(guarded(|| Ok(7)).unwrap(), 7);
}

#[test]
fn a_half_read_row_leaves_nothing_behind() {
    let source = clicks();
    let half = r#"{"time":"2026-01-31T12:00:00Z","tags":["left","over"],"geo":{"country":"xx","zip":1},"page":"half","bytes":true}"#;
    let whole = r#"{"time":"2026-01-31T12:00:00Z","tags":["kept"],"geo":{"country":"de"},"page":"whole"}"#;
    let rows = decode(&source, &[record(0, half), record(1, whole), record(2, half), record(3, whole)]).unwrap();
    let is_event: Vec<bool> = classes(&rows).unwrap().into_iter().map(|class| class.is_event()).collect();
    let good = filter_record_batch(&rows, &BooleanArray::from(is_event)).unwrap().project(&[2, 4, 5]).unwrap();
    let expected = "\
+-------+----------------------+--------+
| page  | geo                  | tags   |
+-------+----------------------+--------+
| whole | {country: de, zip: } | [kept] |
| whole | {country: de, zip: } | [kept] |
+-------+----------------------+--------+";
    assert_eq!(pretty_format_batches(&[good]).unwrap().to_string(), expected);
}
