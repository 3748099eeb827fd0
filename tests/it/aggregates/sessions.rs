//! The same aggregates in a query: a sum never wraps, a window may ask again and again.

use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;

async fn ask(sql: &str) -> Result<String, String> {
    let context = SessionContext::new_with_state(views::session_state());
    let frame = context.sql(sql).await.map_err(|error| error.to_string())?;
    let batches = frame.collect().await.map_err(|error| error.to_string())?;
    let drawn = pretty_format_batches(&batches).unwrap().to_string();
    let rows = drawn.lines().skip(3).filter(|line| line.starts_with('|'));
    Ok(rows.map(|line| line.split_whitespace().collect::<String>()).collect::<Vec<_>>().join(""))
}

async fn check(sql: &str, rows: &str) {
    assert_eq!(ask(sql).await.as_deref(), Ok(rows), "{sql}");
}

const LARGE: &str = "(VALUES (6000000000000000000), (6000000000000000001)) AS t(x)";

#[tokio::test]
async fn a_sum_that_does_not_fit_fails_and_its_way_out_works() {
    for call in ["sum(x)", "sum(DISTINCT x)", "sum(DISTINCT x), sum(x)"] {
        let error = ask(&format!("SELECT {call} FROM {LARGE}")).await.unwrap_err();
        assert!(error.contains("the sum does not fit BIGINT; write `sum(CAST(... AS DECIMAL(38, 0)))`"), "{error}");
    }
    check(&format!("SELECT sum(CAST(x AS DECIMAL(38, 0))) FROM {LARGE}"), "|12000000000000000001|").await;
    let most = "CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))";
    let error = ask(&format!("SELECT sum(x) FROM (VALUES ({most}), ({most})) AS t(x)")).await.unwrap_err();
    assert!(error.contains("does not fit DECIMAL(38,0); write `sum(CAST(... AS DOUBLE))`"), "{error}");
    check(&format!("SELECT sum(CAST(x AS DOUBLE)) FROM (VALUES ({most}), ({most})) AS t(x)"), "|2e38|").await;
}

#[tokio::test]
async fn what_is_too_large_in_between_is_no_matter() {
    for order in ["(9223372036854775807), (1), (-1)", "(1), (9223372036854775807), (-1)"] {
        check(&format!("SELECT sum(x) FROM (VALUES {order}) AS t(x)"), "|9223372036854775807|").await;
    }
    check("SELECT sum(x) FROM (VALUES (CAST(NULL AS BIGINT))) AS t(x)", "||").await;
    check("SELECT sum(x), avg(x) FROM (VALUES (1), (2)) AS t(x) WHERE x > 2", "|||").await;
}

#[tokio::test]
async fn windows_that_grow_and_windows_that_move() {
    let values = "(VALUES (1, 1), (2, 3), (3, 5), (4, 9223372036854775807)) AS t(at, x)";
    let over = "ORDER BY at ROWS BETWEEN 1 PRECEDING AND CURRENT ROW";
    check(&format!("SELECT sum(x) OVER (ORDER BY at) AS s FROM {values} WHERE at < 4 ORDER BY at"), "|1||4||9|").await;
    check(&format!("SELECT sum(x) OVER ({over}) AS s FROM {values} WHERE at < 4 ORDER BY at"), "|1||4||8|").await;
    let spread = format!("SELECT var_pop(x) OVER (ORDER BY at) AS v FROM {values} WHERE at < 3 ORDER BY at");
    check(&spread, "|0.0||1.0|").await;
    let error = ask(&format!("SELECT sum(x) OVER ({over}) AS s FROM {values}")).await.unwrap_err();
    assert!(error.contains("the sum does not fit BIGINT"), "{error}");
}

#[tokio::test]
async fn values_beside_a_key_and_frequent_values() {
    let values = "(VALUES ('a', 1), ('b', 3), ('c', 3), (NULL, 3), ('c', 2), ('d', NULL)) AS t(s, k)";
    for (call, row) in [
        ("min_by(s, k), max_by(s, k), arg_min(s, k), arg_max(s, k)", "|a|b|a|b|"),
        ("min_by(DISTINCT s, k)", "|a|"),
        ("mode(s), mode(k)", "|c|3|"),
        ("mode() WITHIN GROUP (ORDER BY k)", "|3|"),
        ("approx_top_k(s, 2)", "|[{value:c,count:2,error:0},{value:a,count:1,error:0}]|"),
        ("approx_top_k(s, 2)[1]['value']", "|c|"),
    ] {
        check(&format!("SELECT {call} FROM {values}"), row).await;
    }
    let nothing = format!("SELECT min_by(s, k), mode(s), approx_top_k(s, 2) FROM {values} WHERE k > 5");
    check(&nothing, "||||").await;
    let growing = format!("SELECT max_by(s, k) OVER (ORDER BY k) AS m FROM {values} WHERE k IS NOT NULL ORDER BY k, s");
    check(&growing, "|a||c||b||b||b|").await;
    for call in [
        "mode(DISTINCT s), count(*)",
        "approx_top_k(DISTINCT s, 2)",
        "visits(DISTINCT s, to_timestamp_micros(k), INTERVAL '1 hour')",
        "approx_percentile_cont(DISTINCT k, 0.5)",
        "ddsketch_percentile(DISTINCT k, 0.5)",
    ] {
        let error = ask(&format!("SELECT {call} FROM {values}")).await.unwrap_err();
        assert!(error.contains("cannot be made of distinct values"), "{error}");
    }
    check(&format!("SELECT percentile_cont(DISTINCT k, 0.5) FROM {values}"), "|2.0|").await;
}

#[tokio::test]
async fn the_ends_of_floating_point_numbers() {
    let nan = "(VALUES (CAST('NaN' AS DOUBLE)), (1.0), (-CAST('NaN' AS DOUBLE)), (2.0)) AS t(x)";
    check(&format!("SELECT min(x), max(x) FROM {nan}"), "|1.0|NaN|").await;
    check("SELECT max(x) FROM (VALUES (CAST('-inf' AS DOUBLE))) AS t(x)", "|-inf|").await;
    check("SELECT bit_xor(DISTINCT x) FROM (VALUES (1), (3), (1)) AS t(x)", "|2|").await;
    let keyed = "(VALUES (1, 1), (1, 3), (1, 1), (2, 7)) AS t(k, x)";
    check(&format!("SELECT k, bit_xor(DISTINCT x) FROM {keyed} GROUP BY k ORDER BY k"), "|1|2||2|7|").await;
}
