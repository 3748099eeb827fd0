//! Rows that do not fit into one answer: what is told of the rest, and how a client goes on. Columns, and integers as
//! text.

use std::collections::BTreeSet;

use edge::Principal;
use query_gateway::{RowsAnswer, SqlRequest};
use serde_json::{Value, json};

use super::world::{Event, World, event};

fn numbered(number: usize) -> Event {
    Event { page: Some(format!("p{number:03}")), ..event(0, "", "ann", (number % 7) as i64) }
}

/// So many pages, half of them in batch.
async fn world(pages: usize) -> World {
    let world = World::new();
    world.send(0, (0..pages / 2).map(numbered));
    world.append_run(0).await;
    world.publish("by_page", &[(pages / 2) as i64, 0]).await;
    world.send(1, (pages / 2..pages).map(numbered));
    world.append_run(1).await;
    world
}

fn pages_of(answer: &RowsAnswer) -> Vec<String> {
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    let rows = body["rows"].as_array().unwrap();
    rows.iter().map(|row| row["page"].as_str().unwrap().to_owned()).collect()
}

/// All answers of a request, one after another.
async fn follow(world: &World, parameters: &[(&str, &str)]) -> Vec<RowsAnswer> {
    let mut answers = vec![world.rows("by_page", parameters).await.unwrap()];
    while let Some(next) = answers.last().unwrap().extent.next.clone() {
        assert!(answers.len() < 1_000, "cursors go in a circle: {parameters:?}");
        let mut all = parameters.to_vec();
        all.push(("cursor", next.as_str()));
        answers.push(world.rows("by_page", &all).await.unwrap());
    }
    answers
}

#[tokio::test]
async fn nothing_is_cut_without_a_word() {
    let world = world(101).await;
    let answer = world.rows("by_page", &[]).await.unwrap();
    let body: Value = serde_json::from_str(&answer.to_json().unwrap()).unwrap();
    assert_eq!(body["rows"].as_array().unwrap().len(), 100);
    assert_eq!((&body["truncated"], &body["groups"]), (&json!(true), &json!(101)));
    let rest = world.rows("by_page", &[("cursor", body["next"].as_str().unwrap())]).await.unwrap();
    let body: Value = serde_json::from_str(&rest.to_json().unwrap()).unwrap();
    assert_eq!((pages_of(&rest), &body["truncated"]), (vec!["p100".to_owned()], &json!(false)));
    assert_eq!((&body["groups"], body.get("next")), (&json!(101), None));
    for (whole, groups) in [([("limit", "101")], 101), ([("page.le", "p099")], 100), ([("by", "")], 1)] {
        let extent = world.rows("by_page", &whole).await.unwrap().extent;
        assert_eq!((extent.truncated, extent.groups, extent.next), (false, groups, None), "{whole:?}");
    }
}

#[tokio::test]
async fn pages_that_follow_each_other_are_the_whole_answer() {
    let world = world(30).await;
    for order in ["", "-added", "added,-page", "-page", "hour,-mean_added"] {
        let whole = pages_of(&world.rows("by_page", &[("order", order)]).await.unwrap());
        assert_eq!(whole.len(), 30);
        for (limit, requests) in [("1", 30), ("7", 5), ("15", 2), ("30", 1)] {
            let answers = follow(&world, &[("order", order), ("limit", limit), ("parts", "true")]).await;
            assert_eq!(answers.len(), requests, "{order} {limit}");
            assert_eq!(answers.iter().flat_map(pages_of).collect::<Vec<_>>(), whole, "{order} {limit}");
            assert!(answers.iter().all(|answer| answer.extent.groups == 30));
        }
    }
}

#[tokio::test]
async fn pages_are_parted_by_keys_whatever_comes_between_two_requests() {
    let world = world(10).await;
    let first = world.rows("by_page", &[("limit", "4")]).await.unwrap();
    assert_eq!(pages_of(&first), ["p000", "p001", "p002", "p003"]);
    let named = |name: &str| Event { page: Some(name.to_owned()), ..event(0, "", "bob", 1) };
    world.send(1, [named("a"), named("p002"), named("p0031"), named("z")]);
    world.append_run(1).await;
    let next = first.extent.next.unwrap();
    let second = world.rows("by_page", &[("cursor", &next)]).await.unwrap();
    assert_eq!(pages_of(&second), ["p0031", "p004", "p005", "p006", "p007", "p008", "p009", "z"]);
    assert_eq!((second.extent.groups, second.extent.truncated), (13, false));
}

#[tokio::test]
async fn a_cursor_goes_on_with_its_own_order_alone() {
    let world = world(10).await;
    world.publish("totals", &[5, 0]).await;
    let request = [("order", "-added"), ("limit", "3")];
    let next = world.rows("by_page", &request).await.unwrap().extent.next.unwrap();
    for (view, parameters, reason) in [
        ("totals", vec![], "`cursor` is of view by_page, and this request asks view totals"),
        ("by_page", vec![], "goes on with `by=page,hour&order=-added`, and this request asks `by=page,hour&order=`"),
        ("by_page", vec![("order", "added")], "this request asks `by=page,hour&order=added`"),
        ("by_page", vec![("order", "-added"), ("by", "page")], "this request asks `by=page&order=-added`"),
    ] {
        let all: Vec<(&str, &str)> = parameters.iter().copied().chain([("cursor", next.as_str())]).collect();
        let refused = world.rows(view, &all).await.unwrap_err().problem();
        assert!(refused.detail().contains(reason), "{parameters:?}: {}", refused.detail());
        // Its hint: without the cursor.
        assert!(refused.hint().unwrap().contains("leave out `cursor`"), "{refused:?}");
        assert!(world.rows(view, &parameters).await.is_ok(), "{view} {parameters:?}");
    }
    let repeated = [("order", "-added"), ("cursor", next.as_str())];
    assert_eq!(world.rows("by_page", &repeated).await.unwrap().rows.num_rows(), 7);
    let (half, long) = (&next[..next.len() / 2 * 2 - 40], "00".repeat(40_000));
    for text in ["", "x", "zz", "0a", "é", half, long.as_str()] {
        let refused = world.rows("by_page", &[("order", "-added"), ("cursor", text)]).await;
        // A key that was cut is a key: it asks for other rows.
        assert!(refused.is_ok() == (text == half), "{text}");
    }
}

#[tokio::test]
async fn a_key_that_fits_into_no_url_has_no_cursor_but_its_rest_is_told() {
    let world = World::new();
    let long = |letter: &str| Event { page: Some(letter.repeat(40_000)), ..event(0, "", "ann", 1) };
    world.send(0, [long("a"), long("b")]);
    world.append_run(0).await;
    let extent = world.rows("by_page", &[("limit", "1")]).await.unwrap().extent;
    assert_eq!((extent.truncated, extent.groups, extent.next), (true, 2, None));
}

#[tokio::test]
async fn columns_are_told_where_there_is_no_row() {
    let world = world(2).await;
    let told = |text: String| {
        let body: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(body["rows"], json!([]));
        let column =
            |column: &Value| format!("{} {}", column["name"].as_str().unwrap(), column["type"].as_str().unwrap());
        body["columns"].as_array().unwrap().iter().map(column).collect::<Vec<_>>().join(", ")
    };
    let rows = world.rows("totals", &[("page", "/none")]).await.unwrap();
    assert_eq!(told(rows.to_json().unwrap()), "page VARCHAR, edits BIGINT, largest BIGINT");
    let sql = "SELECT page, edits, hour, row_number() OVER () AS n FROM by_page WHERE 1 = 0";
    let columns = told(world.sql(sql).await.unwrap().to_json().unwrap());
    assert_eq!(columns, "page VARCHAR, edits BIGINT, hour TIMESTAMP, n BIGINT UNSIGNED");
}

#[tokio::test]
async fn integers_that_no_double_holds_are_texts_where_asked_for() {
    let world = World::new();
    let largest = 9_007_199_254_740_991;
    let values = [("a", largest), ("b", largest + 2), ("c", -largest - 1)];
    world.send(0, values.map(|(page, value)| event(0, page, "ann", value)));
    world.append_run(0).await;
    for (integers, expected) in [
        ("number", ["9007199254740991", "9007199254740993", "-9007199254740992"]),
        ("text", ["9007199254740991", r#""9007199254740993""#, r#""-9007199254740992""#]),
    ] {
        let rows = world.rows("totals", &[("integers", integers)]).await.unwrap().to_json().unwrap();
        let request = SqlRequest {
            integers: Some(integers.to_owned()),
            ..SqlRequest::new("SELECT page, largest, [largest] AS listed FROM totals ORDER BY page")
        };
        let sql = world.gateway.sql(&Principal::anyone(), request).await.unwrap().to_json().unwrap();
        for expected in expected {
            assert!(rows.contains(&format!(r#""largest":{expected}}}"#)), "{integers}: {rows}");
            assert!(sql.contains(&format!(r#""largest":{expected},"listed":[{expected}]"#)), "{integers}: {sql}");
        }
    }
    let refused = world.rows("totals", &[("integers", "string")]).await.unwrap_err().problem();
    assert_eq!(refused.known().iter().collect::<BTreeSet<_>>().len(), 2);
    for word in refused.known() {
        assert!(world.rows("totals", &[("integers", word)]).await.is_ok(), "{word}");
    }
}
