//! Views whose rows are the items of an array, distinct rows of several values, and columns that USING makes one:
//! however the events are cut, the answer is the one that a fold over them gives.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Float64Array, Int32Array, Int64Array, ListArray, StringArray, TimestampMicrosecondArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use twofold::trial::try_pipeline;
use views::{Compiled, Pipeline, PlannedView, SourceDefinition};

use super::events::{NAMES, random_split};
use crate::support::seeds::seeds;

const SOURCE: &str = "CREATE UNBOUNDED EXTERNAL TABLE events (
    time TIMESTAMP, k VARCHAR, n BIGINT, f DOUBLE, tags ARRAY<VARCHAR>
) STORED AS JSON LOCATION 'kafka://events' OPTIONS (event_time 'time');
CREATE EXTERNAL TABLE names (k VARCHAR, name VARCHAR) STORED AS CSV LOCATION 'names.csv';\n";

const MEASURES: &str = "count(*) AS items, sum(n) AS total, count(DISTINCT k, f) AS pairs";

#[derive(Clone, Debug)]
struct Event {
    k: Option<String>,
    n: Option<i64>,
    f: Option<f64>,
    tags: Option<Vec<Option<&'static str>>>,
}

fn random_event(random: &mut StdRng) -> Event {
    let floats = [0.0, -0.0, f64::NAN, -f64::NAN, 1.5];
    let tag = |random: &mut StdRng| random.random_bool(0.9).then(|| ["x", "y", "z"][random.random_range(0..3)]);
    Event {
        k: random.random_bool(0.8).then(|| ["a", "b", "c"][random.random_range(0..3)].to_owned()),
        n: random.random_bool(0.8).then(|| random.random_range(-5..5)),
        f: random.random_bool(0.8).then(|| floats[random.random_range(0..5)]),
        tags: random.random_bool(0.8).then(|| (0..random.random_range(0..4)).map(|_| tag(random)).collect()),
    }
}

fn batch_of(source: &SourceDefinition, events: &[Event]) -> RecordBatch {
    let rows = events.len();
    let times = || -> ArrayRef { Arc::new(TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC")) };
    let tags = source.events.field_with_name("tags").unwrap();
    let DataType::List(item) = tags.data_type() else { panic!("tags are a list") };
    let lengths = events.iter().map(|event| event.tags.as_ref().map_or(0, Vec::len));
    let items: StringArray = events.iter().flat_map(|event| event.tags.iter().flatten().copied()).collect();
    let nulls = NullBuffer::from(events.iter().map(|event| event.tags.is_some()).collect::<Vec<bool>>());
    let offsets = OffsetBuffer::from_lengths(lengths);
    let columns: Vec<ArrayRef> = vec![
        times(),
        Arc::new(events.iter().map(|event| event.k.as_deref()).collect::<StringArray>()),
        Arc::new(events.iter().map(|event| event.n).collect::<Int64Array>()),
        Arc::new(events.iter().map(|event| event.f).collect::<Float64Array>()),
        Arc::new(ListArray::try_new(Arc::clone(item), offsets, Arc::new(items), Some(nulls)).unwrap()),
        Arc::new(Int32Array::from_iter_values((0..rows).map(|row| (row % 2) as i32))),
        Arc::new(Int64Array::from_iter_values((0..rows).map(|row| (row / 2) as i64))),
        times(),
    ];
    RecordBatch::try_new(Arc::clone(&source.events), columns).unwrap()
}

fn view(select: &str) -> PlannedView {
    let files = BTreeMap::from([("names.csv".to_owned(), Bytes::from_static(NAMES.as_bytes()))]);
    let sql = format!("{SOURCE}CREATE MATERIALIZED VIEW v AS {select};");
    let pipeline = Pipeline::read(&sql, &files).unwrap_or_else(|problems| panic!("{select}: {problems}"));
    pipeline.view("v").unwrap().clone()
}

/// Rows as text in their order, NULL as `-`.
fn texts(batches: &[RecordBatch]) -> BTreeSet<Vec<String>> {
    let cell = |column: &ArrayRef, row: usize| match column.is_null(row) {
        true => "-".to_owned(),
        false => array_value_to_string(column, row).unwrap(),
    };
    let mut rows = BTreeSet::new();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let is_new = rows.insert(batch.columns().iter().map(|column| cell(column, row)).collect());
            assert!(is_new, "a group has two rows");
        }
    }
    rows
}

/// The answer by all dimensions from the states of parts, merged before and not.
async fn answer(view: &PlannedView, parts: Vec<Vec<RecordBatch>>) -> BTreeSet<Vec<String>> {
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let mut states = Vec::new();
    for part in parts {
        states.extend(state.execute(part).await.unwrap());
    }
    let by: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    let finish = view.plans.compile_finish(&by).await.unwrap();
    let merged = view.plans.compile_merge().await.unwrap().execute(states.clone()).await.unwrap();
    let found = texts(&finish.execute(states).await.unwrap());
    assert_eq!(found, texts(&finish.execute(merged).await.unwrap()), "merged before or not");
    found
}

/// Which items of which events count.
type Counts = fn(&Event, Option<&str>) -> bool;

/// By tag: the number of items, the sum of `n`, the pairs of `k` and `f`, zeros and NaN told apart by value alone.
fn fold(events: &[Event], is_outer: bool, counts: Counts) -> BTreeSet<Vec<String>> {
    let mut groups: BTreeMap<Option<&str>, Vec<&Event>> = BTreeMap::new();
    for event in events {
        let mut tags = event.tags.clone().unwrap_or_default();
        if tags.is_empty() && is_outer {
            tags.push(None);
        }
        for tag in tags.into_iter().filter(|tag| counts(event, *tag)) {
            groups.entry(tag).or_default().push(event);
        }
    }
    let row = |(tag, events): (Option<&str>, Vec<&Event>)| {
        let numbers: Vec<i64> = events.iter().filter_map(|event| event.n).collect();
        let total = if numbers.is_empty() { "-".to_owned() } else { numbers.iter().sum::<i64>().to_string() };
        let float = |f: f64| if f.is_nan() { f64::NAN.to_bits() } else { (f + 0.0).to_bits() };
        let pairs: BTreeSet<(&str, u64)> =
            events.iter().filter_map(|event| Some((event.k.as_deref()?, float(event.f?)))).collect();
        vec![tag.unwrap_or("-").to_owned(), events.len().to_string(), total, pairs.len().to_string()]
    };
    groups.into_iter().map(row).collect()
}

const ALL: Counts = |_, _| true;
const POSITIVE: Counts = |event, _| event.n.is_some_and(|n| n > 0);
const NOT_X: Counts = |_, tag| tag.is_some_and(|tag| tag != "x");

/// A view by tag in all its spellings, whether it is outer, and what it counts.
const SPELLINGS: [(&str, bool, Counts); 11] = [
    ("SELECT unnest(tags) AS tag, {} FROM events GROUP BY 1", false, ALL),
    ("SELECT unnest(tags) AS tag, {} FROM events GROUP BY tag", false, ALL),
    ("SELECT unnest(e.tags) AS tag, {} FROM events e GROUP BY unnest(e.tags)", false, ALL),
    ("SELECT lower(upper(unnest(tags))) AS tag, {} FROM events WHERE n > 0 GROUP BY 1", false, POSITIVE),
    ("SELECT tag, {} FROM events CROSS JOIN UNNEST(tags) AS t(tag) GROUP BY tag", false, ALL),
    ("SELECT t.tag, {} FROM events e, UNNEST(e.tags) AS t(tag) WHERE e.n > 0 GROUP BY t.tag", false, POSITIVE),
    ("SELECT tag, {} FROM events, LATERAL unnest(tags) tag WHERE tag <> 'x' GROUP BY tag", false, NOT_X),
    ("SELECT tag, {} FROM events JOIN UNNEST(tags) AS t(tag) ON true WHERE t.tag <> 'x' GROUP BY 1", false, NOT_X),
    ("SELECT tag, {} FROM events LEFT JOIN UNNEST(tags) AS t(tag) ON true GROUP BY tag", true, ALL),
    (
        "SELECT tag, {} FROM events LEFT OUTER JOIN UNNEST(tags) AS t(tag) ON true WHERE n > 0 GROUP BY 1",
        true,
        POSITIVE,
    ),
    ("SELECT tag, {} FROM events CROSS JOIN UNNEST(coalesce(tags, tags)) AS t(tag) GROUP BY 1", false, ALL),
];

#[tokio::test]
async fn each_item_of_an_array_counts_in_its_group_however_events_are_cut() {
    for (spelled, is_outer, counts) in SPELLINGS {
        let view = view(&spelled.replace("{}", MEASURES));
        for seed in seeds(12) {
            let random = &mut StdRng::seed_from_u64(seed);
            let rows = random.random_range(0..60);
            let events: Vec<Event> = (0..rows).map(|_| random_event(random)).collect();
            let parts = random_split(&batch_of(&view.source, &events), random);
            let found = answer(&view, parts).await;
            assert_eq!(found, fold(&events, is_outer, counts), "{spelled}; repeat with TWOFOLD_SEED={seed}");
        }
    }
}

/// As batch and speed ask: by keys that the query does not name, which pass the array.
#[tokio::test]
async fn extra_keys_pass_an_array() {
    let view =
        view("SELECT k, t.tag, array_agg(n) AS all_n FROM events CROSS JOIN UNNEST(tags) AS t(tag) GROUP BY 1, 2");
    let random = &mut StdRng::seed_from_u64(5);
    let events: Vec<Event> = (0..40).map(|_| random_event(random)).collect();
    let events_batch = batch_of(&view.source, &events);
    let run: ArrayRef = Arc::new(Int32Array::from_iter_values((0..40).map(|row| row % 3)));
    let run_field = Arc::new(Field::new("_run", DataType::Int32, true));
    let fields = view.source.events.fields().iter().cloned().chain([run_field]);
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let columns = events_batch.columns().iter().cloned().chain([run]).collect();
    let input = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let plan = Compiled::new(schema, |scan| view.plans.state_plan(scan, &["_run", "_partition"])).await.unwrap();
    let states = plan.execute(vec![input]).await.unwrap();
    let names: Vec<String> = plan.output_schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names, ["_run", "_partition", "k", "tag", "all_n"]);
    let mut wanted = BTreeSet::new();
    for (row, event) in events.iter().enumerate() {
        let key = |tag: Option<&str>| {
            let text = |part: Option<&str>| part.unwrap_or("-").to_owned();
            [(row % 3).to_string(), (row % 2).to_string(), text(event.k.as_deref()), text(tag)].to_vec()
        };
        wanted.extend(event.tags.iter().flatten().map(|tag| key(*tag)));
    }
    let keys: Vec<RecordBatch> = states.iter().map(|batch| batch.project(&[0, 1, 2, 3]).unwrap()).collect();
    assert_eq!(texts(&keys), wanted);
}

/// A text of a thousand letters, repeated for each of so many items, is more than one event may become.
#[tokio::test]
async fn a_long_array_counts_and_is_not_repeated_without_bounds() {
    let plain = Event { k: Some("a".to_owned()), n: Some(1), f: None, tags: Some(vec![Some("x")]) };
    let long = |k: &str| Event { k: Some(k.to_owned()), tags: Some(vec![Some("x"); 200_000]), ..plain.clone() };
    let by_tag = view("SELECT unnest(tags) AS tag, count(*) AS items FROM events GROUP BY 1");
    let by_both = view("SELECT k, unnest(tags) AS tag, count(*) AS items FROM events GROUP BY 1, 2");
    let text = "t".repeat(1_000);
    let events = [plain.clone(), long("b"), long(&text)];
    let parts = || vec![vec![batch_of(&by_tag.source, &events)]];
    let row = |row: &[&str]| row.iter().map(|cell| (*cell).to_owned()).collect::<Vec<String>>();
    assert_eq!(answer(&by_tag, parts()).await, BTreeSet::from([row(&["x", "400001"])]));
    let found = answer(&by_both, parts()).await;
    assert_eq!(found, BTreeSet::from([row(&["a", "x", "1"]), row(&["b", "x", "200000"])]));
}

/// Pairs of views that mean the same.
const MERGED: [(&str, &str); 5] = [
    (
        "SELECT k, name, count(*) AS c FROM events JOIN names USING (k) GROUP BY k, name",
        "SELECT events.k AS k, name, count(*) AS c FROM events JOIN names ON events.k = names.k GROUP BY 1, 2",
    ),
    (
        "SELECT k, count(name) AS c, max(names.k) AS m FROM events LEFT JOIN names USING (k) WHERE k <> 'b' GROUP BY k",
        "SELECT e.k AS k, count(name) AS c, max(names.k) AS m FROM events e LEFT JOIN names ON e.k = names.k
         WHERE e.k <> 'b' GROUP BY e.k",
    ),
    (
        "SELECT upper(k) AS k, count(*) FILTER (WHERE k = 'a') AS c, count(b.name) AS n
         FROM events JOIN names a USING (k) LEFT JOIN names b USING (k) GROUP BY upper(k)",
        "SELECT upper(e.k) AS k, count(*) FILTER (WHERE e.k = 'a') AS c, count(b.name) AS n
         FROM events e JOIN names a ON e.k = a.k LEFT JOIN names b ON e.k = b.k GROUP BY upper(e.k)",
    ),
    (
        "SELECT a.name AS name, count(*) AS c FROM events JOIN names a USING (k) JOIN names b USING (k, name)
         GROUP BY 1",
        "SELECT a.name AS name, count(*) AS c FROM events JOIN names a ON events.k = a.k
         JOIN names b ON events.k = b.k AND a.name = b.name GROUP BY 1",
    ),
    (
        "SELECT name, count(*) AS c FROM events, UNNEST(tags) AS t(k2) JOIN names USING (k) WHERE k2 = 'x'
         GROUP BY name",
        "SELECT name, count(*) AS c FROM events JOIN names ON events.k = names.k CROSS JOIN UNNEST(tags) AS t(k2)
         WHERE t.k2 = 'x' GROUP BY name",
    ),
];

#[tokio::test]
async fn a_join_by_using_is_the_join_by_on_and_its_column_that_of_the_left_side() {
    for (using, on) in MERGED {
        let (using_view, on_view) = (view(using), view(on));
        for seed in seeds(8) {
            let random = &mut StdRng::seed_from_u64(seed);
            let events: Vec<Event> = (0..50).map(|_| random_event(random)).collect();
            let batch = batch_of(&using_view.source, &events);
            let found = answer(&using_view, random_split(&batch, random)).await;
            assert!(!found.is_empty(), "{using}");
            assert_eq!(found, answer(&on_view, vec![vec![batch]]).await, "{using}; repeat with TWOFOLD_SEED={seed}");
        }
    }
}

/// Where a value ends is part of a row: ('ab', 'c') is another than ('a', 'bc').
#[tokio::test]
async fn distinct_rows_are_told_apart_by_each_of_their_values() {
    let view = view("SELECT n, count(DISTINCT k, tags[1], n > 0) AS c FROM events GROUP BY n");
    let event =
        |k: &str, tag: &'static str| Event { k: Some(k.to_owned()), n: Some(1), f: None, tags: Some(vec![Some(tag)]) };
    let events = [event("ab", "c"), event("a", "bc"), event("ab", "c"), event("", "abc"), event("abc", "")];
    let none = Event { k: None, ..event("", "c") };
    let events = [events.to_vec(), vec![none]].concat();
    let halves = events.chunks(2).map(|events| vec![batch_of(&view.source, events)]).collect();
    assert_eq!(answer(&view, halves).await, BTreeSet::from([vec!["1".to_owned(), "4".to_owned()]]));
}

/// Items of every type, and arrays that are fields or made by functions.
const KINDS: [&str; 15] = [
    "unnest(tags) AS k, count(*) AS n, count(DISTINCT h, tags[1]) AS d FROM ev GROUP BY k",
    "unnest(sizes) AS k, count(*) AS n, first_value(h) AS first, array_agg(h) AS all_h FROM ev GROUP BY k",
    "unnest(floats) AS k, count(DISTINCT h, d) AS n FROM ev WHERE h <> 'no' GROUP BY k",
    "unnest(days) AS k, count(*) AS n FROM ev GROUP BY k",
    "date_bin(INTERVAL '1 day', unnest(times)) AS k, count(*) AS n FROM ev GROUP BY k",
    "json_get_str(unnest(docs), 'k') AS k, count(*) AS n FROM ev GROUP BY k",
    "unnest(lines)['sku'] AS k, count(*) AS n FROM ev GROUP BY k",
    "l.line.sku AS k, sum(l.line['price']) AS total FROM ev CROSS JOIN UNNEST(lines) AS l(line) GROUP BY k",
    "h, max(i) AS most, approx_distinct(i) AS n FROM ev, UNNEST(meta.sizes) AS t(i) GROUP BY h",
    "h, sum(i) AS total, last_value(i) AS last FROM ev LEFT JOIN UNNEST(meta['sizes']) i ON true GROUP BY h",
    "unnest(flatten(deep)) AS k, count(*) AS n FROM ev GROUP BY k",
    "unnest(string_to_array(h, ',')) AS k, date_bin(INTERVAL '1 hour', time) AS t, count(*) AS n FROM ev GROUP BY k, t",
    "unnest(map_keys(labels)) AS k, count(*) AS n FROM ev GROUP BY k",
    "CAST(unnest(tags) AS BIGINT) AS k, count(*) AS n FROM ev GROUP BY k",
    "labels['k'] AS k, count(*) FILTER (WHERE t.i > 1) AS n FROM ev, UNNEST(sizes) AS t(i) WHERE i / d IS NULL GROUP BY k",
];

#[tokio::test]
async fn views_over_items_of_every_kind_run_in_both_layers() {
    let source = "CREATE UNBOUNDED EXTERNAL TABLE ev (
        time TIMESTAMP NOT NULL, h VARCHAR, d BIGINT, tags ARRAY<VARCHAR>, sizes ARRAY<BIGINT>, floats ARRAY<DOUBLE>,
        days ARRAY<DATE>, times ARRAY<TIMESTAMP>, docs ARRAY<JSON>, labels MAP<VARCHAR, VARCHAR>,
        lines ARRAY<STRUCT<sku VARCHAR, price DECIMAL(12, 2) NOT NULL>>, deep ARRAY<ARRAY<BIGINT>>,
        meta STRUCT<sizes ARRAY<BIGINT>>
    ) STORED AS JSON LOCATION 'kafka://ev' OPTIONS (event_time 'time');";
    let views = KINDS.iter().enumerate();
    let views = views.map(|(number, select)| format!("\nCREATE MATERIALIZED VIEW v{number} AS SELECT {select};"));
    let sql = source.to_owned() + &views.collect::<String>();
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    try_pipeline(&pipeline).await.unwrap_or_else(|problems| panic!("{problems}"));
    for view in &pipeline.views {
        let shown = view.plans.fallible_parts().unwrap().join("\n") + &view.sql;
        assert!(!shown.contains("_items"), "{shown}");
    }
    for (number, part) in [(13, "CAST(unnest(tags) AS BIGINT)"), (14, "t.i / ev.d")] {
        let parts = pipeline.views[number].plans.fallible_parts().unwrap();
        assert!(parts.iter().any(|found| found == part), "{part}: {parts:?}");
    }
}
