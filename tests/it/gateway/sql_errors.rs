//! What a refused query is told: names that exist, a way out, and nothing of the inside of the engine.

use super::sql::{check, world};

/// Each query is refused with a reason and a hint that have these parts.
async fn check_refused(cases: &[(&str, &str, &str)]) {
    let world = world().await;
    let internals =
        ["_state_", "states.", "__", "outer_ref", "Utf8", "Int64", "Subquery", "TableScan", "Expr", "\n", "Did you"];
    for (sql, reason, hint) in cases {
        let error = world.sql(sql).await.err().unwrap_or_else(|| panic!("{sql} was run"));
        let problem = error.problem();
        assert!(problem.detail().contains(reason), "{sql}: {}", problem.detail());
        assert!(problem.hint().unwrap_or_default().contains(hint), "{sql}: {:?}", problem.hint());
        let told = format!("{} {}", problem.detail(), problem.hint().unwrap_or_default());
        assert!(!internals.iter().any(|word| told.contains(word)), "{sql}: {told}");
        assert!(!problem.known().iter().any(|name| name.starts_with('_')), "{sql}: {:?}", problem.known());
    }
}

#[tokio::test]
async fn a_refusal_proposes_what_is_near_and_shows_no_internals() {
    check_refused(&[
        ("SELECT edit FROM by_page", "there is no column `edit`", "did you mean `edits`?"),
        ("SELECT b.edit FROM by_page b", "there is no column `b.edit`", "did you mean `edits`?"),
        ("SELECT nothing_like_it FROM by_page", "there is no column `nothing_like_it`", ""),
        (
            "SELECT page FROM by_page b JOIN totals t ON b.page = t.page",
            "`page` is a column of several tables of the query",
            "write the table in front, as in `t.page`",
        ),
        ("SELECT date_trunk('day', hour) FROM by_page", "no function `date_trunk`", "did you mean `date_trunc`?"),
        ("SELECT uuuu(page) FROM by_page", "no function `uuuu`", "docs/http.md says which functions there are"),
        ("SELECT array_repeat(1, 5)", "function `array_repeat` is not available", "make_array"),
        ("SELECT generate_series(1, 5)", "function `generate_series` is not available", "FROM generate_series(1, 10)"),
        ("SELECT unnest(range(5))", "function `range` is not available", "FROM range(0, 10)"),
        ("SELECT page + 1 AS x FROM by_page", "the types of `VARCHAR + BIGINT` do not go together", "CAST("),
        ("SELECT sqrt(page, page) AS x FROM by_page", "function `sqrt` does not take (VARCHAR, VARCHAR)", "CAST("),
        ("SELECT repeat(page, 5000) AS x FROM totals", "argument of repeat must be a constant of at most 4096", ""),
        (
            "SELECT CAST('12345678.9' AS DECIMAL(7, 2)) AS x",
            "12345678.90 is too large to store in a DECIMAL of precision 7",
            "",
        ),
        (
            "SELECT edits AS a, CAST(edits AS VARCHAR) AS b FROM by_page GROUP BY edits, CAST(edits AS VARCHAR)",
            "two expressions are both named `by_page.edits`",
            "a key of GROUP BY in a subquery",
        ),
        ("SHOW search_path", "SQL shows no settings", "SHOW TABLES"),
        ("EXPLAIN ANALYZE SELECT 1", "EXPLAIN ANALYZE is not available", "EXPLAIN alone"),
        ("SELECT * FROM unknown_function(1)", "there is no table function `unknown_function`", ""),
    ])
    .await;
}

/// What the hint about two keys of one name says.
#[tokio::test]
async fn a_key_that_differs_by_a_cast_is_made_in_a_subquery() {
    let sql = "SELECT a, b, count(*) AS n FROM (SELECT edits AS a, CAST(edits AS VARCHAR) AS b FROM by_page) \
               GROUP BY a, b ORDER BY a LIMIT 1";
    check(sql, r#"[{"a":1,"b":"1","n":3}]"#).await;
}

#[tokio::test]
async fn what_the_engine_has_not_got_is_told_by_its_name() {
    check_refused(&[
        ("SELECT row_number() AS n FROM by_page", "`row_number` is a window function", "write OVER behind it"),
        ("SELECT page FROM by_page WHERE row_number() OVER (ORDER BY page) = 1", "a window function", "write QUALIFY"),
        (
            "SELECT page, edits FROM by_page GROUP BY page",
            "`by_page.edits` is neither in GROUP BY",
            "add it to GROUP BY",
        ),
        ("SELECT page, edits FROM by_page GROUP BY ROLLUP (1)", "is neither in GROUP BY", "by its name"),
        ("SELECT page, page FROM by_page", "two expressions are both named `by_page.page`", "AS"),
        ("SELECT TOP 1 page FROM by_page", "TOP is not available", "write LIMIT"),
        ("EXPLAIN FORMAT JSON SELECT page FROM by_page", "EXPLAIN has one format", "leave FORMAT out"),
        ("SELECT group_concat(page) AS p FROM by_page", "no function `group_concat`", "write `string_agg(x, ',')`"),
        ("SELECT last(page) AS p FROM by_page", "no function `last`", "write `last_value(x ORDER BY key)`"),
        ("SELECT abs(n) AS n FROM (VALUES (-9223372036854775808)) AS t(n)", "BIGINT overflow on abs", ""),
        ("SELECT page COLLATE \"C\" AS p FROM by_page", "knows no COLLATE", "leave COLLATE out"),
        ("SELECT INTERVAL '1 day' * 2 AS i", "does not multiply or divide intervals", "INTERVAL '2 days'"),
        (
            "SELECT hour AT TIME ZONE page AS h FROM by_page",
            "no time zone but a written one",
            "AT TIME ZONE 'Europe/Berlin'",
        ),
        ("SELECT hour AT TIME ZONE 'Mars/One' AS h FROM by_page", "there is no time zone Mars/One", "'Europe/Berlin'"),
        (
            "SELECT TIMESTAMP '2026-03-29 02:30:00' AT TIME ZONE 'Europe/Berlin' AS t",
            "clocks of the time zone show a time twice or not at all",
            "write the instant in UTC",
        ),
        ("SELECT page FROM by_page WHERE page = ?", "`?` names no parameter", "write parameters as $1, $2"),
    ])
    .await;
}

#[tokio::test]
async fn what_is_told_in_place_of_it_works() {
    for (sql, rows) in [
        ("SELECT page FROM totals QUALIFY row_number() OVER (ORDER BY page) = 1", r#"[{"page":"A"}]"#),
        (
            "SELECT page, MEASURE(edits) AS n FROM by_page GROUP BY page ORDER BY page LIMIT 1",
            r#"[{"page":"A","n":3}]"#,
        ),
        ("SELECT page, page AS again FROM totals ORDER BY page LIMIT 1", r#"[{"page":"A","again":"A"}]"#),
        ("SELECT string_agg(page, ',' ORDER BY page) AS p FROM totals", r#"[{"p":"A,B,C"}]"#),
        ("SELECT last_value(page ORDER BY page) AS p FROM totals", r#"[{"p":"C"}]"#),
        ("SELECT lower(page) AS p FROM totals ORDER BY p LIMIT 1", r#"[{"p":"a"}]"#),
        ("SELECT TIMESTAMP '2026-01-01' + INTERVAL '2 days' AS t", r#"[{"t":"2026-01-03T00:00:00Z"}]"#),
        ("SELECT TIMESTAMP '2026-03-29T00:30:00Z' AS t", r#"[{"t":"2026-03-29T00:30:00Z"}]"#),
    ] {
        check(sql, rows).await;
    }
}

#[tokio::test]
async fn subqueries_that_the_engine_would_answer_wrongly_are_refused() {
    check_refused(&[
        (
            "SELECT page FROM totals t WHERE EXISTS (SELECT count(*) FROM by_page b WHERE b.page = t.page)",
            "EXISTS over a subquery that refers to the query around it cannot aggregate without GROUP BY",
            "",
        ),
        (
            "SELECT page FROM totals t WHERE 0 IN (SELECT count(*) FROM by_page b WHERE b.page = t.page)",
            "IN over a subquery that refers to the query around it cannot aggregate without GROUP BY",
            "",
        ),
        (
            "SELECT page FROM totals t WHERE edits NOT IN (SELECT b.edits FROM by_page b WHERE b.page = t.page)",
            "NOT IN over a subquery cannot refer to the query around it; write NOT EXISTS",
            "",
        ),
        (
            "SELECT t.page, (SELECT max(n) FROM (SELECT edits AS n FROM by_page b WHERE b.page = t.page) x) AS m \
             FROM totals t",
            "a table of its own FROM without passing on what it compares, by its name",
            "",
        ),
        (
            "SELECT page FROM totals WHERE 100 NOT IN (SELECT edits FROM by_page)",
            "NOT IN over a subquery tests a column, not a constant; write NOT EXISTS",
            "",
        ),
        (
            "SELECT page FROM totals WHERE edits NOT IN (SELECT edits FROM by_page) OR page = 'C'",
            "can stand alone or beside AND; write EXISTS or NOT EXISTS",
            "",
        ),
        (
            "SELECT page FROM totals WHERE (edits IN (SELECT edits FROM by_page)) IS NULL",
            "can stand alone or beside AND; write EXISTS or NOT EXISTS",
            "",
        ),
    ])
    .await;
}

#[tokio::test]
async fn clauses_that_the_engine_would_pass_over_are_refused() {
    check_refused(&[
        (
            "SELECT * FROM by_page TABLESAMPLE (10)",
            "`TABLESAMPLE`: the engine passes over this clause",
            "all rows are read",
        ),
        ("SELECT * FROM (SELECT 1 AS n) AS t TABLESAMPLE (10)", "passes over this clause", "leave it out"),
        ("SELECT * FROM by_page WITH ORDINALITY", "`WITH ORDINALITY`", "row_number() OVER (ORDER BY ...)"),
        (
            "SELECT page, sum(edits) AS n FROM by_page GROUP BY page WITH ROLLUP",
            "`WITH ROLLUP`",
            "GROUP BY ROLLUP (page)",
        ),
        ("SELECT page, sum(edits) AS n FROM by_page GROUP BY page WITH CUBE", "`WITH CUBE`", "GROUP BY CUBE (page)"),
        (
            "SELECT page, sum(edits) AS n FROM by_page GROUP BY page WITH TOTALS",
            "`WITH TOTALS`",
            "GROUP BY GROUPING SETS ((page), ())",
        ),
        ("SELECT count(DISTINCT *) AS n FROM by_page", "one value, whatever the rows", "write `count(*)`"),
    ])
    .await;
    let rolled_up = r#"[{"page":"A","n":3},{"page":"B","n":1},{"page":"C","n":1},{"page":null,"n":5}]"#;
    for grouping in ["ROLLUP (page)", "CUBE (page)", "GROUPING SETS ((page), ())"] {
        let sql = format!("SELECT page, sum(edits) AS n FROM by_page GROUP BY {grouping} ORDER BY page NULLS LAST");
        check(&sql, rolled_up).await;
    }
    let numbered = "SELECT page, row_number() OVER (ORDER BY page) AS n FROM totals ORDER BY page LIMIT 1";
    check(numbered, r#"[{"page":"A","n":1}]"#).await;
}

#[tokio::test]
async fn a_way_out_that_is_told_works() {
    check(
        "SELECT lpad(page, 2, '0') AS p, sum(edits) AS n FROM by_page GROUP BY 1 ORDER BY 1 LIMIT 1",
        r#"[{"p":"0A","n":3}]"#,
    )
    .await;
    check("SELECT t.page FROM by_page b JOIN totals t ON b.page = t.page ORDER BY t.page LIMIT 1", r#"[{"page":"A"}]"#)
        .await;
    check(
        "SELECT t.page, s.n AS n FROM totals t \
         JOIN (SELECT upper(page) AS k, sum(edits) AS n FROM by_page GROUP BY k) AS s ON s.k = t.page ORDER BY t.page",
        r#"[{"page":"A","n":3},{"page":"B","n":1},{"page":"C","n":1}]"#,
    )
    .await;
    check(
        "SELECT t.page FROM totals t WHERE EXISTS (SELECT 1 FROM by_page b WHERE b.page = t.page AND b.edits > 1)",
        r#"[{"page":"A"}]"#,
    )
    .await;
    check("SELECT repeat(' ', 3) AS x", r#"[{"x":"   "}]"#).await;
    check(
        "SELECT t.page FROM totals t WHERE 0 = (SELECT count(*) FROM by_page b WHERE b.page = t.page AND b.page = 'A') \
         ORDER BY t.page",
        r#"[{"page":"B"},{"page":"C"}]"#,
    )
    .await;
    check(
        "SELECT t.page, (SELECT max(n) FROM (SELECT b.page, edits AS n FROM by_page b WHERE b.page = t.page) x) AS m \
         FROM totals t ORDER BY t.page LIMIT 1",
        r#"[{"page":"A","m":2}]"#,
    )
    .await;
    check(
        "SELECT t.page FROM totals t WHERE EXISTS \
         (SELECT 1 FROM by_page b WHERE b.page = t.page GROUP BY b.page HAVING count(*) > 1)",
        r#"[{"page":"A"}]"#,
    )
    .await;
    check(
        "SELECT t.page FROM totals t \
         WHERE NOT EXISTS (SELECT 1 FROM by_page b WHERE b.page = t.page AND b.edits = t.edits)",
        r#"[{"page":"A"}]"#,
    )
    .await;
}

#[tokio::test]
async fn a_decimal_of_more_digits_than_there_are_is_an_error() {
    let world = world().await;
    let most = "CAST('99999999999999999999999999999999999999' AS DECIMAL(38, 0))";
    for expr in ["most + edits", "-most - edits", "most * 2", "most / CAST('0.6' AS DECIMAL(2, 1))"] {
        let sql = format!("SELECT {} AS x FROM totals", expr.replace("most", most));
        let problem = world.sql(&sql).await.unwrap_err().problem();
        assert_eq!(problem.status().as_u16(), 400, "{sql}");
        assert!(problem.detail().contains("cast an operand to DOUBLE"), "{sql}: {}", problem.detail());
    }
    // The way out that the error names.
    let fits = format!("SELECT CAST({most} AS DOUBLE) + edits > 1 AS fits FROM totals WHERE page = 'A'");
    check(&fits, r#"[{"fits":true}]"#).await;
    let less = format!("SELECT {most} - edits AS x FROM totals WHERE page = 'A'");
    check(&less, r#"[{"x":"99999999999999999999999999999999999996"}]"#).await;
}

#[tokio::test]
async fn null_leaves_open_whether_a_value_is_among_others() {
    // Of A and the first hour there are two edits.
    for (condition, rows) in [
        ("edits NOT IN (SELECT edits FROM by_page)", r#"[{"page":"A"}]"#),
        ("NOT (edits IN (SELECT edits FROM by_page)) AND page <> 'B'", r#"[{"page":"A"}]"#),
        ("edits NOT IN (SELECT nullif(edits, 2) FROM by_page)", "[]"),
        ("nullif(edits, 3) NOT IN (SELECT edits FROM by_page)", "[]"),
        ("edits NOT IN (SELECT edits FROM by_page WHERE edits > 9)", r#"[{"page":"A"},{"page":"B"},{"page":"C"}]"#),
        ("edits IN (SELECT nullif(edits, 2) FROM by_page)", r#"[{"page":"B"},{"page":"C"}]"#),
        ("edits IN (SELECT edits FROM by_page WHERE edits > 1) OR page = 'C'", r#"[{"page":"C"}]"#),
        ("(edits IN (SELECT nullif(edits, 2) FROM by_page)) IS NOT TRUE", r#"[{"page":"A"}]"#),
    ] {
        check(&format!("SELECT page FROM totals WHERE {condition} ORDER BY page"), rows).await;
    }
}

#[tokio::test]
async fn subqueries_tied_by_plain_columns_are_answered() {
    for (sql, rows) in [
        (
            "SELECT t.page, (SELECT sum(b.edits) FROM by_page b WHERE b.page = t.page) AS s FROM totals t \
             ORDER BY t.page",
            r#"[{"page":"A","s":3},{"page":"B","s":1},{"page":"C","s":1}]"#,
        ),
        (
            "SELECT b.page, b.hour FROM by_page b \
             WHERE b.edits = (SELECT max(i.edits) FROM by_page i WHERE i.page = b.page) ORDER BY b.page",
            concat!(
                r#"[{"page":"A","hour":"2026-01-01T00:00:00Z"},{"page":"B","hour":"2026-01-01T01:00:00Z"},"#,
                r#"{"page":"C","hour":"2026-01-01T01:00:00Z"}]"#
            ),
        ),
        (
            "SELECT a.page FROM by_page a JOIN by_page b ON a.hour = b.hour AND a.page < b.page \
             WHERE a.edits + b.edits > 1 ORDER BY a.page",
            r#"[{"page":"A"},{"page":"A"},{"page":"B"}]"#,
        ),
    ] {
        check(sql, rows).await;
    }
}
