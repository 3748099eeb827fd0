//! Parameters of SQL: values beside the text, typed by their place.

use edge::Principal;
use query_gateway::{GatewayError, SqlAnswer, SqlParams, SqlRequest};
use serde_json::{Value, json};

use super::http::serve;
use super::sql::world;
use super::world::World;

async fn ask(world: &World, sql: &str, params: Value) -> Result<SqlAnswer, GatewayError> {
    let params: SqlParams = serde_json::from_value(params).unwrap();
    world.gateway.sql(&Principal::anyone(), SqlRequest { params, ..SqlRequest::new(sql) }).await
}

#[tokio::test]
async fn values_are_put_in_by_place_and_by_name() {
    let world = world().await;
    for (sql, params, rows) in [
        ("SELECT sum(edits) AS c FROM by_page WHERE page = $1", json!(["A"]), r#"[{"c":3}]"#),
        ("SELECT sum(edits) AS c FROM by_page WHERE page = $1", json!(["B"]), r#"[{"c":1}]"#),
        ("SELECT sum(edits) AS c FROM by_page WHERE page = $1", json!([null]), r#"[{"c":null}]"#),
        ("SELECT sum(edits) AS c FROM by_page WHERE page = $1", json!(["' OR true --"]), r#"[{"c":null}]"#),
        ("SELECT sum(edits) AS c FROM by_page WHERE page = $page", json!({"page": "A"}), r#"[{"c":3}]"#),
        ("SELECT MEASURE(editors) AS c FROM by_page WHERE page IN ($1, $2)", json!(["A", "B"]), r#"[{"c":3}]"#),
        (
            "SELECT page FROM by_page WHERE hour = $1 ORDER BY page LIMIT $2",
            json!(["2026-01-01T00:00:00Z", 1]),
            r#"[{"page":"A"}]"#,
        ),
        (
            "SELECT page FROM totals WHERE largest BETWEEN $low AND $high AND page <> $low_page ORDER BY page",
            json!({"low": 1, "high": 5.0, "low_page": "C"}),
            r#"[{"page":"B"}]"#,
        ),
        ("SELECT count(*) AS c FROM by_page WHERE price > $1", json!([0.5]), r#"[{"c":3}]"#),
        // Beyond the scale of the column: 0.60 is one of its values.
        ("SELECT count(*) AS c FROM by_page WHERE price > $1", json!([0.595]), r#"[{"c":2}]"#),
        (
            "SELECT $1 AS a, $2 AS b, $3 AS c, $4 AS d",
            json!([1, "x", true, null]),
            r#"[{"a":1,"b":"x","c":true,"d":null}]"#,
        ),
        ("SELECT edits + $1 AS n, $1 AS m FROM totals WHERE page = 'A'", json!([40]), r#"[{"n":43,"m":40}]"#),
    ] {
        let answer = ask(&world, sql, params.clone()).await.unwrap_or_else(|error| panic!("{sql} {params}: {error}"));
        let text = answer.to_json().unwrap();
        assert!(text.starts_with(&format!(r#"{{"rows":{rows},"#)), "{sql} {params}: {text}");
    }
}

#[tokio::test]
async fn what_does_not_fit_is_named() {
    let world = world().await;
    for (sql, params, reason) in [
        ("SELECT page FROM by_page WHERE page = $1", json!([]), "parameter $1 has no value"),
        ("SELECT page FROM by_page WHERE page = $name", json!({}), "parameter $name has no value"),
        ("SELECT page FROM by_page WHERE page = $2", json!(["A", "B"]), "the query has no parameter $1"),
        ("SELECT page FROM by_page WHERE page = $a", json!({"a": "A", "b": 1}), "the query has no parameter $b"),
        ("SELECT page FROM by_page", json!(["A"]), "the query has no parameter $1"),
        ("SELECT page FROM by_page WHERE edits = $1", json!(["x"]), "parameter $1 must be a BIGINT, and \"x\" is none"),
        ("SELECT page FROM by_page WHERE edits = $1", json!([1.5]), "parameter $1 must be a BIGINT, and 1.5 is none"),
        ("SELECT page FROM by_page WHERE edits = $1", json!([true]), "parameter $1 must be a BIGINT, and true is none"),
        ("SELECT page FROM by_page WHERE hour = $at", json!({"at": "soon"}), "parameter $at must be a TIMESTAMP"),
        ("SELECT page FROM by_page WHERE hour = $at", json!({"at": 7}), "parameter $at must be a TIMESTAMP"),
        ("SELECT page FROM by_page WHERE page = $1", json!([["A"]]), "parameter $1 is a list or an object"),
    ] {
        let error = ask(&world, sql, params.clone()).await.err().unwrap_or_else(|| panic!("{sql} {params} was run"));
        assert!(error.to_string().contains(reason), "{sql} {params}: {error}");
        assert_eq!(error.problem().status().as_u16(), 400, "{sql} {params}: {error}");
    }
    let large = ask(&world, "SELECT $1 AS x", json!(["x".repeat(20_000)])).await.unwrap_err();
    assert_eq!(large.problem().status().as_u16(), 413, "{large}");
}

#[tokio::test]
async fn they_come_in_the_body() {
    let served = serve().await;
    let body = json!({"sql": "SELECT sum(added) AS c FROM by_page WHERE page = $1", "params": ["B & C"]});
    let (status, _, text) = served.post_sql(body.to_string()).await;
    assert_eq!((status, text.starts_with(r#"{"rows":[{"c":5}]"#)), (200, true), "{text}");
    let wrong = json!({"sql": "SELECT 1 AS one", "params": "A"});
    let (status, _, text) = served.post_sql(wrong.to_string()).await;
    assert_eq!((status, text.contains("`params` must be a list or an object")), (400, true), "{text}");
}
