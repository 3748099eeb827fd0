//! The most frequent values: within their bound in any tree of merges, a function of what is merged, strict about
//! states that come from elsewhere.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use views::{Compiled, DefinitionError, Pipeline};

use super::events::{SOURCE, random_events};
use super::plans::{Measures, Plans, whole};
use crate::support::seeds::seeds;

/// What the smallest of the sketches holds at least.
const CAPACITY: usize = 20;

const TOPS: &Measures = &[
    ("bounded", "approx_top_k(i, 20, 20)", "count(*)"),
    ("exact", "approx_top_k(i, 7)", "count(*)"),
    ("mode", "mode(i)", "count(*)"),
    ("none", "approx_top_k(i, 3) FILTER (WHERE i IS NULL)", "count(*)"),
];

async fn plans() -> Plans {
    Plans::new(&[("k", "events.k")], TOPS, "FROM events").await
}

/// Few that are frequent among many that are not; few at all; all alike; block by block.
fn values(seed: u64, count: usize, random: &mut StdRng) -> Vec<i64> {
    let place = |at: usize| at as i64;
    (0..count)
        .map(|at| match seed % 5 {
            0 => (random.random::<f64>().powi(-2) as i64).min(900),
            1 => random.random_range(0..2 * CAPACITY as i64),
            2 => random.random_range(0..900),
            3 => place(at) / 37,
            _ => place(at) % 900,
        })
        .collect()
}

fn with_values(events: &RecordBatch, values: &[i64]) -> RecordBatch {
    let mut columns = events.columns().to_vec();
    columns[events.schema().index_of("i").unwrap()] = Arc::new(Int64Array::from(values.to_vec()));
    RecordBatch::try_new(events.schema(), columns).unwrap()
}

/// Rows by their key, whatever order they come in.
fn by_key(batches: &[RecordBatch]) -> BTreeMap<Option<String>, RecordBatch> {
    let rows = whole(batches);
    let keys = rows.column(0).as_string::<i32>();
    let key = |row: usize| keys.is_valid(row).then(|| keys.value(row).to_owned());
    (0..rows.num_rows()).map(|row| (key(row), rows.slice(row, 1))).collect()
}

/// Value, count and error of each that is told.
fn top(row: &RecordBatch, name: &str) -> Vec<(i64, i64, i64)> {
    let column = row.column_by_name(name).unwrap();
    if column.is_null(0) {
        return Vec::new();
    }
    let items = column.as_list::<i32>().value(0);
    let part = |name: &str| {
        let part = items.as_struct().column_by_name(name).unwrap();
        part.as_primitive::<Int64Type>().values().to_vec()
    };
    let parts = part("value").into_iter().zip(part("count")).zip(part("error"));
    parts.map(|((value, count), error)| (value, count, error)).collect()
}

/// The values by how often they occur, of equals the least first.
fn ranking(counts: &BTreeMap<i64, i64>) -> Vec<(i64, i64)> {
    let mut all: Vec<(i64, i64)> = counts.iter().map(|(value, count)| (*value, *count)).collect();
    all.sort_by_key(|(_, count)| Reverse(*count));
    all
}

fn check_bounds(found: &[(i64, i64, i64)], counts: &BTreeMap<i64, i64>, case: &str) {
    let all: i64 = counts.values().sum();
    let error = found.first().map_or(all / (CAPACITY as i64 + 1), |(_, _, error)| *error);
    assert!(error * (CAPACITY as i64 + 1) <= all, "{case}: off by {error} of {all}");
    assert!(counts.len() > 2 * CAPACITY || error == 0, "{case}: few values are exact");
    for (value, count, off) in found {
        let truth = counts.get(value).copied().unwrap_or_default();
        assert!(*count <= truth && truth <= count + off && *off == error, "{case}: {value} occurs {truth} times");
    }
    // What is not told is not more frequent than the last that is.
    let least = if found.len() < CAPACITY { 0 } else { found.last().map_or(0, |(_, count, _)| *count) };
    for (value, truth) in counts {
        let is_told = found.iter().any(|(told, ..)| told == value);
        assert!(is_told || *truth <= least + error, "{case}: {value} occurs {truth} times and is not told");
    }
    let order: Vec<(Reverse<i64>, i64)> = found.iter().map(|(value, count, _)| (Reverse(*count), *value)).collect();
    assert!(order.is_sorted(), "{case}: {found:?}");
}

#[tokio::test]
async fn counts_are_within_their_bound_in_any_tree_of_merges() {
    let plans = plans().await;
    for seed in seeds(60) {
        let random = &mut StdRng::seed_from_u64(seed);
        let rows = [3, 60, 400, 3_000][random.random_range(0..4)];
        let values = values(seed, rows, random);
        let events = with_values(&random_events(&plans.view.source, rows, random), &values);
        let mut counts = BTreeMap::new();
        values.iter().for_each(|value| *counts.entry(*value).or_insert(0) += 1);
        let states = plans.merged_states(&events, random).await;
        let found = whole(&plans.grains[0].finish.execute(states).await.unwrap());
        let case = format!("{rows} rows; repeat with TWOFOLD_SEED={seed}");
        check_bounds(&top(&found, "bounded"), &counts, &case);
        let wanted = ranking(&counts);
        let exact: Vec<_> = wanted.iter().take(7).map(|(value, count)| (*value, *count, 0)).collect();
        assert_eq!(top(&found, "exact"), exact, "{case}");
        let mode = found.column_by_name("mode").unwrap().as_primitive::<Int64Type>().value(0);
        assert_eq!(mode, wanted[0].0, "{case}");
        assert!(found.column_by_name("none").unwrap().is_null(0), "{case}");
    }
}

#[tokio::test]
async fn two_states_merge_to_the_same_in_either_order() {
    let plans = plans().await;
    for seed in seeds(20) {
        let random = &mut StdRng::seed_from_u64(seed);
        let rows = random.random_range(2..2_000);
        let events = random_events(&plans.view.source, rows, random);
        let events = with_values(&events, &values(seed, rows, random));
        let at = random.random_range(1..rows);
        let one = plans.state.execute(vec![events.slice(0, at)]).await.unwrap();
        let other = plans.state.execute(vec![events.slice(at, rows - at)]).await.unwrap();
        let finish = &plans.grains[1].finish;
        let forth = plans.merge.execute([one.clone(), other.clone()].concat()).await.unwrap();
        let back = plans.merge.execute([other, one].concat()).await.unwrap();
        assert_eq!(by_key(&forth), by_key(&back), "seed {seed}");
        // What was merged before is merged to the same again.
        let again = plans.merge.execute(forth.clone()).await.unwrap();
        assert_eq!(by_key(&again), by_key(&forth), "seed {seed}");
        let finished = by_key(&finish.execute(forth).await.unwrap());
        assert_eq!(by_key(&finish.execute(again).await.unwrap()), finished, "seed {seed}");
    }
}

#[tokio::test]
async fn a_top_of_many_long_values_is_held_to_the_limit_of_its_view() {
    let source = SOURCE.split("CREATE EXTERNAL").next().unwrap();
    for (call, is_within) in [("approx_top_k(s, 5)", false), ("approx_top_k(s, 5, 10)", true)] {
        let sql = format!(
            "{source}CREATE MATERIALIZED VIEW law WITH (max_state_bytes = 2000) AS
             SELECT k, {call} AS top FROM events GROUP BY k"
        );
        let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
        let view = pipeline.view("law").unwrap();
        let plan = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[]));
        let events = random_events(&view.source, 4_000, &mut StdRng::seed_from_u64(5));
        let states = plan.await.unwrap().execute(vec![events]).await;
        match states {
            Ok(_) => assert!(is_within, "{call}"),
            Err(DefinitionError::StateTooLarge { measure, .. }) => assert!(!is_within && measure == "top", "{call}"),
            Err(other) => panic!("{call}: {other}"),
        }
    }
}

/// The states with another list of counts, or another error.
fn damaged(states: &RecordBatch, change: impl Fn(&mut Vec<ArrayRef>)) -> RecordBatch {
    let place = states.schema().index_of("bounded").unwrap();
    let state = states.column(place).as_struct();
    let mut parts = state.columns().to_vec();
    change(&mut parts);
    let mut columns = states.columns().to_vec();
    columns[place] = Arc::new(StructArray::try_new(state.fields().clone(), parts, None).unwrap());
    RecordBatch::try_new(states.schema(), columns).unwrap()
}

/// A list column with other items of the same number.
fn with_items(list: &ArrayRef, item: Option<i64>) -> ArrayRef {
    let list = list.as_list::<i32>();
    let DataType::List(field) = list.data_type() else { panic!("{}", list.data_type()) };
    let items = Int64Array::from(vec![item; list.values().len()]);
    Arc::new(ListArray::try_new(field.clone(), list.offsets().clone(), Arc::new(items), None).unwrap())
}

/// What is done to the parts of a state.
type Change = &'static dyn Fn(&mut Vec<ArrayRef>);

#[tokio::test]
async fn states_that_nobody_wrote_are_errors() {
    let plans = plans().await;
    let random = &mut StdRng::seed_from_u64(3);
    let events = random_events(&plans.view.source, 50, random);
    let states = whole(&plans.state.execute(vec![with_values(&events, &[1; 50])]).await.unwrap());
    let finish = &plans.grains[0].finish;
    assert!(finish.execute(vec![damaged(&states, |_| {})]).await.is_ok());
    let changes: [Change; 6] = [
        &|parts| parts[1] = with_items(&parts[1], Some(0)),
        &|parts| parts[1] = with_items(&parts[1], Some(-1)),
        &|parts| parts[1] = with_items(&parts[1], None),
        &|parts| parts[0] = with_items(&parts[0], None),
        &|parts| parts[1] = with_items(&parts[1], Some(i64::MAX)),
        &|parts| parts[2] = Arc::new(Int64Array::from(vec![-1; parts[2].len()])),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let error = finish.execute(vec![damaged(&states, change)]).await.unwrap_err().to_string();
        let is_told = error.contains("none that was written as such") || error.contains("more values than any log");
        assert!(is_told, "change {at}: {error}");
    }
}
