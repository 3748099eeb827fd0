//! Answers that are as expected, and those that are not.

use std::path::Path;

use serde_json::json;
use twofold::pipeline_file::read_pipeline;
use twofold::view_test::case::read_cases;
use twofold::view_test::history::Kind;
use twofold::view_test::report::{CaseReport, Outcome, describe_case, reports_as_json};
use twofold::view_test::run_case;

use super::{PLAN, Place, one_test, run_one};

const EVENTS: &str = r#"
{"id":"1","time":"2026-01-01T12:00:05Z","page":"/","bytes":512,"price":"1.25","weight":0.1}
{"id":"2","time":"2026-01-01T12:00:20Z","page":"/","bytes":9007199254740993,"price":"1.25","weight":0.2}
{"id":"1","time":"2026-01-01T12:00:05Z","page":"/","bytes":512,"price":"1.25","weight":0.1}
{"id":"3","time":"2026-01-01T12:01:40Z","page":"/a"}
{"id":"4","time":"2026-01-01T11:58:00Z","page":"/a","bytes":1}"#;

fn assert_passed(report: &CaseReport) {
    assert!(report.has_passed(), "{}", describe_case(report, Path::new("pipeline.sql")));
}

fn words(report: &CaseReport) -> String {
    assert!(!report.has_passed(), "{report:#?}");
    describe_case(report, Path::new("pipeline.sql"))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_history_gives_the_rows_that_are_expected() {
    let expect = r#"rows = '''
        [{"page":"/a","hits":2,"bytes":1,"price":null,"weight":null,"ids":2},
         {"page":"/","hits":2.0,"bytes":9007199254741505,"price":2.5,"weight":0.15,"ids":2}]'''
        copies = 1
        late = 1
        rejected = 0"#;
    let report = run_one(&one_test("by_page", EVENTS, expect)).await;
    assert_passed(&report);
    let kinds: Vec<Kind> = report.tried.iter().map(|tried| tried.kind).collect();
    let mut expected = vec![Kind::Batch, Kind::Realtime];
    expected.extend((1..=4).map(|seed| Kind::Mixed { seed }));
    assert_eq!(kinds, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tests_of_the_examples_pass() {
    for example in ["demo", "web-analytics", "wikipedia"] {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(example).join("pipeline.sql");
        let cases = read_cases(&file, &read_pipeline(&file).unwrap()).unwrap();
        assert!(!cases.is_empty(), "{example} has tests");
        for case in cases {
            assert_passed(&run_case(&case, &PLAN).await);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_expectation_is_told_row_by_row() {
    let expect = r#"rows = '''
        {"page":"/","hits":3,"bytes":9007199254741504}
        {"page":"/b","hits":1}'''
        copies = 0"#;
    let report = run_one(&one_test("by_page", EVENTS, expect)).await;
    assert!(report.tried.iter().all(|tried| matches!(tried.outcome, Outcome::Differs { .. })), "{report:#?}");
    let words = words(&report);
    for line in [
        r#"differs     page="/": hits (exact) is 2, expected 3"#,
        r#"differs     page="/": bytes (exact) is 9007199254741505, expected 9007199254741504"#,
        "missing     {",
        "unexpected  {",
        "counts      copies is 1, expected 0",
        "realtime alone: the same as batch alone",
        "both layers, seed 1:",
        "again: twofold test pipeline.sql --only 'some' --runs 0",
    ] {
        assert!(words.contains(line), "{line} in:\n{words}");
    }
    let json = reports_as_json(&[report]);
    assert_eq!((&json["passed"], &json["failed"]), (&json!(0), &json!(1)));
    let [batch, _, mixed, ..] = json["tests"][0]["tried"].as_array().unwrap().as_slice() else { panic!("{json:#}") };
    assert_eq!((&batch["history"], &batch["outcome"]), (&json!("batch"), &json!("differs")));
    assert_eq!((&mixed["history"], &mixed["seed"]), (&json!("mixed"), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn measures_that_a_row_leaves_out_are_not_compared() {
    let expect = r#"rows = '{"page":"/"} {"page":"/a","hits":2}'"#;
    assert_passed(&run_one(&one_test("by_page", EVENTS, expect)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tolerance_takes_the_place_of_the_class() {
    let rows = r#"rows = '{"page":"/","hits":4,"weight":0.2} {"page":"/a"}'"#;
    let events = &one_test("by_page", EVENTS, rows);
    assert!(words(&run_one(events).await).contains("weight (float) is 0.15"));
    let wide = format!("{rows}\ntolerance = {{ hits = 2, weight = 0.06 }}");
    assert_passed(&run_one(&one_test("by_page", EVENTS, &wide)).await);
    let narrow = format!("{rows}\ntolerance = {{ hits = 1, weight = 0.06 }}");
    let words = words(&run_one(&one_test("by_page", EVENTS, &narrow)).await);
    assert!(words.contains("hits (exact) is 2, expected 4") && !words.contains("weight"), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_events_have_no_rows() {
    assert_passed(&run_one("[[test]]\nname = 'none'\nview = 'by_host'\n[test.expect]\nrows = ''").await);
    let report = run_one(&one_test("by_host", "", r#"rows = '{"host":"a","lines":1}'"#)).await;
    assert!(words(&report).contains("missing     {"));
    let elsewhere = describe_case(&report, Path::new("it's here"));
    assert!(elsewhere.contains(r"again: twofold test 'it'\''s here' --only 'some' --runs 0"), "{elsewhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_that_cannot_be_read_fails_a_test_that_says_nothing_of_it() {
    let events = "{\"time\":\"2026-01-01T12:00:00Z\",\"host\":\"a\"}\n\n{\"host\":\"b\"}\nno json";
    let rows = r#"rows = '{"host":"a","lines":1}'"#;
    let miscounted = words(&run_one(&one_test("by_host", events, &format!("{rows}\nrejected = 1"))).await);
    let told = "events that could not be read:\n    given 1, line 3: ";
    assert!(miscounted.contains(told) && miscounted.contains("rejected is 2, expected 1"), "{miscounted}");
    let words = words(&run_one(&one_test("by_host", events, rows)).await);
    // An empty line is no event, and is counted as a line.
    assert!(words.contains("given 1, line 3: ") && words.contains("given 1, line 4: "), "{words}");
    assert!(words.contains("again: twofold test pipeline.sql --only 'some' --runs 0"), "{words}");
    assert_passed(&run_one(&one_test("by_host", events, &format!("{rows}\nrejected = 2"))).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_arrive_when_they_are_told_to() {
    let tests = r#"
        [[test]]
        name = "hours late, and from the future"
        view = "by_minute"
        [[test.given]]
        arrive = "2026-01-01T10:00:00Z"
        events = '{"id":"1","time":"2026-02-01T00:00:00Z"}'
        [[test.given]]
        arrive = "2026-01-01T12:00:00Z"
        file = "late.jsonl"
        [test.expect]
        file = "rows.json"
        rejected = 1
        late = 1
    "#;
    let place = Place::with(tests);
    place.write("tests/late.jsonl", "{\"id\":\"2\",\"time\":\"2026-01-01T09:00:30Z\"}\n");
    place.write("tests/rows.json", r#"[{"minute":"2026-01-01 09:00:00","hits":1}]"#);
    assert_passed(&place.run().await[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_depends_on_the_order_asks_for_it() {
    let events: Vec<String> = (10..40)
        .map(|second| format!(r#"{{"id":"{second}","time":"2026-01-01T12:00:{second}Z","page":"/{second}"}}"#))
        .collect();
    let test = one_test("first_pages", &events.join("\n"), r#"rows = '{"hour":"2026-01-01T12:00:00Z","page":"/10"}'"#);
    let ordered = test.replace("view =", "keep_order = true\nview =");
    assert_passed(&run_one(&ordered).await);

    // Without, the first of several partitions holds another one: the histories do mix.
    let case = Place::with(&test).cases().unwrap().remove(0);
    let report = run_case(&case, &twofold::view_test::TestPlan { runs: 12, ..PLAN }).await;
    let words = words(&report);
    assert!(words.contains("page (exact) is") && words.contains("--seed "), "{words}");
    assert!(report.tried[..2].iter().all(|tried| tried.outcome == Outcome::Passed), "{words}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_without_an_answer_in_time_is_given_up() {
    let case = Place::with(&one_test("by_page", EVENTS, "rows = ''")).cases().unwrap().remove(0);
    let plan = twofold::view_test::TestPlan { time_limit: std::time::Duration::from_millis(1), ..PLAN };
    let words = words(&run_case(&case, &plan).await);
    assert!(words.contains("there was no answer within"), "{words}");
}
