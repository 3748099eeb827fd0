//! Floating group keys: both zeros are one, and so is every NaN, however the events are cut. And zeros are one to what
//! is compared on the way to a key.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, TimestampMicrosecondArray};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use views::{Compiled, Pipeline, ViewDefinition};

const SQL: &str = "CREATE UNBOUNDED EXTERNAL TABLE events (time TIMESTAMP, z DOUBLE)
STORED AS JSON LOCATION 'kafka://events' OPTIONS (event_time 'time');
CREATE MATERIALIZED VIEW v AS SELECT z, count(*) AS n FROM events GROUP BY z;
CREATE MATERIALIZED VIEW negated AS SELECT -z AS z, count(*) AS n FROM events GROUP BY -z;
CREATE MATERIALIZED VIEW cased AS
SELECT CASE z WHEN 0.0 THEN 7.0 ELSE 1.0 END AS z, count(*) AS n FROM events GROUP BY 1;
CREATE MATERIALIZED VIEW replaced AS
SELECT coalesce(nullif(z, 0.0), 7.0) AS z, count(*) AS n FROM events GROUP BY 1";

fn batch(view: &ViewDefinition, keys: &[f64]) -> RecordBatch {
    let rows = keys.len();
    let times = || -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC")) };
    let columns: Vec<ArrayRef> = vec![
        times(),
        Arc::new(Float64Array::from(keys.to_vec())),
        Arc::new(Int32Array::from(vec![0; rows])),
        Arc::new(Int64Array::from_iter_values(0..rows as i64)),
        times(),
    ];
    RecordBatch::try_new(Arc::clone(&view.source.events), columns).unwrap()
}

/// The keys of a view, by their bits, and how many events each has.
async fn counts(name: &str) -> Vec<(u64, i64)> {
    let pipeline = Pipeline::read(SQL, &BTreeMap::new()).unwrap_or_else(|error| panic!("{error}"));
    let view = pipeline.view(name).unwrap();
    let keys = [0.0, -0.0, f64::NAN, -f64::NAN, -0.0];
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[]));
    let state = state.await.unwrap();
    let mut states = Vec::new();
    for part in [&keys[..1], &keys[1..3], &keys[3..]] {
        states.extend(state.execute(vec![batch(view, part)]).await.unwrap());
    }
    let finished = view.plans.compile_finish(&["z"]).await.unwrap().execute(states).await.unwrap();
    let mut found = Vec::new();
    for rows in &finished {
        let keys = rows.column(0).as_primitive::<Float64Type>().values();
        let counts = rows.column(1).as_primitive::<Int64Type>().values();
        found.extend(keys.iter().map(|key| key.to_bits()).zip(counts.iter().copied()));
    }
    found.sort_unstable();
    found
}

#[tokio::test]
async fn both_zeros_are_one_group_key_and_so_is_every_nan() {
    for name in ["v", "negated"] {
        assert_eq!(counts(name).await, [(0.0_f64.to_bits(), 3), (f64::NAN.to_bits(), 2)], "{name}");
    }
}

#[tokio::test]
async fn case_and_nullif_take_both_zeros_for_one() {
    assert_eq!(counts("cased").await, [(1.0_f64.to_bits(), 2), (7.0_f64.to_bits(), 3)]);
    assert_eq!(counts("replaced").await, [(7.0_f64.to_bits(), 3), (f64::NAN.to_bits(), 2)]);
}
