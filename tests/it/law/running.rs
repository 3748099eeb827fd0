//! States merged as rows come, and merged twice: what windows and joins of a query make of them.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::compute::concat_batches;
use arrow::record_batch::RecordBatch;
use arrow::util::display::array_value_to_string;
use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::WindowFunction;
use datafusion::logical_expr::{Expr, LogicalPlanBuilder, WindowFrame, WindowFrameBound, WindowFrameUnits, ident};
use rand::SeedableRng;
use rand::rngs::StdRng;
use views::{Compiled, DefinitionError, PlannedView};

use super::events::random_events;
use super::plans::{Measures, read_view};

/// Of every kind that holds its state in a way of its own, some of which give it away when they are asked. No sums of
/// floating-point numbers: they are rounded by the order of merging.
const MEASURES: &Measures = &[
    ("n", "count(*)", ""),
    ("sum_i", "sum(i)", ""),
    ("avg_d", "avg(d)", ""),
    ("max_s", "max(s)", ""),
    ("any_b", "bool_or(b)", ""),
    ("distinct_s", "count(DISTINCT s)", ""),
    ("approx_s", "approx_distinct(s)", ""),
    ("median_d", "median(d)", ""),
    ("p50_i", "approx_percentile_cont(i, 0.5)", ""),
    ("best_s", "max_by(s, i)", ""),
    ("mode_s", "mode(s)", ""),
    ("top_s", "approx_top_k(s, 3)", ""),
    ("visits_s", "visits(s, time, INTERVAL '1 second')", ""),
    ("bounces_k", "bounces(k, time, INTERVAL '1 hour')", ""),
    ("list_s", "array_agg(s)", ""),
    ("first_s", "first_value(s)", ""),
];

/// Those that count a state once however often it is merged.
const IGNORING: [&str; 6] = ["max_s", "any_b", "distinct_s", "approx_s", "best_s", "first_s"];

fn view() -> PlannedView {
    read_view(&[("k", "events.k"), ("i", "i")], MEASURES, "FROM events")
}

/// Few events, so that no percentile is a matter of chance.
async fn states(view: &PlannedView) -> RecordBatch {
    let events = random_events(&view.source, 80, &mut StdRng::seed_from_u64(7));
    let plan = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    concat_batches(&view.states, &plan.execute(vec![events]).await.unwrap()).unwrap()
}

async fn finish(view: &PlannedView, states: Vec<RecordBatch>) -> RecordBatch {
    let plan = Compiled::new(Arc::clone(&view.states), |scan| view.plans.finish_plan(scan, &[])).await.unwrap();
    concat_batches(&plan.output_schema(), &plan.execute(states).await.unwrap()).unwrap()
}

#[tokio::test]
async fn a_growing_frame_has_the_value_of_all_rows_so_far() {
    let view = view();
    let states = states(&view).await;
    assert!(states.num_rows() > 5);
    let plan = Compiled::new(Arc::clone(&view.states), |scan| {
        let calls = MEASURES.iter().map(|(name, _, _)| -> Result<Expr, DefinitionError> {
            let Expr::AggregateFunction(call) = view.plans.running_expr(name, ident(*name))? else { panic!() };
            let mut window = WindowFunction::new(call.func, call.params.args);
            let start = WindowFrameBound::Preceding(ScalarValue::UInt64(None));
            window.params.window_frame =
                WindowFrame::new_bounds(WindowFrameUnits::Rows, start, WindowFrameBound::CurrentRow);
            Ok(Expr::from(window).alias(format!("{name}_so_far")))
        });
        let calls = calls.collect::<Result<Vec<_>, _>>()?;
        Ok(LogicalPlanBuilder::from(scan).window(calls)?.build()?)
    });
    let plan = plan.await.unwrap();
    let rows = concat_batches(&plan.output_schema(), &plan.execute(vec![states.clone()]).await.unwrap()).unwrap();
    for row in 0..states.num_rows() {
        let expected = finish(&view, vec![states.slice(0, row + 1)]).await;
        for (name, _, _) in MEASURES {
            let found = rows.column_by_name(&format!("{name}_so_far")).unwrap().slice(row, 1);
            // As text: the engine gives the items of a list other names in a window.
            let text = |column: &ArrayRef| array_value_to_string(column, 0).unwrap();
            assert_eq!(text(&found), text(expected.column_by_name(name).unwrap()), "{name} of {} rows", row + 1);
        }
    }
}

#[tokio::test]
async fn a_state_that_is_merged_twice_counts_once_where_that_is_said() {
    let view = view();
    let states = states(&view).await;
    let once = finish(&view, vec![states.clone()]).await;
    let twice = finish(&view, vec![states.clone(), states]).await;
    for (name, _, _) in MEASURES {
        let ignores = view.plans.measure_ignores_copies(name).unwrap();
        assert_eq!(ignores, IGNORING.contains(name), "{name}");
        if ignores {
            assert_eq!(once.column_by_name(name), twice.column_by_name(name), "{name}");
        }
    }
    assert_ne!(once.column_by_name("n"), twice.column_by_name("n"));
}
