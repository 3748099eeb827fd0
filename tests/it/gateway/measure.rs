//! `MEASURE` wherever it may stand, against what plain Rust makes of the raw events; and where it is refused, and why.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::world::{World, event};

/// An event: minute, page, user, what was added.
type Raw = (i64, &'static str, &'static str, i64);

/// The first half is in a batch version, the second in realtime. The last hour lies on the next day.
const RAW: [Raw; 12] = [
    (0, "A", "ann", 3),
    (5, "A", "bob", 2),
    (70, "B", "bob", 5),
    (75, "B", "bob", 1),
    (80, "A", "cat", 7),
    (85, "C", "ann", 1),
    (10, "A", "ann", 4),
    (65, "B", "dan", 2),
    (90, "A", "bob", 6),
    (1_500, "A", "eve", 8),
    (1_510, "C", "ann", 9),
    (1_515, "C", "fay", 2),
];

async fn world() -> World {
    let world = World::new();
    let mut events = RAW.into_iter().map(|(at, page, user, added)| event(at, page, user, added));
    world.send(0, events.by_ref().take(6));
    world.append_run(0).await;
    world.publish("by_page", &[6, 0]).await;
    world.publish("totals", &[6, 0]).await;
    world.send(1, events);
    world.append_run(1).await;
    world
}

/// The events that pass a test.
fn of(test: impl Fn(&Raw) -> bool) -> Vec<Raw> {
    RAW.into_iter().filter(test).collect()
}

fn page(name: &'static str) -> Vec<Raw> {
    of(|(_, page, _, _)| *page == name)
}

fn edits(rows: &[Raw]) -> usize {
    rows.len()
}

fn editors(rows: &[Raw]) -> usize {
    rows.iter().map(|(_, _, user, _)| user).collect::<BTreeSet<_>>().len()
}

fn added(rows: &[Raw]) -> i64 {
    rows.iter().map(|(_, _, _, added)| added).sum()
}

fn hour(minute: i64) -> i64 {
    minute / 60
}

/// As a view shows it.
fn hour_text(hour: i64) -> String {
    format!("2026-01-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24)
}

async fn check(world: &World, sql: &str, expected: Value) {
    let answer = world.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    assert_eq!(body["rows"], expected, "{sql}");
}

#[tokio::test]
async fn a_filter_takes_part_of_the_states() {
    let world = world().await;
    let (a, all) = (page("A"), of(|_| true));
    check(
        &world,
        "SELECT MEASURE(editors) FILTER (WHERE page = 'A') AS a, MEASURE(editors) AS every, \
         MEASURE(edits) FILTER (WHERE page = 'A' AND hour < '2026-01-02T00:00:00Z') AS early FROM by_page",
        json!([{"a": editors(&a), "every": editors(&all),
                "early": edits(&of(|(at, page, _, _)| *page == "A" && *at < 1_440))}]),
    )
    .await;
    // Where no state is left, a measure gives what it gives for no events.
    check(
        &world,
        "SELECT page, MEASURE(edits) FILTER (WHERE hour > '2026-01-02T00:00:00Z') AS n, \
         MEASURE(editors) FILTER (WHERE hour > '2026-01-02T00:00:00Z') AS e, \
         MEASURE(mean_added) FILTER (WHERE hour > '2026-01-02T00:00:00Z') AS m \
         FROM by_page GROUP BY page ORDER BY page",
        json!([{"page": "A", "n": 1, "e": 1, "m": 8}, {"page": "B", "n": 0, "e": 0, "m": null},
               {"page": "C", "n": 2, "e": 2, "m": 5}]),
    )
    .await;
}

#[tokio::test]
async fn branches_of_a_union_are_merged() {
    let world = world().await;
    let two = of(|(_, page, _, _)| *page != "C");
    check(
        &world,
        "SELECT MEASURE(editors) AS e, MEASURE(edits) AS n, MEASURE(added) AS a FROM \
         (SELECT * FROM by_page WHERE page = 'A' UNION ALL SELECT * FROM by_page WHERE page = 'B') u",
        json!([{"e": editors(&two), "n": edits(&two), "a": added(&two)}]),
    )
    .await;
    // Branches that name their columns, filter otherwise and hold a union themselves.
    check(
        &world,
        "SELECT p, MEASURE(e) AS e FROM (SELECT page AS p, editors AS e FROM by_page WHERE page = 'A' \
         UNION ALL SELECT page, editors FROM by_page WHERE page = 'B' \
         UNION ALL SELECT x.page, x.editors FROM by_page x JOIN totals t ON x.page = t.page WHERE x.page = 'C') u \
         WHERE p <> 'B' GROUP BY p ORDER BY p",
        json!([{"p": "A", "e": editors(&page("A"))}, {"p": "C", "e": editors(&page("C"))}]),
    )
    .await;
}

#[tokio::test]
async fn grouping_sets_are_rolled_up_from_states() {
    let world = world().await;
    let one = |name: &'static str| {
        let rows = page(name);
        json!({"page": name, "g": 0, "h": edits(&rows), "e": editors(&rows)})
    };
    let all = of(|_| true);
    let whole = json!({"page": null, "g": 1, "h": edits(&all), "e": editors(&all)});
    check(
        &world,
        "SELECT page, grouping(page) AS g, MEASURE(edits) AS h, MEASURE(editors) AS e FROM by_page \
         GROUP BY ROLLUP(page) ORDER BY g, page",
        json!([one("A"), one("B"), one("C"), whole]),
    )
    .await;
    let days = [of(|(at, ..)| *at < 1_440), of(|(at, ..)| *at >= 1_440)];
    check(
        &world,
        "SELECT date_trunc('day', hour) AS day, page, MEASURE(editors) AS e FROM by_page \
         GROUP BY GROUPING SETS ((date_trunc('day', hour)), (page)) ORDER BY page NULLS FIRST, day",
        json!([
            {"day": "2026-01-01T00:00:00Z", "page": null, "e": editors(&days[0])},
            {"day": "2026-01-02T00:00:00Z", "page": null, "e": editors(&days[1])},
            {"day": null, "page": "A", "e": editors(&page("A"))},
            {"day": null, "page": "B", "e": editors(&page("B"))},
            {"day": null, "page": "C", "e": editors(&page("C"))},
        ]),
    )
    .await;
    check(
        &world,
        "SELECT MEASURE(edits) AS n FROM by_page GROUP BY CUBE(page) HAVING grouping(page) = 1",
        json!([{"n": edits(&all)}]),
    )
    .await;
}

/// The rows of `by_page`, each with what a window makes of the hours of its page up to `last`.
fn over_hours(last: impl Fn(i64) -> i64, value: impl Fn(&[Raw]) -> Value) -> Value {
    let keys: BTreeSet<(&str, i64)> = RAW.into_iter().map(|(at, page, _, _)| (page, hour(at))).collect();
    let rows = keys.into_iter().map(|(name, at)| {
        let seen = of(|(minute, page, _, _)| *page == name && hour(*minute) <= last(at));
        json!({"page": name, "hour": hour_text(at), "v": value(&seen)})
    });
    rows.collect()
}

#[tokio::test]
async fn windows_merge_the_states_of_their_frame() {
    let world = world().await;
    let select = |window: &str| format!("SELECT page, hour, {window} AS v FROM by_page ORDER BY page, hour");
    for (window, expected) in [
        ("MEASURE(editors) OVER (PARTITION BY page)", over_hours(|_| i64::MAX, |rows| editors(rows).into())),
        ("MEASURE(editors) OVER (PARTITION BY page ORDER BY hour)", over_hours(|at| at, |rows| editors(rows).into())),
        ("MEASURE(edits) OVER (PARTITION BY page ORDER BY hour)", over_hours(|at| at, |rows| edits(rows).into())),
        (
            "MEASURE(mean_added) OVER (PARTITION BY page ORDER BY hour \
             ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
            over_hours(|at| at, |rows| (added(rows) / edits(rows) as i64).into()),
        ),
        // Two windows, one above the other.
        (
            "MEASURE(added) OVER (PARTITION BY page ORDER BY hour) - MEASURE(added) OVER (PARTITION BY page, hour)",
            over_hours(|at| at - 1, |rows| added(rows).into()),
        ),
    ] {
        check(&world, &select(window), expected).await;
    }
    check(
        &world,
        "SELECT DISTINCT MEASURE(editors) OVER () AS v, MEASURE(editors) FILTER (WHERE page = 'C') OVER () AS c \
         FROM by_page",
        json!([{"v": editors(&of(|_| true)), "c": editors(&page("C"))}]),
    )
    .await;
    let sliding = "MEASURE(editors) OVER (ORDER BY hour ROWS BETWEEN 1 PRECEDING AND CURRENT ROW)";
    let error = world.sql(&select(sliding)).await.unwrap_err();
    assert!(error.to_string().contains("UNBOUNDED PRECEDING"), "{error}");
    // The way out that it tells: the hour and the one before it.
    let pairs = [0, 1, 25].map(|at| {
        let rows = of(|(minute, ..)| (at - 1..=at).contains(&hour(*minute)));
        json!({"hour": hour_text(at), "n": edits(&rows), "e": editors(&rows)})
    });
    check(
        &world,
        "SELECT h.hour AS hour, MEASURE(v.edits) AS n, MEASURE(v.editors) AS e \
         FROM (SELECT DISTINCT hour FROM by_page) h \
         JOIN by_page v ON v.hour BETWEEN h.hour - INTERVAL '1 hour' AND h.hour GROUP BY h.hour ORDER BY hour",
        pairs.into_iter().collect(),
    )
    .await;
}

#[tokio::test]
async fn an_order_may_repeat_a_column_of_the_answer() {
    let world = world().await;
    let row = |name: &'static str| json!({"page": name, "editors": editors(&page(name))});
    for order in [
        "MEASURE(editors) DESC, page",
        "measure(editors) DESC, page",
        "-MEASURE(editors), page",
        "editors DESC, page",
        "2 DESC, 1",
    ] {
        check(
            &world,
            &format!("SELECT page, MEASURE(editors) AS editors FROM by_page GROUP BY page ORDER BY {order}"),
            json!([row("A"), row("B"), row("C")]),
        )
        .await;
    }
    check(
        &world,
        "SELECT page, sum(added) AS added FROM by_page GROUP BY page ORDER BY sum(added) LIMIT 1",
        json!([{"page": "B", "added": added(&page("B"))}]),
    )
    .await;
}

#[tokio::test]
async fn it_stands_in_expressions_conditions_and_subqueries() {
    let world = world().await;
    let (all, others) = (of(|_| true), of(|(_, page, _, _)| *page != "B"));
    for (sql, expected) in [
        (
            "SELECT MEASURE(added) / MEASURE(edits) AS m, MEASURE(mean_added) AS same FROM by_page",
            json!([{"m": added(&all) / 12, "same": added(&all) / 12}]),
        ),
        (
            "WITH v AS (SELECT * FROM by_page WHERE page <> 'B') \
             SELECT (SELECT MEASURE(editors) FROM v) AS e, MEASURE(edits) AS n FROM v",
            json!([{"e": editors(&others), "n": edits(&others)}]),
        ),
        (
            "SELECT page, MEASURE(editors) AS editors FROM by_page GROUP BY page \
             QUALIFY row_number() OVER (ORDER BY MEASURE(edits) DESC) = 1",
            json!([{"page": "A", "editors": editors(&page("A"))}]),
        ),
        (
            "SELECT t.page AS page, (SELECT MEASURE(v.editors) FROM by_page v WHERE v.page = t.page) AS e \
             FROM totals t ORDER BY page",
            json!(["A", "B", "C"].map(|name| json!({"page": name, "e": editors(&page(name))}))),
        ),
        (
            "SELECT p.page AS page, (SELECT MEASURE(v.editors) FROM by_page v WHERE v.page = p.page) AS e \
             FROM (VALUES ('A'), ('Z')) AS p(page) ORDER BY page",
            json!([{"page": "A", "e": editors(&page("A"))}, {"page": "Z", "e": 0}]),
        ),
        (
            "SELECT sum(n) AS n FROM (SELECT page, MEASURE(edits) AS n FROM by_page GROUP BY page)",
            json!([{"n": edits(&all)}]),
        ),
        (
            "SELECT MEASURE(editors) AS e FROM (SELECT *, row_number() OVER (PARTITION BY page ORDER BY hour) AS nth \
             FROM by_page) WHERE nth = 1",
            json!([{"e": editors(&of(|(at, page, _, _)| hour(*at) == match *page { "A" => 0, _ => 1 }))}]),
        ),
        // A measure that only a subquery asks for, by the name it has outside.
        (
            "SELECT MEASURE(v.editors) AS e FROM by_page v \
             WHERE EXISTS (SELECT 1 FROM totals t WHERE t.page = v.page AND t.edits = v.edits)",
            json!([{"e": editors(&page("B"))}]),
        ),
        (
            "SELECT MEASURE(v.editors) AS e FROM by_page v \
             WHERE EXISTS (SELECT 1 FROM totals t WHERE t.page = v.page AND t.edits > v.edits)",
            json!([{"e": editors(&of(|(_, page, _, _)| *page != "B"))}]),
        ),
        // One view twice under one name: each measure is merged from its own rows.
        (
            "SELECT MEASURE(x) AS x, MEASURE(y) AS y FROM (SELECT a.editors AS x, b.editors AS y \
             FROM by_page a JOIN by_page b ON a.hour = b.hour AND a.page = 'A' AND b.page = 'C') both_of_them",
            json!([{"x": editors(&of(|(at, page, _, _)| *page == "A" && hour(*at) != 0)), "y": editors(&page("C"))}]),
        ),
    ] {
        check(&world, sql, expected).await;
    }
}

#[tokio::test]
async fn a_join_that_repeats_no_row_is_merged_over() {
    let world = world().await;
    let (all, a) = (of(|_| true), page("A"));
    for (join, rows) in [
        ("by_page v JOIN totals t ON v.page = t.page", &all),
        ("by_page v, totals t WHERE v.page = t.page AND t.edits > 3", &a),
        ("by_page v LEFT JOIN totals t ON t.page = v.page AND t.edits > 100", &all),
        ("totals t RIGHT JOIN by_page v ON t.page = v.page", &all),
        ("by_page v CROSS JOIN (SELECT max(edits) AS most FROM totals) t", &all),
        ("by_page v CROSS JOIN (SELECT page FROM totals ORDER BY page LIMIT 1) t", &all),
        ("by_page v JOIN (SELECT DISTINCT page FROM by_page) t ON v.page = t.page", &all),
        ("by_page v JOIN (SELECT page AS p, max(hour) AS h FROM by_page GROUP BY page) t ON v.page = t.p", &all),
        ("by_page v JOIN (VALUES ('A'), ('Z')) AS t(p) ON t.p = v.page", &a),
        ("by_page v JOIN by_page w ON v.page = w.page AND v.hour = w.hour", &all),
        ("by_page v JOIN totals t ON v.page = t.page JOIN totals u ON u.page = t.page", &all),
        ("by_page v WHERE v.page IN (SELECT page FROM by_page WHERE page = 'A')", &a),
        ("by_page v WHERE EXISTS (SELECT 1 FROM by_page w WHERE w.page = v.page AND w.page = 'A')", &a),
    ] {
        let sql = format!("SELECT MEASURE(v.edits) AS n, MEASURE(v.added) AS a, MEASURE(v.editors) AS e FROM {join}");
        check(&world, &sql, json!([{"n": edits(rows), "a": added(rows), "e": editors(rows)}])).await;
    }
}

#[tokio::test]
async fn a_join_that_may_repeat_rows_is_refused_unless_states_do_not_mind() {
    let world = world().await;
    for join in [
        "totals t JOIN by_page v ON v.page = t.page",
        "totals t CROSS JOIN by_page v",
        "totals t, by_page v WHERE v.page = t.page",
        "totals t LEFT JOIN by_page v ON v.page = t.page",
        "by_page v FULL JOIN totals t ON v.page = t.page",
        "totals t JOIN by_page v ON v.page = t.page AND v.hour > '2026-01-01T01:00:00Z'",
        "totals t JOIN (SELECT page, hour FROM by_page) v ON v.page = t.page",
        "totals t JOIN (VALUES ('A'), ('A')) AS v(page) ON v.page = t.page",
        "totals t JOIN (SELECT page FROM by_page UNION ALL SELECT page FROM by_page) v ON v.page = t.page",
        "totals t JOIN (SELECT upper(page) AS page FROM totals) v ON v.page = t.page",
        "(SELECT * FROM totals) t JOIN by_page v USING (page)",
    ] {
        let error = world.sql(&format!("SELECT MEASURE(t.edits) AS n FROM {join}")).await.err();
        let error = error.unwrap_or_else(|| panic!("{join} was merged"));
        assert!(error.to_string().contains("may repeat rows of view totals"), "{join}: {error}");
        assert_eq!(error.problem().status().as_u16(), 400, "{join}");
    }
    // The greatest of values, and the distinct ones, are the same however often a row is there.
    let all = of(|_| true);
    check(
        &world,
        "SELECT MEASURE(t.largest) AS most FROM totals t JOIN by_page v ON v.page = t.page",
        json!([{"most": all.iter().map(|row| row.3).max()}]),
    )
    .await;
    check(&world, "SELECT MEASURE(v.editors) AS e FROM by_page v CROSS JOIN by_page w", json!([{"e": editors(&all)}]))
        .await;
    // What a group has in common with one row alone repeats none inside the group.
    let until = |last: i64| of(|(at, ..)| hour(*at) <= last);
    let spine = "(SELECT DISTINCT hour FROM by_page) h JOIN by_page v ON v.hour <= h.hour";
    check(
        &world,
        &format!("SELECT h.hour AS hour, MEASURE(v.edits) AS n FROM {spine} GROUP BY h.hour ORDER BY hour"),
        [0, 1, 25].map(|at| json!({"hour": hour_text(at), "n": edits(&until(at))})).into_iter().collect(),
    )
    .await;
    for grouped in ["", "GROUP BY v.page", "GROUP BY ROLLUP(h.hour)"] {
        let error = world.sql(&format!("SELECT MEASURE(v.edits) AS n FROM {spine} {grouped}")).await.unwrap_err();
        assert!(error.to_string().contains("may repeat rows of view by_page"), "{grouped}: {error}");
    }
    // The way out that the refusal tells.
    check(
        &world,
        "SELECT MEASURE(t.edits) AS n FROM totals t JOIN (SELECT DISTINCT page FROM by_page) v ON v.page = t.page",
        json!([{"n": edits(&all)}]),
    )
    .await;
}

#[tokio::test]
async fn rows_without_a_match_have_no_states() {
    let world = world().await;
    let a = page("A");
    check(
        &world,
        "SELECT p.page AS page, MEASURE(v.edits) AS n, MEASURE(v.editors) AS e, MEASURE(v.added) AS a, \
         MEASURE(v.mean_added) AS m FROM (VALUES ('A'), ('Z')) AS p(page) LEFT JOIN by_page v ON v.page = p.page \
         GROUP BY p.page ORDER BY page",
        json!([{"page": "A", "n": edits(&a), "e": editors(&a), "a": added(&a), "m": added(&a) / edits(&a) as i64},
               {"page": "Z", "n": 0, "e": 0, "a": null, "m": null}]),
    )
    .await;
    let nothing = "SELECT MEASURE(edits) AS n, MEASURE(added) AS a FROM by_page WHERE page = 'Z'";
    check(&world, nothing, json!([{"n": 0, "a": null}])).await;
}

#[tokio::test]
async fn subqueries_that_refer_to_the_query_around_them_are_joins() {
    let world = world().await;
    let days = "(SELECT DISTINCT date_trunc('day', hour) AS day FROM by_page) d";
    let (first, second) = (of(|(at, ..)| *at < 1_440), of(|(at, ..)| *at >= 1_440));
    check(
        &world,
        &format!(
            "SELECT d.day AS day, \
             (SELECT sum(h.edits) FROM by_page h WHERE date_trunc('day', h.hour) = d.day) AS n, \
             (SELECT MEASURE(h.editors) FROM by_page h WHERE d.day = date_trunc('day', h.hour)) AS e, \
             (SELECT count(*) FROM by_page h WHERE date_trunc('day', h.hour) = d.day AND h.page = 'B') AS b \
             FROM {days} ORDER BY day"
        ),
        json!([{"day": "2026-01-01T00:00:00Z", "n": edits(&first), "e": editors(&first), "b": 1},
               {"day": "2026-01-02T00:00:00Z", "n": edits(&second), "e": editors(&second), "b": 0}]),
    )
    .await;
    check(
        &world,
        &format!(
            "SELECT d.day AS day, (SELECT count(*) FROM by_page h WHERE h.hour = d.day) > 0 AS e FROM {days} \
             ORDER BY day"
        ),
        json!([{"day": "2026-01-01T00:00:00Z", "e": true}, {"day": "2026-01-02T00:00:00Z", "e": false}]),
    )
    .await;
    // As the refusals below advise.
    check(
        &world,
        &format!(
            "SELECT d.day AS day, sum(h.edits) AS n FROM {days} LEFT JOIN by_page h ON h.hour < d.day \
             GROUP BY d.day ORDER BY day"
        ),
        json!([{"day": "2026-01-01T00:00:00Z", "n": null}, {"day": "2026-01-02T00:00:00Z", "n": edits(&first)}]),
    )
    .await;
    for (sql, reason) in [
        (
            format!(
                "SELECT d.day, EXISTS (SELECT 1 FROM by_page h WHERE date_trunc('day', h.hour) = d.day \
                 GROUP BY ROLLUP(h.page)) AS e FROM {days}"
            ),
            "EXISTS over a subquery that refers to the query around it cannot have ROLLUP",
        ),
        (
            format!("SELECT d.day, EXISTS (SELECT 1 FROM by_page h WHERE h.hour = d.day) AS e FROM {days}"),
            "EXISTS over a subquery can stand in WHERE and HAVING alone; elsewhere compare (SELECT count(*)",
        ),
        (
            format!("SELECT d.day, (SELECT sum(h.edits) FROM by_page h WHERE h.hour < d.day) AS n FROM {days}"),
            "a subquery that refers to the query around it can aggregate only if",
        ),
    ] {
        let error = world.sql(&sql).await.err().unwrap_or_else(|| panic!("{sql} was run"));
        assert!(error.to_string().contains(reason), "{sql}: {error}");
        assert_eq!(error.problem().status().as_u16(), 400, "{sql}: {error}");
    }
}

#[tokio::test]
async fn what_cannot_be_merged_is_told_in_words_of_the_query() {
    let world = world().await;
    for (sql, reason) in [
        ("SELECT MEASURE(DISTINCT editors) FROM by_page", "no DISTINCT"),
        ("SELECT MEASURE(editors ORDER BY hour) FROM by_page", "MEASURE takes no DISTINCT, ORDER BY"),
        ("SELECT MEASURE(page) OVER () FROM by_page", "page is a dimension of view by_page"),
        ("SELECT MEASURE(editors + 1) OVER () FROM by_page", "plain name of one measure"),
        ("SELECT MEASURE(e) FROM (SELECT DISTINCT editors AS e FROM by_page)", "only WHERE, joins, UNION ALL"),
        (
            "SELECT MEASURE(e) FROM (SELECT edits AS e FROM by_page UNION ALL SELECT edits FROM totals)",
            "one measure of one view in all branches",
        ),
        (
            "SELECT MEASURE(e) FROM (SELECT edits AS e FROM by_page UNION ALL SELECT added FROM by_page)",
            "one measure of one view in all branches",
        ),
        ("SELECT MEASURE(e) FROM (SELECT edits AS e FROM by_page UNION ALL SELECT 1)", "not an expression"),
    ] {
        let error = world.sql(sql).await.err().unwrap_or_else(|| panic!("{sql} was run"));
        let (status, text) = (error.problem().status().as_u16(), error.to_string());
        assert!(status == 400 && text.contains(reason), "{sql}: {status} {text}");
        let internals = ["_state_", "_united_", "_measure_", "_key_", "__grouping_id", "qualified field", "states."];
        assert!(!internals.iter().any(|word| text.contains(word)), "{sql}: {text}");
    }
}
