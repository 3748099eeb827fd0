//! The codec of state blobs: what was encoded comes back, anything else is named as corrupt and never panics.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};
use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;
use serving_layer::{ServingError, blob};

use crate::support::seeds::for_each_seed;
use crate::support::traces::holds;

fn states(rng: &mut StdRng, rows: usize) -> RecordBatch {
    let page: StringArray = (0..rows).map(|row| (row % 7 != 3).then(|| format!("page {row}"))).collect();
    let minute = TimestampMicrosecondArray::from_iter((0..rows).map(|row| Some(row as i64))).with_timezone("UTC");
    let edits: Int64Array = (0..rows).map(|_| Some(rng.random())).collect();
    let sketch: BinaryArray = (0..rows).map(|_| Some(rng.random::<[u8; 24]>())).collect();
    let list = (0..rows).map(|row| Some((0..row % 4).map(|item| Some(item as i64)).collect::<Vec<_>>()));
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>(list);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("page", Arc::new(page)),
        ("minute", Arc::new(minute)),
        ("edits", Arc::new(edits)),
        ("editors", Arc::new(sketch)),
        ("values", Arc::new(list)),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, column)| Field::new(*name, column.data_type().clone(), true)).collect();
    let columns = columns.into_iter().map(|(_, column)| column).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn check_corrupt(bytes: &Bytes, schema: &SchemaRef) {
    let outcome = blob::decode(bytes, schema);
    assert!(matches!(outcome, Err(ServingError::Corrupt { .. })), "{outcome:?}");
}

#[test]
fn what_was_encoded_comes_back() {
    for_each_seed(20, |mut rng| {
        let rows = rng.random_range(0..300);
        let batches: Vec<RecordBatch> = (0..rng.random_range(1..4)).map(|_| states(&mut rng, rows)).collect();
        let bytes = blob::encode(&batches).unwrap();
        assert_eq!(blob::decode(&bytes, &batches[0].schema()).unwrap(), batches);
    });
}

#[test]
fn a_damaged_blob_is_corrupt_and_never_panics() {
    for_each_seed(200, |mut rng| {
        let batch = states(&mut rng, 50);
        let (mut bytes, schema) = (blob::encode(std::slice::from_ref(&batch)).unwrap().to_vec(), batch.schema());
        let place = rng.random_range(0..bytes.len());
        match rng.random_range(0..4) {
            0 => bytes.truncate(place),
            1 => bytes[place] ^= 1 << rng.random_range(0..8),
            2 => bytes.extend_from_slice(&rng.random::<[u8; 8]>()),
            _ => rng.fill(&mut bytes[place..]),
        }
        check_corrupt(&Bytes::from(bytes), &schema);
    });
}

#[test]
fn rubbish_is_corrupt() {
    let schema = Arc::new(Schema::empty());
    check_corrupt(&Bytes::new(), &schema);
    check_corrupt(&Bytes::from_static(b"twofold1"), &schema);
    check_corrupt(&Bytes::from_static(b"an index, a page, anything but a blob"), &schema);
}

#[test]
fn a_blob_of_other_columns_is_corrupt() {
    for_each_seed(1, |mut rng| {
        let batch = states(&mut rng, 3);
        let bytes = blob::encode(std::slice::from_ref(&batch)).unwrap();
        let fewer = Arc::new(batch.schema().project(&[0, 1]).unwrap());
        check_corrupt(&bytes, &fewer);
        let renamed = Field::new("other", DataType::Utf8, true);
        let schema = batch.schema();
        let fields: Vec<_> = [Arc::new(renamed)].into_iter().chain(schema.fields().iter().skip(1).cloned()).collect();
        check_corrupt(&bytes, &Arc::new(Schema::new(fields)));
    });
}

#[test]
fn a_blob_of_nothing_is_refused() {
    assert!(blob::encode(&[]).is_err());
}

/// Packing takes names that are much alike apart, so that looking at the bytes alone finds nothing.
#[test]
fn whoever_looks_for_what_was_erased_sees_into_a_blob() {
    let names: Vec<String> = (0..300).map(|number| format!("person-{number}-c41d7e")).collect();
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(&names));
    let bytes = blob::encode(&[RecordBatch::try_from_iter([("name", column)]).unwrap()]).unwrap();
    let is_plain = |name: &String| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(!names.iter().all(is_plain), "nothing is packed");
    assert!(names.iter().all(|name| holds(&bytes, name)));
    assert!(!holds(&bytes, "person-300-c41d7e"));
}
