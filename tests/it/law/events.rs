//! Random events: nulls, repeated values, extremes, several hours, two partitions.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int32Array, Int64Array, StringArray,
    TimestampMicrosecondArray, UInt32Array,
};
use arrow::compute::take_record_batch;
use arrow::record_batch::RecordBatch;
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use views::SourceDefinition;

/// The source of all law cases.
pub const SOURCE: &str = "CREATE UNBOUNDED EXTERNAL TABLE events (
    time TIMESTAMP, k VARCHAR, i BIGINT, d DECIMAL(12, 2), f DOUBLE, s VARCHAR, b BOOLEAN
) STORED AS JSON LOCATION 'kafka://events' OPTIONS (event_time 'time');
CREATE EXTERNAL TABLE names (k VARCHAR, name VARCHAR) STORED AS CSV LOCATION 'names.csv';\n";

/// The content of `names.csv`: one key twice, one key missing.
pub const NAMES: &str = "k,name\na,Anna\nb,Bert\nb,Berta\n";

const HOUR_MICROS: i64 = 3_600_000_000;

/// `rows` events with their places in the log.
pub fn random_events(source: &SourceDefinition, rows: usize, random: &mut StdRng) -> RecordBatch {
    let nullable = |random: &mut StdRng| random.random_bool(0.9);
    let keys = ["a", "b", "c", "d"];
    let column = |name: &str, random: &mut StdRng| -> ArrayRef {
        let rows = 0..rows;
        match name {
            "time" => {
                let hour =
                    |random: &mut StdRng| random.random_range(-2..2) * HOUR_MICROS + random.random_range(0..5000);
                let times = TimestampMicrosecondArray::from_iter_values(rows.map(|_| hour(random)));
                Arc::new(times.with_timezone("UTC"))
            }
            "k" => Arc::new(StringArray::from_iter(
                rows.map(|_| nullable(random).then(|| keys[random.random_range(0..4)])),
            )),
            "i" => {
                let value = |random: &mut StdRng| match random.random_range(0..20) {
                    0 => i64::MAX,
                    1 => i64::MIN,
                    _ => random.random_range(-1000..1000),
                };
                Arc::new(Int64Array::from_iter(rows.map(|_| nullable(random).then(|| value(random)))))
            }
            "d" => {
                let values =
                    rows.map(|_| nullable(random).then(|| i128::from(random.random_range(-100_000..100_000_i64))));
                Arc::new(Decimal128Array::from_iter(values).with_precision_and_scale(12, 2).unwrap())
            }
            "f" => Arc::new(Float64Array::from_iter(
                rows.map(|_| nullable(random).then(|| random.random_range(-1e3..1e3))),
            )),
            "s" => Arc::new(StringArray::from_iter(
                rows.map(|_| nullable(random).then(|| format!("s{}", random.random_range(0..5000)))),
            )),
            "b" => Arc::new(BooleanArray::from_iter(rows.map(|_| nullable(random).then(|| random.random_bool(0.7))))),
            "_partition" => Arc::new(Int32Array::from_iter_values(rows.map(|row| (row % 2) as i32))),
            "_offset" => Arc::new(Int64Array::from_iter_values(rows.map(|row| (row / 2) as i64))),
            _ => Arc::new(TimestampMicrosecondArray::from_iter_values(rows.map(|row| row as i64)).with_timezone("UTC")),
        }
    };
    let columns = source.events.fields().iter().map(|field| column(field.name(), random)).collect();
    RecordBatch::try_new(Arc::clone(&source.events), columns).unwrap()
}

/// Deals the rows to up to six parts, each in random order and cut into random batches.
pub fn random_split(events: &RecordBatch, random: &mut StdRng) -> Vec<Vec<RecordBatch>> {
    let parts = random.random_range(1..=6);
    let mut rows: Vec<Vec<u32>> = vec![Vec::new(); parts];
    for row in 0..events.num_rows() {
        rows[random.random_range(0..parts)].push(row as u32);
    }
    let cut = |mut rows: Vec<u32>| {
        rows.shuffle(random);
        let part = take_record_batch(events, &UInt32Array::from(rows)).unwrap();
        let at = random.random_range(0..=part.num_rows());
        vec![part.slice(0, at), part.slice(at, part.num_rows() - at)]
    };
    rows.into_iter().map(cut).collect()
}
