//! Functions that read JSON text: the value, or NULL where there is none of the kind; never an error.

use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::prelude::SessionContext;
use views::session_state;

/// All rows of a query of one column, as text.
async fn answers(sql: &str) -> Vec<String> {
    let context = SessionContext::new_with_state(session_state());
    let batches = context.sql(sql).await.unwrap().collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let options = FormatOptions::default().with_null("NULL");
    let mut texts = Vec::new();
    for batch in &batches {
        let shown = ArrayFormatter::try_new(batch.column(0), &options).unwrap();
        texts.extend((0..batch.num_rows()).map(|row| shown.value(row).to_string()));
    }
    texts
}

/// Fails unless a call over the JSON, as a constant and as a column, is the expected text.
async fn check(json: &str, cases: &[(&str, &str)]) {
    let json = json.replace('\'', "''");
    for (call, expected) in cases {
        let (function, steps) = call.split_once('(').unwrap();
        let over = |json: &str| match steps {
            ")" => format!("{function}({json})"),
            steps => format!("{function}({json}, {steps}"),
        };
        let constant = format!("SELECT {}", over(&format!("'{json}'")));
        assert_eq!(answers(&constant).await, [*expected], "{constant}");
        let column = format!("SELECT {} FROM (VALUES ('{json}'), (NULL)) t(j)", over("j"));
        assert_eq!(answers(&column).await, [*expected, "NULL"], "{column}");
    }
}

const DOCUMENT: &str = r#" {"s": "it's \"\u00e9\" \ud800", "i": -12, "f": 1.5e2, "w": 3.0, "t": true, "n": null,
    "big": 9223372036854775807, "huge": 1e400, "digits": "12", "o": {"a": {"b": [10, [20], {"c": "deep"}]}, "": 1},
    "\u006bey": 1, "twice": "first", "twice": "second", "empty": {}, "none": []} "#;

#[tokio::test]
async fn a_value_is_read_by_its_kind_and_is_null_by_others() {
    check(
        DOCUMENT,
        &[
            ("json_get_str('s')", "it's \"\u{e9}\" \u{fffd}"),
            ("json_get_str('digits')", "12"),
            ("json_get_str('i')", "NULL"),
            ("json_get_str('o')", "NULL"),
            ("json_get_str('n')", "NULL"),
            ("json_get_str('missing')", "NULL"),
            ("json_get_str()", "NULL"),
            ("json_get_str(NULL)", "NULL"),
            ("json_get_int('i')", "-12"),
            ("json_get_int('f')", "150"),
            ("json_get_int('w')", "3"),
            ("json_get_int('big')", "9223372036854775807"),
            ("json_get_int('huge')", "NULL"),
            ("json_get_int('digits')", "NULL"),
            ("json_get_int('t')", "NULL"),
            ("json_get_float('i')", "-12.0"),
            ("json_get_float('f')", "150.0"),
            ("json_get_float('huge')", "NULL"),
            ("json_get_float('s')", "NULL"),
            ("json_get_bool('t')", "true"),
            ("json_get_bool('i')", "NULL"),
            ("json_get_json('f')", "1.5e2"),
            ("json_get_json('n')", "null"),
            ("json_get_json('o', 'a', 'b')", r#"[10, [20], {"c": "deep"}]"#),
            ("json_as_text('s')", "it's \"\u{e9}\" \u{fffd}"),
            ("json_as_text('huge')", "1e400"),
            ("json_as_text('n')", "NULL"),
            ("json_as_text('empty')", "{}"),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_path_goes_by_keys_and_places() {
    check(
        DOCUMENT,
        &[
            ("json_get_str('o', 'a', 'b', 2, 'c')", "deep"),
            ("json_get_str('o', 'a', 'b', -1, 'c')", "deep"),
            ("json_get_int('o', 'a', 'b', 0)", "10"),
            ("json_get_int('o', 'a', 'b', 1, 0)", "20"),
            ("json_get_int('o', 'a', 'b', -3)", "10"),
            ("json_get_int('o', 'a', 'b', -4)", "NULL"),
            ("json_get_int('o', 'a', 'b', 3)", "NULL"),
            ("json_get_int('o', 'a', 'b', '0')", "NULL"),
            ("json_get_int('o', 0)", "NULL"),
            ("json_get_int('o', '')", "1"),
            ("json_get_int('key')", "1"),
            ("json_get_str('twice')", "first"),
            ("json_length()", "15"),
            ("json_length('o', 'a', 'b')", "3"),
            ("json_length('empty')", "0"),
            ("json_length('none')", "0"),
            ("json_length('s')", "NULL"),
            ("json_contains('n')", "true"),
            ("json_contains('o', 'a', 'b', 2)", "true"),
            ("json_contains('o', 'b')", "false"),
        ],
    )
    .await;
}

const BROKEN: [&str; 9] = [
    "",
    "a",
    "{",
    "{a: 1}",
    r#"{"a" 1}"#,
    r#"{"a": tru}"#,
    r#"{"x": [1,], "a": 1}"#,
    r#"{"a": "\x"}"#,
    "{\"a\": \"\n\"}",
];

#[tokio::test]
async fn what_is_not_json_has_no_values() {
    for json in BROKEN {
        check(json, &[("json_as_text('a')", "NULL"), ("json_length()", "NULL"), ("json_contains('a')", "false")]).await;
    }
    let deep = |depth: usize| format!("{}1{}", "[".repeat(depth), "]".repeat(depth));
    check(&deep(64), &[("json_length()", "1")]).await;
    check(&deep(65), &[("json_length()", "NULL"), ("json_get_json(0)", &deep(64))]).await;
    check(&deep(100_000), &[("json_length()", "NULL")]).await;
}

#[tokio::test]
async fn a_step_may_be_another_one_in_each_row() {
    let rows = r#"(VALUES ('{"a": 1, "b": [2, 3]}', 'a', 0), ('{"b": [2, 3]}', 'b', 1), ('{"c": 4}', NULL, 1))"#;
    let answered = answers(&format!("SELECT json_get_json(j, k) FROM {rows} t(j, k, n)")).await;
    assert_eq!(answered, ["1", "[2, 3]", "NULL"]);
    let answered = answers(&format!("SELECT json_get_int(j, 'b', n) FROM {rows} t(j, k, n)")).await;
    assert_eq!(answered, ["2", "3", "NULL"]);
    let answered = answers(&format!("SELECT json_get_int('[5, 6]', n) FROM {rows} t(j, k, n)")).await;
    assert_eq!(answered, ["5", "6", "6"]);
}
