//! The random cases: at least 2,000 of them, over thirty aggregates.

use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::compare::assert_same;
use super::events::{random_events, random_split};
use super::plans::{Measures, Plans};
use super::sent::states_through_bytes;
use crate::support::seeds::seeds;

/// Cases per set of measures.
const CASES: u64 = 700;

pub const KEYS: &[(&str, &str)] = &[("k", "events.k"), ("hour", "date_bin(INTERVAL '1 hour', time)")];

/// The order of the log, which order-sensitive aggregates follow.
macro_rules! log {
    ($call:literal) => {
        concat!($call, " ORDER BY _partition, _offset)")
    };
}

pub const PLAIN: &Measures = &[
    ("n", "count(*)", "count(*)"),
    ("n_i", "count(i)", "count(i)"),
    ("sum_i", "sum(i)", "TRY_CAST(sum(CAST(i AS DECIMAL(38, 0))) AS BIGINT)"),
    ("sum_d", "sum(d)", "sum(d)"),
    ("sum_f", "sum(f)", "sum(f)"),
    ("n_b", "count(*) FILTER (WHERE b)", "count(*) FILTER (WHERE b)"),
    (
        "sum_b",
        "sum(i) FILTER (WHERE b AND i < 100)",
        "TRY_CAST(sum(CAST(i AS DECIMAL(38, 0))) FILTER (WHERE b AND i < 100) AS BIGINT)",
    ),
    ("min_i", "min(i)", "min(i)"),
    ("max_s", "max(s)", "max(s)"),
    ("min_time", "min(time)", "min(time)"),
    ("all_b", "bool_and(b)", "bool_and(b)"),
    ("any_b", "bool_or(b)", "bool_or(b)"),
    ("xor_i", "bit_xor(i)", "bit_xor(i)"),
    ("ratio", "sum(d) / count(*)", "sum(d) / count(*)"),
    ("share", "100.0 * count(*) FILTER (WHERE b) / count(*)", "100.0 * count(*) FILTER (WHERE b) / count(*)"),
];

pub const STATISTICS: &Measures = &[
    ("n", "count(*)", "count(*)"),
    ("avg_i", "avg(i) FILTER (WHERE i BETWEEN -1000 AND 1000)", "avg(i) FILTER (WHERE i BETWEEN -1000 AND 1000)"),
    ("avg_d", "avg(d)", "avg(d)"),
    ("avg_f", "avg(f)", "avg(f)"),
    ("stddev_f", "stddev(f)", "stddev(f)"),
    ("var_f", "var_pop(f)", "var_pop(f)"),
    ("approx_s", "approx_distinct(s)", "count(DISTINCT s)"),
    ("approx_i", "approx_distinct(i)", "count(DISTINCT i)"),
    ("p90_i", "approx_percentile_cont(0.9) WITHIN GROUP (ORDER BY i)", "array_agg(i) FILTER (WHERE i IS NOT NULL)"),
    ("p50_f", "approx_percentile_cont(f, 0.5)", "array_agg(f) FILTER (WHERE f IS NOT NULL)"),
    ("p25_d", "approx_percentile_cont(d, 0.25) FILTER (WHERE b)", "array_agg(d) FILTER (WHERE d IS NOT NULL AND b)"),
];

pub const ORDERED: &Measures = &[
    ("n", "count(*)", "count(*)"),
    ("distinct_s", "count(DISTINCT s)", "count(DISTINCT s)"),
    ("distinct_i", "count(DISTINCT i)", "count(DISTINCT i)"),
    ("sum_distinct", "sum(DISTINCT d)", "sum(DISTINCT d)"),
    ("median_i", "median(d)", "median(d)"),
    ("median_f", "median(f)", "median(f)"),
    ("list_i", "array_agg(i)", log!("array_agg(i")),
    ("list_s", "array_agg(s ORDER BY f DESC)", "array_agg(s ORDER BY f DESC, _partition, _offset)"),
    ("set_s", "array_agg(DISTINCT s)", "array_agg(DISTINCT s ORDER BY s)"),
    ("text_s", "string_agg(s, ', ')", log!("string_agg(s, ', '")),
    ("first_s", "first_value(s)", log!("first_value(s")),
    ("first_i", "first_value(i) FILTER (WHERE b)", concat!(log!("first_value(i"), " FILTER (WHERE b)")),
    ("last_i", "last_value(i ORDER BY b)", "last_value(i ORDER BY b, _partition, _offset)"),
    ("last_d", "last_value(d)", log!("last_value(d")),
    ("visits_b", "visits(b, time, INTERVAL '1 millisecond')", "visits(b, time, INTERVAL '1 millisecond')"),
    (
        "bounces_i",
        "bounces(i, time, INTERVAL '1 hour') FILTER (WHERE b)",
        "bounces(i, time, INTERVAL '1 hour') FILTER (WHERE b)",
    ),
];

/// The states of one part: random batches in, and a merge in between or not.
async fn merge_at_random(plans: &Plans, mut states: Vec<Vec<RecordBatch>>, random: &mut StdRng) -> Vec<RecordBatch> {
    let rounds = random.random_range(0..=states.len());
    for _ in 0..rounds {
        let taken = random.random_range(1..=states.len());
        let mut merged = Vec::new();
        for _ in 0..taken {
            let at = random.random_range(0..states.len());
            merged.extend(states.swap_remove(at));
        }
        states.push(plans.merge.execute(merged).await.unwrap());
    }
    states.into_iter().flatten().collect()
}

async fn check_case(plans: &Plans, seed: u64, name: &str) {
    let random = &mut StdRng::seed_from_u64(seed);
    let rows = match random.random_range(0..20) {
        0 => 0,
        1 => random.random_range(1000..4000),
        _ => random.random_range(1..150),
    };
    let events = random_events(&plans.view.source, rows, random);
    let mut states = Vec::new();
    for part in random_split(&events, random) {
        states.push(plans.state.execute(part).await.unwrap());
    }
    let whole = plans.state.execute(vec![events.clone()]).await.unwrap();
    let states = merge_at_random(plans, states, random).await;
    let grain = &plans.grains[random.random_range(0..plans.grains.len())];
    let merged = grain.finish.execute(states).await.unwrap();
    let direct = grain.direct.execute(vec![events.clone()]).await.unwrap();
    let text = format!("{name}, {rows} rows, by {} dimensions; repeat with TWOFOLD_SEED={seed}", grain.by);
    assert_same(&plans.view, grain.by, &merged, &direct, &text);
    let undivided = grain.finish.execute(whole).await.unwrap();
    assert_same(&plans.view, grain.by, &undivided, &direct, &format!("{text}, one state"));
    // Each of them takes some milliseconds.
    if seed.is_multiple_of(50) {
        let elsewhere = grain.finish.execute(states_through_bytes(&plans.view, &events).await).await.unwrap();
        assert_same(&plans.view, grain.by, &elsewhere, &direct, &format!("{text}, elsewhere"));
    }
}

async fn check(measures: &Measures, from: &str, name: &str) {
    let plans = Plans::new(KEYS, measures, from).await;
    for seed in seeds(CASES) {
        check_case(&plans, seed, name).await;
    }
}

#[tokio::test]
async fn plain_measures_merge_to_the_direct_answer() {
    check(PLAIN, "FROM events WHERE i IS NULL OR i <> 13", "plain").await;
}

#[tokio::test]
async fn statistics_and_sketches_merge_to_the_direct_answer() {
    check(STATISTICS, "FROM events LEFT JOIN names ON events.k = names.k", "statistics").await;
}

#[tokio::test]
async fn ordered_and_unbounded_measures_merge_to_the_direct_answer() {
    check(ORDERED, "FROM events", "ordered").await;
}
