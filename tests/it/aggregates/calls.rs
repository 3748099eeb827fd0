//! Every call against the oracle: over parts in any number, merged in any order and tree.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use views::{AGGREGATES, Compiled, Distinct, Pipeline, PlannedView, Support};

use super::call::{
    Call, bs, call, cs, distinct_texts, ds, exactly, int, joined, list, ns, number, text, texts, value, xs,
};
use super::oracle::{
    Deviations, Value, by_key, decimal_mean, distinct, distinct_ints, distinct_pairs, float_mean, float_sum, int_sum,
    middle, pairs, sorted,
};
use super::picks;
use super::rows::{KINDS, Row, SOURCE, events, random_rows};
use crate::support::seeds::seeds;

/// Aggregates whose proof is another suite's: a percentile of a sketch is a matter of ranks (`tests/it/law`), visits
/// are one of times (`visits.rs`).
const PROVEN_ELSEWHERE: &[&str] =
    &["approx_percentile_cont", "ddsketch_percentile", "visits", "bounces", "bounce_rate"];

fn fits_bigint(value: i128) -> bool {
    i64::try_from(value).is_ok()
}

fn fits_digits(value: i128) -> bool {
    value.unsigned_abs() < 10_u128.pow(38)
}

fn spread(values: &[f64]) -> Deviations {
    Deviations::of(&values.iter().map(|value| (*value, *value)).collect::<Vec<_>>())
}

fn root(value: Value) -> Value {
    if let Value::Float(value, _) = value { Value::exactly(value.sqrt()) } else { value }
}

fn slope(of: &Deviations) -> f64 {
    of.xy / of.xx
}

type Pairs = [(f64, f64)];

fn covar_samp(pairs: &Pairs) -> Value {
    Deviations::of(pairs).by_both(1.0)
}

fn covar_pop(pairs: &Pairs) -> Value {
    Deviations::of(pairs).by_both(0.0)
}

fn corr(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_spread(of.xx != 0.0 && of.yy != 0.0, Value::Float(of.xy / of.scale(), 1.0))
}

fn regr_count(pairs: &Pairs) -> Value {
    number(pairs.len())
}

fn regr_slope(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_spread(of.xx != 0.0, Value::Float(slope(&of), of.scale() / of.xx))
}

fn regr_intercept(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    let scale = of.mean_y.abs() + of.scale() / of.xx * of.mean_x.abs();
    of.if_spread(of.xx != 0.0, Value::Float(of.mean_y - slope(&of) * of.mean_x, scale))
}

fn regr_r2(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_spread(of.xx != 0.0 && of.yy != 0.0, Value::Float(slope(&of) * (of.xy / of.yy), 1.0))
}

fn regr_avgx(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_any(Value::Float(of.mean_x, 4.0))
}

fn regr_avgy(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_any(Value::Float(of.mean_y, 4.0))
}

fn regr_sxx(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_any(Value::exactly(of.xx))
}

fn regr_syy(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_any(Value::exactly(of.yy))
}

fn regr_sxy(pairs: &Pairs) -> Value {
    let of = Deviations::of(pairs);
    of.if_any(Value::Float(of.xy, of.scale()))
}

/// The middle of floating-point numbers; between two halves as it is computed.
fn middle_float(values: &[f64]) -> Option<f64> {
    middle(values, f64::midpoint)
}

const CALLS: &[Call] = &[
    call("count", "count(*)", |rows| number(rows.len())),
    call("count", "count(*) FILTER (WHERE b)", |rows| number(bs(rows).into_iter().filter(|b| *b).count())),
    call("count", "count(x)", |rows| number(xs(rows).len())),
    call("count", "count(DISTINCT x)", |rows| number(distinct(xs(rows)).len())),
    call("count", "count(DISTINCT -x)", |rows| number(distinct(xs(rows)).len())),
    call("count", "count(DISTINCT n)", |rows| number(distinct_ints(ns(rows)).len())),
    call("count", "count(DISTINCT d)", |rows| number(distinct_ints(ds(rows)).len())),
    call("count", "count(DISTINCT s)", |rows| number(distinct_texts(rows).len())),
    call("count", "count(DISTINCT b)", |rows| number(bs(rows).into_iter().collect::<BTreeSet<_>>().len())),
    call("sum", "sum(n)", |rows| int_sum(&ns(rows), fits_bigint)),
    call("sum", "sum(DISTINCT n)", |rows| int_sum(&distinct_ints(ns(rows)), fits_bigint)),
    call("sum", "sum(CAST(n AS DECIMAL(38, 0)))", |rows| int_sum(&ns(rows), fits_digits)),
    call("sum", "sum(c)", |rows| int_sum(&cs(rows), fits_digits)),
    call("sum", "sum(DISTINCT c)", |rows| int_sum(&distinct_ints(cs(rows)), fits_digits)),
    call("sum", "sum(d)", |rows| int_sum(&ds(rows), fits_digits)),
    call("sum", "sum(DISTINCT d)", |rows| int_sum(&distinct_ints(ds(rows)), fits_digits)),
    call("sum", "sum(x)", |rows| float_sum(&xs(rows))),
    call("sum", "sum(DISTINCT x)", |rows| float_sum(&distinct(xs(rows)))),
    call("avg", "avg(x)", |rows| float_mean(&xs(rows))),
    call("avg", "avg(DISTINCT x)", |rows| float_mean(&distinct(xs(rows)))),
    call("avg", "avg(c)", |rows| decimal_mean(&cs(rows), fits_digits)),
    call("avg", "avg(DISTINCT c)", |rows| decimal_mean(&distinct_ints(cs(rows)), fits_digits)),
    call("avg", "avg(d)", |rows| decimal_mean(&ds(rows), fits_digits)),
    call("min", "min(x)", |rows| exactly(sorted(xs(rows)).first().copied())),
    call("min", "min(DISTINCT n)", |rows| int(ns(rows).into_iter().min())),
    call("min", "min(s)", |rows| text(texts(rows).into_iter().min())),
    call("max", "max(x)", |rows| exactly(sorted(xs(rows)).last().copied())),
    call("max", "max(d)", |rows| int(ds(rows).into_iter().max())),
    call("max", "max(b)", |rows| bs(rows).into_iter().max().map_or(Value::Null, Value::Bool)),
    call("bool_and", "bool_and(b)", |rows| bs(rows).into_iter().min().map_or(Value::Null, Value::Bool)),
    call("bool_or", "bool_or(DISTINCT b)", |rows| bs(rows).into_iter().max().map_or(Value::Null, Value::Bool)),
    call("bit_and", "bit_and(n)", |rows| int(ns(rows).into_iter().reduce(|all, n| all & n))),
    call("bit_or", "bit_or(DISTINCT n)", |rows| int(ns(rows).into_iter().reduce(|all, n| all | n))),
    call("bit_xor", "bit_xor(n)", |rows| int(ns(rows).into_iter().reduce(|all, n| all ^ n))),
    call("bit_xor", "bit_xor(DISTINCT n)", |rows| int(distinct_ints(ns(rows)).into_iter().reduce(|all, n| all ^ n))),
    call("bit_xor", "bit_xor(DISTINCT n) FILTER (WHERE n > 2)", |rows| {
        int(distinct_ints(ns(rows)).into_iter().filter(|n| *n > 2).reduce(|all, n| all ^ n))
    }),
    call("first_value", "first_value(n)", |rows| rows.first().map_or(Value::Null, |row| int(row.n.map(i128::from)))),
    call("first_value", "first_value(s ORDER BY x)", |rows| {
        // NULL comes last.
        let place = |row: &&Row| row.x.map_or(f64::INFINITY, |x| if x.is_nan() { f64::INFINITY } else { x + 0.0 });
        let rank = |row: &&Row| row.x.map_or(2, |x| i32::from(x.is_nan()));
        let first = rows.iter().min_by(|one, two| rank(one).cmp(&rank(two)).then(place(one).total_cmp(&place(two))));
        text(first.and_then(|row| row.s))
    }),
    call("last_value", "last_value(x)", |rows| {
        let last = rows.last().and_then(|row| row.x);
        exactly(last.map(|x| if x.is_nan() { f64::NAN } else { x + 0.0 }))
    }),
    call("var", "var(x)", |rows| spread(&xs(rows)).by_self(1.0)),
    call("var", "var(DISTINCT x)", |rows| spread(&distinct(xs(rows))).by_self(1.0)),
    call("var_pop", "var_pop(x)", |rows| spread(&xs(rows)).by_self(0.0)),
    call("var_pop", "var_pop(DISTINCT x)", |rows| spread(&distinct(xs(rows))).by_self(0.0)),
    call("stddev", "stddev(x)", |rows| root(spread(&xs(rows)).by_self(1.0))),
    call("stddev", "stddev(DISTINCT x)", |rows| root(spread(&distinct(xs(rows))).by_self(1.0))),
    call("stddev_pop", "stddev_pop(x)", |rows| root(spread(&xs(rows)).by_self(0.0))),
    call("stddev_pop", "stddev_pop(DISTINCT x)", |rows| root(spread(&distinct(xs(rows))).by_self(0.0))),
    call("covar_samp", "covar_samp(y, x)", |rows| covar_samp(&pairs(rows))),
    call("covar_samp", "covar_samp(DISTINCT y, x)", |rows| covar_samp(&distinct_pairs(rows))),
    call("covar_pop", "covar_pop(y, x)", |rows| covar_pop(&pairs(rows))),
    call("covar_pop", "covar_pop(DISTINCT y, x)", |rows| covar_pop(&distinct_pairs(rows))),
    call("corr", "corr(y, x)", |rows| corr(&pairs(rows))),
    call("corr", "corr(DISTINCT y, x)", |rows| corr(&distinct_pairs(rows))),
    call("regr_count", "regr_count(y, x)", |rows| regr_count(&pairs(rows))),
    call("regr_count", "regr_count(DISTINCT y, x)", |rows| regr_count(&distinct_pairs(rows))),
    call("regr_slope", "regr_slope(y, x)", |rows| regr_slope(&pairs(rows))),
    call("regr_slope", "regr_slope(DISTINCT y, x)", |rows| regr_slope(&distinct_pairs(rows))),
    call("regr_intercept", "regr_intercept(y, x)", |rows| regr_intercept(&pairs(rows))),
    call("regr_intercept", "regr_intercept(DISTINCT y, x)", |rows| regr_intercept(&distinct_pairs(rows))),
    call("regr_r2", "regr_r2(y, x)", |rows| regr_r2(&pairs(rows))),
    call("regr_r2", "regr_r2(DISTINCT y, x)", |rows| regr_r2(&distinct_pairs(rows))),
    call("regr_avgx", "regr_avgx(y, x)", |rows| regr_avgx(&pairs(rows))),
    call("regr_avgx", "regr_avgx(DISTINCT y, x)", |rows| regr_avgx(&distinct_pairs(rows))),
    call("regr_avgy", "regr_avgy(y, x)", |rows| regr_avgy(&pairs(rows))),
    call("regr_avgy", "regr_avgy(DISTINCT y, x)", |rows| regr_avgy(&distinct_pairs(rows))),
    call("regr_sxx", "regr_sxx(y, x)", |rows| regr_sxx(&pairs(rows))),
    call("regr_sxx", "regr_sxx(DISTINCT y, x)", |rows| regr_sxx(&distinct_pairs(rows))),
    call("regr_syy", "regr_syy(y, x)", |rows| regr_syy(&pairs(rows))),
    call("regr_syy", "regr_syy(DISTINCT y, x)", |rows| regr_syy(&distinct_pairs(rows))),
    call("regr_sxy", "regr_sxy(y, x)", |rows| regr_sxy(&pairs(rows))),
    call("regr_sxy", "regr_sxy(DISTINCT y, x)", |rows| regr_sxy(&distinct_pairs(rows))),
    call("median", "median(x)", |rows| exactly(middle_float(&sorted(xs(rows))))),
    call("median", "median(DISTINCT x)", |rows| exactly(middle_float(&distinct(xs(rows))))),
    call("median", "median(c)", |rows| {
        let mut values = cs(rows);
        values.sort_unstable();
        int(middle(&values, |low, high| (low + high) / 2))
    }),
    call("percentile_cont", "percentile_cont(x, 0.5) FILTER (WHERE x BETWEEN -1e18 AND 1e18)", |rows| {
        let finite: Vec<f64> = sorted(xs(rows)).into_iter().filter(|x| x.is_finite()).collect();
        middle_float(&finite).map_or(Value::Null, |x| Value::Float(x, 1e4))
    }),
    call("percentile_cont", "percentile_cont(DISTINCT x, 0.5) FILTER (WHERE x BETWEEN -1e18 AND 1e18)", |rows| {
        let finite: Vec<f64> = distinct(xs(rows)).into_iter().filter(|x| x.is_finite()).collect();
        middle_float(&finite).map_or(Value::Null, |x| Value::Float(x, 1e4))
    }),
    call("array_agg", "array_agg(n)", |rows| list(rows.iter().map(|row| int(row.n.map(i128::from))).collect())),
    call("array_agg", "array_agg(DISTINCT x) FILTER (WHERE x IS NOT NULL)", |rows| {
        list(distinct(xs(rows)).into_iter().map(Value::exactly).collect())
    }),
    call("string_agg", "string_agg(s, ',')", |rows| joined(&texts(rows))),
    call("string_agg", "string_agg(DISTINCT s, ',')", |rows| joined(&distinct_texts(rows))),
    call("approx_distinct", "approx_distinct(x)", |rows| number(distinct(xs(rows)).len())),
    call("approx_distinct", "approx_distinct(DISTINCT n)", |rows| number(distinct_ints(ns(rows)).len())),
];

impl Deviations {
    fn by_self(&self, less: f64) -> Value {
        self.by(self.xx, less, 0.0)
    }

    fn by_both(&self, less: f64) -> Value {
        self.by(self.xy, less, self.scale())
    }
}

fn all_calls() -> impl Iterator<Item = &'static Call> {
    CALLS.iter().chain(picks::CALLS)
}

fn view() -> PlannedView {
    let calls: Vec<String> = all_calls().enumerate().map(|(at, call)| format!("{} AS m{at}", call.sql)).collect();
    let sql = format!("{SOURCE}CREATE MATERIALIZED VIEW v AS SELECT k, {} FROM e GROUP BY k", calls.join(", "));
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    pipeline.view("v").unwrap().clone()
}

/// The states of the rows in parts, some of them empty, merged in any order and any tree, not always to the end.
async fn states(plans: &Plans, rows: &[Row], random: &mut StdRng) -> Vec<RecordBatch> {
    let count = [1, 2, 2, 7][random.random_range(0..4)];
    let mut parts: Vec<Vec<(usize, Row)>> = vec![Vec::new(); count];
    for row in rows.iter().cloned().enumerate() {
        parts[random.random_range(0..count)].push(row);
    }
    let mut states = Vec::new();
    for mut part in parts {
        part.shuffle(random);
        let batch = events(&plans.view.source, &part);
        let at = random.random_range(0..=batch.num_rows());
        let batches = vec![batch.slice(0, at), batch.slice(at, batch.num_rows() - at)];
        states.push(plans.state.execute(batches).await.unwrap());
    }
    for _ in 0..random.random_range(0..=count) {
        states.shuffle(random);
        let merged = states.split_off(random.random_range(0..states.len())).concat();
        states.push(plans.merge.execute(merged).await.unwrap());
    }
    states.shuffle(random);
    states.concat()
}

struct Plans {
    view: PlannedView,
    state: Compiled,
    merge: Compiled,
    by_key: Compiled,
    total: Compiled,
}

async fn plans() -> Plans {
    let view = view();
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let merge = view.plans.compile_merge().await.unwrap();
    let (by_key, total) = (view.plans.compile_finish(&["k"]).await, view.plans.compile_finish(&[]).await);
    Plans { state, merge, by_key: by_key.unwrap(), total: total.unwrap(), view }
}

fn check(answer: &RecordBatch, keys: usize, rows: &[Row], case: &str) {
    let groups = by_key(rows);
    let expected = if keys == 0 { 1 } else { groups.len() - 1 };
    assert_eq!(answer.num_rows(), expected, "{case}: groups");
    for row in 0..answer.num_rows() {
        let key = (keys > 0).then(|| answer.column(0).as_string::<i32>().value(row));
        let group = groups.iter().find(|(name, _)| name.as_deref() == key).unwrap().1;
        for (at, call) in all_calls().enumerate() {
            let (wanted, found) = ((call.answer)(group), value(answer.column(keys + at), row));
            assert!(wanted.is_met_by(&found), "{case}, group {key:?}: {} is {found:?}, not {wanted:?}", call.sql);
        }
    }
}

#[tokio::test]
async fn every_aggregate_merges_to_what_the_rows_say() {
    let plans = plans().await;
    for seed in seeds(40) {
        let random = &mut StdRng::seed_from_u64(seed);
        let kind = KINDS[seed as usize % KINDS.len()];
        let count = [0, 1, 2, 5, 20, 60][random.random_range(0..6)];
        let rows = random_rows(kind, count, random);
        let case = format!("{kind:?}, {count} rows; repeat with TWOFOLD_SEED={seed}");
        let states = states(&plans, &rows, random).await;
        for (keys, plan) in [(1, &plans.by_key), (0, &plans.total)] {
            let answer = plan.execute(states.clone()).await.unwrap();
            let answer = concat_batches(&plan.output_schema(), &answer).unwrap();
            check(&answer, keys, &rows, &case);
        }
    }
}

/// A row added to the catalogue needs a call here, with what it comes to; or the name of the suite that proves it.
#[test]
fn every_aggregate_of_the_catalogue_is_called_with_distinct_where_that_keeps_values() {
    let is_called = |name: &str, is_distinct: bool| {
        all_calls().any(|call| call.name == name && (!is_distinct || call.sql.contains("DISTINCT")))
    };
    for facts in AGGREGATES.iter().filter(|facts| !PROVEN_ELSEWHERE.contains(&facts.name)) {
        let Support::Merged(merged) = facts.support else { continue };
        assert!(is_called(facts.name, false), "{} has no call", facts.name);
        if merged.distinct == Distinct::KeepsValues {
            assert!(is_called(facts.name, true), "{} has no call with DISTINCT", facts.name);
        }
    }
}
