//! Tests that cannot be run: each is told with its file, its line and what to write instead.

use twofold::view_test::case::MAX_EVENTS;
use twofold::view_test::run_case;

use super::{PLAN, Place, one_test};

const EVENT: &str = r#"{"id":"1","time":"2026-01-01T12:00:00Z","page":"/"}"#;

/// What is wrong with a file of tests; every word of it is told.
fn assert_refused(tests: &str, words: &[&str]) {
    let refused = Place::with(tests).cases().expect_err(tests);
    assert!(refused.contains("tests/some.toml"), "the file in: {refused}");
    for word in words {
        assert!(refused.contains(word), "{word} in: {refused}");
    }
}

fn assert_expect_refused(expect: &str, words: &[&str]) {
    let words: Vec<&str> = ["some.toml:1: test `some`: expect", "some"].iter().chain(words).copied().collect();
    assert_refused(&one_test("by_page", EVENT, expect), &words);
}

#[test]
fn a_file_that_is_no_toml_or_has_other_keys_is_refused() {
    assert_refused("[[test]\n", &["line 1"]);
    let test = one_test("by_page", EVENT, "rows = ''");
    assert_refused(&test.replace("[test.expect]", "[test.expected]"), &["line"]);
    assert_refused(&test.replace("view =", "views ="), &["views"]);
    assert_refused("[[test]]\nname = 'some'\nview = 'by_page'\n", &["expect"]);
    assert_refused(&test.replace("rows = ''", "rows = ''\nrejected = -1"), &["line"]);
}

#[test]
fn a_view_or_a_name_that_is_missing_is_refused() {
    let test = one_test("by_pages", EVENT, "rows = ''");
    assert_refused(
        &test,
        &["some.toml:1: ", "there is no view `by_pages`", "by_page, by_minute, first_pages, by_host"],
    );
    assert_refused(&one_test("by_page", EVENT, "rows = ''").replace("'some'", "' '"), &["its name is empty"]);
}

#[test]
fn expectations_that_no_answer_could_meet_are_refused() {
    assert_expect_refused("rejected = 1", &["neither `rows` nor `file`", "`rows = ''` expects none"]);
    assert_expect_refused("rows = ''\nfile = 'a.json'", &["`rows` and `file` exclude each other"]);
    assert_expect_refused("rows = 'no json'", &["rows are JSON objects"]);
    assert_expect_refused("rows = '{\"page\":\"/\",\"hit\":1}'", &["row 1", "`hit` is no column", "page, hits, bytes"]);
    assert_expect_refused("rows = '{\"hits\":1}'", &["row 1", "dimension `page` is missing"]);
    let twice = "rows = '{\"page\":\"/\",\"hits\":1} {\"page\":\"/\",\"hits\":2}'";
    assert_expect_refused(twice, &["row 2 is a second one of group page=\"/\""]);
    for wrong in ["\"12:00\"", "20260101"] {
        let row = format!("rows = '{{\"minute\":{wrong},\"hits\":1}}'");
        let words = ["some.toml:1: test `some`: expect: row 1: dimension `minute` is no instant such as", wrong];
        assert_refused(&one_test("by_minute", EVENT, &row), &words);
    }
    assert_expect_refused("rows = ''\ntolerance = { page = 1 }", &["tolerance names `page`", "hits, bytes"]);
    assert_expect_refused("rows = ''\ntolerance = { hits = -1 }", &["no number from 0 on"]);
}

#[test]
fn events_that_are_missing_too_many_or_elsewhere_are_refused() {
    let test = one_test("by_page", EVENT, "rows = ''");
    let given = |text: &str| test.replace(&format!("events = '''\n{EVENT}\n'''"), text);
    assert_refused(&given(""), &["given 1: it has neither `events` nor `file`"]);
    assert_refused(&given("file = 'no.jsonl'"), &["given 1: cannot find file", "no.jsonl"]);
    assert_refused(&given("events = ''\nfile = 'no.jsonl'"), &["`events` and `file` exclude each other"]);
    assert_refused(&given("events = ''\narrive = 'soon'"), &["arrive is no instant", "`soon`"]);
    let many = format!("events = '''\n{}'''", "{}\n".repeat(MAX_EVENTS + 1));
    assert_refused(&given(&many), &["it gives 10001 events, more than 10000"]);

    let outside = tempfile::NamedTempFile::new().unwrap();
    let path = outside.path().display().to_string();
    assert_refused(&given(&format!("file = '{path}'")), &["lies outside the folder of the pipeline", &path]);
}

#[test]
fn all_that_is_wrong_is_told_at_once() {
    let place = Place::with(&[one_test("a", EVENT, "rows = ''"), one_test("b", EVENT, "rows = ''")].join("\n"));
    place.write("tests/other.toml", "nothing");
    place.write("tests/notes.md", "no tests");
    let refused = place.cases().unwrap_err();
    for words in ["3 problems", "other.toml: ", "some.toml:1: ", "no view `a`", "some.toml:11: ", "no view `b`"] {
        assert!(refused.contains(words), "{words} in: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_that_need_more_than_their_payload_say_what() {
    let pipeline = "
        CREATE UNBOUNDED EXTERNAL TABLE logs (host VARCHAR) STORED AS JSON LOCATION 'kafka://logs'
        OPTIONS (event_time '_timestamp');
        CREATE UNBOUNDED EXTERNAL TABLE trades (time TIMESTAMP NOT NULL, sign VARCHAR)
        STORED AS AVRO LOCATION 'kafka://trades' OPTIONS (event_time 'time');
        CREATE MATERIALIZED VIEW by_host AS
        SELECT host, date_bin(INTERVAL '1 minute', _timestamp) AS minute, count(*) AS lines FROM logs GROUP BY host, minute;
        CREATE MATERIALIZED VIEW by_sign AS SELECT sign, count(*) AS trades FROM trades GROUP BY sign;";
    let place = Place::new(pipeline);
    let rows = r#"rows = '{"host":"a","minute":"2026-01-01T12:00:00Z","lines":1}'"#;
    let timed = one_test("by_host", r#"{"host":"a"}"#, rows);
    place.write("tests/a.toml", &timed);
    place.write("tests/b.toml", &timed.replace("events =", "arrive = '2026-01-01T12:00:30Z'\nevents ="));
    place.write("tests/c.toml", &one_test("by_sign", r#"{"sign":"a"}"#, "rows = ''"));
    let given = "[[test.given]]\narrive = '2026-01-01T11:00:00Z'\nevents = '{}'\n[test.expect]";
    let back = timed.replace("events =", "arrive = '2026-01-01T12:00:30Z'\nevents =").replace("[test.expect]", given);
    place.write("tests/d.toml", &back);
    let mut outcomes = Vec::new();
    for case in place.cases().unwrap() {
        outcomes.push(format!("{:?}", run_case(&case, &PLAN).await));
    }
    assert!(outcomes[0].contains("say when they `arrive`"), "{}", outcomes[0]);
    assert!(!outcomes[1].contains("Failed") && !outcomes[1].contains("Differs"), "{}", outcomes[1]);
    assert!(outcomes[2].contains("source trades is STORED AS AVRO"), "{}", outcomes[2]);
    assert!(outcomes[3].contains("given 2: it arrives before the events above it"), "{}", outcomes[3]);
}
