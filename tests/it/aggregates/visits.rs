//! Visits: what merged states come to, against a fold over sorted times and against LAG in plain SQL; states that are
//! equal to the bit, larger than allowed, or none that anybody wrote.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int32Array, Int64Array, ListArray, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::compute::concat_batches;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use arrow::record_batch::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use views::{Compiled, DefinitionError, Pipeline, PlannedView, SourceDefinition};

use crate::support::seeds::seeds;

const SOURCE: &str = "CREATE UNBOUNDED EXTERNAL TABLE e (time TIMESTAMP NOT NULL, k VARCHAR, u VARCHAR, n BIGINT, \
    seen TIMESTAMP, b BOOLEAN) STORED AS JSON LOCATION 'kafka://e' OPTIONS (event_time 'time');\n";

const SECOND: i64 = 1_000_000;
const MINUTE: i64 = 60 * SECOND;
const HALF_HOUR: i64 = 30 * MINUTE;

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    time: i64,
    k: &'static str,
    u: Option<&'static str>,
    n: Option<i64>,
    seen: Option<i64>,
    b: Option<bool>,
}

fn row(minute: i64, k: &'static str, u: Option<&'static str>) -> Row {
    Row { time: minute * MINUTE, k, u, n: Some(1), seen: Some(minute * MINUTE), b: Some(true) }
}

/// Times that often lie exactly at the gap, or a microsecond beside it, or are equal.
fn random_rows(random: &mut StdRng) -> Vec<Row> {
    let count = [0, 1, 2, 10, 60, 300][random.random_range(0..6)];
    let time = |random: &mut StdRng| {
        let beside = [0, 0, 0, 1, -1][random.random_range(0..5)];
        random.random_range(-20..20) * HALF_HOUR / 2 + beside
    };
    let row = |random: &mut StdRng| Row {
        time: time(random),
        k: ["a", "b", "c"][random.random_range(0..3)],
        u: random.random_bool(0.9).then(|| ["ann", "bob", "cat", ""][random.random_range(0..4)]),
        n: random.random_bool(0.9).then(|| [i64::MIN, -1, 0, 7, i64::MAX][random.random_range(0..5)]),
        seen: random.random_bool(0.8).then(|| time(random)),
        b: random.random_bool(0.9).then(|| random.random_bool(0.7)),
    };
    (0..count).map(|_| row(random)).collect()
}

fn events(source: &SourceDefinition, rows: &[Row]) -> RecordBatch {
    let times = |of: fn(&Row) -> Option<i64>| -> ArrayRef {
        Arc::new(rows.iter().map(of).collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
    };
    let column = |name: &str| -> ArrayRef {
        match name {
            "k" => Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.k))),
            "u" => Arc::new(rows.iter().map(|row| row.u).collect::<StringArray>()),
            "n" => Arc::new(rows.iter().map(|row| row.n).collect::<Int64Array>()),
            "b" => Arc::new(rows.iter().map(|row| row.b).collect::<BooleanArray>()),
            "seen" => times(|row| row.seen),
            "_partition" => Arc::new(Int32Array::from_iter_values(rows.iter().map(|_| 0))),
            "_offset" => Arc::new(Int64Array::from_iter_values(0..rows.len() as i64)),
            _ => times(|row| Some(row.time)),
        }
    };
    let columns = source.events.fields().iter().map(|field| column(field.name())).collect();
    RecordBatch::try_new(Arc::clone(&source.events), columns).unwrap()
}

/// Visits and bounces of the times of each user: the specification.
fn fold<U: Ord>(times: impl IntoIterator<Item = (U, i64)>, gap: i64) -> (i64, i64) {
    let mut users: BTreeMap<U, Vec<i64>> = BTreeMap::new();
    for (user, time) in times {
        users.entry(user).or_default().push(time);
    }
    let (mut visits, mut bounces) = (0, 0);
    for mut times in users.into_values() {
        times.sort_unstable();
        for visit in times.chunk_by(|before, after| after - before <= gap) {
            visits += 1;
            bounces += i64::from(visit.len() == 1);
        }
    }
    (visits, bounces)
}

/// The measures of the view in its order, as text.
fn folded(rows: &[Row]) -> Vec<String> {
    let by_u = fold(rows.iter().filter_map(|row| Some((row.u?, row.time))), HALF_HOUR);
    let by_n = fold(rows.iter().filter_map(|row| Some((row.n?, row.seen?))), HALF_HOUR / 2);
    let some = rows.iter().filter(|row| row.b == Some(true));
    let some = fold(some.filter_map(|row| Some((row.u?, row.time))), SECOND);
    let rate = |(visits, bounces): (i64, i64)| match visits {
        0 => "none".to_owned(),
        _ => (bounces as f64 / visits as f64).to_string(),
    };
    vec![by_u.0.to_string(), by_u.1.to_string(), rate(by_u), by_n.0.to_string(), some.1.to_string(), rate(some)]
}

const MEASURES: &str = "visits(u, time, INTERVAL '30 minutes') AS visits, \
    bounces(u, time, INTERVAL '30 minutes') AS bounces, bounce_rate(u, time, INTERVAL '30 minutes') AS rate, \
    visits(n, seen, INTERVAL '15 minutes') AS by_n, bounces(u, time, INTERVAL '1 second') FILTER (WHERE b) AS few, \
    bounce_rate(u, time, INTERVAL '1 second') FILTER (WHERE b) AS few_rate";

fn view(options: &str) -> PlannedView {
    let sql = format!("{SOURCE}CREATE MATERIALIZED VIEW v {options} AS SELECT k, {MEASURES} FROM e GROUP BY k");
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    pipeline.view("v").unwrap().clone()
}

struct Plans {
    view: PlannedView,
    state: Compiled,
    merge: Compiled,
    by_key: Compiled,
    total: Compiled,
}

async fn plans() -> Plans {
    let view = view("");
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let merge = view.plans.compile_merge().await.unwrap();
    let (by_key, total) = (view.plans.compile_finish(&["k"]).await, view.plans.compile_finish(&[]).await);
    Plans { state, merge, by_key: by_key.unwrap(), total: total.unwrap(), view }
}

impl Plans {
    /// The states of the rows in parts, in any order, merged in any tree, not always to the end.
    async fn states(&self, rows: &[Row], random: &mut StdRng) -> Vec<RecordBatch> {
        let mut parts: Vec<Vec<Row>> = vec![Vec::new(); random.random_range(1..8)];
        for row in rows {
            let part = random.random_range(0..parts.len());
            parts[part].push(row.clone());
        }
        let mut states = Vec::new();
        for mut part in parts {
            part.shuffle(random);
            let batch = events(&self.view.source, &part);
            let at = random.random_range(0..=batch.num_rows());
            let batches = vec![batch.slice(0, at), batch.slice(at, batch.num_rows() - at)];
            states.extend(self.state.execute(batches).await.unwrap());
        }
        for _ in 0..random.random_range(0..4) {
            if states.is_empty() {
                break;
            }
            states.shuffle(random);
            let merged = states.split_off(random.random_range(0..states.len()));
            states.extend(self.merge.execute(merged).await.unwrap());
        }
        states.shuffle(random);
        states
    }
}

/// Rows by their key, whatever order they come in.
fn by_key(batches: &[RecordBatch]) -> BTreeMap<String, RecordBatch> {
    let rows = batches.iter().flat_map(|batch| (0..batch.num_rows()).map(move |row| batch.slice(row, 1)));
    rows.map(|row| (row.column(0).as_string::<i32>().value(0).to_owned(), row)).collect()
}

/// The values of the last columns of a row, as text.
fn values(row: &RecordBatch, keys: usize) -> Vec<String> {
    let value = |column: &ArrayRef| match column.data_type() {
        _ if column.is_null(0) => "none".to_owned(),
        DataType::Float64 => column.as_primitive::<Float64Type>().value(0).to_string(),
        _ => column.as_primitive::<Int64Type>().value(0).to_string(),
    };
    row.columns()[keys..].iter().map(value).collect()
}

#[tokio::test]
async fn visits_are_those_of_all_events_in_any_division_order_and_tree() {
    let plans = plans().await;
    for seed in seeds(60) {
        let random = &mut StdRng::seed_from_u64(seed);
        let rows = random_rows(random);
        let case = format!("repeat with TWOFOLD_SEED={seed}");
        let states = plans.states(&rows, random).await;
        let groups = by_key(&plans.by_key.execute(states.clone()).await.unwrap());
        let mut expected: BTreeMap<String, Vec<Row>> = BTreeMap::new();
        for row in &rows {
            expected.entry(row.k.to_owned()).or_default().push(row.clone());
        }
        assert_eq!(groups.len(), expected.len(), "{case}");
        for (key, rows) in &expected {
            assert_eq!(values(&groups[key], 1), folded(rows), "group {key}; {case}");
        }
        let total = plans.total.execute(states.clone()).await.unwrap();
        let total = concat_batches(&plans.total.output_schema(), &total).unwrap();
        assert_eq!(values(&total, 0), folded(&rows), "in total; {case}");

        let at_once = plans.state.execute(vec![events(&plans.view.source, &rows)]).await.unwrap();
        let merged = plans.merge.execute(states).await.unwrap();
        let columns = |states: &[RecordBatch]| -> Vec<Vec<ArrayRef>> {
            by_key(states).values().map(|row| row.columns().to_vec()).collect()
        };
        assert_eq!(columns(&merged), columns(&at_once), "states; {case}");
    }
}

/// What everybody writes who has no such function.
const BY_LAG: &str = "WITH beside AS (
    SELECT k, time, lag(time) OVER (PARTITION BY k, u ORDER BY time) AS earlier,
           lead(time) OVER (PARTITION BY k, u ORDER BY time) AS later
    FROM e WHERE u IS NOT NULL
), marked AS (
    SELECT k, earlier IS NULL OR time > earlier + INTERVAL '30 minutes' AS is_first,
           later IS NULL OR later > time + INTERVAL '30 minutes' AS is_last FROM beside
)
SELECT k, count(*) FILTER (WHERE is_first) AS visits, count(*) FILTER (WHERE is_first AND is_last) AS bounces
FROM marked GROUP BY k ORDER BY k";

const BY_VISITS: &str = "SELECT k, visits(u, time, INTERVAL '30 minutes') AS visits,
    bounces(u, time, INTERVAL '30 minutes') AS bounces FROM e WHERE u IS NOT NULL GROUP BY k ORDER BY k";

async fn lines(context: &SessionContext, sql: &str) -> Vec<String> {
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap();
    let drawn = pretty_format_batches(&batches).unwrap().to_string();
    let rows = drawn.lines().skip(3).filter(|line| line.starts_with('|'));
    rows.map(|line| line.split_whitespace().collect()).collect()
}

#[tokio::test]
async fn visits_are_what_lag_in_plain_sql_finds() {
    let source = Arc::clone(&view("").source);
    let mut compared = 0;
    for seed in seeds(20) {
        let rows = random_rows(&mut StdRng::seed_from_u64(seed));
        let context = SessionContext::new_with_state(views::session_state());
        let table = MemTable::try_new(Arc::clone(&source.events), vec![vec![events(&source, &rows)]]).unwrap();
        context.register_table("e", Arc::new(table)).unwrap();
        let found = lines(&context, BY_VISITS).await;
        assert_eq!(found, lines(&context, BY_LAG).await, "repeat with TWOFOLD_SEED={seed}");
        let has_users = rows.iter().any(|row| row.u.is_some());
        assert_eq!(has_users, !found.is_empty(), "repeat with TWOFOLD_SEED={seed}");
        compared += found.len();
    }
    assert!(compared > 0 || std::env::var_os("TWOFOLD_SEED").is_some(), "nothing was compared");
}

async fn ask(rows: &[Row]) -> Vec<String> {
    let plans = plans().await;
    let mut states = Vec::new();
    for row in rows {
        let event = events(&plans.view.source, std::slice::from_ref(row));
        states.extend(plans.state.execute(vec![event]).await.unwrap());
    }
    let total = plans.total.execute(states).await.unwrap();
    values(&concat_batches(&plans.total.output_schema(), &total).unwrap(), 0)[..3].to_vec()
}

#[tokio::test]
async fn an_event_at_the_gap_is_within_and_one_that_falls_between_two_visits_makes_one_of_them() {
    let ann = Some("ann");
    assert_eq!(ask(&[row(0, "a", ann), row(30, "a", ann)]).await, ["1", "0", "0"]);
    let later = Row { time: 30 * MINUTE + 1, ..row(0, "a", ann) };
    assert_eq!(ask(&[row(0, "a", ann), later]).await, ["2", "2", "1"]);
    assert_eq!(ask(&[row(0, "a", ann), row(50, "a", ann), row(50, "a", Some("bob"))]).await, ["3", "3", "1"]);
    // The late one joins two visits of ann: there is one less.
    let late = [row(0, "a", ann), row(50, "a", ann), row(50, "a", Some("bob")), row(25, "a", ann)];
    assert_eq!(ask(&late).await, ["2", "1", "0.5"]);
    // Two events at one instant are one visit, and no bounce; without a user there is none.
    assert_eq!(ask(&[row(3, "a", ann), row(3, "a", ann)]).await, ["1", "0", "0"]);
    assert_eq!(ask(&[row(3, "a", None)]).await, ["0", "0", "none"]);
    // Over all groups a visit of two pages is one.
    assert_eq!(ask(&[row(0, "a", ann), row(10, "b", ann), row(20, "c", ann)]).await, ["1", "0", "0"]);
    // The ends of time.
    let end = |time: i64| Row { time, ..row(0, "a", ann) };
    assert_eq!(ask(&[end(i64::MIN), end(i64::MAX), end(0), end(i64::MAX - 1)]).await, ["3", "2", "0.6666666666666666"]);
}

#[tokio::test]
async fn a_group_of_too_many_users_is_named() {
    let view = view("WITH (max_state_bytes = 2000)");
    let plan = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let users: Vec<Row> = (0..300).map(|n| Row { n: Some(n), ..row(n, "a", Some("ann")) }).collect();
    match plan.execute(vec![events(&view.source, &users)]).await {
        Err(DefinitionError::StateTooLarge { measure, group, .. }) => {
            assert_eq!((measure.as_str(), group.as_str()), ("by_n", "k=a"));
        }
        other => panic!("{other:?}"),
    }
    assert!(plan.execute(vec![events(&view.source, &users[..50])]).await.is_ok());
}

/// The states with another state of `visits`.
fn damaged(states: &RecordBatch, change: impl Fn(&mut Vec<ArrayRef>)) -> RecordBatch {
    let place = states.schema().index_of("visits").unwrap();
    let state = states.column(place).as_struct();
    let mut parts = state.columns().to_vec();
    change(&mut parts);
    let mut columns = states.columns().to_vec();
    columns[place] = Arc::new(StructArray::try_new(state.fields().clone(), parts, None).unwrap());
    RecordBatch::try_new(states.schema(), columns).unwrap()
}

/// Bytes as another tool might leave them.
fn with_bytes(bytes: &ArrayRef, change: impl Fn(&mut Vec<u8>)) -> ArrayRef {
    let changed = bytes.as_binary::<i32>().iter().map(|bytes| {
        let mut bytes = bytes.unwrap().to_vec();
        change(&mut bytes);
        bytes
    });
    Arc::new(BinaryArray::from_iter_values(changed))
}

/// What is done to the parts of a state.
type Change = &'static dyn Fn(&mut Vec<ArrayRef>);

#[tokio::test]
async fn states_that_nobody_wrote_are_errors() {
    let plans = plans().await;
    let rows = [row(0, "a", Some("ann")), row(50, "a", Some("ann")), row(7, "a", Some("bob"))];
    let states = plans.state.execute(vec![events(&plans.view.source, &rows)]).await.unwrap();
    let states = concat_batches(&plans.state.output_schema(), &states).unwrap();
    let unchanged = plans.by_key.execute(vec![damaged(&states, |_| {})]).await.unwrap();
    assert_eq!(values(&by_key(&unchanged)["a"], 1)[0], "3");
    let changes: [Change; 7] = [
        &|parts| parts[1] = with_bytes(&parts[1], Vec::clear),
        &|parts| parts[1] = with_bytes(&parts[1], |bytes| bytes.push(0)),
        &|parts| parts[1] = with_bytes(&parts[1], |bytes| bytes.truncate(bytes.len() - 1)),
        // More visits than there are bytes; none.
        &|parts| parts[1] = with_bytes(&parts[1], |bytes| bytes[0] = 0x7f),
        &|parts| parts[1] = with_bytes(&parts[1], |bytes| bytes[0] = 0),
        // Two events alone within the gap; a flag that is none.
        &|parts| parts[1] = with_bytes(&parts[1], |bytes| *bytes = vec![2, 0, 0, 1, 1, 0, 1, 1, 0, 0, 1]),
        &|parts| parts[1] = with_bytes(&parts[1], |bytes| *bytes.last_mut().unwrap() = 2),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let error = plans.by_key.execute(vec![damaged(&states, change)]).await.unwrap_err().to_string();
        assert!(error.contains("a state of visits is none that was written as such"), "change {at}: {error}");
    }
    let no_users = damaged(&states, |parts| {
        let users = parts[0].as_list::<i32>();
        let DataType::List(item) = users.data_type() else { panic!("{}", users.data_type()) };
        let none = Arc::new(StringArray::from(vec![None::<&str>; users.values().len()]));
        parts[0] = Arc::new(ListArray::try_new(item.clone(), users.offsets().clone(), none, None).unwrap());
    });
    assert!(plans.by_key.execute(vec![no_users]).await.is_err());
}

#[tokio::test]
async fn what_has_no_length_of_time_is_no_gap() {
    for (call, reason) in [
        ("visits(u, time, INTERVAL '1 month')", "the gap of visits is a written INTERVAL above zero"),
        ("bounces(u, time, INTERVAL '0 seconds')", "the gap of bounces is a written INTERVAL above zero"),
        ("bounce_rate(u, time, INTERVAL '-1 hour')", "the gap of bounce_rate is a written INTERVAL above zero"),
        ("visits(u, time, 30)", "'visits' takes a user, a TIMESTAMP and an INTERVAL"),
        ("visits(u, n, INTERVAL '1 hour')", "'visits' takes a user, a TIMESTAMP and an INTERVAL"),
        ("visits(u, time)", "'visits' takes a user, a TIMESTAMP and an INTERVAL"),
    ] {
        let sql = format!("{SOURCE}CREATE MATERIALIZED VIEW v AS SELECT k, {call} AS m FROM e GROUP BY k");
        let error = Pipeline::read(&sql, &BTreeMap::new()).err().unwrap().to_string();
        assert!(error.contains(reason), "{call}: {error}");
    }
}
