//! The catalogue of aggregates agrees with the engine and with what views store.

use std::collections::BTreeSet;

use datafusion::arrow::datatypes::DataType;
use views::{AGGREGATES, PlannedView, Support, aggregate_facts, session_state};

use super::no_files;

const SOURCE: &str = "CREATE UNBOUNDED EXTERNAL TABLE e (time TIMESTAMP NOT NULL, k VARCHAR, a BIGINT, x DOUBLE, y DOUBLE, \
                      b BOOLEAN) STORED AS JSON LOCATION 'kafka://e' OPTIONS (event_time 'time');\n";

/// A call of the aggregate that is right.
fn call(name: &str, distinct: &str) -> String {
    let arguments = match name {
        "bool_and" | "bool_or" => "b",
        "covar_samp" | "covar_pop" | "corr" => "x, y",
        "percentile_cont" | "approx_percentile_cont" | "ddsketch_percentile" => "x, 0.5",
        "approx_top_k" => "k, 3",
        "visits" | "bounces" | "bounce_rate" => "k, time, INTERVAL '30 minutes'",
        "min_by" | "max_by" => "k, x",
        "string_agg" => "k, ','",
        name if name.starts_with("regr_") => "x, y",
        _ => "a",
    };
    format!("{name}({distinct}{arguments})")
}

fn read(call: &str) -> Result<PlannedView, String> {
    let sql = format!("{SOURCE}CREATE MATERIALIZED VIEW v AS SELECT k, {call} AS m FROM e GROUP BY k");
    let pipeline = views::Pipeline::read(&sql, &no_files()).map_err(|error| error.to_string())?;
    Ok(pipeline.view("v").unwrap().clone())
}

/// State fields carry the place of a column in the source: `partition_7`.
fn without_place(name: &str) -> &str {
    match name.rsplit_once('_') {
        Some((name @ ("partition" | "offset"), _)) => name,
        _ => name,
    }
}

#[test]
fn every_aggregate_of_the_engine_has_one_entry() {
    let session = session_state();
    let engine: BTreeSet<&str> = session.aggregate_functions().values().map(|function| function.name()).collect();
    let listed: BTreeSet<&str> = AGGREGATES.iter().map(|facts| facts.name).collect();
    assert_eq!(listed, engine);
    assert_eq!(listed.len(), AGGREGATES.len(), "an aggregate has two entries");
}

#[test]
fn what_is_merged_stores_the_states_that_are_listed_and_has_the_class_that_is_listed() {
    for facts in AGGREGATES {
        let Support::Merged(merged) = facts.support else { continue };
        let view = read(&call(facts.name, "")).unwrap_or_else(|error| panic!("{}: {error}", facts.name));
        let stored = view.states.field(1).data_type();
        match stored {
            DataType::Struct(fields) => {
                let names: Vec<&str> = fields.iter().map(|field| without_place(field.name())).collect();
                assert_eq!(names, merged.states, "{}", facts.name);
            }
            _ => assert_eq!(merged.states.len(), 1, "{} is stored as {stored}", facts.name),
        }
        let measure = &view.measures[0];
        let returns_float = measure.data_type.is_floating();
        assert_eq!(measure.class, merged.class_of(false, returns_float), "{}", facts.name);
        assert_eq!(measure.is_additive, merged.is_additive, "{}", facts.name);
    }
}

#[test]
fn distinct_does_what_is_listed() {
    for facts in AGGREGATES {
        let Support::Merged(merged) = facts.support else { continue };
        // Some cannot be written: percentiles, regressions and others admit no DISTINCT.
        let Ok(view) = read(&call(facts.name, "DISTINCT ")) else { continue };
        let measure = &view.measures[0];
        assert_eq!(measure.class, merged.class_of(true, measure.data_type.is_floating()), "{}", facts.name);
        assert!(!measure.is_additive, "{}", facts.name);
    }
}

#[test]
fn what_is_refused_is_refused_with_its_reason_and_its_hint() {
    for facts in AGGREGATES {
        let Support::Refused(refusal) = facts.support else { continue };
        let error = read(&format!("{}(a, 1)", facts.name)).unwrap_err();
        assert!(error.contains(refusal.reason) && error.contains(refusal.hint), "{error}");
    }
    assert!(aggregate_facts("no_such").is_none());
}
