//! What is read runs: views over columns of every type, as dimension, condition and argument of every aggregate, tried
//! in both layers; and their states of two parts together are those of all rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::Float64Type;
use arrow::record_batch::RecordBatch;
use twofold::trial::try_pipeline;
use views::{AGGREGATES, Compiled, Pipeline, PlannedView, Support, sample_events};

use super::compare::assert_equal;
use super::sent::states_through_bytes;

/// One line, so that every view has a line of its own behind it.
const SOURCE: &str = "CREATE UNBOUNDED EXTERNAL TABLE events (time TIMESTAMP NOT NULL, a BOOLEAN, b SMALLINT, c INT, d BIGINT, \
    e FLOAT, f DOUBLE, g DECIMAL(12, 2), h VARCHAR, i DATE, j TIMESTAMP, w DECIMAL(38, 4), \
    meta STRUCT<domain VARCHAR, size BIGINT NOT NULL, deep STRUCT<x DOUBLE, y VARCHAR>>, tags ARRAY<VARCHAR>, \
    sizes ARRAY<BIGINT>, doc JSON, docs ARRAY<JSON>, wrapped STRUCT<doc JSON NOT NULL>, \
    labels MAP<VARCHAR, VARCHAR>, counts MAP<VARCHAR, STRUCT<n BIGINT>>) \
    STORED AS JSON LOCATION 'kafka://events' OPTIONS (event_time 'time');";

/// What every pipeline may group by.
const PLAIN: [&str; 24] = [
    "time",
    "a",
    "b",
    "c",
    "d",
    "e",
    "f",
    "g",
    "h",
    "i",
    "j",
    "w",
    "meta['domain']",
    "meta.domain",
    "events.meta['domain']",
    "meta['size']",
    "meta['deep']['x']",
    "tags[1]",
    "doc",
    "json_get_str(doc, 'k')",
    "json_get_int(doc, 'n')",
    "json_get_float(doc, 'items', 0)",
    "json_contains(doc, 'items')",
    "labels['k']",
];

/// What the engine may refuse somewhere, and then nobody needs to run.
const OTHER: [&str; 15] = [
    "meta.deep.y",
    "upper(meta['domain'])",
    "meta['size'] % 2",
    "sizes[1]",
    "array_length(tags)",
    "cardinality(sizes)",
    "array_has(tags, meta['domain'])",
    "json_get_bool(doc, 'in', 'k')",
    "json_get_json(doc, 'items', -1)",
    "json_as_text(docs[1], 'n')",
    "json_length(wrapped['doc'])",
    "json_get_int(h)",
    "json_get_str(doc, h)",
    "labels.n",
    "counts['k']['n']",
];

fn call(name: &str, x: &str) -> String {
    let arguments = match name {
        "covar_samp" | "covar_pop" | "corr" | "min_by" | "max_by" => format!("{x}, {x}"),
        "percentile_cont" | "approx_percentile_cont" | "ddsketch_percentile" => format!("{x}, 0.5"),
        "approx_top_k" => format!("{x}, 3"),
        "visits" | "bounces" | "bounce_rate" => format!("{x}, time, INTERVAL '30 minutes'"),
        "string_agg" => format!("{x}, ','"),
        name if name.starts_with("regr_") => format!("{x}, {x}"),
        _ => x.to_owned(),
    };
    format!("{name}({arguments})")
}

/// What divides by how far values spread: where they are all one, which groups by the argument are, rounding alone
/// decides. Such views run, and are not compared.
fn is_of_spread(name: &str) -> bool {
    ["corr", "covar", "regr", "stddev", "var"].iter().any(|beginning| name.starts_with(beginning))
}

fn merged() -> impl Iterator<Item = &'static str> {
    AGGREGATES.iter().filter(|facts| matches!(facts.support, Support::Merged(_))).map(|facts| facts.name)
}

fn view(name: &str, select: &str) -> String {
    format!("CREATE MATERIALIZED VIEW {name} AS SELECT {select};")
}

fn read(views: &[String]) -> Result<Pipeline, views::PipelineError> {
    Pipeline::read(&format!("{SOURCE}\n{}", views.join("\n")), &BTreeMap::new())
}

/// Which of these views, one line each, a pipeline may have.
fn accepted(views: &[String]) -> BTreeSet<usize> {
    let refused: BTreeSet<usize> = match read(views) {
        Ok(_) => BTreeSet::new(),
        Err(error) => error.0.iter().map(|finding| finding.line.checked_sub(2).expect("the source is right")).collect(),
    };
    (0..views.len()).filter(|at| !refused.contains(at)).collect()
}

/// The views over one expression that a pipeline may have: it as a dimension alone; in conditions and in coalesce; as a
/// dimension beside all aggregates that take it.
fn views_over(number: usize, x: &str, used: &mut BTreeSet<&'static str>) -> Vec<String> {
    let names: Vec<&str> = merged().collect();
    let alone =
        |name: &&str| view(&format!("try_{name}"), &format!("h, {} AS m FROM events GROUP BY h", call(name, x)));
    let calls: Vec<String> = names.iter().map(alone).collect();
    let taken: Vec<&'static str> = accepted(&calls).into_iter().map(|at| merged().nth(at).unwrap()).collect();
    let of = |is_wanted: fn(&str) -> bool| {
        let wanted = taken.iter().filter(|name| is_wanted(name));
        wanted.map(|name| format!(", {} AS m_{name}", call(name, x))).collect::<String>()
    };
    let (spread, plain) = (of(is_of_spread), of(|name| !is_of_spread(name)));
    used.extend(&taken);
    let conditions = format!(
        "h, count(*) FILTER (WHERE {x} IS NOT NULL) AS present, count(coalesce({x}, {x})) AS known,
         count(*) FILTER (WHERE coalesce({x}, {x}) IS NULL) AS missing
         FROM events WHERE {x} IS NOT NULL OR h IS NOT NULL GROUP BY h"
    );
    let candidates = [
        view(&format!("key_{number}"), &format!("{x} AS k, count(*) AS n FROM events GROUP BY {x}")),
        view(&format!("in_{number}"), &conditions.split_whitespace().collect::<Vec<_>>().join(" ")),
        view(&format!("all_{number}"), &format!("{x} AS k{plain} FROM events GROUP BY {x}")),
        view(&format!("spread_{number}"), &format!("{x} AS k, count(*) AS n{spread} FROM events GROUP BY {x}")),
    ];
    let kept = accepted(&candidates);
    assert!(number >= PLAIN.len() || kept.len() == candidates.len(), "{x}: {:?}", read(&candidates).err());
    candidates.into_iter().enumerate().filter(|(at, _)| kept.contains(at)).map(|(_, view)| view).collect()
}

/// The rows whose numbers are not extreme: sums of floats have no other order of magnitude beside those.
fn calm(events: &RecordBatch) -> RecordBatch {
    let floats = events.column_by_name("f").unwrap().as_primitive::<Float64Type>();
    let is_calm = |row: &u32| floats.is_null(*row as usize) || floats.value(*row as usize).abs() < 1e9;
    let rows = (0..events.num_rows() as u32).filter(is_calm).collect::<UInt32Array>();
    assert!(rows.len() < events.num_rows() && rows.len() > 4, "the sample has extremes, and other rows");
    take_record_batch(events, &rows).unwrap()
}

/// `events`: each with whether floats are compared.
async fn check_parts(view: &PlannedView, events: &[(RecordBatch, bool)]) {
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let dimensions: Vec<&str> = view.dimensions.iter().map(|dimension| dimension.name.as_str()).collect();
    for by in [dimensions.as_slice(), &[]] {
        let finish = Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, by)).await.unwrap();
        for (events, has_floats) in events {
            let half = events.num_rows() / 2;
            let mut parts = Vec::new();
            for part in [events.slice(0, half), events.slice(half, events.num_rows() - half)] {
                parts.extend(state.execute(vec![part]).await.unwrap());
            }
            let whole = state.execute(vec![events.clone()]).await.unwrap();
            let together = finish.execute(parts).await.unwrap();
            let direct = finish.execute(whole).await.unwrap();
            assert_equal(view, by.len(), &together, &direct, *has_floats, &view.sql);
            if by.len() == dimensions.len() {
                let elsewhere = finish.execute(states_through_bytes(view, events).await).await.unwrap();
                assert_equal(view, by.len(), &elsewhere, &direct, *has_floats, &format!("{}, elsewhere", view.sql));
            }
        }
    }
}

#[tokio::test]
async fn views_over_every_type_of_column_run_in_both_layers_and_sum_up() {
    let mut used = BTreeSet::new();
    let expressions = PLAIN.iter().chain(&OTHER).enumerate();
    let views: Vec<String> = expressions.flat_map(|(number, x)| views_over(number, x, &mut used)).collect();
    assert_eq!(used, merged().collect::<BTreeSet<_>>(), "aggregates that take no column");
    let pipeline = read(&views).unwrap_or_else(|problems| panic!("{problems}"));
    try_pipeline(&pipeline).await.unwrap_or_else(|problems| panic!("{problems}"));
    let events = sample_events(&pipeline.sources[0]).unwrap();
    let events = [(calm(&events), true), (events, false)];
    for view in pipeline.views.iter().filter(|view| !view.name.as_str().starts_with("spread_")) {
        check_parts(view, &events).await;
    }
}

#[tokio::test]
async fn arrays_and_structs_are_picked_and_maps_have_no_order() {
    let select = "h, max_by(meta, time) AS last, min_by(tags, meta) AS first, mode(sizes) AS most, \
                  approx_top_k(meta, 2) AS often FROM events GROUP BY h";
    let pipeline = read(&[view("picked", select)]).unwrap_or_else(|problems| panic!("{problems}"));
    try_pipeline(&pipeline).await.unwrap_or_else(|problems| panic!("{problems}"));
    let events = sample_events(&pipeline.sources[0]).unwrap();
    check_parts(pipeline.view("picked").unwrap(), &[(events, false)]).await;
    for call in ["max_by(labels, time)", "min_by(h, counts)", "mode(labels)", "approx_top_k(labels, 2)"] {
        let error = read(&[view("refused", &format!("h, {call} AS m FROM events GROUP BY h"))]).err().unwrap();
        assert!(error.to_string().contains("does not take MAP: its values have no order"), "{error}");
    }
}

/// A view that was planned over other columns than its source has: what the engine refuses when it runs.
#[tokio::test]
async fn a_view_that_fails_on_trial_is_named_with_its_place_and_the_others_are_not() {
    let views = [
        view("good", "h, count(*) AS n FROM events GROUP BY h"),
        view("bad", "h, count(*) AS n, sum(d) AS s FROM events GROUP BY h"),
        view("fine", "meta.domain AS k, count(*) AS n FROM events GROUP BY k"),
    ];
    let mut pipeline = read(&views).unwrap_or_else(|problems| panic!("{problems}"));
    try_pipeline(&pipeline).await.unwrap();
    let other = "CREATE UNBOUNDED EXTERNAL TABLE o (time TIMESTAMP, d BIGINT, h VARCHAR) STORED AS JSON
        LOCATION 'kafka://o' OPTIONS (event_time 'time');
        CREATE MATERIALIZED VIEW bad AS SELECT h, count(*) AS n, sum(d) AS s FROM o GROUP BY h;";
    let other = Pipeline::read(other, &BTreeMap::new()).unwrap();
    pipeline.views[1].plans = Arc::clone(&other.views[0].plans);
    let findings = try_pipeline(&pipeline).await.unwrap_err().0;
    let [finding] = findings.as_slice() else { panic!("{findings:?}") };
    assert_eq!((finding.line, finding.text.as_str()), (3, "CREATE MATERIALIZED VIEW bad"));
    assert!(finding.message.starts_with("view bad can be planned, but not run: "), "{}", finding.message);
    assert!(finding.hint.contains("not concerned"), "{}", finding.hint);
}
