//! Rows requests: filters, roll-ups, order, layers, tokens, and what is refused.

use datafusion::assert_batches_eq;
use edge::Principal;
use query_gateway::{GatewayError, GatewaySettings, SqlRequest};
use tokio::task::JoinSet;

use super::world::{World, check_against_fold, event, request};

/// Batch holds the first events, realtime the rest.
async fn world() -> World {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5), event(5, "A", "bob", 2)]);
    world.append_run(0).await;
    world.send(1, [event(1, "A", "cat", 7), event(61, "C", "cat", 1)]);
    world.append_run(1).await;
    world.publish("by_page", &[3, 0]).await;
    world.publish("totals", &[3, 0]).await;
    world.expire(0, 3).await;
    world.send(0, [event(3, "A", "ann", 4), event(71, "B", "dan", 6)]);
    world.append_run(0).await;
    world
}

async fn check(parameters: &[(&str, &str)], expected: &[&str]) {
    let world = world().await;
    let answer = world.rows("by_page", parameters).await.unwrap();
    let shown: Vec<usize> = answer
        .rows
        .schema()
        .fields()
        .iter()
        .enumerate()
        .filter(|(_, field)| {
            ["page", "hour", "edits", "added", "editors", "mean_added"].contains(&field.name().as_str())
        })
        .map(|(index, _)| index)
        .collect();
    assert_batches_eq!(expected, &[answer.rows.project(&shown).unwrap()]);
}

#[tokio::test]
async fn all_dimensions_are_the_grain_unless_said_otherwise() {
    let world = world().await;
    check_against_fold(&world, &world.rows("by_page", &[]).await.unwrap());
    check(
        &[],
        &[
            "+------+----------------------+-------+-------+---------+------------+",
            "| page | hour                 | edits | added | editors | mean_added |",
            "+------+----------------------+-------+-------+---------+------------+",
            "| A    | 2026-01-01T00:00:00Z | 4     | 16    | 3       | 4          |",
            "| B    | 2026-01-01T01:00:00Z | 2     | 11    | 2       | 5          |",
            "| C    | 2026-01-01T01:00:00Z | 1     | 1     | 1       | 1          |",
            "+------+----------------------+-------+-------+---------+------------+",
        ],
    )
    .await;
}

#[tokio::test]
async fn roll_ups_merge_states() {
    check(
        &[("by", "hour"), ("order", "-edits")],
        &[
            "+----------------------+-------+-------+---------+------------+",
            "| hour                 | edits | added | editors | mean_added |",
            "+----------------------+-------+-------+---------+------------+",
            "| 2026-01-01T00:00:00Z | 4     | 16    | 3       | 4          |",
            "| 2026-01-01T01:00:00Z | 3     | 12    | 3       | 4          |",
            "+----------------------+-------+-------+---------+------------+",
        ],
    )
    .await;
    check(
        &[("by", "")],
        &[
            "+-------+-------+---------+------------+",
            "| edits | added | editors | mean_added |",
            "+-------+-------+---------+------------+",
            "| 7     | 28    | 4       | 4          |",
            "+-------+-------+---------+------------+",
        ],
    )
    .await;
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let only = |page: &str| {
        [
            "+------+-------+-------+---------+------------+".to_owned(),
            "| page | edits | added | editors | mean_added |".to_owned(),
            "+------+-------+-------+---------+------------+".to_owned(),
            match page {
                "A" => "| A    | 4     | 16    | 3       | 4          |".to_owned(),
                _ => "| B    | 2     | 11    | 2       | 5          |".to_owned(),
            },
            "+------+-------+-------+---------+------------+".to_owned(),
        ]
    };
    for (page, parameters) in [
        ("A", vec![("page", "A")]),
        ("A", vec![("page.eq", "A"), ("hour", "2026-01-01T00:00:00Z")]),
        ("A", vec![("to", "2026-01-01T01:00:00Z")]),
        ("A", vec![("hour.lt", "2026-01-01 01:00:00")]),
        ("A", vec![("page.le", "A"), ("hour.ge", "2026-01-01T00:00:00Z")]),
        ("B", vec![("page.gt", "A"), ("page.lt", "C"), ("page.is", "not_null")]),
        ("B", vec![("page", "B"), ("page", "X"), ("from", "2026-01-01T01:00:00Z")]),
    ] {
        let mut all = parameters.clone();
        all.push(("by", "page"));
        let expected = only(page);
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&all, &expected).await;
    }
    let world = world().await;
    for nothing in [("page", "X"), ("page.is", "null"), ("from", "2027-01-01T00:00:00Z")] {
        assert_eq!(world.rows("by_page", &[nothing]).await.unwrap().rows.num_rows(), 0, "{nothing:?}");
    }
}

#[tokio::test]
async fn order_and_limit_choose_the_top_and_ties_go_by_dimension() {
    check(
        &[("by", "page"), ("order", "-editors,-page"), ("limit", "2")],
        &[
            "+------+-------+-------+---------+------------+",
            "| page | edits | added | editors | mean_added |",
            "+------+-------+-------+---------+------------+",
            "| A    | 4     | 16    | 3       | 4          |",
            "| B    | 2     | 11    | 2       | 5          |",
            "+------+-------+-------+---------+------------+",
        ],
    )
    .await;
}

#[tokio::test]
async fn layers_show_what_each_part_holds() {
    let world = world().await;
    for (parameter, edits, heads) in [
        (("layer", "merged"), 7, [5, 2]),
        (("layer", "batch"), 3, [3, 0]),
        (("consistency", "batch"), 3, [3, 0]),
        (("layer", "realtime"), 4, [5, 2]),
    ] {
        let answer = world.rows("by_page", &[("by", ""), parameter]).await.unwrap();
        let expected = format!(r#"{{"rows":[{{"edits":{edits},"#);
        assert!(answer.to_json().unwrap().starts_with(&expected), "{parameter:?}: {}", answer.to_json().unwrap());
        assert_eq!(answer.envelope.head.values().map(|head| head.0).collect::<Vec<_>>(), heads);
    }
    let parts = world.rows("by_page", &[("by", "page"), ("page", "A"), ("parts", "true")]).await.unwrap();
    let text = parts.to_json().unwrap();
    for part in [r#""_batch":{"edits":2,"added":5,"editors":2,"#, r#""_realtime":{"edits":2,"added":11,"editors":2,"#] {
        assert!(text.contains(part), "{text} does not hold {part}");
    }
}

#[tokio::test]
async fn values_have_one_json_form_per_type() {
    let world = World::new();
    world.send(0, [event(0, "say \"hi\"\n", "ann", 9_007_199_254_740_993)]);
    world.append_run(0).await;
    let text = world.rows("by_page", &[]).await.unwrap().to_json().unwrap();
    let expected = concat!(
        r#"{"rows":[{"page":"say \"hi\"\n","hour":"2026-01-01T00:00:00Z","edits":1,"added":9007199254740993,"#,
        r#""editors":1,"mean_added":9007199254740993,"price":""#
    );
    assert!(text.starts_with(expected), "{text}");
    serde_json::from_str::<serde_json::Value>(&text).unwrap();
    for (value, expected) in [
        ("0.0 / (edits - 1.0)", r#""NaN""#),
        ("1.0 / (edits - 1.0)", r#""Infinity""#),
        ("-1.0 / (edits - 1.0)", r#""-Infinity""#),
        ("0.5", "0.5"),
        ("CAST(1.20 AS DECIMAL(5, 2))", r#""1.20""#),
        ("NULL", "null"),
        ("true", "true"),
        ("DATE '2026-01-31'", r#""2026-01-31""#),
        ("TIMESTAMP '2026-01-31T10:00:00.5'", r#""2026-01-31T10:00:00.500Z""#),
        ("[1, 2]", "[1,2]"),
    ] {
        let text = world.sql(&format!("SELECT {value} AS value FROM by_page")).await.unwrap().to_json().unwrap();
        assert!(text.starts_with(&format!(r#"{{"rows":[{{"value":{expected}}}]"#)), "{value}: {text}");
    }
}

#[tokio::test]
async fn a_token_waits_for_the_events_behind_it_across_a_publication() {
    let world = world().await;
    let covered = world.token(0, 0);
    assert!(world.rows("by_page", &[("after", &covered)]).await.is_ok());
    world.send(1, [event(8, "E", "gil", 1)]);
    let token = world.token(1, 0);
    let error = world.rows("by_page", &[("after", &token), ("timeout", "30ms")]).await.unwrap_err();
    let GatewayError::NotYet { behind, .. } = &error else { panic!("{error}") };
    assert_eq!((behind[0].partition.0, behind[0].asked.0, behind[0].reached.0), (1, 3, 2));
    assert_eq!(error.problem().status().as_u16(), 504);
    let parameters = [("after", token.as_str()), ("timeout", "30s"), ("page", "E")];
    let (answer, ()) = tokio::join!(world.rows("by_page", &parameters), async {
        world.publish("by_page", &[5, 3]).await;
    });
    assert_eq!(answer.unwrap().rows.num_rows(), 1);
    let parameters = [("after", token.as_str()), ("timeout", "30s"), ("consistency", "batch")];
    assert_eq!(world.rows("by_page", &parameters).await.unwrap().envelope.realtime_rows, 0);
}

#[tokio::test]
async fn a_request_that_is_not_understood_is_told_what_exists() {
    let world = world().await;
    let columns = "page, hour";
    for (view, parameter, reason, known) in [
        ("nothing", ("by", ""), "there is no view `nothing`", "by_page, totals"),
        ("by_page", ("pag", "A"), "no dimension or parameter `pag`", columns),
        ("by_page", ("edits", "3"), "is a measure", columns),
        ("by_page", ("page.has", "A"), "`page.has`: there is no test `.has`", "eq, in, ne, like, ge, gt, le, lt, is"),
        ("by_page", ("page.is", "empty"), "`page.is` must be null or not_null, got `empty`", "null, not_null"),
        ("by_page", ("by", "page,paeg"), "no dimension `paeg`", columns),
        ("by_page", ("order", "-edit"), "no column `edit`", "page, hour, edits, added"),
        ("by_page", ("limit", "0"), "`limit` must be 1 to 10000, got `0`", ""),
        ("by_page", ("limit", "many"), "`limit` must be 1 to 10000, got `many`", ""),
        (
            "by_page",
            ("layer", "speed"),
            "`layer` must be merged, batch or realtime, got `speed`",
            "merged, batch, realtime",
        ),
        ("by_page", ("consistency", "strong"), "`consistency` must be latest or batch, got `strong`", "latest, batch"),
        ("by_page", ("version", "new"), "`version` must be a whole number of at least 0, got `new`", ""),
        ("by_page", ("after", "xyz"), "not a position token", ""),
        ("by_page", ("timeout", "5"), "`timeout` must be a span of time such as '500ms', '30s'", ""),
        ("by_page", ("timeout", "999999999999d"), "`timeout` is too large, got `999999999999d`", ""),
        (
            "by_page",
            ("hour.ge", "noon"),
            "`hour.ge` must be a TIMESTAMP such as `2026-01-31T12:00:00Z`, got `noon`",
            "",
        ),
        ("by_page", ("from", "noon"), "`from` must be a TIMESTAMP such as `2026-01-31T12:00:00Z`, got `noon`", ""),
        ("totals", ("from", "2026-01-01T00:00:00Z"), "has no time dimension", "page"),
    ] {
        let error = world.rows(view, &[parameter]).await.unwrap_err();
        let problem = error.problem();
        assert_eq!(problem.status().as_u16(), if view == "nothing" { 404 } else { 400 }, "{parameter:?}: {error}");
        assert!(problem.detail().contains(reason), "{parameter:?}: {error}");
        assert!(problem.known().join(", ").starts_with(known), "{parameter:?}: {:?}", problem.known());
    }
    let twice = world.rows("by_page", &[("limit", "1"), ("limit", "2")]).await.unwrap_err();
    assert!(twice.to_string().contains("given twice"), "{twice}");
}

#[tokio::test]
async fn a_version_that_does_not_cover_a_token_is_refused_at_once() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5)]);
    world.append_run(0).await;
    let older = world.publish("by_page", &[1, 0]).await.to_string();
    let newer = world.publish("by_page", &[2, 0]).await.to_string();
    let token = world.token(0, 0);
    let of = |version: &str| [("after", token.clone()), ("version", version.to_owned()), ("timeout", "30s".to_owned())];
    let ask = async |version: &str| {
        let parameters = of(version);
        let parameters: Vec<(&str, &str)> = parameters.iter().map(|(name, value)| (*name, value.as_str())).collect();
        world.rows("by_page", &parameters).await
    };
    let error = ask(&older).await.unwrap_err();
    let GatewayError::NotInVersion { behind, .. } = &error else { panic!("{error}") };
    assert_eq!((behind[0].partition.0, behind[0].asked.0, behind[0].reached.0), (0, 2, 1));
    let problem = error.problem();
    let told = problem.member("behind").and_then(serde_json::Value::as_array).map(Vec::len);
    assert_eq!((problem.status().as_u16(), told), (409, Some(1)));
    assert_eq!(ask(&newer).await.unwrap().envelope.version.unwrap().to_string(), newer);
}

#[tokio::test]
async fn a_total_that_does_not_fit_is_told_also_where_the_measure_does_not_show_it() {
    let pipeline = r#"
CREATE UNBOUNDED EXTERNAL TABLE edits (
  time TIMESTAMP NOT NULL, page VARCHAR, "user" VARCHAR, added BIGINT, price DECIMAL(10, 2), weight DOUBLE
) STORED AS JSON LOCATION 'kafka://edits' OPTIONS (event_time 'time', partitions '2');

CREATE MATERIALIZED VIEW padded AS SELECT page, coalesce(sum(added), 0) AS added FROM edits GROUP BY page;
"#;
    let world = World::on(pipeline, GatewaySettings::default());
    world.send(0, [event(0, "A", "ann", i64::MAX), event(1, "A", "bob", 1), event(2, "B", "cat", 2)]);
    world.append_run(0).await;
    world.own(1).await;
    let answer = world.rows("padded", &[]).await.unwrap();
    let drawn = [
        "+------+-------+",
        "| page | added |",
        "+------+-------+",
        "| A    | 0     |",
        "| B    | 2     |",
        "+------+-------+",
    ];
    assert_batches_eq!(drawn, std::slice::from_ref(&answer.rows));
    let told = &answer.envelope.overflows["added"];
    assert_eq!((told.groups, told.hint.contains("CAST(x AS DECIMAL(38, 0))")), (1, true), "{told:?}");
    let small = world.rows("padded", &[("page", "B")]).await.unwrap();
    assert!(small.envelope.overflows.is_empty(), "{:?}", small.envelope.overflows);
}

#[tokio::test]
async fn requests_that_wait_do_not_stand_in_the_way_of_others() {
    let settings = GatewaySettings { max_queries: 1, max_sql_queries: 1, max_waiting: 2, ..GatewaySettings::default() };
    let world = World::with_settings(settings);
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run(0).await;
    world.own(1).await;
    let token = world.token(0, 1);
    let waiting = [("after", token.as_str()), ("timeout", "30s")];
    let sql = SqlRequest {
        after: Some(token.clone()),
        timeout: Some("30s".to_owned()),
        ..SqlRequest::new("SELECT page FROM by_page")
    };
    // As tasks, which go on whoever else asks: each may hold what another waits for.
    let mut waiters = JoinSet::new();
    for _ in 0..2 {
        let (gateway, request) = (world.gateway.clone(), request("by_page", &waiting));
        waiters.spawn(
            async move { gateway.rows(&Principal::anyone(), request).await.map(|answer| answer.rows.num_rows()) },
        );
    }
    let gateway = world.gateway.clone();
    waiters.spawn(async move { gateway.sql(&Principal::anyone(), sql).await.map(|answer| answer.rows.num_rows()) });
    let refused = waiters.join_next().await.unwrap().unwrap().unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("2 requests are waiting for a position token, the maximum (`gateway.max_waiting`)"),
        "{refused}"
    );
    assert_eq!(refused.problem().status().as_u16(), 429);
    assert_eq!(world.rows("by_page", &[]).await.unwrap().rows.num_rows(), 1);
    assert_eq!(world.sql("SELECT page FROM by_page").await.unwrap().rows.num_rows(), 1);
    world.send(0, [event(0, "B", "bob", 1)]);
    world.append_run(0).await;
    // In turn: both limits on running queries are 1.
    while let Some(rows) = waiters.join_next().await {
        assert_eq!(rows.unwrap().unwrap(), 2);
    }
}
