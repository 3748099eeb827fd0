//! Rows that an expression fails on are counted by the expression, however the log is cut into batches and whoever runs
//! the plan; what the author made NULL is not.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlanBuilder;
use datafusion::physical_plan::collect;
use datafusion::prelude::SessionContext;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use views::{Compiled, FailedRows, Pipeline, PlannedView, count_failures, session_state, session_state_builder};

use super::events::random_split;
use crate::support::seeds::seeds;

const SQL: &str = "CREATE UNBOUNDED EXTERNAL TABLE events (time TIMESTAMP, k VARCHAR, a BIGINT, b BIGINT, t VARCHAR)
STORED AS JSON LOCATION 'kafka://events' OPTIONS (event_time 'time');
CREATE MATERIALIZED VIEW v AS
SELECT k, count(*) AS n, sum(a + b) AS sums, sum(a / b) AS quotients, sum(CAST(t AS BIGINT)) AS numbers,
       count(TRY_CAST(t AS INT)) AS wanted_so, max(a) / count(*) AS behind
FROM events GROUP BY k";

const TEXTS: [&str; 5] = ["1", "-77", "x", "7.5", "99999999999999999999"];
const NUMBERS: [i64; 6] = [0, 1, -1, 12, i64::MAX, i64::MIN];

#[derive(Clone, Debug)]
struct Event {
    a: Option<i64>,
    b: Option<i64>,
    t: Option<&'static str>,
}

fn random_events(random: &mut StdRng) -> Vec<Event> {
    let count = random.random_range(0..400);
    let mut event = || {
        let mut number = || random.random_bool(0.9).then(|| NUMBERS[random.random_range(0..NUMBERS.len())]);
        let (a, b) = (number(), number());
        Event { a, b, t: random.random_bool(0.9).then(|| TEXTS[random.random_range(0..TEXTS.len())]) }
    };
    (0..count).map(|_| event()).collect()
}

fn batch(view: &PlannedView, events: &[Event]) -> RecordBatch {
    let count = events.len();
    let times = || -> ArrayRef {
        Arc::new(TimestampMicrosecondArray::from_iter_values((0..).take(count)).with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        times(),
        Arc::new((0..count).map(|row| Some(["p", "q"][row % 2])).collect::<StringArray>()),
        Arc::new(events.iter().map(|event| event.a).collect::<Int64Array>()),
        Arc::new(events.iter().map(|event| event.b).collect::<Int64Array>()),
        Arc::new(events.iter().map(|event| event.t).collect::<StringArray>()),
        Arc::new(Int32Array::from_value(0, count)),
        Arc::new(Int64Array::from_iter_values((0..).take(count))),
        times(),
    ];
    RecordBatch::try_new(Arc::clone(&view.source.events), columns).unwrap()
}

/// The specification: a row is counted where the operator has no value for values that are there.
fn expected(events: &[Event]) -> BTreeMap<String, u64> {
    let rows = |fails: fn(&Event) -> bool| events.iter().filter(|event| fails(event)).count() as u64;
    let all = [
        ("events.a + events.b", rows(|event| event.a.zip(event.b).is_some_and(|(a, b)| a.checked_add(b).is_none()))),
        ("events.a / events.b", rows(|event| event.a.zip(event.b).is_some_and(|(a, b)| a.checked_div(b).is_none()))),
        ("CAST(events.t AS BIGINT)", rows(|event| event.t.is_some_and(|t| t.parse::<i64>().is_err()))),
    ];
    all.into_iter().filter(|(_, rows)| *rows > 0).map(|(name, rows)| (name.to_owned(), rows)).collect()
}

fn view() -> PlannedView {
    let pipeline = Pipeline::read(SQL, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    pipeline.view("v").unwrap().clone()
}

#[tokio::test]
async fn each_failing_row_is_counted_once_for_each_time_it_is_computed() {
    let view = view();
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    for seed in seeds(30) {
        let random = &mut StdRng::seed_from_u64(seed);
        let events = random_events(random);
        for part in random_split(&batch(&view, &events), random) {
            state.execute(part).await.unwrap();
        }
        assert_eq!(state.take_failed(), expected(&events), "repeat with TWOFOLD_SEED={seed}");
        assert_eq!(state.take_failed(), BTreeMap::new(), "what was told is told once");
    }
}

#[tokio::test]
async fn a_plan_over_many_partitions_counts_the_same() {
    let view = view();
    for seed in seeds(5) {
        let random = &mut StdRng::seed_from_u64(seed);
        let events = random_events(random);
        let parts = random_split(&batch(&view, &events), random);
        let table = MemTable::try_new(Arc::clone(&view.source.events), parts).unwrap();
        let scan = LogicalPlanBuilder::scan("events", provider_as_source(Arc::new(table)), None).unwrap();
        let plan = view.plans.state_plan(scan.build().unwrap(), &[]).unwrap();
        let failed = Arc::new(FailedRows::default());
        let plan = count_failures(plan, &failed).unwrap();
        let config = session_state().config().clone().with_target_partitions(4).with_batch_size(64);
        let context = SessionContext::new_with_state(session_state_builder().with_config(config).build());
        let frame = context.execute_logical_plan(plan).await.unwrap();
        collect(frame.create_physical_plan().await.unwrap(), context.task_ctx()).await.unwrap();
        assert_eq!(failed.take(), expected(&events), "repeat with TWOFOLD_SEED={seed}");
    }
}

#[test]
fn rows_are_counted_by_the_texts_that_validate_lists() {
    let view = view();
    let inputs = view.plans.fallible_inputs().unwrap();
    assert_eq!(inputs, ["events.a + events.b", "events.a / events.b", "CAST(events.t AS BIGINT)"]);
    let parts = view.plans.fallible_parts().unwrap();
    assert_eq!(parts.len(), inputs.len() + 1, "with the measure that is made behind the aggregates: {parts:?}");
}
