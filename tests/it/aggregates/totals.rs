//! Which totals do not fit their type: told from the states, apart from groups that have no values.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Decimal128Type;
use views::{Compiled, Pipeline};

use super::rows::{MOST, Row, SOURCE, events};

fn row(k: &'static str, n: Option<i64>, d: Option<i128>) -> Row {
    Row { k, n, d, x: Some(1.0), ..Row::default() }
}

#[tokio::test]
async fn a_group_whose_total_does_not_fit_is_told_from_one_without_values() {
    let sql = format!(
        "{SOURCE}CREATE MATERIALIZED VIEW v AS SELECT k, sum(n) AS s, sum(DISTINCT n) AS ds, sum(d) AS d, avg(d) AS m,
         sum(x) AS f, count(*) AS c, sum(n) / count(*) AS r, max(n) AS top, coalesce(sum(n), 0) AS z FROM e GROUP BY k"
    );
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    let view = pipeline.view("v").unwrap();
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let rows = [
        row("large", Some(i64::MAX), Some(MOST)),
        row("large", Some(i64::MAX - 1), Some(MOST)),
        row("small", Some(1), Some(1)),
        row("none", None, None),
    ];
    let mut states = Vec::new();
    for (place, row) in rows.into_iter().enumerate() {
        states.extend(state.execute(vec![events(&view.source, &[(place, row)])]).await.unwrap());
    }
    assert_eq!(view.plans.may_overflow().collect::<Vec<_>>(), ["s", "ds", "d", "m", "r", "z"]);
    assert_eq!(view.plans.may_overflow().filter(|name| view.plans.hides_null(name)).collect::<Vec<_>>(), ["z"]);
    for by in [&["k"][..], &[]] {
        let plan = view.plans.compile_overflows(by).await.unwrap();
        let mut found = BTreeMap::new();
        for batch in plan.execute(states.clone()).await.unwrap() {
            for (field, overflows) in batch.schema().fields().iter().zip(batch.columns()) {
                *found.entry(field.name().clone()).or_insert(0) += overflows.as_boolean().true_count();
            }
        }
        let expected = ["d", "ds", "m", "r", "s", "z"].map(|measure| (measure.to_owned(), 1));
        assert_eq!(found, BTreeMap::from(expected), "by {by:?}");
    }
}

#[tokio::test]
async fn a_decimal_of_more_digits_than_there_are_is_null_before_it_is_added_up() {
    let sql =
        format!("{SOURCE}CREATE MATERIALIZED VIEW v AS SELECT k, sum(d + c) AS s, sum(d / c) AS q\nFROM e GROUP BY k");
    let pipeline = Pipeline::read(&sql, &BTreeMap::new()).unwrap_or_else(|problems| panic!("{problems}"));
    let view = pipeline.view("v").unwrap();
    let state = Compiled::new(Arc::clone(&view.source.events), |scan| view.plans.state_plan(scan, &[])).await.unwrap();
    let of = |d: i128, c: i128| Row { k: "a", d: Some(d), c: Some(c), ..Row::default() };
    let rows = [of(MOST, 1), of(-MOST, -1), of(300, 100)];
    let rows: Vec<(usize, Row)> = rows.into_iter().enumerate().collect();
    let states = state.execute(vec![events(&view.source, &rows)]).await.unwrap();
    let finished = view.plans.compile_finish(&["k"]).await.unwrap().execute(states).await.unwrap();
    let number = |name: &str| {
        let column = finished[0].column_by_name(name).unwrap();
        assert!(column.is_valid(0), "{name}");
        column.as_primitive::<Decimal128Type>().value(0)
    };
    // 3.00 + 1.00, and 3.00 / 1.00.
    assert_eq!((number("s"), number("q")), (400, 3_000_000));
}
