//! What states promise beside the law: extra keys, missing states, limits, damaged bytes, buckets.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, Int64Array, StringArray, TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{cast, concat_batches};
use arrow::datatypes::{
    DataType, Field, Int32Type, Int64Type, IntervalMonthDayNano, Schema, TimeUnit, TimestampMicrosecondType,
};
use arrow::record_batch::RecordBatch;
use datafusion::common::ScalarValue;
use datafusion::functions::datetime::expr_fn::date_bin;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, ident, lit};
use positions::TimestampMicros;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use views::{Bucket, Compiled, DefinitionError, PlannedView, bucket_expr, bucket_of};

use super::events::random_events;
use super::plans::{Measures, read_view};

const KEYS: &[(&str, &str)] = &[("k", "events.k")];
const MEASURES: &Measures = &[
    ("n", "count(*)", ""),
    ("sum_i", "sum(i)", ""),
    ("avg_f", "avg(f)", ""),
    ("approx_s", "approx_distinct(s)", ""),
    ("p50_s", "approx_percentile_cont(s, 0.5)", ""),
    ("list_s", "array_agg(s)", ""),
    ("ratio", "sum(d) / count(*)", ""),
];

fn view() -> PlannedView {
    read_view(KEYS, MEASURES, "FROM events LEFT JOIN names ON events.k = names.k")
}

async fn states(view: &PlannedView, rows: usize) -> RecordBatch {
    let events = random_events(&view.source, rows, &mut StdRng::seed_from_u64(7));
    let plan = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let states = plan.execute(vec![events]).await.unwrap();
    concat_batches(&view.states, &states).unwrap()
}

async fn finish(view: &PlannedView, states: Vec<RecordBatch>, by: &[&str]) -> Result<RecordBatch, DefinitionError> {
    let plan = Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, by)).await?;
    Ok(concat_batches(&plan.output_schema(), &plan.execute(states).await?).unwrap())
}

#[tokio::test]
async fn extra_keys_come_first_and_survive_the_join() {
    let view = view();
    let events = random_events(&view.source, 100, &mut StdRng::seed_from_u64(3));
    let bucket: ArrayRef = Arc::new(Int64Array::from_iter_values((0..100).map(|row| row % 3)));
    let mut fields: Vec<Field> = events.schema().fields().iter().map(|field| field.as_ref().clone()).collect();
    fields.push(Field::new("_bucket", bucket.data_type().clone(), false));
    let schema = Arc::new(Schema::new(fields));
    let columns = events.columns().iter().cloned().chain([bucket]).collect();
    let events = RecordBatch::try_new(Arc::clone(&schema), columns).unwrap();
    let keys = ["_bucket", "_partition"];
    let plan = Compiled::new(schema, |scan| view.plans.state_plan(scan, &keys)).await.unwrap();
    let names: Vec<String> = plan.output_schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names[..4], ["_bucket", "_partition", "k", "n"]);
    let keyed = plan.execute(vec![events]).await.unwrap();
    let keyed = concat_batches(&plan.output_schema(), &keyed).unwrap();
    assert!(keyed.column(1).as_primitive::<Int32Type>().iter().all(|partition| matches!(partition, Some(0 | 1))));
    let merge = Compiled::new(plan.output_schema(), |scan| view.plans.merge_plan(scan, &keys[..1])).await.unwrap();
    let merged = concat_batches(&merge.output_schema(), &merge.execute(vec![keyed.clone()]).await.unwrap()).unwrap();
    assert_eq!(merged.schema().field(0).name(), "_bucket");
    let total = |batch: &RecordBatch| -> i64 {
        batch.column_by_name("n").unwrap().as_primitive::<Int64Type>().iter().flatten().sum()
    };
    assert_eq!(total(&keyed), total(&merged));
    assert!(merged.num_rows() < keyed.num_rows());
}

#[tokio::test]
async fn a_missing_state_adds_nothing() {
    let view = view();
    // Few enough for a percentile that is exact in any order.
    let states = states(&view, 100).await;
    let whole = finish(&view, vec![states.clone()], &[]).await.unwrap();
    let columns = view.states.fields().iter().map(|field| new_null_array(field.data_type(), 5)).collect();
    let missing = RecordBatch::try_new(Arc::clone(&view.states), columns).unwrap();
    let both = finish(&view, vec![missing.clone(), states, missing.clone()], &[]).await.unwrap();
    assert_eq!(whole, both);
    let alone = finish(&view, vec![missing], &["k"]).await.unwrap();
    assert_eq!(alone.num_rows(), 1);
    assert_eq!(alone.column_by_name("n").unwrap().as_primitive::<Int64Type>().value(0), 0);
    for measure in ["sum_i", "avg_f", "p50_s", "list_s"] {
        assert!(alone.column_by_name(measure).unwrap().is_null(0), "{measure}");
    }
}

#[tokio::test]
async fn no_states_make_no_groups() {
    let view = view();
    assert_eq!(finish(&view, vec![], &["k"]).await.unwrap().num_rows(), 0);
    assert_eq!(states(&view, 0).await.num_rows(), 0);
    let total = finish(&view, vec![], &[]).await.unwrap();
    assert_eq!(total.column_by_name("n").unwrap().as_primitive::<Int64Type>().value(0), 0);
}

#[tokio::test]
async fn damaged_sketches_are_errors() {
    let view = view();
    let states = states(&view, 400).await;
    let random = &mut StdRng::seed_from_u64(11);
    for round in 0..2000 {
        let name = if round % 2 == 0 { "approx_s" } else { "p50_s" };
        let index = view.states.index_of(name).unwrap();
        let damaged = states.column(index).as_binary::<i32>().iter().map(|state| {
            let mut bytes = state.unwrap_or_default().to_vec();
            match random.random_range(0..4) {
                0 => bytes.truncate(random.random_range(0..=bytes.len())),
                1 => bytes = (0..random.random_range(0..64)).map(|_| random.random()).collect(),
                _ => {
                    for _ in 0..random.random_range(1..4) {
                        let at = random.random_range(0..bytes.len().max(1));
                        let _ = bytes.get_mut(at).map(|byte| *byte = random.random());
                    }
                }
            }
            Some(bytes)
        });
        let mut columns = states.columns().to_vec();
        columns[index] = Arc::new(BinaryArray::from_iter(damaged));
        let damaged = RecordBatch::try_new(Arc::clone(&view.states), columns).unwrap();
        // An answer or an error, as long as it returns.
        let _ = finish(&view, vec![damaged.clone(), states.clone(), damaged], &[]).await;
    }
}

#[tokio::test]
async fn a_state_beyond_its_limit_is_refused_by_measure_and_group() {
    let sql = format!(
        "{}CREATE MATERIALIZED VIEW law WITH (max_state_bytes = 2000) AS
         SELECT k, count(DISTINCT s) AS texts FROM events GROUP BY k",
        super::events::SOURCE.split("CREATE EXTERNAL").next().unwrap()
    );
    let pipeline = views::Pipeline::read(&sql, &Default::default()).unwrap();
    let view = pipeline.view("law").unwrap();
    let plan = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let random = &mut StdRng::seed_from_u64(5);
    let few = random_events(&view.source, 100, random);
    let few = plan.execute(vec![few]).await.unwrap();
    let many = plan.execute(vec![random_events(&view.source, 4000, random)]).await;
    let error = many.unwrap_err();
    let text = error.to_string();
    let DefinitionError::StateTooLarge { view: named, measure, group, size_bytes, limit_bytes } = error else {
        panic!("{text}");
    };
    assert_eq!((named.as_str(), measure.as_str(), limit_bytes), ("law", "texts", 2000));
    assert!(group.starts_with("k=") && size_bytes > 2000, "{group}: {size_bytes}");
    for part in ["view law", &group, &size_bytes.to_string(), "max_state_bytes = 2000", "WITH clause"] {
        assert!(text.contains(part), "{text}: {part}");
    }
    let merge = Compiled::new(Arc::clone(&view.states), |scan| view.plans.merge_plan(scan, &[])).await.unwrap();
    let mut grown = few.clone();
    for _ in 0..30 {
        grown.extend(plan.execute(vec![random_events(&view.source, 100, random)]).await.unwrap());
    }
    assert!(merge.execute(few).await.is_ok());
    assert!(matches!(merge.execute(grown).await, Err(DefinitionError::StateTooLarge { .. })));
}

#[tokio::test]
async fn a_measure_is_finished_inside_any_aggregate() {
    let view = view();
    let states = states(&view, 500).await;
    assert_eq!(view.plans.measure_states("ratio").unwrap(), ["n", "ratio__sum"]);
    let plan = Compiled::new(Arc::clone(&view.states), |scan| {
        let calls =
            view.plans.measure_states("ratio")?.into_iter().map(|state| view.plans.merge_expr(state, ident(state)));
        let calls: Vec<_> = calls.collect::<Result<_, _>>()?;
        let aggregate = LogicalPlanBuilder::from(scan).aggregate(Vec::<Expr>::new(), calls)?;
        let states = view.plans.measure_states("ratio")?;
        let column = |state: &str| {
            let place = states.iter().position(|known| *known == state).unwrap();
            let (qualifier, field) = aggregate.schema().qualified_field(place);
            Expr::Column((qualifier, field).into())
        };
        let ratio = view.plans.measure_expr("ratio", column)?;
        Ok(aggregate.clone().project(vec![ratio])?.build()?)
    });
    let plan = plan.await.unwrap();
    let ratio = plan.execute(vec![states.clone()]).await.unwrap();
    let all = finish(&view, vec![states], &[]).await.unwrap();
    assert_eq!(ratio[0].column(0), all.column_by_name("ratio").unwrap());
}

#[tokio::test]
async fn unknown_dimensions_are_named() {
    let error = finish(&view(), vec![], &["nope"]).await.unwrap_err().to_string();
    assert_eq!(error, "view law has no dimension nope; it has: k");
}

/// One expression over a column `time`.
async fn over_times(times: &[i64], expr: Expr) -> Vec<i64> {
    let column = TimestampMicrosecondArray::from(times.to_vec()).with_timezone("UTC");
    let schema = Arc::new(Schema::new(vec![Field::new("time", column.data_type().clone(), true)]));
    let batch = RecordBatch::try_new(Arc::clone(&schema), vec![Arc::new(column)]).unwrap();
    let build = |scan| Ok(LogicalPlanBuilder::from(scan).project(vec![expr.alias("found")])?.build()?);
    let plan = Compiled::new(schema, build).await.unwrap();
    let found = concat_batches(&plan.output_schema(), &plan.execute(vec![batch]).await.unwrap()).unwrap();
    let micros = cast(found.column(0), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))).unwrap();
    micros.as_primitive::<TimestampMicrosecondType>().values().to_vec()
}

#[tokio::test]
async fn the_two_bucket_functions_agree() {
    let random = &mut StdRng::seed_from_u64(17);
    let edges = [i64::MIN, i64::MAX, -1, 0, 1, 951_782_400_000_000, 951_868_800_000_000 - 1, -62_135_596_800_000_000];
    let times: Vec<i64> = edges.into_iter().chain((0..2000).map(|_| random.random())).collect();
    for bucket in [Bucket::Hour, Bucket::Day, Bucket::Month, Bucket::None] {
        let found = over_times(&times, bucket_expr(bucket, ident("time"))).await;
        for (time, found) in times.iter().zip(found) {
            assert_eq!(bucket_of(bucket, TimestampMicros(*time)), TimestampMicros(found), "{bucket:?} of {time}");
        }
    }
    let months = [(0, 0), (2_678_399_999_999, 0), (2_678_400_000_000, 2_678_400_000_000), (-1, -2_678_400_000_000)];
    for (time, month) in months {
        assert_eq!(bucket_of(Bucket::Month, TimestampMicros(time)), TimestampMicros(month));
    }
}

#[tokio::test]
async fn date_bin_is_the_engines_own_wherever_that_has_an_answer() {
    let random = &mut StdRng::seed_from_u64(23);
    let range = 8_000_000_000_000_000;
    let times: Vec<i64> = (0..500).map(|_| random.random_range(-range..range)).collect();
    let ours = views::session_state().scalar_functions()["date_bin"].clone();
    for _ in 0..60 {
        let interval = match random.random_range(0..3) {
            0 => IntervalMonthDayNano::new(random.random_range(1..40), 0, 0),
            1 => IntervalMonthDayNano::new(0, random.random_range(1..40), 0),
            _ => IntervalMonthDayNano::new(0, random.random_range(0..2), random.random_range(1..100_000_000) * 1000),
        };
        // Firsts of a month: the engine counts months from other days in its own way.
        let origin = *[0, 951_868_800_000_000, -31_536_000_000_000].get(random.random_range(0..3)).unwrap();
        let stride = lit(ScalarValue::IntervalMonthDayNano(Some(interval)));
        let origin = lit(ScalarValue::TimestampMicrosecond(Some(origin), Some("UTC".into())));
        let wanted = over_times(&times, date_bin(stride.clone(), ident("time"), origin.clone())).await;
        let found = over_times(&times, ours.call(vec![stride, ident("time"), origin.clone()])).await;
        assert_eq!(found, wanted, "{interval:?} from {origin}");
    }
}

/// Texts are compared as bytes, so names keep the order of their group in a plan of two phases.
#[test]
fn state_columns_are_plain_where_one_value_suffices() {
    let drawn: Vec<String> =
        view().states.fields().iter().map(|field| format!("{}: {}", field.name(), field.data_type())).collect();
    let plain = StringArray::from_iter_values(drawn.iter());
    assert_eq!(plain.value(1), "n: Int64");
    assert_eq!(plain.value(2), "sum_i: Decimal128(38, 0)");
    assert!(drawn[3].starts_with("avg_f: Struct("), "{}", drawn[3]);
    assert_eq!(drawn[4..6], ["approx_s: Binary", "p50_s: Binary"]);
    assert_eq!(drawn[7], "ratio__sum: Decimal128(38, 2)");
}
