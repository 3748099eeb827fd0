//! SQL: what it sees, how measures roll up, what is refused.

use std::time::Duration;

use edge::Principal;
use query_gateway::{GatewayError, GatewaySettings, SqlRequest};
use serving_layer::Version;

use super::world::{World, event};

pub(super) async fn fill(world: &World) {
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5), event(5, "A", "bob", 2)]);
    world.append_run(0).await;
    world.publish("by_page", &[2, 0]).await;
    world.send(1, [event(61, "A", "cat", 7), event(61, "C", "ann", 1)]);
    world.append_run(1).await;
}

pub(super) async fn world() -> World {
    let world = World::new();
    fill(&world).await;
    // The cut of version 1 lies inside the only run of partition 0: the first version that tiles comes now.
    world.publish("by_page", &[3, 0]).await;
    world
}

pub(super) async fn check(sql: &str, rows: &str) {
    let world = world().await;
    let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let text = answer.to_json().unwrap();
    let (found, _) = text.strip_prefix(r#"{"rows":"#).unwrap().split_once(r#","envelope""#).unwrap();
    assert_eq!(found, rows, "{sql}");
}

#[tokio::test]
async fn nulls_running_totals_firsts_and_offsets_are_those_of_sql() {
    for (sql, rows) in [
        (
            "SELECT nullif(page, 'A') AS page, max(largest) AS m FROM totals GROUP BY 1 ORDER BY m DESC NULLS LAST LIMIT 2",
            r#"[{"page":null,"m":7},{"page":"B","m":5}]"#,
        ),
        (
            "SELECT hour, sum(sum(edits)) OVER (ORDER BY hour) AS run FROM by_page GROUP BY hour ORDER BY hour",
            r#"[{"hour":"2026-01-01T00:00:00Z","run":2},{"hour":"2026-01-01T01:00:00Z","run":5}]"#,
        ),
        (
            "SELECT page, hour, sum(edits) AS n FROM by_page GROUP BY page, hour \
             QUALIFY row_number() OVER (PARTITION BY page ORDER BY sum(edits) DESC, hour) = 1 ORDER BY page LIMIT 2",
            concat!(
                r#"[{"page":"A","hour":"2026-01-01T00:00:00Z","n":2},"#,
                r#"{"page":"B","hour":"2026-01-01T01:00:00Z","n":1}]"#
            ),
        ),
        ("SELECT sum(edits) AS n FROM by_page WHERE hour >= '2026-01-01T02:00:00+01:00'", r#"[{"n":3}]"#),
    ] {
        check(sql, rows).await;
    }
}

#[tokio::test]
async fn both_zeros_are_one_to_case_and_nullif() {
    check(
        "SELECT CASE x WHEN 0.0 THEN 'zero' END AS c, nullif(x, 0.0) AS n, nullif(0.0, x) AS m \
         FROM (VALUES (-CAST(0.0 AS DOUBLE))) AS t(x)",
        r#"[{"c":"zero","n":null,"m":null}]"#,
    )
    .await;
}

#[tokio::test]
async fn a_view_is_a_table_of_dimensions_and_finished_measures() {
    check(
        "SELECT page, hour, edits, editors, mean_added FROM by_page ORDER BY page, hour",
        concat!(
            r#"[{"page":"A","hour":"2026-01-01T00:00:00Z","edits":2,"editors":2,"mean_added":2},"#,
            r#"{"page":"A","hour":"2026-01-01T01:00:00Z","edits":1,"editors":1,"mean_added":7},"#,
            r#"{"page":"B","hour":"2026-01-01T01:00:00Z","edits":1,"editors":1,"mean_added":5},"#,
            r#"{"page":"C","hour":"2026-01-01T01:00:00Z","edits":1,"editors":1,"mean_added":1}]"#
        ),
    )
    .await;
    let world = world().await;
    let answer = world.sql("SELECT * FROM by_page").await.unwrap();
    let schema = answer.rows.schema();
    let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    assert_eq!(names, ["page", "hour", "edits", "added", "editors", "mean_added", "price", "weight"]);
    assert_eq!(answer.envelope.views["by_page"].version, Some(Version(2)));
    assert!(!answer.envelope.stale);
}

/// A row in which a value is NULL does not count; both zeros are one value.
#[tokio::test]
async fn distinct_rows_of_several_values_are_counted() {
    for (sql, rows) in [
        ("SELECT count(DISTINCT page, hour) AS n FROM by_page", r#"[{"n":4}]"#),
        ("SELECT count(DISTINCT hour, edits) AS n FROM by_page", r#"[{"n":2}]"#),
        ("SELECT count(DISTINCT nullif(page, 'A'), hour) AS n FROM by_page", r#"[{"n":2}]"#),
        (
            "SELECT page, count(DISTINCT hour, edits) FILTER (WHERE edits > 1) AS n FROM by_page GROUP BY page \
             ORDER BY page",
            r#"[{"page":"A","n":1},{"page":"B","n":0},{"page":"C","n":0}]"#,
        ),
        (
            "SELECT count(DISTINCT CASE WHEN edits = 2 THEN -0.0 ELSE 0.0 END, true) AS n, count(*) AS c FROM by_page",
            r#"[{"n":1,"c":4}]"#,
        ),
    ] {
        check(sql, rows).await;
    }
    let world = world().await;
    let answer = world.sql("SELECT count(DISTINCT page, hour) FROM by_page").await.unwrap();
    let name = answer.rows.schema().field(0).name().clone();
    assert!(!name.contains("distinct_row"), "{name}");
}

#[tokio::test]
async fn measure_rolls_up_by_merging_states() {
    for (sql, rows) in [
        ("SELECT MEASURE(editors) AS editors FROM by_page", r#"[{"editors":3}]"#),
        ("SELECT measure(mean_added) AS mean FROM by_page WHERE page = 'A'", r#"[{"mean":4}]"#),
        (
            "SELECT page, MEASURE(editors) AS editors, count(*) AS hours FROM by_page GROUP BY page ORDER BY page",
            r#"[{"page":"A","editors":3,"hours":2},{"page":"B","editors":1,"hours":1},{"page":"C","editors":1,"hours":1}]"#,
        ),
        (
            "SELECT v.page AS page, MEASURE(v.editors) AS editors, max(v.editors) AS most, sum(edits) AS edits \
             FROM by_page v WHERE v.edits > 0 GROUP BY v.page HAVING MEASURE(v.editors) > 1",
            r#"[{"page":"A","editors":3,"most":2,"edits":3}]"#,
        ),
        (
            "WITH early AS (SELECT * FROM by_page WHERE hour < '2026-01-01T01:00:00Z') \
             SELECT page, MEASURE(editors) AS people FROM early GROUP BY page ORDER BY MEASURE(editors)",
            r#"[{"page":"A","people":2}]"#,
        ),
        (
            "SELECT a.page AS page, MEASURE(a.editors) AS editors FROM by_page a JOIN totals t ON a.page = t.page \
             WHERE t.largest > 4 GROUP BY a.page ORDER BY page",
            r#"[{"page":"A","editors":3},{"page":"B","editors":1}]"#,
        ),
        ("SELECT page FROM by_page GROUP BY page ORDER BY MEASURE(editors) DESC, page LIMIT 1", r#"[{"page":"A"}]"#),
    ] {
        check(sql, rows).await;
    }
}

#[tokio::test]
async fn rows_count_also_where_no_column_of_a_view_is_read() {
    for (sql, rows) in [
        ("SELECT count(*) AS c FROM by_page", r#"[{"c":4}]"#),
        ("SELECT 1 AS one FROM totals", r#"[{"one":1},{"one":1},{"one":1}]"#),
        ("SELECT count(*) AS c FROM by_page a JOIN totals b ON true", r#"[{"c":12}]"#),
        ("SELECT count(*) AS c FROM by_page a CROSS JOIN totals b WHERE a.page = 'A'", r#"[{"c":6}]"#),
        ("SELECT count(*) AS c FROM (SELECT page FROM by_page LIMIT 3) few JOIN totals ON true", r#"[{"c":9}]"#),
        (
            "SELECT count(*) AS c FROM (SELECT page, MEASURE(editors) AS e FROM by_page GROUP BY page) m JOIN totals ON true",
            r#"[{"c":9}]"#,
        ),
    ] {
        check(sql, rows).await;
    }
}

#[tokio::test]
async fn a_filter_may_compute() {
    check("SELECT sum(edits) FILTER (WHERE edits + 1 > 2) AS n FROM by_page", r#"[{"n":2}]"#).await;
    check(
        "SELECT page, count(*) FILTER (WHERE -edits * 2 < -2) - 1 AS n FROM by_page GROUP BY page ORDER BY page",
        r#"[{"page":"A","n":0},{"page":"B","n":-1},{"page":"C","n":-1}]"#,
    )
    .await;
}

#[tokio::test]
async fn groups_may_be_made_by_a_test_that_is_never_null() {
    check(
        "SELECT (page = 'A') IS NOT TRUE AS other, MEASURE(edits) AS n FROM by_page \
         GROUP BY (page = 'A') IS NOT TRUE ORDER BY other",
        r#"[{"other":false,"n":3},{"other":true,"n":2}]"#,
    )
    .await;
    check("SELECT DISTINCT (page = 'A') IS NOT FALSE AS it FROM by_page WHERE page = 'A'", r#"[{"it":true}]"#).await;
}

#[tokio::test]
async fn a_measure_rolled_up_in_sql_equals_the_one_rolled_up_in_rows() {
    let world = World::new();
    for partition in 0..2 {
        for batch in 0..3 {
            world.send(
                partition,
                (0..400).map(|number| {
                    let user = format!("user-{}", number * (batch + 1) + i64::from(partition) * 90);
                    event(number % 180, ["A", "B", "C"][(number % 3) as usize], &user, number)
                }),
            );
            world.append_run(partition).await;
        }
    }
    world.publish("by_page", &[400, 800]).await;
    for by in ["page", "hour"] {
        let rows = world.rows("by_page", &[("by", by)]).await.unwrap();
        let sql = format!(
            "SELECT {by}, MEASURE(editors) AS editors, MEASURE(weight) AS weight FROM by_page GROUP BY {by} ORDER BY {by}"
        );
        let answer = world.sql(&sql).await.unwrap();
        for column in [by, "editors", "weight"] {
            assert_eq!(rows.rows.column_by_name(column), answer.rows.column_by_name(column), "{column} by {by}");
        }
    }
}

#[tokio::test]
async fn values_that_must_not_be_summed_are_refused_with_the_way_out() {
    let world = world().await;
    for sql in [
        "SELECT sum(editors) FROM by_page",
        "SELECT page, sum(v.editors) FROM by_page v GROUP BY page",
        "SELECT sum(e) FROM (SELECT editors AS e FROM by_page WHERE page = 'A')",
        "SELECT * FROM totals WHERE edits > (SELECT sum(editors) FROM by_page)",
        "SELECT avg(editors) FROM by_page",
    ] {
        let problem = world.sql(sql).await.unwrap_err().problem();
        assert_eq!(
            (problem.status().as_u16(), problem.hint().unwrap_or_default().contains("MEASURE(editors)")),
            (400, true),
            "{sql}"
        );
    }
    for sql in ["SELECT sum(edits) FROM by_page", "SELECT max(editors), avg(edits) FROM by_page"] {
        world.sql(sql).await.unwrap();
    }
}

#[tokio::test]
async fn a_whole_number_that_does_not_fit_is_an_error() {
    let world = world().await;
    for sql in [
        "SELECT 9223372036854775807 + edits AS n FROM totals",
        "SELECT -9223372036854775807 - 2 * edits AS n FROM totals",
        "SELECT edits * 9223372036854775807 AS n FROM totals WHERE edits > 1",
        "SELECT -(edits - edits - 9223372036854775807 - 1) AS n FROM totals",
        "SELECT page FROM totals GROUP BY page, edits + 9223372036854775807",
        "SELECT max(edits + 9223372036854775807) AS n FROM totals",
    ] {
        let problem = world.sql(sql).await.unwrap_err().problem();
        assert_eq!(problem.status().as_u16(), 400, "{sql}");
    }
    // The way out that the error names.
    check(
        "SELECT CAST(edits AS DECIMAL(38, 0)) + 9223372036854775807 > 0 AS fits FROM totals WHERE page = 'A'",
        r#"[{"fits":true}]"#,
    )
    .await;
    check("SELECT edits * 2 - 1 AS n, -edits AS m FROM totals WHERE page = 'B'", r#"[{"n":1,"m":-1}]"#).await;
}

#[tokio::test]
async fn operators_are_read_as_written_or_refused() {
    check("SELECT page FROM totals WHERE page IS DISTINCT FROM 'A' AND edits = 7", "[]").await;
    check(
        "SELECT page FROM totals WHERE page IS NOT DISTINCT FROM 'B' OR page = 'C' ORDER BY page",
        r#"[{"page":"B"},{"page":"C"}]"#,
    )
    .await;
    let world = world().await;
    for (sql, hint, way_out) in [
        (
            "SELECT page FROM totals WHERE page SIMILAR TO 'A%'",
            "write `page LIKE 'A%'`",
            "SELECT page FROM totals WHERE page LIKE 'A%'",
        ),
        ("SELECT 2 ^ 10 AS n", "write `power(2, 10)`", "SELECT power(2, 10) AS n"),
        (
            "SELECT 12345678901234567890123 AS n",
            "write `CAST('12345678901234567890123' AS DECIMAL(38, 0))`",
            "SELECT CAST('12345678901234567890123' AS DECIMAL(38, 0)) AS n, 12345678901234567890123.0 AS x",
        ),
        (
            "SELECT page || edits + 1 AS n FROM totals",
            "write the parentheses",
            "SELECT page || (edits + 1) AS n FROM totals",
        ),
        (
            "SELECT page FROM totals WHERE edits = 1 = true",
            "write the parentheses",
            "SELECT page FROM totals WHERE (edits = 1) = true",
        ),
    ] {
        let problem = world.sql(sql).await.unwrap_err().problem();
        assert_eq!(problem.status().as_u16(), 400, "{sql}");
        assert!(problem.hint().unwrap_or_default().contains(hint), "{sql} is told {:?}", problem.hint());
        world.sql(way_out).await.unwrap_or_else(|error| panic!("{way_out}: {error}"));
    }
}

/// In Berlin the 29th of March 2026 has 23 hours, from 23:00 UTC of the day before.
#[tokio::test]
async fn hours_roll_up_to_local_days_across_a_change_of_clocks() {
    let world = World::new();
    let midnight = (86 * 24 + 23) * 60;
    world.send(0, (0..23).map(|hour| event(midnight + hour * 60, "A", "ann", 1)));
    world.append_run(0).await;
    world.send(1, [event(midnight + 23 * 60, "A", "ann", 1)]);
    world.append_run(1).await;
    world.publish("by_page", &[23, 1]).await;
    let sql = "SELECT sum(edits) AS edits FROM by_page \
               GROUP BY date_trunc('day', hour AT TIME ZONE 'Europe/Berlin') ORDER BY edits";
    let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{error}"));
    let text = answer.to_json().unwrap();
    assert!(text.starts_with(r#"{"rows":[{"edits":1},{"edits":23}]"#), "{text}");
    let lost = "SELECT date_bin(INTERVAL '1 day', hour AT TIME ZONE 'Europe/Berlin') AS day FROM by_page";
    let error = world.sql(lost).await.unwrap_err().problem();
    let hint = error.hint().unwrap_or_default();
    assert!(hint.contains("date_trunc('day', time AT TIME ZONE 'Europe/Berlin')"), "{} {hint}", error.detail());
}

/// What is no single SELECT over views, with the status of the answer.
const REFUSED: &[(&str, u16)] = &[
    ("", 400),
    ("SELEC 1", 400),
    ("SELECT 1; SELECT 2", 400),
    ("SELECT * FROM by_page; DROP TABLE by_page", 400),
    ("CREATE TABLE t AS SELECT * FROM by_page", 400),
    ("CREATE VIEW t AS SELECT * FROM by_page", 400),
    ("CREATE EXTERNAL TABLE t (a INT) STORED AS CSV LOCATION '/etc/passwd'", 400),
    ("CREATE FUNCTION f() RETURNS INT RETURN 1", 400),
    ("DROP TABLE by_page", 400),
    ("ALTER TABLE by_page ADD COLUMN x INT", 400),
    ("INSERT INTO by_page SELECT * FROM by_page", 400),
    ("UPDATE by_page SET edits = 0", 400),
    ("DELETE FROM by_page", 400),
    ("WITH t AS (SELECT 1) INSERT INTO by_page SELECT * FROM by_page", 400),
    ("COPY by_page TO '/tmp/stolen.csv'", 400),
    ("COPY (SELECT * FROM by_page) TO 's3://bucket/stolen.parquet'", 400),
    ("SET datafusion.execution.target_partitions = 1000", 400),
    ("RESET datafusion.execution.target_partitions", 400),
    ("EXPLAIN ANALYZE SELECT * FROM by_page", 400),
    ("SHOW ALL", 400),
    ("EXPLAIN (ANALYZE) SELECT * FROM by_page", 400),
    ("EXPLAIN INSERT INTO by_page SELECT * FROM by_page", 400),
    ("EXPLAIN COPY by_page TO '/tmp/stolen.csv'", 400),
    ("EXPLAIN SELECT * FROM '/etc/passwd'", 404),
    ("EXPLAIN EXPLAIN SELECT 1", 400),
    ("DESCRIBE edits", 404),
    ("DESCRIBE information_schema.df_settings", 404),
    ("DESCRIBE 'x'' OR 1 = 1'", 404),
    ("SHOW COLUMNS FROM secrets", 404),
    ("SHOW COLUMNS FROM by_page WHERE true", 400),
    ("SHOW TABLES LIKE '%'", 400),
    ("SHOW search_path", 400),
    ("SHOW datafusion.execution.batch_size", 400),
    ("SHOW FUNCTIONS", 400),
    ("SHOW CREATE TABLE by_page", 400),
    ("SHOW DATABASES", 400),
    ("PREPARE p AS SELECT 1", 400),
    ("EXECUTE p", 400),
    ("BEGIN TRANSACTION", 400),
    ("SELECT * INTO t FROM by_page", 400),
    ("SELECT * FROM '/etc/passwd'", 404),
    ("SELECT * FROM \"/etc/passwd\"", 404),
    ("SELECT * FROM 'https://example.org/data.csv'", 404),
    ("SELECT * FROM read_csv('/etc/passwd')", 404),
    ("SELECT * FROM generate_series(1, 1000000000000)", 413),
    ("SELECT * FROM information_schema.df_settings", 404),
    ("SELECT * FROM information_schema.routines", 404),
    ("SELECT * FROM twofold.information_schema.df_settings", 404),
    ("SELECT * FROM other.by_page", 404),
    ("INSERT INTO information_schema.tables VALUES ('a', 'b', 'c', 'd')", 400),
    ("SELECT * FROM datafusion.public.by_page", 404),
    ("SELECT * FROM edits", 404),
    ("SELECT * FROM totals WHERE page IN (SELECT page FROM secrets)", 404),
    ("WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT * FROM n", 400),
    ("SELECT repeat('x', 2000000000)", 400),
    ("SELECT generate_series(1, 1000000000000)", 400),
    ("SELECT _state_0 FROM by_page", 400),
    ("SELECT \"MEASURE(editors)\" FROM by_page", 400),
];

#[tokio::test]
async fn only_one_select_over_views_is_run() {
    let world = world().await;
    for &(sql, status) in REFUSED {
        let error = world.sql(sql).await.err().unwrap_or_else(|| panic!("{sql} was run"));
        let problem = error.problem();
        assert_eq!(problem.status().as_u16(), status, "{sql}: {error}");
        if status == 404 && !sql.contains("read_csv") {
            assert_eq!(problem.known(), ["by_page", "totals"], "{sql}");
        }
    }
    assert!(world.sql("SELECT 1 AS one").await.is_ok());
}

#[tokio::test]
async fn a_query_that_cannot_be_planned_is_told_why() {
    let world = world().await;
    for (sql, reason) in [
        ("SELECT pag FROM by_page", "there is no column `pag`"),
        ("SELECT MEASURE(page) FROM by_page", "its measures: edits, added, editors"),
        ("SELECT MEASURE(editors + 1) FROM by_page", "plain name of one measure"),
        ("SELECT MEASURE(DISTINCT editors) FROM by_page", "no DISTINCT"),
        ("SELECT MEASURE(e) FROM (SELECT max(editors) AS e FROM by_page)", "only WHERE, joins, UNION ALL and plain"),
        ("SELECT a.page, b.page FROM by_page a CROSS JOIN by_page b", "two columns of the answer are named `page`"),
        ("SELECT 1 / (edits - edits) AS x FROM by_page", "Divide by zero"),
        ("SELECT no_such_function(1)", "no_such_function"),
    ] {
        let error = world.sql(sql).await.err().unwrap_or_else(|| panic!("{sql} was run"));
        assert!(error.to_string().contains(reason), "{sql}: {error}");
        assert_eq!(error.problem().status().as_u16(), 400, "{sql}: {error}");
        let internals = ["DataFusion", "Error during", "backtrace", "_state_"];
        assert!(!internals.iter().any(|word| error.to_string().contains(word)), "{sql}: {error}");
    }
}

#[tokio::test]
async fn limits_hold() {
    let settings = GatewaySettings {
        max_rows: 3,
        sql_text_bytes: 2_000,
        sql_memory_bytes: 1 << 20,
        sql_time_limit: Duration::from_secs(5),
        ..GatewaySettings::default()
    };
    let world = World::with_settings(settings);
    fill(&world).await;
    world.publish("by_page", &[3, 0]).await;
    let too_long = format!("SELECT '{}'", "x".repeat(3_000));
    for sql in ["SELECT * FROM by_page", too_long.as_str()] {
        let error = world.sql(sql).await.unwrap_err();
        assert!(matches!(error, GatewayError::TooLarge { .. }), "{sql}: {error}");
        assert_eq!(error.problem().status().as_u16(), 413);
    }
    assert_eq!(world.sql("SELECT * FROM by_page LIMIT 3").await.unwrap().rows.num_rows(), 3);
    let joins = "JOIN by_page b ON true JOIN by_page c ON true JOIN by_page d ON true JOIN by_page e ON true \
                 JOIN by_page f ON true JOIN by_page g ON true JOIN by_page h ON true JOIN by_page i ON true";
    let sql = format!(
        "SELECT count(DISTINCT concat(a.page, b.page, c.page, d.page, e.page, f.page, g.page, h.page, i.added)) AS n FROM by_page a {joins}"
    );
    let status = world.sql(&sql).await.err().map(|error| error.problem().status().as_u16());
    assert!(status == Some(413) || status == Some(408), "{status:?}");
    let deep = format!("SELECT {}1{}", "(".repeat(900), ")".repeat(900));
    assert_eq!(world.sql(&deep).await.unwrap_err().problem().status().as_u16(), 413);
}

#[tokio::test]
async fn calls_that_differ_by_a_cast_alone_are_two_columns() {
    let world = world().await;
    let sql = "SELECT sum(edits), sum(CAST(edits AS DOUBLE)), count(*) FILTER (WHERE CAST(added AS VARCHAR) <> '1'), \
               sum(edits) OVER (), sum(CAST(edits AS VARCHAR)) OVER () FROM by_page GROUP BY edits";
    let error = world.sql(sql).await.unwrap_err().to_string();
    assert!(error.contains("sum") && !error.contains("arrow_cast"), "{error}");
    let sql = "SELECT sum(edits), sum(CAST(edits AS DOUBLE)), count(*) FILTER (WHERE edits = 1), \
               count(*) FILTER (WHERE CAST(edits AS VARCHAR) = '1') FROM by_page";
    let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{error}"));
    let names: Vec<String> = answer.rows.schema().fields().iter().map(|field| field.name().clone()).collect();
    assert_eq!(names[..2], ["sum(by_page.edits)", "sum(CAST(by_page.edits AS DOUBLE))"]);
    assert!(names.len() == 4 && !names.iter().any(|name| name.contains("arrow_cast")), "{names:?}");
}

#[tokio::test]
async fn consistency_and_tokens_hold_for_sql_too() {
    let world = world().await;
    let edits = |answer: query_gateway::SqlAnswer| answer.to_json().unwrap();
    let count = "SELECT sum(edits) AS edits FROM by_page";
    let batch = SqlRequest { consistency: Some("batch".to_owned()), ..SqlRequest::new(count) };
    assert!(
        edits(world.gateway.sql(&Principal::anyone(), batch).await.unwrap()).starts_with(r#"{"rows":[{"edits":3}]"#)
    );
    assert!(edits(world.sql(count).await.unwrap()).starts_with(r#"{"rows":[{"edits":5}]"#));
    let (after, timeout) = (Some(world.token(1, 1)), Some("20ms".to_owned()));
    let request = SqlRequest { after, timeout, ..SqlRequest::new(count) };
    assert_eq!(world.gateway.sql(&Principal::anyone(), request).await.unwrap_err().problem().status().as_u16(), 504);
}

#[tokio::test]
async fn a_token_is_waited_for_by_every_view_of_a_query() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run(0).await;
    world.publish("totals", &[1, 0]).await;
    world.send(0, [event(0, "B", "bob", 1)]);
    world.append_run_of(0, &["by_page"]).await;
    for tables in ["by_page p JOIN totals t", "totals t JOIN by_page p"] {
        let sql = format!("SELECT p.page AS page, t.edits AS edits FROM {tables} ON p.page = t.page ORDER BY page");
        let (after, timeout) = (Some(world.token(0, 0)), Some("20ms".to_owned()));
        let request = SqlRequest { after, timeout, ..SqlRequest::new(sql) };
        let error = world.gateway.sql(&Principal::anyone(), request).await.unwrap_err();
        assert!(error.to_string().contains("view totals does not cover"), "{tables}: {error}");
        assert_eq!(error.problem().status().as_u16(), 504);
    }
}
