//! SQL that asks for more than there is: every attack is answered with a problem, in bounded memory, and the next query
//! runs.

use std::time::Duration;

use query_gateway::{GatewayError, GatewaySettings};

use super::world::{World, event};

const MIB: usize = 1 << 20;

/// Some hundred rows, and 16 MiB for all of SQL.
async fn world() -> World {
    world_within(Duration::from_secs(20)).await
}

async fn world_within(sql_time_limit: Duration) -> World {
    let settings = GatewaySettings {
        sql_memory_bytes: 16 * MIB,
        sql_result_bytes: 4 * MIB,
        sql_time_limit,
        ..GatewaySettings::default()
    };
    let world = World::with_settings(settings);
    world.send(0, (0..600).map(|number| event(number * 60, ["A", "B", "C"][number as usize % 3], "ann", number)));
    world.append_run(0).await;
    world.own(1).await;
    world
}

/// The most memory that the process has used so far; 0 where the system does not tell.
fn peak_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or_default() * 1024
}

/// Each statement is refused with one of the statuses, the process takes less than a gigabyte more (other tests run
/// beside it), and a plain query runs afterwards.
async fn check_refused(statements: impl IntoIterator<Item = String>, statuses: &[u16]) {
    let world = world().await;
    for sql in statements {
        let before = peak_bytes();
        let outcome = world.sql(&sql).await;
        let shown: String = sql.chars().take(160).collect();
        let error = outcome.map(|_| ()).err().unwrap_or_else(|| panic!("{shown} was run"));
        let problem = error.problem();
        assert!(statuses.contains(&problem.status().as_u16()), "{shown}: {} {error}", problem.status().as_u16());
        // The system counts per thread and adds up now and then: its peak may seem to fall.
        let grown = peak_bytes().saturating_sub(before);
        assert!(grown < 1024 * MIB, "{shown}: {grown} bytes more");
        let plain = world.sql("SELECT MEASURE(edits) AS edits FROM by_page").await.unwrap().to_json().unwrap();
        assert!(plain.starts_with(r#"{"rows":[{"edits":600}]"#), "{plain}");
    }
}

#[tokio::test]
async fn a_query_that_never_pauses_ends_at_its_limit_and_gives_its_place_back() {
    let settings = GatewaySettings {
        max_sql_queries: 1,
        sql_queue_wait: Duration::from_secs(60),
        sql_time_limit: Duration::from_secs(4),
        ..GatewaySettings::default()
    };
    let world = World::with_settings(settings);
    world.send(0, (0..600).map(|number| event(number * 60, ["A", "B", "C"][number as usize % 3], "ann", number)));
    world.append_run(0).await;
    world.own(1).await;
    let error = world.sql("SELECT count(*) AS c FROM by_page a, by_page b, by_page c, by_page d").await.unwrap_err();
    assert!(matches!(error, GatewayError::TimedOut { .. }), "{error}");
    // In line until the thread of the other one comes to a pause.
    let plain = world.sql("SELECT MEASURE(edits) AS edits FROM by_page").await.unwrap().to_json().unwrap();
    assert!(plain.starts_with(r#"{"rows":[{"edits":600}]"#), "{plain}");
}

#[tokio::test]
async fn texts_that_are_too_long_to_be_compared_letter_by_letter_are_refused() {
    let of = |left: &str, right: &str| format!("SELECT max(levenshtein({left}, {right})) AS x FROM by_page");
    let (left, right) = ("lpad(page, 4000, 'x')", "lpad(page, 4000, 'y')");
    check_refused([of(left, right)], &[413]).await;
    // As the hint says.
    let shorter = of(&format!("left({left}, 100)"), &format!("left({right}, 100)"));
    world().await.sql(&shorter).await.unwrap();
}

#[tokio::test]
async fn brackets_that_are_read_again_are_refused_before_they_are_read() {
    // Each of them doubles the work of the parser, where the innermost cannot be read.
    let doubling = [
        ("ARRAY[", "]"),
        ("CAST(", " AS INT)"),
        ("POSITION(", " IN 'a')"),
        ("TRIM(", ")"),
        ("NOT (", ")"),
        ("CASE WHEN true THEN ", " END"),
    ];
    let other = [("EXTRACT(DAY FROM ", ")"), ("EXISTS(", ")"), ("1 IN (", ")"), ("(SELECT * FROM (", ") t)")];
    for inner in ["1 1", "", "SELECT", "*"] {
        let of = |(left, right): &(&str, &str)| format!("SELECT {}{inner}{}", left.repeat(24), right.repeat(24));
        check_refused(doubling.iter().map(of), &[413]).await;
        check_refused(other.iter().map(of), &[400, 413]).await;
    }
    let world = world().await;
    let eight = |left: &str, right: &str| format!("SELECT {}1{} AS x", left.repeat(8), right.repeat(8));
    for sql in [
        eight("ARRAY[", "]"),
        eight("CAST(", " AS INT)"),
        eight("(SELECT ", ")"),
        eight("(", ")"),
        eight("CASE WHEN true THEN ", " END"),
    ] {
        world.sql(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[tokio::test]
async fn what_the_optimiser_writes_out_is_weighed_as_it_is_written_out() {
    let of = |left: &str, right: &str| format!("SELECT {}edits{} AS x FROM by_page", left.repeat(20), right.repeat(20));
    let refused =
        [of("coalesce(", ", 1)"), of("nvl(", ", 1)"), of("nvl2(", ", 1, 2)"), of("(", " BETWEEN 1 AND 2)::INT")];
    check_refused(refused, &[413]).await;
    let world = world().await;
    world.sql("SELECT coalesce(nullif(coalesce(edits, 1), 2), edits, 3) AS x FROM by_page LIMIT 1").await.unwrap();
}

#[tokio::test]
async fn grouping_sets_are_refused_where_they_hold_many_keys() {
    let keys = |count: usize| (0..count).map(|key| format!("edits + {key}")).collect::<Vec<_>>().join(", ");
    let of = |how: &str| format!("SELECT count(*) AS n FROM by_page GROUP BY {how}");
    check_refused(
        [
            of(&format!("CUBE({})", keys(12))),
            of(&format!("CUBE({})", keys(70))),
            of(&format!("ROLLUP({})", keys(60))),
            of(&format!("ROLLUP({}), CUBE({})", keys(10), keys(4))),
            of(&format!(
                "GROUPING SETS({})",
                (0..60).map(|key| format!("(edits + {key})")).collect::<Vec<_>>().join(", ")
            )),
        ],
        &[413],
    )
    .await;
    let world = world().await;
    for how in ["CUBE(page, hour)", "ROLLUP(page, hour)", "GROUPING SETS((page), (hour), ())", "page, hour"] {
        world.sql(&of(how)).await.unwrap_or_else(|error| panic!("{how}: {error}"));
    }
}

fn owned(statements: &[&str]) -> Vec<String> {
    statements.iter().map(|sql| (*sql).to_owned()).collect()
}

#[tokio::test]
async fn functions_that_make_much_of_little_do_not_exist() {
    let statements = owned(&[
        "SELECT repeat('x', 1000000000)",
        "SELECT repeat(page, 1000000000) FROM by_page",
        "SELECT lpad('x', 2000000000, 'y')",
        "SELECT rpad(page, 2000000000) FROM by_page",
        "SELECT repeat(page, edits) FROM by_page",
        "SELECT repeat('x', 2 * 4096)",
        "SELECT array_repeat(1, 1000000000)",
        "SELECT list_repeat(1, 1000000000)",
        "SELECT array_resize(make_array(1), 1000000000, 2)",
        "SELECT range(1000000000)",
        "SELECT generate_series(1, 1000000000)",
        "SELECT unnest(generate_series(1, 1000000000))",
        "SELECT arrow_cast('x', 'FixedSizeBinary(2000000000)')",
        "SELECT CAST(NULL AS INT[2000000000])",
        "SELECT TRY_CAST(make_array(1) AS INT[2000000000])",
    ]);
    check_refused(statements, &[400]).await;
    let series = [
        "SELECT * FROM generate_series(1, 1000000000)",
        "SELECT * FROM range(1000000000)",
        "SELECT * FROM generate_series(TIMESTAMP '1970-01-01', TIMESTAMP '2200-01-01', INTERVAL '1 second')",
        "SELECT repeat(repeat(repeat('x', 4096), 4096), 4096) AS x",
        "SELECT repeat(repeat(repeat(page, 4096), 4096), 4096) AS x FROM by_page",
        "SELECT lpad(page, 4096, repeat(page, 4096)) || repeat(lpad(page, 4096), 4096) AS x FROM by_page",
    ];
    check_refused(owned(&series), &[413]).await;
    let arguments = [
        "SELECT * FROM generate_series(1, length(replace(replace('aaaa', 'a', 'aaaaaaaa'), 'a', 'aaaaaaaa')))",
        "SELECT * FROM generate_series(1, character_length(repeat('x', 2000000000)))",
        "SELECT * FROM generate_series(1, (SELECT 3))",
        "SELECT * FROM generate_series(1, CAST(NULL AS INT[2000000000]))",
        "SELECT * FROM generate_series(1, $1)",
        "SELECT * FROM generate_series(1, 10, 0)",
        "SELECT * FROM generate_series(1, NULL)",
        "SELECT * FROM generate_series('a', 'b')",
        "SELECT * FROM generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '0 seconds')",
        "SELECT * FROM generate_series()",
    ];
    check_refused(owned(&arguments), &[400]).await;
}

/// `WITH t0 AS (first), t1 AS (next over t0), ... SELECT * FROM tn`.
fn chain(first: &str, next: &str, steps: usize) -> String {
    let last = steps;
    let steps = (1..=steps).map(|step| format!(", t{step} AS ({})", next.replace('$', &format!("t{}", step - 1))));
    format!("WITH t0 AS ({first}){} SELECT max(x) AS x FROM t{last}", steps.collect::<String>())
}

#[tokio::test]
async fn texts_that_grow_step_by_step_are_refused() {
    let thousand = "a".repeat(1_000);
    let other = "b".repeat(1_000);
    let nested = |from: &str| {
        format!(
            "SELECT replace(replace(replace({from}, 'a', '{other}'), 'b', '{other}'), 'b', '{other}') AS x FROM by_page"
        )
    };
    let column = "SELECT concat(page, 'abcdefghijklmnop') AS x FROM by_page";
    check_refused(
        [
            nested(&format!("'{thousand}'")),
            nested("concat(page, 'aaaa')"),
            format!(
                "SELECT regexp_replace(regexp_replace('{thousand}', '(a)', '{other}', 'g'), '(b)', '{other}', 'g') AS x"
            ),
            format!(
                "SELECT regexp_replace(concat(page, '{thousand}'), '(.*)', '{}', 'g') AS x FROM by_page",
                "\\1".repeat(2_000)
            ),
            chain("SELECT 'abcdefgh' AS x", "SELECT x || x AS x FROM $", 28),
            chain(column, "SELECT x || x AS x FROM $", 28),
            chain(column, "SELECT concat(x, x, x, x, x, x, x, x) AS x FROM $", 10),
            chain(column, "SELECT concat_ws(x, x, x, x, x) AS x FROM $", 10),
            chain(column, "SELECT x || x AS x FROM $ GROUP BY x", 28),
            chain(column, "SELECT array_to_string(make_array(x, x, x, x, x, x), x) AS x FROM $", 10),
            chain(column, "SELECT overlay(x PLACING x FROM 2 FOR 0) AS x FROM $ GROUP BY x", 28),
            chain("SELECT make_array(1, 2, 3, 4, 5, 6, 7, 8) AS x", "SELECT array_concat(x, x) AS x FROM $", 28),
            chain("SELECT make_array(edits, edits) AS x FROM by_page", "SELECT x || x AS x FROM $ GROUP BY x", 28),
        ],
        &[413],
    )
    .await;
}

#[tokio::test]
async fn plans_that_double_at_each_step_are_refused() {
    check_refused(
        [
            chain("SELECT edits AS x FROM by_page", "SELECT a.x FROM $ a JOIN $ b ON a.x = b.x", 40),
            chain("SELECT edits AS x FROM by_page", "SELECT x FROM $ UNION ALL SELECT x FROM $", 40),
            chain("SELECT edits AS x FROM by_page", "SELECT x FROM $ WHERE x IN (SELECT x FROM $)", 40),
            chain("SELECT edits AS x FROM by_page", "SELECT x + x AS x FROM $ WHERE x > 0", 40),
            chain("SELECT 1 AS x", "SELECT x + x AS x FROM $", 60),
            format!("SELECT 1 AS x{}", " UNION ALL SELECT 1".repeat(800)),
            format!("SELECT count(*) AS x FROM by_page{}", ", by_page".repeat(200)),
        ],
        &[413],
    )
    .await;
}

#[tokio::test]
async fn a_query_that_is_too_large_to_plan_is_told_which_part_of_it() {
    let world = world().await;
    // VALUES is no view and no SELECT, so it counts as no relation; each use of it is three steps.
    let of = |name: &str| (0..45).map(|number| format!("{name} AS r{number}")).collect::<Vec<_>>().join(", ");
    let many_steps =
        format!("WITH v AS (VALUES (1)), w AS (SELECT 1 AS x FROM {}) SELECT count(*) AS n FROM {}", of("v"), of("w"));
    let large_expression = chain("SELECT edits AS x FROM by_page", "SELECT x + x AS x FROM $", 40);
    for (sql, expected, hint) in [
        (many_steps, "the query has more than 4096 steps (joins, filters, subqueries)", "split the query"),
        (
            large_expression,
            "an expression of the query has more than 16384 nodes once all names are written out",
            "nest fewer computed columns",
        ),
    ] {
        let problem = world.sql(&sql).await.map(|_| ()).unwrap_err().problem();
        assert_eq!((problem.status().as_u16(), problem.detail(), problem.hint()), (413, expected, Some(hint)), "{sql}");
    }
}

#[tokio::test]
async fn deep_texts_are_refused_before_they_are_walked() {
    let of = |left: &str, right: &str, times: usize| {
        format!("SELECT {}edits{} AS x FROM by_page", left.repeat(times), right.repeat(times))
    };
    check_refused([of("NOT ", "", 200)], &[400]).await;
    check_refused(
        [
            of("(", ")", 4_000),
            of("abs(", ")", 2_000),
            of("-(", ")", 100),
            of("INTERVAL ", "", 1_500),
            of("CASE WHEN true THEN ", " END", 500),
            "SELECT CAST(NULL AS {})".replace("{}", &format!("{}INT{}", "Nullable(".repeat(1_500), ")".repeat(1_500))),
            "SELECT * FROM by_page MATCH_RECOGNIZE(PATTERN ({}) DEFINE A AS true)"
                .replace("{}", &format!("{}A{}", "(".repeat(4_000), ")".repeat(4_000))),
            of("", "+1", 7_000),
            of("", " OR true", 1_500),
            of("- ", "", 4_000),
            of("", "::int", 2_000),
            of("", "[1]", 4_000),
            of("", " IS NULL", 1_500),
            format!("{}SELECT 1 AS x", "EXPLAIN ".repeat(1_900)),
        ],
        &[413],
    )
    .await;
    // Planning what is not optimised by the compiler takes its time on a busy machine.
    let world = world_within(Duration::from_secs(200)).await;
    for sql in [of("", "+1", 250), format!("SELECT page FROM by_page WHERE {}", vec!["edits = 7"; 120].join(" OR "))] {
        world.sql(&format!("{sql} LIMIT 1")).await.unwrap();
    }
    let list: Vec<String> = (0..2_500).map(|number| number.to_string()).collect();
    let sql = format!("SELECT count(*) AS n FROM by_page WHERE edits IN ({})", list.join(","));
    assert!(world.sql(&sql).await.unwrap().to_json().unwrap().starts_with(r#"{"rows":[{"n":600}]"#));
}

#[tokio::test]
async fn an_answer_is_no_longer_than_its_limit_however_long_its_columns_are_named() {
    let world = World::with_settings(GatewaySettings { max_answer_bytes: 64 << 10, ..GatewaySettings::default() });
    world.send(0, (0..60).map(|number| event(number * 7, ["A", "B", "C"][number as usize % 3], "ann", number)));
    world.append_run(0).await;
    world.own(1).await;
    let name = "a".repeat(12_000);
    for select in ["edits AS NAME", "named_struct('NAME', edits) AS x", "make_array(named_struct('NAME', edits)) AS x"]
    {
        let sql = format!("SELECT {} FROM by_page", select.replace("NAME", &name));
        let problem = world.sql(&sql).await.unwrap().to_json().unwrap_err().problem();
        let told = "the answer has more than 65536 bytes as JSON text";
        assert_eq!((problem.status().as_u16(), problem.detail()), (413, told), "{select}");
        // As the hint says.
        world.sql(&format!("{sql} LIMIT 1")).await.unwrap().to_json().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn joins_and_windows_without_end_stop_at_a_limit() {
    let crossed = "FROM by_page a, by_page b, by_page c, by_page d";
    check_refused(
        [
            format!("SELECT a.page AS page, b.page AS other {crossed}"),
            format!("SELECT count(*) AS n {crossed}, by_page e, by_page f"),
            format!("SELECT a.hour AS x, sum(a.edits) OVER () AS n {crossed} ORDER BY n LIMIT 1"),
            format!("SELECT max(n) AS n FROM (SELECT rank() OVER (ORDER BY a.hour) AS n {crossed}) t"),
            format!("SELECT a.hour AS x, b.hour AS y, c.hour AS z, count(*) AS n {crossed} GROUP BY x, y, z"),
            format!("SELECT array_agg(a.page) AS n {crossed}"),
            format!("SELECT string_agg(a.page, '{}') AS n {crossed}", "x".repeat(10_000)),
        ],
        &[413, 408],
    )
    .await;
}

#[tokio::test]
async fn ordinary_texts_and_lists_are_not_in_the_way() {
    let world = world().await;
    for (expression, expected) in [
        ("page || '/' || edits", "\"A/1\""),
        ("concat(page, '-', page)", "\"A-A\""),
        ("concat_ws(', ', page, 'x', NULL)", "\"A, x\""),
        ("replace(page, 'A', 'long text')", "\"long text\""),
        ("regexp_replace(page, '(.)', '<\\1>')", "\"<A>\""),
        ("upper(lower(page))", "\"A\""),
        ("coalesce(nullif(page, 'A'), 'none')", "\"none\""),
        ("make_array(page, 'x')", "[\"A\",\"x\"]"),
        ("array_to_string(make_array(page, 'x'), '+')", "\"A+x\""),
        ("make_array(1) || make_array(2)", "[1,2]"),
        ("to_char(hour, '%Y')", "\"2026\""),
        ("substr('abc' || page, 2)", "\"bcA\""),
        ("CASE WHEN page = 'A' THEN page || '!' ELSE 'x' END", "\"A!\""),
        ("'a' || NULL", "null"),
        ("split_part('a-b', '-', 2)", "\"b\""),
        ("lpad(page, 3, '0')", "\"00A\""),
        ("rpad(page, 3)", "\"A  \""),
        ("repeat(page, 3)", "\"AAA\""),
        ("length(lpad(page, 4096))", "4096"),
        ("levenshtein(page, 'AB')", "1"),
    ] {
        let sql = format!("SELECT {expression} AS x FROM by_page WHERE page = 'A' ORDER BY hour LIMIT 1");
        let text = world.sql(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).to_json().unwrap();
        assert!(text.starts_with(&format!(r#"{{"rows":[{{"x":{expected}}}]"#)), "{sql}: {text}");
    }
    let grouped = "SELECT page || '!' AS loud, count(*) AS n FROM by_page WHERE page || '!' <> 'B!' GROUP BY page || '!' ORDER BY loud";
    let text = world.sql(grouped).await.unwrap().to_json().unwrap();
    assert!(text.starts_with(r#"{"rows":[{"loud":"A!","n":200},{"loud":"C!","n":200}]"#), "{text}");
    // For all rows of a batch CASE gives the one constant.
    let constant = "SELECT DISTINCT substr(CASE WHEN n < 0 THEN CAST(n AS VARCHAR) ELSE 'other' END, 1, 2) AS x \
                    FROM generate_series(1, 1000) AS t(n)";
    let text = world.sql(constant).await.unwrap().to_json().unwrap();
    assert!(text.starts_with(r#"{"rows":[{"x":"ot"}]"#), "{text}");
    let unnamed = world.sql("SELECT page || '!' FROM by_page LIMIT 1").await.unwrap().to_json().unwrap();
    assert!(unnamed.contains("by_page.page || "), "the column keeps the name that the engine gives it: {unnamed}");
    let ran =
        world.sql("SELECT sum(edits) OVER (ORDER BY hour) AS n FROM by_page ORDER BY n DESC LIMIT 1").await.unwrap();
    assert!(ran.to_json().unwrap().starts_with(r#"{"rows":[{"n":600}]"#));
    let error = world.sql("SELECT page || make_array(1) || 1.5 AS x FROM by_page").await.unwrap_err();
    assert!(matches!(error, GatewayError::BadRequest { .. }), "{error}");
}

#[tokio::test]
async fn what_windows_make_of_their_rows_is_counted() {
    let crossed = "FROM by_page a, by_page b";
    let of = |window: &str, from: &str| format!("SELECT max(length(x)) AS n FROM (SELECT {window} AS x {from}) t");
    let long = "lpad(a.page, 1000, 'x')";
    check_refused(
        [
            // Each row has all rows before it.
            of(&format!("string_agg({long}, ',') OVER (ORDER BY a.hour)"), "FROM by_page a"),
            of(&format!("array_to_string(array_agg({long}) OVER (ORDER BY a.hour), ',')"), "FROM by_page a"),
            // Each row has the same text once more.
            of(&format!("string_agg({long}, ',') OVER ()"), "FROM by_page a"),
            of(&format!("first_value({long}) OVER (ORDER BY a.hour)"), crossed),
            of(&format!("lag(a.page, 1000000, '{}') OVER (ORDER BY a.hour)", "x".repeat(4_000)), crossed),
            of(&format!("max({long}) OVER ()"), crossed),
        ],
        &[413],
    )
    .await;
    // What these aggregates are not told of would not be counted.
    check_refused([of(&format!("max({long}) FILTER (WHERE a.edits > 0) OVER ()"), crossed)], &[400]).await;
    let world = world().await;
    for window in [
        "string_agg(page, ',') OVER (ORDER BY hour)",
        "array_to_string(array_agg(page) OVER (PARTITION BY page ORDER BY hour), ',')",
        "max(page) OVER ()",
        "max(CASE WHEN edits > 0 THEN page END) OVER ()",
        "max(page) FILTER (WHERE edits > 0) OVER (ORDER BY hour)",
        "lag(page, 1, 'none') OVER (ORDER BY hour)",
        "first_value(page) OVER (PARTITION BY page ORDER BY hour)",
        "CAST(sum(edits) FILTER (WHERE edits > 0) OVER () AS VARCHAR)",
    ] {
        let sql = of(window, "FROM by_page");
        world.sql(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[tokio::test]
async fn functions_that_make_much_of_little_are_counted_before_they_run() {
    let of = |value: &str| format!("SELECT max(length({value})) AS n FROM by_page");
    let list = "string_to_array(lpad(page, 4000, 'a,'), ',', 'a')";
    check_refused(
        [
            of(&format!("array_to_string({list}, ',', lpad('', 4000, 'x'))")),
            of("array_to_string(array_replace_all(string_to_array(lpad(page, 4000, 'a,'), ','), 'a', \
                lpad('', 4000, 'x')), ',')"),
            of("to_char(hour, repeat('%+', 4000))"),
        ],
        &[413],
    )
    .await;
    let world = world().await;
    for value in [
        "array_to_string(string_to_array('a,b', ',', 'a'), '-', 'none')",
        "array_to_string(array_replace_all(string_to_array(page, ','), 'A', 'B'), ',')",
        "to_char(hour, '%Y-%m-%d')",
    ] {
        world.sql(&of(value)).await.unwrap_or_else(|error| panic!("{value}: {error}"));
    }
}

#[tokio::test]
async fn a_pattern_is_the_same_for_all_rows() {
    let of = |test: &str| format!("SELECT count(*) AS n FROM by_page WHERE {test}");
    let varying = [
        "page LIKE '%' || page",
        "page NOT ILIKE concat('%', edits)",
        "page ~ page",
        "page !~* concat('(a{1,9}){1,', edits, '}')",
        "regexp_like(page, page)",
        "regexp_replace(page, concat('a', random()), 'x') = page",
        "page LIKE (SELECT max(page) FROM by_page)",
    ];
    check_refused(varying.map(of), &[400]).await;
    let world = world().await;
    for (test, count) in [
        ("page LIKE '%' || 'A'", 200),
        ("page NOT ILIKE 'a%'", 400),
        ("page ~ '^[AB]$'", 400),
        ("page ~* '^[ab]$'", 400),
        ("page !~ '^[AB]$'", 200),
        ("page !~* '^[ab]$'", 200),
        ("regexp_like(page, '^a$', 'i')", 200),
        ("starts_with(page, page)", 600),
    ] {
        let answer = world.sql(&of(test)).await.unwrap_or_else(|error| panic!("{test}: {error}")).to_json().unwrap();
        assert!(answer.starts_with(&format!(r#"{{"rows":[{{"n":{count}}}]"#)), "{test}: {answer}");
    }
}

#[tokio::test]
async fn a_pattern_that_repeats_too_much_is_refused_where_texts_are_long() {
    let of =
        |text: &str| format!("SELECT count(*) AS n FROM by_page WHERE {text} ~ '((a{{1,900}}b?){{1,900}}){{1,9}}c'");
    check_refused([of("lpad(page, 4000, 'ab')")], &[400, 413]).await;
    // A few rows at a time, and the same outcome as at once.
    let world = world().await;
    let parts = "SELECT count(*) AS n FROM by_page WHERE lpad(page, 4000, 'ab') ~ '((a{1,10}b?){1,10}){1,9}[AB]$'";
    let answer = world.sql(parts).await.unwrap().to_json().unwrap();
    assert!(answer.starts_with(r#"{"rows":[{"n":400}]"#), "{answer}");
}

#[tokio::test]
async fn no_room_is_made_for_what_may_never_come() {
    let world = world().await;
    for rows in ["1000000000", "1000000000000", "9223372036854775807"] {
        for (keys, order) in [("page, max(edits) AS m", "m DESC"), ("page", "page"), ("page, min(hour) AS m", "m")] {
            let sql = format!("SELECT {keys} FROM by_page GROUP BY page ORDER BY {order} LIMIT {rows}");
            let text = world.sql(&sql).await.unwrap_or_else(|error| panic!("{sql}: {error}")).to_json().unwrap();
            assert_eq!(text.matches(r#"{"page":"#).count(), 3, "{sql}: {text}");
        }
    }
    let of = |numbers: &str| {
        format!(
            "SELECT approx_percentile_cont_with_weight(1, 0.5, {numbers}) WITHIN GROUP (ORDER BY n) AS x \
             FROM generate_series(1, 3) AS t(n)"
        )
    };
    for sql in [of("2000000000"), of("1000 * 1000"), format!("SELECT 1 AS x WHERE 2 = ANY ({})", of("2000000000"))] {
        let error = world.sql(&sql).await.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("the fourth argument"), "{sql}: {error}");
    }
    world.sql(&of("200")).await.unwrap();
}

#[tokio::test]
async fn what_the_engine_takes_for_a_fault_of_its_own_is_a_query_that_cannot_be_run() {
    let world = world().await;
    for sql in [
        "SELECT nth_value(edits, 0) AS x FROM by_page",
        "SELECT array_slice([1, 2, 3], 1, 3, 9223372036854775807) AS x FROM by_page",
    ] {
        let problem = world.sql(sql).await.map(|_| ()).unwrap_err().problem();
        assert_eq!(problem.status().as_u16(), 400, "{sql}: {problem:?}");
        assert_eq!(problem.detail(), "the engine failed on this query", "{sql}");
    }
}

#[tokio::test]
async fn texts_that_would_be_gone_over_again_and_again_are_refused_where_they_are_long() {
    let long = "repeat(repeat(lower(page), 4096), 200)";
    let wildcards = format!("%b{}z%", "_".repeat(4_000));
    let letters: String = ('\u{4e00}'..).take(1_500).collect();
    let of = |value: &str| format!("SELECT {value} AS x FROM (SELECT max(page) AS page FROM by_page) t");
    let statements = [
        of(&format!("{long} LIKE '{wildcards}'")),
        of(&format!("{long} NOT ILIKE '{wildcards}'")),
        of(&format!("length(ltrim({long}, '{letters}a'))")),
        of(&format!("length(btrim({long}, '{letters}a'))")),
        of(&format!("strpos({long}, repeat(repeat(lower(page), 4096), 50) || page)")),
    ];
    let refusing = world().await;
    for sql in &statements {
        let error = refusing.sql(sql).await.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("texts that are too long for it"), "{sql}: {error}");
    }
    check_refused(statements, &[413]).await;
    // A few rows at a time, and the same outcome as at once.
    let world = world().await;
    let of = |value: &str| format!("SELECT count(*) AS n FROM by_page WHERE {value}");
    for (test, count) in [
        ("lpad(page, 4000, 'ab') LIKE '%b%b%b%b%b%A'", 200),
        ("lpad(page, 4000, 'ab') NOT LIKE '%b%b%b%b%b%A'", 400),
        ("lpad(page, 4000, 'ab') ILIKE 'AB_b%b%b%a'", 200),
        ("lpad(page, 4000, 'ab') NOT ILIKE 'AB_b%b%b%a'", 400),
        ("page LIKE '___%'", 0),
        ("page LIKE NULL", 0),
        ("page LIKE '\\%%%%' OR page LIKE '%\\_%%%'", 0),
        ("strpos(lpad(page, 4000, 'ab'), 'ba' || page) = 3998", 600),
        ("length(ltrim(lpad(page, 4000, 'ab'), 'ba')) = 1", 600),
        ("btrim('  x ') = 'x' AND rtrim(page, 'ABC') = ''", 600),
    ] {
        let answer = world.sql(&of(test)).await.unwrap_or_else(|error| panic!("{test}: {error}")).to_json().unwrap();
        assert!(answer.starts_with(&format!(r#"{{"rows":[{{"n":{count}}}]"#)), "{test}: {answer}");
    }
}

#[tokio::test]
async fn a_join_that_copies_a_long_text_makes_a_few_rows_at_a_time() {
    let world = World::with_settings(GatewaySettings::default());
    let long: &'static str = Box::leak("z".repeat(900_000).into_boxed_str());
    let events = (0..3_000).map(|number| event(number * 60, "A", "ann", number));
    world.send(0, events.chain([event(0, long, "ann", 1)]));
    world.append_run(0).await;
    world.own(1).await;
    // In one batch these would be 2.7 GB, more than the engine can hold in a column.
    let sql = "SELECT max(octet_length(a.page) + octet_length(b.page)) AS n FROM by_page a, by_page b \
               WHERE octet_length(a.page) > 1";
    let answer = world.sql(sql).await.unwrap().to_json().unwrap();
    assert!(answer.starts_with(r#"{"rows":[{"n":1800000}]"#), "{answer}");
    // A text of an aggregate, which no state is as long as.
    let sql =
        "SELECT max(octet_length(z)) AS n FROM by_page, (SELECT string_agg(page || page, ',') AS z FROM by_page) t";
    let answer = world.sql(sql).await.unwrap().to_json().unwrap();
    assert!(answer.starts_with(r#"{"rows":[{"n":1809000}]"#), "{answer}");
}

#[tokio::test]
async fn a_list_that_would_copy_a_long_text_for_each_item_is_refused() {
    let of = |text: &str| {
        format!(
            "SELECT max(length(y) + u) AS n FROM \
             (SELECT unnest(x) AS u, y FROM (SELECT array_agg(edits) AS x, {text} AS y FROM by_page) t) s"
        )
    };
    check_refused([of("string_agg(lpad(page, 1000, 'x'), ',')")], &[413]).await;
    let world = world().await;
    world.sql(&of("max(page)")).await.unwrap();
}
