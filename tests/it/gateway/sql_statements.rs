//! What people and tools send beside a plain SELECT: lists of tables and columns, plans, names with a schema, series.

use std::time::Duration;

use edge::Principal;
use query_gateway::{GatewaySettings, SqlRequest};

use super::sql::{check, world};
use super::world::{World, event};

#[tokio::test]
async fn views_and_their_columns_are_listed_in_the_words_of_sql() {
    let views = r#"[{"table_name":"by_page"},{"table_name":"totals"}]"#;
    for sql in [
        "SELECT table_name FROM information_schema.tables WHERE table_type = 'VIEW'",
        "SELECT table_name FROM twofold.information_schema.tables WHERE table_schema = 'public'",
    ] {
        check(sql, views).await;
    }
    for sql in ["SHOW TABLES", "show tables;", "SHOW VIEWS"] {
        let listed = concat!(
            r#"[{"table_name":"by_page"},{"table_name":"system.exactness"},{"table_name":"system.rejected"},"#,
            r#"{"table_name":"system.run_tasks"},{"table_name":"system.runs"},{"table_name":"totals"}]"#
        );
        check(sql, listed).await;
    }
    let columns = concat!(
        r#"[{"column_name":"page","data_type":"VARCHAR","is_nullable":"YES"},"#,
        r#"{"column_name":"edits","data_type":"BIGINT","is_nullable":"YES"},"#,
        r#"{"column_name":"largest","data_type":"BIGINT","is_nullable":"YES"}]"#
    );
    for sql in ["DESCRIBE totals", "DESC totals", "SHOW COLUMNS FROM totals", "DESCRIBE public.totals"] {
        let world = world().await;
        let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        let text = answer.to_json().unwrap().replace(r#""is_nullable":"NO""#, r#""is_nullable":"YES""#);
        assert!(text.contains(columns), "{sql}: {text}");
        assert!(answer.envelope.views.is_empty(), "it reads no view: {text}");
    }
    check(
        "SELECT t.table_name, count(*) AS n FROM information_schema.tables t JOIN information_schema.columns c \
         ON t.table_name = c.table_name AND t.table_type = 'VIEW' GROUP BY 1 ORDER BY 1",
        r#"[{"table_name":"by_page","n":8},{"table_name":"totals","n":3}]"#,
    )
    .await;
}

#[tokio::test]
async fn what_is_listed_is_nothing_but_what_can_be_read() {
    let world = world().await;
    for column in ["*", "table_catalog, table_schema, table_name, table_type"] {
        let text = world.sql(&format!("SELECT {column} FROM information_schema.tables")).await.unwrap();
        assert_eq!(text.rows.num_rows(), 6, "{column}");
        let text = text.to_json().unwrap();
        for word in ["df_settings", "datafusion", "information_schema", "edits"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
}

#[tokio::test]
async fn views_are_in_one_schema_of_one_catalogue() {
    for from in ["by_page", "public.by_page", "\"public\".\"by_page\"", "twofold.public.by_page"] {
        check(&format!("SELECT count(*) AS c FROM {from}"), r#"[{"c":4}]"#).await;
        check(&format!("SELECT MEASURE(editors) AS c FROM {from}"), r#"[{"c":3}]"#).await;
    }
    check("SELECT sum(by_page.edits) AS c FROM public.by_page WHERE by_page.page = 'A'", r#"[{"c":3}]"#).await;
}

#[tokio::test]
async fn a_plan_is_told_in_the_names_of_the_query() {
    let world = world().await;
    let sql = "SELECT page, MEASURE(editors) AS editors FROM by_page WHERE hour > now() GROUP BY page";
    for explain in ["EXPLAIN", "EXPLAIN VERBOSE", "explain"] {
        let answer = world.sql(&format!("{explain} {sql}")).await.unwrap();
        let text = answer.to_json().unwrap();
        assert!(text.contains("TableScan: by_page") && text.contains("measure(by_page.editors)"), "{text}");
        for word in ["_state_", "states", "kll", "/", "Exec"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
        assert!(answer.rows.num_rows() > 3 && answer.envelope.views.is_empty(), "one row a line: {text}");
    }
    let error = world.sql("EXPLAIN SELECT MEASURE(editors + 1) FROM by_page").await.unwrap_err();
    assert_eq!(error.problem().status().as_u16(), 400, "{error}");
}

#[tokio::test]
async fn columns_are_told_of_a_view_that_is_being_built() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run(0).await;
    world.send(1, [event(0, "A", "ann", 3)]);
    world.append_run_of(1, &["by_page"]).await;
    assert_eq!(world.sql("SELECT * FROM totals").await.unwrap_err().problem().status().as_u16(), 503);
    assert_eq!(world.sql("DESCRIBE totals").await.unwrap().rows.num_rows(), 3);
    assert!(world.sql("EXPLAIN SELECT * FROM totals").await.is_ok());
}

#[tokio::test]
async fn a_series_fills_the_gaps_of_a_view() {
    check(
        "SELECT t.h FROM generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-01 02:00:00', INTERVAL '1 hour') \
         AS t(h)",
        r#"[{"h":"2026-01-01T00:00:00Z"},{"h":"2026-01-01T01:00:00Z"},{"h":"2026-01-01T02:00:00Z"}]"#,
    )
    .await;
    check(
        "SELECT count(*) AS n \
         FROM generate_series(TIMESTAMP '2026-02-27', TIMESTAMP '2026-02-28', INTERVAL '1 hour') AS t(h)",
        r#"[{"n":25}]"#,
    )
    .await;
    // The recipe of docs/http.md.
    check(
        "SELECT t.hour, coalesce(sum(v.edits), 0) AS edits \
         FROM range(TIMESTAMP '2025-12-31 23:00:00', TIMESTAMP '2026-01-01 03:00:00', INTERVAL '1 hour') AS t(hour) \
         LEFT JOIN by_page AS v ON v.hour = t.hour GROUP BY t.hour ORDER BY t.hour",
        concat!(
            r#"[{"hour":"2025-12-31T23:00:00Z","edits":0},{"hour":"2026-01-01T00:00:00Z","edits":2},"#,
            r#"{"hour":"2026-01-01T01:00:00Z","edits":3},{"hour":"2026-01-01T02:00:00Z","edits":0}]"#
        ),
    )
    .await;
}

#[tokio::test]
async fn a_series_counts_up_and_down_and_ends() {
    for (series, values) in [
        ("generate_series(1, 3)", "1,2,3"),
        ("generate_series(3)", "0,1,2,3"),
        ("range(3)", "0,1,2"),
        ("range(1, 8, 3)", "1,4,7"),
        ("GENERATE_SERIES(5, 1, -2)", "5,3,1"),
        ("range(5, 1, -2)", "5,3"),
        ("generate_series(1, 0)", ""),
        ("generate_series(9223372036854775806, 9223372036854775807)", "9223372036854775806,9223372036854775807"),
        ("generate_series(1 + 1, (5 - 1))", "2,3,4"),
    ] {
        let rows: Vec<String> =
            values.split(',').filter(|value| !value.is_empty()).map(|value| format!(r#"{{"n":{value}}}"#)).collect();
        check(&format!("SELECT n FROM {series} AS t(n)"), &format!("[{}]", rows.join(","))).await;
    }
    check(
        "SELECT h FROM generate_series(DATE '2026-01-31', DATE '2026-04-30', INTERVAL '1 month') AS t(h)",
        concat!(
            r#"[{"h":"2026-01-31T00:00:00Z"},{"h":"2026-02-28T00:00:00Z"},"#,
            r#"{"h":"2026-03-28T00:00:00Z"},{"h":"2026-04-28T00:00:00Z"}]"#
        ),
    )
    .await;
}

#[tokio::test]
async fn a_series_has_no_more_rows_than_an_answer() {
    let world = World::with_settings(GatewaySettings { max_rows: 5, ..GatewaySettings::default() });
    assert_eq!(world.sql("SELECT * FROM generate_series(1, 5)").await.unwrap().rows.num_rows(), 5);
    let problem = world.sql("SELECT count(*) AS n FROM generate_series(1, 6)").await.unwrap_err().problem();
    assert_eq!(
        (problem.status().as_u16(), problem.detail(), problem.hint()),
        (413, "a series has more than 5 rows", Some("take a larger step, or bounds that lie closer together"))
    );
}

#[tokio::test]
async fn a_text_that_is_planned_once_still_asks_for_the_present() {
    let world = world().await;
    let series = "SELECT max(t) AS t FROM generate_series(date_trunc('second', now()) - INTERVAL '1 minute', \
                  date_trunc('second', now()), INTERVAL '1 second') AS s(t)";
    for sql in ["SELECT now() AS t", series] {
        let first = world.sql(sql).await.unwrap().to_json().unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        loop {
            let later = world.sql(sql).await.unwrap().to_json().unwrap();
            if later != first {
                break;
            }
            assert!(tokio::time::Instant::now() < deadline, "{sql} stands still at {later}");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn a_text_that_was_planned_before_sees_what_came_since() {
    let world = World::new();
    world.own(1).await;
    let sql = "SELECT MEASURE(editors) AS editors, sum(edits) AS edits FROM by_page";
    for number in 1..4 {
        world.send(0, [event(0, "A", &format!("user-{number}"), 3)]);
        world.append_run(0).await;
        let text = world.gateway.sql(&Principal::anyone(), SqlRequest::new(sql)).await.unwrap().to_json().unwrap();
        assert!(text.starts_with(&format!(r#"{{"rows":[{{"editors":{number},"edits":{number}}}]"#)), "{text}");
    }
}

#[tokio::test]
async fn plans_are_kept_within_their_memory() {
    let world = World::with_settings(GatewaySettings { sql_plan_bytes: 20_000, ..GatewaySettings::default() });
    world.own(0).await;
    world.own(1).await;
    for round in 0..2 {
        for number in 0..50 {
            let text = world.sql(&format!("SELECT {number} AS n")).await.unwrap().to_json().unwrap();
            assert!(text.starts_with(&format!(r#"{{"rows":[{{"n":{number}}}]"#)), "{round}: {text}");
        }
    }
}
