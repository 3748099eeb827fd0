//! The sketches themselves: a function of the data, within their bounds, and strict about bytes.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array};
use arrow::datatypes::{Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use views::{DdSketch, KllDouble, KllItem, KllSketch};

use super::events::random_events;
use super::plans::{Measures, Plans, whole};
use crate::support::seeds::{for_each_seed, seeds};

/// As published for k = 200; of 100 estimates 99 lie within.
const RANK_ERROR: f64 = 0.0133;
const VALUE_ERROR: f64 = 0.01;
const RANKS: [f64; 8] = [0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999];

/// Values of eight kinds: those that come in an order of their own, few that come again and again, heavy tails.
fn values(kind: u64, count: usize, random: &mut StdRng) -> Vec<i64> {
    let period = random.random_range(2..300);
    let values = (0_i64..).take(count);
    match kind % 8 {
        0 => values.map(|_| random.random_range(-1_000_000..1_000_000)).collect(),
        1 => values.collect(),
        2 => values.map(|place| -place).collect(),
        3 => values.map(|place| place % period).collect(),
        4 => values.map(|_| random.random_range(0..5)).collect(),
        5 => values.map(|_| random.random::<f64>().powi(-3).min(1e15) as i64).collect(),
        // From both ends to the middle.
        6 => values.map(|place| if place % 2 == 0 { place } else { count as i64 * 2 - place }).collect(),
        // Far apart, block by block.
        _ => values.map(|place| (place / period % 2) * 1_000_000 + place).collect(),
    }
}

fn kll<T: KllItem>(values: impl IntoIterator<Item = T>) -> KllSketch<T> {
    let mut sketch = KllSketch::default();
    values.into_iter().for_each(|value| sketch.update(value).unwrap());
    sketch
}

fn dd(values: &[f64]) -> DdSketch {
    let mut sketch = DdSketch::default();
    values.iter().for_each(|value| sketch.update(*value).unwrap());
    sketch
}

/// Cuts values into up to nine parts.
fn parts<'a, T>(mut values: &'a [T], random: &mut StdRng) -> Vec<&'a [T]> {
    let mut parts = Vec::new();
    for _ in 0..random.random_range(0..9) {
        let (part, rest) = values.split_at(random.random_range(0..=values.len()));
        parts.push(part);
        values = rest;
    }
    parts.push(values);
    parts
}

/// Merges sketches in a random tree.
fn merge_all<S>(mut sketches: Vec<S>, random: &mut StdRng, merge: impl Fn(S, S) -> S) -> S {
    while sketches.len() > 1 {
        let one = sketches.swap_remove(random.random_range(0..sketches.len()));
        let other = sketches.swap_remove(random.random_range(0..sketches.len()));
        sketches.push(merge(one, other));
    }
    sketches.pop().unwrap()
}

/// Through bytes, as states travel.
fn merge_kll<T: KllItem>(mut one: KllSketch<T>, other: KllSketch<T>) -> KllSketch<T> {
    if other.count() > 0 {
        one.merge(KllSketch::from_bytes(&other.to_bytes()).unwrap()).unwrap();
    }
    one
}

fn merge_dd(mut one: DdSketch, other: DdSketch) -> DdSketch {
    if other.count() > 0 {
        one.merge(&DdSketch::from_bytes(&other.to_bytes()).unwrap()).unwrap();
    }
    one
}

/// How far the rank of a value is from the one asked for.
fn rank_error(sorted: &[i64], found: i64, rank: f64) -> f64 {
    let count = sorted.len() as f64;
    let below = sorted.partition_point(|value| *value < found) as f64 / count;
    let up_to = sorted.partition_point(|value| *value <= found) as f64 / count;
    (below - rank).max(rank - up_to).max(0.0)
}

#[test]
fn ranks_are_within_the_published_error_in_any_tree_of_merges() {
    let (mut asked, mut beyond) = (0, 0);
    for seed in seeds(2_000) {
        let random = &mut StdRng::seed_from_u64(seed);
        let count = if seed % 100 < 8 { 20_000 } else { random.random_range(201..1_500) };
        let values = values(seed, count, random);
        let sketches = parts(&values, random).into_iter().map(|part| kll(part.iter().copied())).collect();
        let sketch = merge_all(sketches, random, merge_kll);
        assert_eq!(sketch.count(), count as u64);
        let mut sorted = values;
        sorted.sort_unstable();
        for rank in RANKS {
            let error = rank_error(&sorted, sketch.quantile(rank).unwrap(), rank);
            assert!(error < 3.0 * RANK_ERROR, "{error} at {rank}; repeat with TWOFOLD_SEED={seed}");
            asked += 1;
            beyond += usize::from(error > RANK_ERROR);
        }
        assert_eq!((sketch.quantile(0.0), sketch.quantile(1.0)), (sorted.first().copied(), sorted.last().copied()));
    }
    assert!(beyond * 100 <= asked, "{beyond} of {asked} ranks are off by more than the bound");
}

#[test]
fn a_percentile_sketch_is_a_function_of_its_values() {
    for_each_seed(300, |mut random| {
        let random = &mut random;
        let (kind, count) = (random.random(), random.random_range(1..5_000));
        let values = values(kind, count, random);
        let sketch = kll(values.iter().copied());
        assert_eq!(sketch.to_bytes(), kll(values.iter().copied()).to_bytes());
        assert_eq!(KllSketch::<i64>::from_bytes(&sketch.to_bytes()).unwrap().to_bytes(), sketch.to_bytes());
        // Going on from bytes is going on.
        let (head, tail) = values.split_at(random.random_range(1..=count));
        let mut resumed = KllSketch::from_bytes(&kll(head.iter().copied()).to_bytes()).unwrap();
        tail.iter().for_each(|value| resumed.update(*value).unwrap());
        assert_eq!(resumed.to_bytes(), sketch.to_bytes());
        if !tail.is_empty() {
            let (one, other) = (kll(head.iter().copied()), kll(tail.iter().copied()));
            assert_eq!(merge_kll(one.clone(), other.clone()).to_bytes(), merge_kll(other, one).to_bytes());
        }
    });
}

#[test]
fn a_percentile_of_up_to_200_values_is_exact_in_any_order() {
    for_each_seed(300, |mut random| {
        let random = &mut random;
        let (kind, count) = (random.random(), random.random_range(1..=200));
        let mut values = values(kind, count, random);
        let bytes = kll(values.iter().copied()).to_bytes();
        values.shuffle(random);
        let sketches = parts(&values, random).into_iter().map(|part| kll(part.iter().copied())).collect();
        let sketch = merge_all(sketches, random, merge_kll);
        assert_eq!(sketch.to_bytes(), bytes);
        values.sort_unstable();
        for rank in RANKS {
            let nearest = (rank * count as f64).ceil() as usize;
            assert_eq!(sketch.quantile(rank), Some(values[nearest - 1]), "{rank} of {count}");
        }
    });
}

#[test]
fn values_grow_with_the_rank() {
    for_each_seed(100, |mut random| {
        let random = &mut random;
        let (kind, count) = (random.random(), random.random_range(1..10_000));
        let values = values(kind, count, random);
        let doubles: Vec<f64> = values.iter().map(|value| *value as f64 / 7.0).collect();
        let (kll, dd) = (kll(values), dd(&doubles));
        let ranks: Vec<f64> = (0..=2_000).map(|step| f64::from(step) / 2_000.0).collect();
        assert!(ranks.iter().map(|rank| kll.quantile(*rank).unwrap()).is_sorted());
        assert!(ranks.iter().map(|rank| dd.quantile(*rank).unwrap()).is_sorted());
    });
}

/// Of all magnitudes, or of some, with what is special.
fn doubles(count: usize, random: &mut StdRng) -> Vec<f64> {
    let reach = if random.random_bool(0.2) { 300.0 } else { 6.0 };
    let special = [0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324, f64::MIN_POSITIVE];
    let value = |random: &mut StdRng| match random.random_range(0..40) {
        0 => special[random.random_range(0..special.len())],
        1 => -(10_f64.powf(random.random_range(-reach..reach))),
        _ => 10_f64.powf(random.random_range(-reach..reach)),
    };
    (0..count).map(|_| value(random)).collect()
}

#[test]
fn a_relative_error_sketch_is_the_same_in_any_order_and_any_tree() {
    for_each_seed(150, |mut random| {
        let random = &mut random;
        let count = random.random_range(1..6_000);
        let mut values = doubles(count, random);
        let bytes = dd(&values).to_bytes();
        values.shuffle(random);
        let sketches = parts(&values, random).into_iter().map(dd).collect();
        assert_eq!(merge_all(sketches, random, merge_dd).to_bytes(), bytes);
    });
}

#[test]
fn values_of_a_relative_error_sketch_are_within_one_percent() {
    for_each_seed(150, |mut random| {
        let random = &mut random;
        let count = random.random_range(1..3_000);
        let mut values = doubles(count, random);
        let sketch = dd(&values);
        values.retain(|value| !value.is_nan());
        values.sort_unstable_by(f64::total_cmp);
        let positive = values.iter().filter(|value| value.is_normal() && **value > 0.0);
        let buckets: BTreeSet<u64> = positive.map(|value| value.to_bits() >> 46).collect();
        for rank in RANKS.into_iter().chain([0.0, 1.0]) {
            let nearest = ((rank * values.len() as f64).ceil() as usize).max(1);
            let Some(wanted) = values.get(nearest - 1).copied() else { continue };
            let found = sketch.quantile(rank).unwrap();
            let error = (found - wanted).abs() / wanted.abs().max(f64::MIN_POSITIVE);
            // Of more magnitudes than it has buckets the least share one.
            let is_near = found == wanted || error <= VALUE_ERROR || buckets.len() > 2_048;
            assert!(is_near, "{found} is not {wanted} at {rank} of {count}");
        }
    });
}

/// Damages bytes in one of several ways.
fn damage(bytes: &mut Vec<u8>, random: &mut StdRng) {
    match random.random_range(0..5) {
        0 => bytes.truncate(random.random_range(0..=bytes.len())),
        1 => *bytes = (0..random.random_range(0..64)).map(|_| random.random()).collect(),
        2 => bytes.extend((0..random.random_range(1..9)).map(|_| random.random::<u8>())),
        _ => {
            for _ in 0..random.random_range(1..4) {
                // Mostly at the beginning, where the counts are.
                let end = if random.random_bool(0.7) { bytes.len().min(24) } else { bytes.len() };
                let at = random.random_range(0..end.max(1));
                let _ = bytes.get_mut(at).map(|byte| *byte = random.random());
            }
        }
    }
}

/// Bytes that are taken for a sketch are one: they are what it writes, and it goes on working.
fn check_kll<T: KllItem + Default + std::fmt::Debug>(bytes: &[u8], good: &KllSketch<T>) {
    let Ok(read) = KllSketch::<T>::from_bytes(bytes) else { return };
    assert_eq!(read.to_bytes(), bytes);
    let mut merged = read.clone();
    if merged.merge(good.clone()).is_ok() && merged.update(T::default()).is_ok() {
        let again = KllSketch::<T>::from_bytes(&merged.to_bytes()).unwrap();
        assert_eq!(again.quantile(0.5), merged.quantile(0.5));
    }
    assert!(RANKS.iter().all(|rank| read.quantile(*rank).is_some()));
}

#[test]
fn damaged_bytes_are_errors_or_sketches() {
    for_each_seed(2_000, |mut random| {
        let random = &mut random;
        let (kind, count) = (random.random(), random.random_range(1..900));
        let values = values(kind, count, random);
        let numbers = kll(values.iter().copied());
        let texts = kll(values.iter().map(|value| value.to_string()));
        let doubles = dd(&doubles(count, random));
        let mut bytes = [numbers.to_bytes(), texts.to_bytes(), doubles.to_bytes()];
        bytes.iter_mut().for_each(|bytes| damage(bytes, random));
        check_kll(&bytes[0], &numbers);
        check_kll(&bytes[1], &texts);
        assert!(KllSketch::<KllDouble>::from_bytes(&numbers.to_bytes()).is_err(), "of another type");
        if let Ok(mut read) = DdSketch::from_bytes(&bytes[2]) {
            assert_eq!(read.to_bytes(), bytes[2]);
            if read.merge(&doubles).is_ok() && read.update(1.0).is_ok() {
                assert!(DdSketch::from_bytes(&read.to_bytes()).unwrap().quantile(0.5).is_some());
            }
        }
    });
}

#[test]
fn states_of_more_values_than_any_log_holds_are_refused() {
    let huge = |count: u64| {
        // No infinities, so many zeros, between 0 and 0, no buckets.
        let mut bytes = vec![1, 0];
        let mut left = count;
        while left >= 0x80 {
            bytes.push(left as u8 | 0x80);
            left >>= 7;
        }
        bytes.push(left as u8);
        bytes.extend([0; 19]);
        bytes
    };
    let mut most = DdSketch::from_bytes(&huge(1 << 60)).unwrap();
    assert!(DdSketch::from_bytes(&huge((1 << 60) + 1)).is_err());
    assert!(most.update(1.0).is_err() && most.merge(&most.clone()).is_err());
    assert_eq!(most.quantile(0.5), Some(0.0));
}

const PERCENTILES: &Measures = &[
    ("p000", "approx_percentile_cont(i, 0.0)", ""),
    ("p500", "approx_percentile_cont(i, 0.5)", ""),
    ("p990", "approx_percentile_cont(i, 0.99)", ""),
    ("p995", "approx_percentile_cont(0.995) WITHIN GROUP (ORDER BY i)", ""),
    ("p999", "approx_percentile_cont(i, 0.999)", ""),
    ("p001_desc", "approx_percentile_cont(0.001) WITHIN GROUP (ORDER BY i DESC)", ""),
    ("d000", "ddsketch_percentile(f, 0.0)", ""),
    ("d500", "ddsketch_percentile(f, 0.5)", ""),
    ("d999", "ddsketch_percentile(0.999) WITHIN GROUP (ORDER BY f)", ""),
    ("f000", "approx_percentile_cont(f, 0.0)", ""),
    ("f500", "approx_percentile_cont(f, 0.5)", ""),
    ("none", "ddsketch_percentile(f, 0.5) FILTER (WHERE f IS NULL)", ""),
];

/// Events with these values of `i` and `f`.
fn with_columns(events: &RecordBatch, ints: Int64Array, doubles: Float64Array) -> RecordBatch {
    let mut columns = events.columns().to_vec();
    columns[events.schema().index_of("i").unwrap()] = Arc::new(ints) as ArrayRef;
    columns[events.schema().index_of("f").unwrap()] = Arc::new(doubles) as ArrayRef;
    RecordBatch::try_new(events.schema(), columns).unwrap()
}

async fn percentiles() -> Plans {
    let unasked: Vec<_> = PERCENTILES.iter().map(|(name, view, _)| (*name, *view, "count(*)")).collect();
    Plans::new(&[("k", "events.k")], &unasked, "FROM events").await
}

#[tokio::test]
async fn percentiles_of_one_argument_share_one_sketch_and_grow_with_the_rank() {
    let plans = percentiles().await;
    for seed in seeds(20) {
        let random = &mut StdRng::seed_from_u64(seed);
        let events = random_events(&plans.view.source, 3_000, random);
        let mut states = Vec::new();
        for part in 0..6 {
            let run = plans.state.execute(vec![events.slice(part * 500, 500)]).await.unwrap();
            states.extend(run);
        }
        let merged = whole(&plans.merge.execute(states.clone()).await.unwrap());
        for name in ["p500", "p990", "p995", "p999", "p001_desc"] {
            assert_eq!(merged.column_by_name(name), merged.column_by_name("p000"), "{name}, seed {seed}");
        }
        let again = whole(&plans.merge.execute(states.clone()).await.unwrap());
        assert_eq!(again, merged, "seed {seed}");
        let finished = whole(&plans.grains[0].finish.execute(states).await.unwrap());
        let value = |name: &str| finished.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
        let ascending = ["p000", "p500", "p990", "p995", "p999"].map(value);
        assert!(ascending.is_sorted(), "{ascending:?}, seed {seed}");
        assert_eq!(value("p001_desc"), value("p999"), "seed {seed}");
        assert!(finished.column_by_name("none").unwrap().is_null(0));
    }
}

#[tokio::test]
async fn special_values_have_their_place_and_no_value_is_null() {
    let plans = percentiles().await;
    let events = random_events(&plans.view.source, 7, &mut StdRng::seed_from_u64(1));
    let ints = [Some(i64::MAX), None, Some(i64::MIN), Some(0), Some(-1), Some(1), None];
    let doubles = [Some(f64::NAN), Some(-0.0), None, Some(f64::INFINITY), Some(f64::NEG_INFINITY), Some(5e-324), None];
    let special = with_columns(&events, ints.into_iter().collect(), doubles.into_iter().collect());
    let states = plans.state.execute(vec![special]).await.unwrap();
    let row = whole(&plans.grains[0].finish.execute(states).await.unwrap());
    let int = |name: &str| row.column_by_name(name).unwrap().as_primitive::<Int64Type>().value(0);
    let double = |name: &str| row.column_by_name(name).unwrap().as_primitive::<Float64Type>().value(0);
    assert_eq!((int("p000"), int("p500"), int("p999")), (i64::MIN, 0, i64::MAX));
    assert_eq!((double("d000"), double("f000")), (f64::NEG_INFINITY, f64::NEG_INFINITY));
    assert_eq!(double("d999"), f64::INFINITY);
    assert_eq!((double("d500").to_bits(), double("f500").to_bits()), (0.0_f64.to_bits(), 0.0_f64.to_bits()));

    let (nulls, nans) = (Int64Array::from(vec![None::<i64>; 7]), Float64Array::from(vec![Some(f64::NAN); 7]));
    let nothing = with_columns(&events, nulls, nans);
    let states = plans.state.execute(vec![nothing]).await.unwrap();
    assert!(states[0].column_by_name("d500").unwrap().is_null(0), "NaN is no value");
    let row = whole(&plans.grains[0].finish.execute(states).await.unwrap());
    assert!(row.columns().iter().all(|column| column.is_null(0)), "{row:?}");
}

const UNIQUES: &Measures = &[
    ("s", "approx_distinct(s)", "count(*)"),
    ("i", "approx_distinct(i)", "count(*)"),
    ("f", "approx_distinct(f) FILTER (WHERE b)", "count(*)"),
    ("d", "ddsketch_percentile(f, 0.9)", "count(*)"),
];

#[tokio::test]
async fn uniques_and_relative_percentiles_are_a_function_of_the_set_of_events() {
    let plans = Plans::new(&[("k", "events.k")], UNIQUES, "FROM events").await;
    for seed in seeds(12) {
        let random = &mut StdRng::seed_from_u64(seed);
        // Few values, a few hundred, and as many as fill all registers.
        let rows = [20, 600, 20_000][random.random_range(0..3)];
        let events = random_events(&plans.view.source, rows, random);
        let direct = plans.state.execute(vec![events.clone()]).await.unwrap();
        let direct = whole(&plans.grains[0].finish.execute(direct).await.unwrap());
        let states = plans.merged_states(&events, random).await;
        let merged = whole(&plans.grains[0].finish.execute(states).await.unwrap());
        assert_eq!(merged, direct, "{rows} rows, seed {seed}");
    }
}
