//! Payloads drawn from a grammar around columns of every type, many of them damaged: each record has its verdict, which
//! depends on nothing but the record, and what was stored is read again as it was.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type, TimestampMicrosecondType};
use bytes::Bytes;
use event_log::Record;
use positions::{Offset, PartitionId, TimestampMicros};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use records::decode::{REASON_KINDS, Reason, classes, column, decode, event_keys, marks, master_schema, record_ends};
use views::{SourceDefinition, Unreadable};

use super::{NOW, decode_counting, record, source_with, timestamp};
use crate::support::damage::damage;
use crate::support::seeds::for_each_seed;

/// A source with a column of every type, nested ones among them, some NOT NULL.
fn source() -> SourceDefinition {
    let list = |item: DataType| DataType::List(Arc::new(Field::new("element", item, true)));
    let inner =
        Fields::from(vec![Field::new("x", DataType::Float64, true), Field::new("ys", list(DataType::Int32), true)]);
    let outer = Fields::from(vec![
        Field::new("a", DataType::Int64, false),
        Field::new("b", DataType::Utf8, true),
        Field::new("c", DataType::Struct(inner), true),
    ]);
    let item = Fields::from(vec![Field::new("k", DataType::Utf8, true), Field::new("v", DataType::Int64, false)]);
    source_with(vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("is_new", DataType::Boolean, true),
        Field::new("small", DataType::Int16, true),
        Field::new("n", DataType::Int64, true),
        Field::new("f", DataType::Float32, true),
        Field::new("d", DataType::Float64, true),
        Field::new("m", DataType::Decimal128(12, 3), true),
        Field::new("s", DataType::Utf8, false),
        Field::new("day", DataType::Date32, true),
        Field::new("at", timestamp(), true),
        Field::new("o", DataType::Struct(outer), true),
        Field::new("items", list(DataType::Struct(item)), true),
        Field::new("grid", list(list(DataType::Date32)), true),
    ])
}

fn pick<'a>(of: &[&'a str], random: &mut StdRng) -> &'a str {
    of[random.random_range(0..of.len())]
}

/// Mostly one of the first, seldom one of the others.
fn pick_either<'a>(of: &[&'a str], others: &[&'a str], random: &mut StdRng) -> &'a str {
    pick(if random.random_bool(0.04) { others } else { of }, random)
}

fn blank(random: &mut StdRng) -> &'static str {
    pick(&["", "", "", "", "", " ", "\n", "\t \r\n"], random)
}

/// Numbers on the edge of what some type holds, and beyond.
const NUMBERS: [&str; 24] = [
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "32768",
    "-0",
    "-0.0",
    "0.0005",
    "999999999.999",
    "1e400",
    "-1e400",
    "1e-400",
    "3.5e38",
    "1.7976931348623157e308",
    "0e99999999999",
    "1e-99999999999",
    "123456789012345678901234567890",
    "0.1000000000000000055511151231257827",
    "12.50e-1",
    "1e2147483648",
    "01",
    "+1",
    ".5",
    "1.",
    "NaN",
];

fn number(random: &mut StdRng) -> String {
    let small: i16 = random.random_range(-200..200);
    match random.random_range(0..100) {
        0 | 1 => pick(&NUMBERS, random).to_owned(),
        2 => format!("\"{}\"", pick(&NUMBERS, random)),
        3 => "7".repeat(random.random_range(1..400)),
        4..10 => format!("\"{small}\""),
        10..15 => format!("{small}.0"),
        15..20 => format!("{small}e0"),
        _ => small.to_string(),
    }
}

/// Strings are made of these; those with a backslash are escapes, among them halves of surrogate pairs.
const TEXTS: [&str; 20] = [
    "a",
    "Köln",
    "12",
    "2026-01-31",
    "true",
    " ",
    "\\n",
    "\\u0000",
    "\\u00e9",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\ud83d\\ud83d\\ude00",
    "\\\"",
    "\\\\",
    "\\/",
    "\u{1f600}",
    "\u{2028}",
    "\u{7f}",
    "\u{feff}",
];

fn text(random: &mut StdRng) -> String {
    let mut text = "\"".to_owned();
    for _ in 0..random.random_range(0..5) {
        text.push_str(pick(&TEXTS, random));
    }
    if random.random_bool(0.005) {
        text.push_str(&"x".repeat(70_000));
    }
    text + "\""
}

const BOOLEANS: [&str; 6] = ["true", "false", "1", "0", "\"True\"", "\"0\""];
const DAYS: [&str; 5] = ["\"2026-01-31\"", "\"20260131\"", "\"2026-01-31T00:00:00Z\"", "20484", "-1"];
const INSTANTS: [&str; 11] = [
    "\"2026-01-31T11:59:59.5Z\"",
    "\"2026-01-31T11:59:59.123456789Z\"",
    "\"2026-01-31 12:59:59+01:00\"",
    "\"20260131T115959Z\"",
    "\"2026-01-31\"",
    "\"Sat, 31 Jan 2026 11:59:59 GMT\"",
    "1769860799",
    "1769860799123",
    "1769860799123456",
    "1769860799123456789",
    "\"1769860799\"",
];
/// Instants and days that are far away, or none.
const ODD_TIMES: [&str; 8] = [
    "\"2027-01-31T12:00:00Z\"",
    "\"9999-12-31T23:59:59.999999Z\"",
    "\"0000-01-01T00:00:00Z\"",
    "\"2026-02-30\"",
    "\"soon\"",
    "\"\"",
    "20260131",
    "1769860799.5",
];

/// Any JSON value, and now and then one that is nested to the limit and beyond.
fn anything(depth: usize, random: &mut StdRng) -> String {
    match random.random_range(0..if depth == 0 { 4 } else { 7 }) {
        0 => pick(&["null", "true", "false", "[]", "{}"], random).to_owned(),
        1 => number(random),
        2 | 3 => text(random),
        4 => list(random, |random| anything(depth - 1, random)),
        5 if random.random_bool(0.1) => {
            let levels = random.random_range(58..70);
            format!("{}{}", "[".repeat(levels), "]".repeat(levels))
        }
        _ => {
            let members = (0..random.random_range(0..3)).map(|_| {
                let key = text(random);
                format!("{key}:{}", anything(depth - 1, random))
            });
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
    }
}

fn list(random: &mut StdRng, item: impl Fn(&mut StdRng) -> String) -> String {
    let items: Vec<String> = (0..random.random_range(0..4)).map(|_| item(random)).collect();
    format!("[{}{}]", blank(random), items.join(&format!("{},{}", blank(random), blank(random))))
}

/// A value of a type in one of its forms; seldom null, or anything at all.
fn value(data_type: &DataType, random: &mut StdRng) -> String {
    match random.random_range(0..100) {
        0..2 => return anything(3, random),
        2..6 => return "null".to_owned(),
        _ => {}
    }
    match data_type {
        DataType::Boolean => pick_either(&BOOLEANS, &["2", "\"yes\""], random).to_owned(),
        DataType::Utf8 => text(random),
        DataType::Date32 => pick_either(&DAYS, &ODD_TIMES, random).to_owned(),
        DataType::Timestamp(_, _) => pick_either(&INSTANTS, &ODD_TIMES, random).to_owned(),
        DataType::Struct(fields) => object(fields, random),
        DataType::List(item) => list(random, |random| value(item.data_type(), random)),
        _ => number(random),
    }
}

/// A key as senders write it: in other capitals, in escapes, or another one.
fn key(name: &str, random: &mut StdRng) -> String {
    match random.random_range(0..40) {
        0 => name.to_ascii_uppercase(),
        1 => name.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect(),
        2 => format!("{name}\\u0000"),
        _ => name.to_owned(),
    }
}

/// An object for columns, in any order, some of them missing or twice, others beside them.
fn object(fields: &Fields, random: &mut StdRng) -> String {
    let mut members = Vec::new();
    for field in fields {
        let times = match random.random_range(0..100) {
            0..3 => 0,
            3 => 2,
            _ => 1,
        };
        for _ in 0..times {
            let key = key(field.name(), random);
            members.push(format!("\"{key}\"{}:{}{}", blank(random), blank(random), value(field.data_type(), random)));
        }
    }
    for _ in 0..random.random_range(0..2) {
        let key = text(random);
        members.push(format!("{key}:{}", anything(3, random)));
    }
    members.shuffle(random);
    let comma = format!("{},{}", blank(random), blank(random));
    format!("{{{}{}{}}}", blank(random), members.join(&comma), blank(random))
}

fn payload(source: &SourceDefinition, random: &mut StdRng) -> Vec<u8> {
    let mut payload = match random.random_range(0..60) {
        0 => anything(3, random),
        1 => String::new(),
        2 => format!("\u{feff}{}", object(source.declared.fields(), random)),
        _ => format!("{}{}{}", blank(random), object(source.declared.fields(), random), blank(random)),
    }
    .into_bytes();
    if random.random_bool(0.3) {
        let other = object(source.declared.fields(), random).into_bytes();
        damage(&mut payload, &other, random);
    }
    payload
}

/// Records as a log may hold them, whatever their timestamps, headers and corrections of clocks.
fn records(source: &SourceDefinition, random: &mut StdRng) -> Vec<Record> {
    let count = random.random_range(1..20);
    let record = |offset| {
        let mut record = record(offset, payload(source, random));
        record.timestamp = match random.random_range(0..20) {
            0 => TimestampMicros(i64::MIN),
            1 => TimestampMicros(i64::MAX),
            2 => TimestampMicros(0),
            _ => TimestampMicros(NOW),
        };
        record.clock_shift = match random.random_range(0..20) {
            0 => Some(i64::MAX),
            1 => Some(i64::MIN),
            2..5 => Some(random.random_range(-1_000_000..1_000_000)),
            _ => None,
        };
        record.event_id = random.random_bool(0.1).then(|| Bytes::from_static(b"\xff\0header"));
        record
    };
    (0..count).map(record).collect()
}

fn either(random: &mut StdRng) -> SourceDefinition {
    let unreadable = if random.random_bool(0.5) { Unreadable::Null } else { Unreadable::Reject };
    SourceDefinition { unreadable, ..source() }
}

fn errors(rows: &RecordBatch) -> Vec<Option<String>> {
    let errors = rows.column_by_name(column::ERROR).unwrap().as_string::<i32>();
    errors.iter().map(|error| error.map(str::to_owned)).collect()
}

/// Without a defect, with a reason that programs know, and with nothing of a rejected record in its columns.
fn check_verdicts(source: &SourceDefinition, rows: &RecordBatch) {
    let (classes, keys) = (classes(rows).unwrap(), event_keys(rows).unwrap());
    assert_eq!(marks(rows).unwrap().len(), record_ends(rows).unwrap().len());
    for (row, error) in errors(rows).into_iter().enumerate() {
        assert_eq!(classes[row].is_event(), error.is_none());
        let Some(error) = error else { continue };
        let kind = Reason::of(&error).kind;
        assert!(REASON_KINDS.contains(&kind) && !["other", "decoder_failed"].contains(&kind), "{error}");
        assert!(!error.contains(|letter: char| letter.is_control()), "{error:?}");
        assert_eq!(keys[row], None, "{error}");
        let event = &rows.columns()[..source.declared.fields().len()];
        assert!(event.iter().all(|column| column.is_null(row)), "{error}");
    }
}

/// The records that rows are of, from what is stored of them.
fn stored_again(rows: &RecordBatch) -> Vec<Record> {
    let column = |name: &str| rows.column_by_name(name).unwrap();
    let partitions = column(views::column::PARTITION).as_primitive::<Int32Type>();
    let offsets = column(views::column::OFFSET).as_primitive::<Int64Type>();
    let timestamps = column(views::column::TIMESTAMP).as_primitive::<TimestampMicrosecondType>();
    let shifts = column(column::CLOCK_SHIFT).as_primitive::<Int64Type>();
    let (payloads, ids) = (column(column::PAYLOAD).as_binary::<i32>(), column(column::HEADER_ID).as_binary::<i32>());
    let record = |row: usize| Record {
        partition: PartitionId(partitions.value(row)),
        offset: Offset(offsets.value(row)),
        timestamp: TimestampMicros(timestamps.value(row)),
        payload: Bytes::copy_from_slice(payloads.value(row)),
        event_id: ids.is_valid(row).then(|| Bytes::copy_from_slice(ids.value(row))),
        clock_shift: shifts.is_valid(row).then(|| shifts.value(row)),
    };
    let mut records: Vec<Record> = (0..rows.num_rows()).map(record).collect();
    // Once for all rows of a record.
    records.dedup_by_key(|record| record.offset);
    records
}

#[test]
fn every_record_has_its_verdict_whatever_stands_beside_it() {
    for_each_seed(600, |mut random| {
        let source = either(&mut random);
        let records = records(&source, &mut random);
        let rows = decode(&source, &records).unwrap();
        check_verdicts(&source, &rows);
        assert_eq!(decode(&source, &records).unwrap(), rows, "twice the same");

        let alone: Vec<RecordBatch> =
            records.iter().map(|one| decode(&source, std::slice::from_ref(one)).unwrap()).collect();
        assert!(alone.iter().all(|rows| rows.num_rows() > 0));
        assert_eq!(concat_batches(&master_schema(&source), &alone).unwrap(), rows);
        let (left, right) = records.split_at(random.random_range(0..=records.len()));
        let halves = [left, right].map(|half| decode(&source, half).unwrap());
        assert_eq!(concat_batches(&master_schema(&source), &halves).unwrap(), rows);
    });
}

#[test]
fn what_was_stored_is_read_again_as_it_was() {
    for_each_seed(300, |mut random| {
        let source = either(&mut random);
        let records = records(&source, &mut random);
        let rows = decode(&source, &records).unwrap();
        let stored = stored_again(&rows);
        assert_eq!(stored, records);
        assert_eq!(decode(&source, &stored).unwrap(), rows);
    });
}

/// What strict reading accepts, or rejects for any reason but a value that does not fit, is the same where such values
/// are NULL.
#[test]
fn strict_and_lenient_reading_agree_on_all_but_values_that_do_not_fit() {
    let strict = source();
    let lenient = SourceDefinition { unreadable: Unreadable::Null, ..source() };
    let schema = master_schema(&strict);
    // All that is said of an event but by which rules it was read.
    let compared: Vec<usize> =
        (0..schema.fields().len()).filter(|at| schema.field(*at).name() != column::SCHEMA).collect();
    for_each_seed(300, |mut random| {
        for one in records(&strict, &mut random) {
            let one = std::slice::from_ref(&one);
            let rows = decode(&strict, one).unwrap();
            let (other, lost) = decode_counting(&lenient, one).unwrap();
            let misfits = ["wrong_type", "no_value"];
            let errors = errors(&rows);
            if errors.iter().flatten().any(|error| misfits.contains(&Reason::of(error).kind)) {
                continue;
            }
            assert_eq!(other.project(&compared).unwrap(), rows.project(&compared).unwrap());
            assert_eq!(lost.iter().sum::<u64>(), 0);
        }
    });
}

/// Were nearly all payloads of one kind, the tests above would say little.
#[test]
fn the_grammar_gives_events_and_rejected_records_of_most_kinds() {
    let (source, mut random) = (source(), StdRng::seed_from_u64(0));
    let (mut accepted, mut kinds) = (0, BTreeSet::new());
    for _ in 0..200 {
        for error in errors(&decode(&source, &records(&source, &mut random)).unwrap()) {
            match error {
                None => accepted += 1,
                Some(error) => {
                    kinds.insert(Reason::of(&error).kind);
                }
            }
        }
    }
    assert!(accepted > 100, "{accepted} accepted");
    let expected = ["ambiguous", "bad_json", "clock_shift", "empty", "in_future", "no_event_time", "no_value"];
    assert!(expected.iter().all(|kind| kinds.contains(kind)) && kinds.contains("wrong_type"), "{kinds:?}");
}
