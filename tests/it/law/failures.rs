//! Expressions that fail on a row: NULL there, for every split and in both engines' ways, against a fold row by row.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Decimal128Array, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use views::{Compiled, Pipeline, PlannedView, ViewDefinition, session_state, session_state_builder};

use super::events::random_split;
use crate::support::seeds::seeds;

/// Every measure, key and condition can fail: by zero, by overflow, on a text that is not a number, date or pattern.
const SQL: &str = "CREATE UNBOUNDED EXTERNAL TABLE events (
    time TIMESTAMP, a BIGINT, b BIGINT, c BIGINT, d DECIMAL(38, 0), t VARCHAR, p VARCHAR
) STORED AS JSON LOCATION 'kafka://events' OPTIONS (event_time 'time');
CREATE EXTERNAL TABLE names (id BIGINT, name VARCHAR) STORED AS CSV LOCATION 'names.csv';
CREATE MATERIALIZED VIEW law AS
SELECT a % b AS key,
       count(*) AS n,
       sum(a / b) AS quotients,
       sum(CAST(t AS BIGINT)) AS numbers,
       count(arrow_cast(t, 'Date32')) AS dates,
       count(coalesce(CAST(t AS INT), a / b, 7)) AS any_number,
       count(*) FILTER (WHERE a / b > 0) AS positive,
       count(*) FILTER (WHERE NOT t ~ p) AS mismatches,
       count(regexp_replace(t, p, 'x')) AS replaced,
       sum(d * d) AS squares,
       count(split_part(t, '-', a)) AS parts,
       count(name) AS named,
       count(CASE WHEN b = 0 THEN 0 ELSE a / b END) AS guarded,
       sum(a) / sum(b) AS slope
FROM events LEFT JOIN names ON CAST(t AS BIGINT) = names.id
WHERE 10 / c <> 3
GROUP BY a % b";

/// What the fold knows of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Group {
    rows: i64,
    counts: BTreeMap<&'static str, i64>,
    sums: BTreeMap<&'static str, Option<i128>>,
}

impl Group {
    fn count(&mut self, name: &'static str, is_counted: bool) {
        *self.counts.entry(name).or_default() += i64::from(is_counted);
    }

    fn add(&mut self, name: &'static str, value: Option<i128>) {
        let sum = self.sums.entry(name).or_default();
        *sum = value.map(|value| sum.unwrap_or(0) + value).or(*sum);
    }

    /// The answer, in the order of the measures.
    fn cells(self) -> Vec<Option<i128>> {
        // A sum that does not fit its type is NULL, judged once for all events.
        let sum = |name: &str| self.sums[name].filter(|sum| i64::try_from(*sum).is_ok());
        let count = |name: &str| self.counts.get(name).map(|count| i128::from(*count));
        let slope = sum("b").filter(|b| *b != 0).and_then(|b| Some(sum("a")? / b));
        let mut cells = vec![Some(i128::from(self.rows)), sum("quotients"), sum("numbers"), count("dates")];
        cells.extend([count("any_number"), count("positive"), count("mismatches"), count("replaced")]);
        let squares = self.sums["squares"].filter(|sum| sum.unsigned_abs() < 10_u128.pow(38));
        cells.extend([squares, count("parts"), count("named")]);
        cells.extend([count("guarded"), slope]);
        cells
    }
}

#[derive(Clone, Debug)]
struct Event {
    a: Option<i64>,
    b: Option<i64>,
    c: Option<i64>,
    d: Option<i128>,
    t: Option<&'static str>,
    p: Option<&'static str>,
}

/// Events, failing as often as asked in each expression.
fn random_events(rows: usize, poison: f64, random: &mut StdRng) -> Vec<Event> {
    let texts = ["1", "2", "77", "2024-02-29", "-5"];
    let mut pick = |good: &mut dyn FnMut(&mut StdRng) -> usize, bad: usize| {
        let is_null = random.random_bool(0.05);
        let place = if random.random_bool(poison) { bad } else { good(random) };
        (!is_null).then_some(place)
    };
    (0..rows)
        .map(|_| Event {
            a: pick(&mut |random| random.random_range(0..40), 40)
                .map(|a| if a == 40 { i64::MIN } else { a as i64 - 20 }),
            b: pick(&mut |random| random.random_range(1..5), 0).map(|b| if b == 4 { -1 } else { b as i64 }),
            c: pick(&mut |random| random.random_range(1..6), 0).map(|c| c as i64),
            d: pick(&mut |random| random.random_range(0..1000), 1000)
                .map(|d| if d == 1000 { 10_i128.pow(37) } else { d as i128 }),
            t: pick(&mut |random| random.random_range(0..5), 5).map(|t| *texts.get(t).unwrap_or(&"poison")),
            p: pick(&mut |random| random.random_range(0..3), 3)
                .map(|p| ["^7", "[0-9]", "o"].get(p).unwrap_or(&"("))
                .copied(),
        })
        .collect()
}

fn batch(view: &ViewDefinition, events: &[Event]) -> RecordBatch {
    let whole = |of: fn(&Event) -> Option<i64>| -> ArrayRef { Arc::new(events.iter().map(of).collect::<Int64Array>()) };
    let text = |of: fn(&Event) -> Option<&'static str>| -> ArrayRef {
        Arc::new(events.iter().map(of).collect::<StringArray>())
    };
    let decimals = events.iter().map(|event| event.d).collect::<Decimal128Array>();
    let times = || TimestampMicrosecondArray::from_iter_values((0..events.len() as i64).map(|row| row * 1_000_000));
    let times = || -> ArrayRef { Arc::new(times().with_timezone("UTC")) };
    let columns = vec![
        times(),
        whole(|event| event.a),
        whole(|event| event.b),
        whole(|event| event.c),
        Arc::new(decimals.with_precision_and_scale(38, 0).unwrap()),
        text(|event| event.t),
        text(|event| event.p),
        Arc::new(Int32Array::from_value(0, events.len())),
        Arc::new(Int64Array::from_iter_values(0..events.len() as i64)),
        times(),
    ];
    RecordBatch::try_new(Arc::clone(&view.source.events), columns).unwrap()
}

/// The specification: one event at a time, NULL where an operator fails.
fn fold(events: &[Event], by_key: bool) -> BTreeMap<Option<i128>, Vec<Option<i128>>> {
    let mut groups: BTreeMap<Option<i128>, Group> = BTreeMap::new();
    for event in events {
        if event.c.and_then(|c| 10_i64.checked_div(c)).is_none_or(|ratio| ratio == 3) {
            continue;
        }
        let both = event.a.zip(event.b);
        let key = both.filter(|(_, b)| *b != 0).map(|(a, b)| i128::from(a.wrapping_rem(b))).filter(|_| by_key);
        let group = groups.entry(key).or_default();
        group.rows += 1;
        let quotient = both.and_then(|(a, b)| a.checked_div(b));
        let number = event.t.and_then(|t| t.parse::<i64>().ok());
        group.add("quotients", quotient.map(i128::from));
        group.add("numbers", number.map(i128::from));
        group.count("dates", event.t == Some("2024-02-29"));
        group.count("any_number", true);
        group.count("positive", quotient.is_some_and(|quotient| quotient > 0));
        let matches = event.t.zip(event.p).filter(|(_, p)| *p != "(").map(|(t, p)| match p {
            "^7" => t.starts_with('7'),
            "o" => t.contains('o'),
            _ => t.contains(|letter: char| letter.is_ascii_digit()),
        });
        group.count("mismatches", matches == Some(false));
        group.count("replaced", matches.is_some());
        group.add("squares", event.d.and_then(|d| d.checked_mul(d)).filter(|square| *square < 10_i128.pow(38)));
        group.count("parts", event.t.is_some() && event.a.is_some_and(|a| a != 0));
        group.count("named", number == Some(1));
        group.count("guarded", event.b == Some(0) || quotient.is_some());
        group.add("a", event.a.map(i128::from));
        group.add("b", event.b.map(i128::from));
    }
    groups.into_iter().map(|(key, group)| (key, group.cells())).collect()
}

/// An answer as the fold gives it.
fn cells(view: &ViewDefinition, keys: usize, answer: &[RecordBatch]) -> BTreeMap<Option<i128>, Vec<Option<i128>>> {
    let number = |array: &ArrayRef, row: usize| -> Option<i128> {
        let array = match array.data_type() {
            DataType::Decimal128(38, 0) => Arc::clone(array),
            _ => cast(array, &DataType::Decimal128(38, 0)).unwrap(),
        };
        array.is_valid(row).then(|| array.as_primitive::<Decimal128Type>().value(row))
    };
    let row = |batch: &RecordBatch, row: usize| {
        let key = (keys > 0).then(|| number(batch.column(0), row)).flatten();
        (key, (keys..keys + view.measures.len()).map(|column| number(batch.column(column), row)).collect())
    };
    answer.iter().flat_map(|batch| (0..batch.num_rows()).map(|at| row(batch, at)).collect::<Vec<_>>()).collect()
}

struct Plans {
    view: PlannedView,
    state: Compiled,
    merge: Compiled,
    finish: [Compiled; 2],
}

async fn plans() -> Plans {
    let files = BTreeMap::from([("names.csv".to_owned(), "id,name\n1,one\n".into())]);
    let pipeline = Pipeline::read(SQL, &files).unwrap_or_else(|problems| panic!("{problems}"));
    let view = pipeline.view("law").unwrap().clone();
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let merge = Compiled::new(Arc::clone(&view.states), |scan| view.plans.merge_plan(scan, &[])).await.unwrap();
    let total = Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, &[])).await.unwrap();
    let by_key = Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, &["key"])).await.unwrap();
    Plans { view, state, merge, finish: [total, by_key] }
}

async fn check(plans: &Plans, states: Vec<RecordBatch>, events: &[Event], case: &str) {
    for (keys, finish) in plans.finish.iter().enumerate() {
        let answer = finish.execute(states.clone()).await.unwrap();
        let mut wanted = fold(events, keys > 0);
        if keys == 0 && wanted.is_empty() {
            continue;
        }
        let found = cells(&plans.view, keys, &answer);
        assert_eq!(found, std::mem::take(&mut wanted), "{case}, by {keys} keys");
    }
}

#[tokio::test]
async fn a_row_is_null_where_an_expression_fails_on_it_however_the_log_is_cut() {
    let plans = plans().await;
    for seed in seeds(150) {
        let random = &mut StdRng::seed_from_u64(seed);
        let poison = *[0.0, 0.01, 0.3, 1.0].choose(random).unwrap();
        let events = random_events(random.random_range(0..300), poison, random);
        let mut states = Vec::new();
        for part in random_split(&batch(&plans.view, &events), random) {
            states.extend(plans.state.execute(part).await.unwrap());
        }
        if random.random_bool(0.5) {
            states = plans.merge.execute(states).await.unwrap();
        }
        check(&plans, states, &events, &format!("repeat with TWOFOLD_SEED={seed}")).await;
    }
}

#[tokio::test]
async fn a_failing_row_is_null_in_two_phases_too() {
    let plans = plans().await;
    for seed in seeds(5) {
        let random = &mut StdRng::seed_from_u64(seed);
        let events = random_events(5_000, 0.05, random);
        let parts = random_split(&batch(&plans.view, &events), random);
        let table = MemTable::try_new(Arc::clone(&plans.view.source.events), parts).unwrap();
        let scan = LogicalPlanBuilder::scan("events", provider_as_source(Arc::new(table)), None).unwrap();
        let plan = plans.view.plans.state_plan(scan.build().unwrap(), &[]).unwrap();
        let config = session_state().config().clone().with_target_partitions(4).with_batch_size(64);
        let context = SessionContext::new_with_state(session_state_builder().with_config(config).build());
        let frame = context.execute_logical_plan(plan).await.unwrap();
        let states = collect(frame.create_physical_plan().await.unwrap(), context.task_ctx()).await.unwrap();
        check(&plans, states, &events, &format!("repeat with TWOFOLD_SEED={seed}")).await;
    }
}

#[tokio::test]
async fn a_view_says_what_can_turn_null() {
    let view = plans().await.view;
    let parts = view.plans.fallible_parts().unwrap();
    for part in ["events.a % events.b", "events.a / events.b", "sum(a) / sum(b)"] {
        assert!(parts.iter().any(|found| found == part), "{part} is not in {parts:#?}");
    }
    assert!(parts.iter().all(|part| !part.contains("coalesce")), "{parts:#?}");
    let plain = "CREATE MATERIALIZED VIEW v AS SELECT lower(t) AS t, count(*) AS n, sum(d) AS s, avg(a) AS m,
        approx_distinct(p) AS ps, max(c) FILTER (WHERE t LIKE 'a%') AS c
        FROM events WHERE time >= TIMESTAMP '2020-01-01' AND time < DATE '2030-01-01' AND a > 1.5 GROUP BY lower(t)";
    let source = SQL.split("CREATE EXTERNAL").next().unwrap();
    let pipeline = Pipeline::read(&format!("{source}{plain}"), &BTreeMap::new()).unwrap();
    assert_eq!(pipeline.view("v").unwrap().plans.fallible_parts().unwrap(), Vec::<String>::new());
}

/// Whole numbers that do not fit are NULL, whichever rows stand beside them in a batch.
#[tokio::test]
async fn whole_numbers_do_not_wrap_around() {
    const MAX: i64 = i64::MAX;
    let source = SQL.split("CREATE EXTERNAL").next().unwrap();
    let sql = format!(
        "{source}CREATE MATERIALIZED VIEW v AS SELECT c, count(a + b) AS sums, count(a - b) AS differences,
            count(a * b) AS products, count(-a) AS negated, count(abs(a)) AS sizes, count(CAST(a AS INT)) AS small
         FROM events GROUP BY c"
    );
    let view = Pipeline::read(&sql, &BTreeMap::new()).unwrap().view("v").unwrap().clone();
    let event = |a, b| Event { a: Some(a), b: Some(b), c: Some(1), d: None, t: None, p: None };
    let events = [event(MAX, 1), event(1, 1), event(i64::MIN, 1), event(2, MAX), event(-1, i64::MIN), event(3, 4)];
    // Of each measure, how many of the events have a value.
    let fits = |of: fn(i64, i64) -> bool| {
        events.iter().filter(|event| event.a.zip(event.b).is_some_and(|(a, b)| of(a, b))).count() as i64
    };
    let expected = [
        fits(|a, b| a.checked_add(b).is_some()),
        fits(|a, b| a.checked_sub(b).is_some()),
        fits(|a, b| a.checked_mul(b).is_some()),
        fits(|a, _| a.checked_neg().is_some()),
        fits(|a, _| a.checked_abs().is_some()),
        fits(|a, _| i32::try_from(a).is_ok()),
    ];
    assert_eq!(expected, [3, 5, 4, 5, 5, 4]);
    let whole = batch(&view, &events);
    for size in [1, 2, 6] {
        let parts: Vec<RecordBatch> = (0..events.len()).step_by(size).map(|at| whole.slice(at, size)).collect();
        let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[]));
        let states = state.await.unwrap().execute(parts).await.unwrap();
        let finished = view.plans.compile_finish(&["c"]).await.unwrap().execute(states).await.unwrap();
        let counts = |row: &RecordBatch| -> Vec<i64> {
            (1..7).map(|column| row.column(column).as_primitive::<Int64Type>().value(0)).collect()
        };
        let found: Vec<Vec<i64>> = finished.iter().filter(|batch| batch.num_rows() > 0).map(counts).collect();
        assert_eq!(found, [expected.to_vec()], "in batches of {size}");
    }
    let parts = view.plans.fallible_parts().unwrap();
    for part in ["events.a + events.b", "events.a - events.b", "events.a * events.b"] {
        assert!(parts.iter().any(|found| found == part), "{part} is not in {parts:#?}");
    }
}

/// The engine compares with a DATE in nanoseconds, which end in the year 2262.
#[tokio::test]
async fn a_far_time_compares_with_a_date() {
    let source = SQL.split("CREATE EXTERNAL").next().unwrap();
    let sql = format!(
        "{source}CREATE MATERIALIZED VIEW v AS SELECT a, count(*) AS n FROM events
         WHERE time >= DATE '2020-01-01' OR time BETWEEN DATE '1700-01-01' AND DATE '1800-01-01' GROUP BY a"
    );
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap();
    let view = pipeline.view("v").unwrap();
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let event = Event { a: Some(1), b: None, c: None, d: None, t: None, p: None };
    let events = batch(view, &vec![event; 4]);
    // The years 1970, 9999, 1750 and 500.
    let times = vec![0, 253_370_764_800_000_000, -6_942_000_000_000_000, -46_388_678_400_000_000];
    let times = TimestampMicrosecondArray::from(times);
    let mut columns = events.columns().to_vec();
    columns[0] = Arc::new(times.with_timezone("UTC"));
    let events = RecordBatch::try_new(events.schema(), columns).unwrap();
    let states = state.execute(vec![events]).await.unwrap();
    let counted: i64 = states.iter().flat_map(|batch| batch.column(1).as_primitive::<Int64Type>().values()).sum();
    assert_eq!(counted, 2);
}

/// A mean is scaled up by four digits before it is divided: its total must survive that, however many events there are.
#[tokio::test]
async fn a_mean_of_large_decimals_is_exact_whatever_its_total() {
    let source = SQL.split("CREATE EXTERNAL").next().unwrap();
    let sql = format!(
        "{source}CREATE MATERIALIZED VIEW v AS SELECT a, avg(CAST(d AS DECIMAL(25, 0))) AS mean FROM events GROUP BY a"
    );
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    let view = pipeline.view("v").unwrap();
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let merge = Compiled::new(Arc::clone(&view.states), |scan| view.plans.merge_plan(scan, &[])).await.unwrap();
    let by_a = Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, &["a"])).await.unwrap();
    let total = Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, &[])).await.unwrap();
    let largest = 10_i128.pow(25) - 1;
    let event = |a, d| Event { a: Some(a), b: None, c: None, d: Some(d), t: None, p: None };
    let states = async |events: &[Event]| state.execute(vec![batch(view, events)]).await.unwrap();
    let (mut large, small) = (states(&[event(1, largest)]).await, states(&[event(2, 7)]).await);
    let means = async |plan: &Compiled, states: Vec<RecordBatch>| -> Vec<Option<i128>> {
        let answers = plan.execute(states).await.unwrap();
        let column = |answer: &RecordBatch| {
            let means = answer.column(answer.num_columns() - 1).as_primitive::<Decimal128Type>();
            means.iter().collect::<Vec<_>>()
        };
        let mut means: Vec<_> = answers.iter().flat_map(column).collect();
        means.sort();
        means
    };
    for doubled in 0..=40_u32 {
        let both = [large.clone(), small.clone()].concat();
        let expected = vec![Some(70_000), Some(largest * 10_000)];
        assert_eq!(means(&by_a, both.clone()).await, expected, "2^{doubled} events");
        let count = 1_i128 << doubled;
        // (count * largest + 7) / (count + 1), without leaving 128 bits: largest - (largest - 7) / (count + 1).
        let (off, rest) = ((largest - 7) / (count + 1), (largest - 7) % (count + 1));
        let mean = (largest - off) * 10_000 - (rest * 10_000 + count) / (count + 1);
        assert_eq!(means(&total, both).await, vec![Some(mean)], "2^{doubled} events");
        large = merge.execute([large.clone(), large].concat()).await.unwrap();
    }
}
