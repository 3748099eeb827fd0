//! Rows of files: whether their columns are taken as they are or decoded from their text, the same rows come out, and
//! reading these again from what is stored gives them once more.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array,
    LargeStringArray, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    TimestampNanosecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Field, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::json::writer::LineDelimitedWriter;
use bytes::Bytes;
use event_log::Record;
use positions::{Offset, PartitionId, TimestampMicros};
use rand::Rng;
use rand::rngs::StdRng;
use records::decode::{ImportDecoder, ImportPlace, column, decode};
use views::{SourceDefinition, Unreadable, with_default};

use super::{NOW, source_with, timestamp};
use crate::support::seeds::for_each_seed;

const HOUR: i64 = 3_600_000_000;

fn source(unreadable: Unreadable) -> SourceDefinition {
    let columns = vec![
        Field::new("id", DataType::Utf8, true),
        Field::new("page", DataType::Utf8, true),
        Field::new("bytes", DataType::Int64, true),
        Field::new("weight", DataType::Float64, true),
        Field::new("day", DataType::Date32, true),
        Field::new("seen", timestamp(), true),
        Field::new("is_new", DataType::Boolean, true),
        Field::new("missing", DataType::Int32, true),
    ];
    SourceDefinition { unreadable, ..source_with(columns) }
}

fn place() -> ImportPlace {
    ImportPlace { partition: PartitionId(1_000_000), first: Offset(40), now: TimestampMicros(NOW) }
}

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(name, column)| (name, column, true))).unwrap()
}

fn lines(rows: &RecordBatch) -> Vec<Vec<u8>> {
    let mut lines = Vec::new();
    LineDelimitedWriter::new(&mut lines).write(rows).unwrap();
    lines.split(|byte| *byte == b'\n').take(rows.num_rows()).map(<[u8]>::to_vec).collect()
}

/// What reading the rows again makes of the payloads and timestamps that stand in them.
fn read_again(source: &SourceDefinition, rows: &RecordBatch) -> RecordBatch {
    let at = |name: &str| rows.column_by_name(name).unwrap();
    let payloads = at(column::PAYLOAD).as_binary::<i32>();
    let (partitions, offsets) =
        (at("_partition").as_primitive::<Int32Type>(), at("_offset").as_primitive::<Int64Type>());
    let timestamps = at("_timestamp").as_primitive::<TimestampMicrosecondType>();
    let record = |row: usize| Record {
        partition: PartitionId(partitions.value(row)),
        offset: Offset(offsets.value(row)),
        timestamp: TimestampMicros(timestamps.value(row)),
        payload: Bytes::copy_from_slice(payloads.value(row)),
        event_id: None,
        clock_shift: None,
    };
    let records: Vec<Record> = (0..rows.num_rows()).map(record).collect();
    decode(source, &records).unwrap()
}

/// Both ways, and reading again, give the same; returns the rows.
fn check(source: &SourceDefinition, rows: &RecordBatch) -> RecordBatch {
    let decoder = ImportDecoder::new(Arc::new(source.clone()));
    let by_columns = decoder.decode_rows(place(), rows).unwrap();
    let by_columns = concat_batches(&by_columns[0].schema(), &by_columns).unwrap();
    let by_text = decoder.decode_events(place(), lines(rows)).unwrap();
    assert_eq!(by_columns, by_text);
    assert_eq!(by_columns, read_again(source, &by_columns));
    by_columns
}

fn errors(rows: &RecordBatch) -> usize {
    let errors = rows.column_by_name(column::ERROR).unwrap();
    errors.len() - errors.null_count()
}

/// A value, or NULL, or one that is hard for somebody.
fn drawn<T: Clone>(rng: &mut StdRng, hard: &[T], easy: impl Fn(&mut StdRng) -> T) -> Option<T> {
    match rng.random_range(0..10) {
        0 => None,
        1 | 2 => Some(hard[rng.random_range(0..hard.len())].clone()),
        _ => Some(easy(rng)),
    }
}

fn column_of<T: Clone, A: From<Vec<Option<T>>> + Array + 'static>(
    rng: &mut StdRng,
    hard: &[T],
    easy: impl Fn(&mut StdRng) -> T,
) -> ArrayRef {
    let values: Vec<Option<T>> = (0..40).map(|_| drawn(rng, hard, &easy)).collect();
    Arc::new(A::from(values))
}

fn times(rng: &mut StdRng) -> ArrayRef {
    let time = |rng: &mut StdRng| match rng.random_range(0..12) {
        // A while ahead is taken, a day is not; long ago is.
        0 => NOW + rng.random_range(0..HOUR / 60),
        1 if rng.random_bool(0.1) => NOW + 48 * HOUR,
        2 => rng.random_range(-100 * HOUR..100 * HOUR),
        _ => NOW - rng.random_range(0..90_000 * HOUR),
    };
    let values: Vec<i64> = (0..40).map(|_| time(rng)).collect();
    // As UTC where the file says nothing, which is what text without an offset is read as.
    let zone = rng.random_bool(0.7).then_some("+00:00");
    match rng.random_range(0..4) {
        0 => Arc::new(TimestampMicrosecondArray::from(values).with_timezone_opt(zone)),
        1 => Arc::new(
            TimestampMillisecondArray::from_iter_values(values.iter().map(|time| time.div_euclid(1_000)))
                .with_timezone_opt(zone),
        ),
        2 => Arc::new(
            TimestampSecondArray::from_iter_values(values.iter().map(|time| time.div_euclid(1_000_000)))
                .with_timezone_opt(zone),
        ),
        _ => Arc::new(
            TimestampNanosecondArray::from_iter_values(values.iter().map(|time| time * 1_000 + 999))
                .with_timezone_opt(zone),
        ),
    }
}

#[test]
fn columns_as_they_are_are_what_their_text_is_decoded_to() {
    for_each_seed(150, |mut rng| {
        let rng = &mut rng;
        let texts = ["", "\"", "\\", "\n", "\u{0}", "\u{2028}", "ü", "\u{1f600}", "null", "12", " "].map(str::to_owned);
        let text = |rng: &mut StdRng| format!("e{}", rng.random_range(0..1_000));
        let numbers = [f64::NAN, f64::INFINITY, -0.0, f64::MIN_POSITIVE, 5e-324, f64::MAX, 1e21, 0.1, 1e15];
        let bytes: ArrayRef = match rng.random_range(0..4) {
            0 => column_of::<i32, Int32Array>(rng, &[i32::MIN, i32::MAX, 0], |rng| rng.random_range(-9..9)),
            1 => column_of::<u64, UInt64Array>(rng, &[0, 5], |rng| rng.random_range(0..9)),
            _ => column_of::<i64, Int64Array>(rng, &[i64::MIN, i64::MAX, 0], |rng| rng.random_range(-9..9)),
        };
        let page: ArrayRef = match rng.random_range(0..3) {
            0 => column_of::<String, LargeStringArray>(rng, &texts, text),
            1 => {
                let values = (0..40).map(|_| drawn(rng, &texts, text)).collect::<Vec<_>>();
                let values: DictionaryArray<Int32Type> = values.iter().map(Option::as_deref).collect();
                Arc::new(values)
            }
            _ => column_of::<String, StringArray>(rng, &texts, text),
        };
        let few = 1 + usize::from(rng.random_bool(0.2)) * 8;
        let rows = batch(vec![
            ("time", times(rng)),
            ("id", column_of::<String, StringArray>(rng, &texts, text)),
            ("page", page),
            ("bytes", bytes),
            (
                "weight",
                column_of::<f64, Float64Array>(rng, &numbers[numbers.len() - few..], |rng| rng.random_range(-1e9..1e9)),
            ),
            ("day", column_of::<i32, Date32Array>(rng, &[0, -719_528, 2_932_896], |rng| rng.random_range(0..30_000))),
            ("is_new", column_of::<bool, BooleanArray>(rng, &[true], |rng| rng.random_bool(0.5))),
            ("other", column_of::<String, StringArray>(rng, &texts, text)),
        ]);
        let strictness = if rng.random_bool(0.5) { Unreadable::Null } else { Unreadable::Reject };
        check(&source(strictness), &rows);
    });
}

#[test]
fn what_only_the_decoder_can_judge_is_left_to_it() {
    let at = |times: Vec<Option<i64>>| -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from(times).with_timezone_opt(Some("+00:00")))
    };
    let time = || at(vec![Some(NOW - HOUR); 2]);
    let texts = |first: Option<&str>| Arc::new(StringArray::from(vec![first, Some("b")])) as ArrayRef;
    let source = source(Unreadable::Null);
    // A key of another case is read where the one of the very name is NULL.
    let near = check(&source, &batch(vec![("time", time()), ("page", texts(None)), ("Page", texts(Some("x")))]));
    assert_eq!(near.column_by_name("page").unwrap().as_string::<i32>().value(0), "x");
    // An event without a time, one that has none at all, and one of tomorrow.
    let times = at(vec![None, Some(NOW + 48 * HOUR)]);
    assert_eq!(errors(&check(&source, &batch(vec![("time", times), ("page", texts(None))]))), 2);
    assert_eq!(errors(&check(&source, &batch(vec![("page", texts(None))]))), 2);
    // Text in a column of numbers.
    assert_eq!(errors(&check(&source, &batch(vec![("time", time()), ("bytes", texts(Some("12")))]))), 0);
    // A DEFAULT stands for a missing key, and so for NULL.
    let page = with_default(Field::new("page", DataType::Utf8, true), "\"home\"");
    let with_home = source_with(vec![page]);
    let filled = check(&with_home, &batch(vec![("time", time()), ("page", texts(None))]));
    assert_eq!(filled.column_by_name("page").unwrap().as_string::<i32>().value(0), "home");
    // NULL where a value must be.
    let strict = source_with(vec![Field::new("page", DataType::Utf8, false)]);
    assert_eq!(errors(&check(&strict, &batch(vec![("time", time()), ("page", texts(None))]))), 1);
}

#[test]
fn an_imported_record_is_as_old_as_its_event() {
    let source = source(Unreadable::Null);
    let decoder = ImportDecoder::new(Arc::new(source.clone()));
    let event = |time: &str| format!(r#"{{"time":"{time}"}}"#).into_bytes();
    let long_ago = event("2020-01-01T00:00:00Z");
    let several = b"[{\"time\":\"2020-01-01T00:00:00Z\"},{\"time\":\"2020-01-03T00:00:00Z\"}]".to_vec();
    let ahead = event("2026-01-31T12:00:10Z");
    let rows = decoder.decode_events(place(), vec![long_ago, several, ahead, b"{".to_vec()]).unwrap();
    let at = |name: &str| rows.column_by_name(name).unwrap();
    let january = |day: i64| 1_577_836_800_000_000 + (day - 1) * 24 * HOUR;
    let timestamps = at("_timestamp").as_primitive::<TimestampMicrosecondType>();
    assert_eq!(timestamps.values(), &[january(1), january(3), january(3), NOW, NOW]);
    assert_eq!(at("_offset").as_primitive::<Int64Type>().values(), &[40, 41, 41, 42, 43]);
    // Of several events of one record, those that are older than the latest by more than the source allows are late.
    let late: Vec<Option<bool>> = at(column::LATE).as_boolean().iter().collect();
    let is_late = january(3) - january(1) > positions::micros(source.late_after);
    assert_eq!(late, [Some(false), Some(is_late), Some(false), Some(false), None]);
}
