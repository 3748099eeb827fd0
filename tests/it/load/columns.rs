//! Parquet and Arrow files: rows to objects, timestamps to UTC, however nested, packed or torn.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Array, ListArray, RecordBatch, StringArray, StructArray, TimestampMicrosecondArray,
    TimestampMillisecondArray,
};
use arrow::datatypes::{DataType, Field, Int64Type};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use parquet::arrow::ArrowWriter;

use super::{bzip2, read, refusal, zstd};
use crate::collector::gzip;

/// 2026-01-31T11:59:59.5Z.
const TIME: i64 = 1_769_860_799_500;

/// A batch with nested columns, and timestamps of several zones at several depths.
fn batch() -> RecordBatch {
    let berlin = TimestampMicrosecondArray::from(vec![Some(TIME * 1_000), None]).with_timezone("Europe/Berlin");
    let local: ArrayRef = Arc::new(TimestampMillisecondArray::from(vec![TIME, TIME - 500]));
    let inner = Arc::new(Field::new("at", local.data_type().clone(), true));
    let numbers = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1), None]), None]);
    RecordBatch::try_from_iter([
        ("id", Arc::new(StringArray::from(vec![Some("a\n\"b\""), None])) as ArrayRef),
        ("time", Arc::new(berlin) as ArrayRef),
        ("n", Arc::new(Int64Array::from(vec![i64::MAX, -1])) as ArrayRef),
        ("geo", Arc::new(StructArray::from(vec![(inner, local)])) as ArrayRef),
        ("numbers", Arc::new(numbers) as ArrayRef),
    ])
    .unwrap()
}

const ROWS: [&str; 2] = [
    r#"row 1: {"id":"a\n\"b\"","time":"2026-01-31T11:59:59.500Z","n":9223372036854775807,"geo":{"at":"2026-01-31T11:59:59.500Z"},"numbers":[1,null]}"#,
    r#"row 2: {"n":-1,"geo":{"at":"2026-01-31T11:59:59Z"}}"#,
];

pub fn parquet_of(batches: &[RecordBatch]) -> Vec<u8> {
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batches[0].schema(), None).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.close().unwrap();
    file
}

pub fn arrow_of(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = FileWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

pub fn arrow_stream_of(batches: &[RecordBatch]) -> Vec<u8> {
    let mut writer = StreamWriter::try_new(Vec::new(), &batches[0].schema()).unwrap();
    batches.iter().for_each(|batch| writer.write(batch).unwrap());
    writer.finish().unwrap();
    writer.into_inner().unwrap()
}

/// Two good clicks.
pub fn clicks_in_parquet() -> Vec<u8> {
    let time = TimestampMillisecondArray::from(vec![TIME, TIME]).with_timezone("UTC");
    let text = |values: [&str; 2]| Arc::new(StringArray::from(values.to_vec())) as ArrayRef;
    let country = Arc::new(Field::new("country", DataType::Utf8, false));
    let geo = StructArray::from(vec![(country, text(["de", "fr"]))]);
    let mut tags = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    tags.append_value([Some("x"), Some("y")]);
    tags.append_null();
    let batch = RecordBatch::try_from_iter([
        ("time", Arc::new(time) as ArrayRef),
        ("id", text(["a", "b"])),
        ("page", text(["/a", "/b"])),
        ("geo", Arc::new(geo) as ArrayRef),
        ("tags", Arc::new(tags.finish()) as ArrayRef),
    ]);
    parquet_of(&[batch.unwrap()])
}

#[test]
fn rows_are_objects_with_timestamps_in_utc_whatever_holds_them() {
    for file in [parquet_of(&[batch()]), arrow_of(&[batch()]), arrow_stream_of(&[batch()])] {
        for bytes in [file.clone(), gzip(&file), zstd(&file), bzip2(&file)] {
            assert_eq!(read(bytes), ROWS);
        }
    }
}

#[test]
fn rows_are_counted_over_batches_of_any_size() {
    let numbers = |from: i64, to: i64| {
        RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from_iter_values(from..to)) as ArrayRef)]).unwrap()
    };
    let batches = [numbers(0, 2_500), numbers(2_500, 2_500), numbers(2_500, 3_001)];
    let expected: Vec<String> = (0..3_001).map(|n| format!("row {}: {{\"n\":{n}}}", n + 1)).collect();
    for file in [parquet_of(&batches), arrow_of(&batches), arrow_stream_of(&batches)] {
        assert_eq!(read(file), expected);
    }
    assert!(read(parquet_of(&[numbers(0, 0)])).is_empty());
}

#[test]
fn a_torn_file_of_columns_is_named_or_ends_after_its_last_whole_row() {
    let (parquet, arrow) = (parquet_of(&[batch()]), arrow_of(&[batch()]));
    let packed = gzip(&parquet);
    assert!(refusal(&parquet[..parquet.len() - 9]).contains("cannot read it as Parquet"));
    assert!(refusal(&arrow[..arrow.len() - 9]).contains("cannot read it as an Arrow file"));
    assert!(refusal(&packed[..packed.len() / 2]).contains("cannot unpack it"));
    let (one, two) = (arrow_stream_of(&[batch()]), arrow_stream_of(&[batch(), batch()]));
    let torn = read(&two[..one.len() + 100]);
    assert_eq!(torn[..2], ROWS);
    assert!(torn.len() == 3 && torn[2].starts_with("reading failed after row 2: "), "{torn:?}");
}
