//! `twofold test` as a process: what it prints and how it ends.

use std::process::{Command, Output};

use serde_json::Value;

use super::{PIPELINE, Place, one_test};
use crate::support::process::binary;

const EVENT: &str = r#"{"id":"1","time":"2026-01-01T12:00:00Z","page":"/"}"#;

fn twofold_test(place: &Place, arguments: &[&str]) -> Output {
    Command::new(binary()).arg("test").arg(place.0.path()).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn two_tests() -> Place {
    let right = one_test("by_page", EVENT, r#"rows = '{"page":"/","hits":1}'"#).replace("'some'", "'a right one'");
    let wrong = one_test("by_page", EVENT, r#"rows = '{"page":"/","hits":2}'"#).replace("'some'", "'a wrong one'");
    Place::with(&[right, wrong].join("\n"))
}

#[test]
fn a_failure_ends_with_1_and_tells_how_to_run_it_again() {
    let place = two_tests();
    let output = twofold_test(&place, &["--runs", "2"]);
    let (told, complaint) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{told}{complaint}");
    assert!(told.contains("ok    a right one (view by_page, 4 histories)"), "{told}");
    assert!(told.contains("FAIL  a wrong one") && told.contains("hits (exact) is 1, expected 2"), "{told}");
    assert!(told.contains("2 tests, 1 passed, 1 failed"), "{told}");
    assert!(complaint.contains("1 of 2 tests failed"), "{complaint}");

    let again = told.lines().find_map(|line| line.trim().strip_prefix("again: twofold test ")).unwrap();
    assert!(again.ends_with("--only 'a wrong one' --runs 0"), "{again}");
    let output = twofold_test(&place, &["--only", "a wrong one", "--runs", "0"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("1 test, 0 passed, 1 failed"), "{}", text(&output.stdout));
}

#[test]
fn the_tests_that_are_asked_for_end_with_0_also_as_json() {
    let place = two_tests();
    let file = place.path("pipeline.sql");
    let output =
        Command::new(binary()).arg("test").arg(file).args(["--only", "right", "--json", "--seed", "7"]).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&told["passed"], &told["failed"]), (&Value::from(1), &Value::from(0)));
    assert_eq!(told["tests"][0]["name"], "a right one");
    assert_eq!(told["tests"][0]["tried"][2]["seed"], 7);
}

#[test]
fn no_test_ends_with_3_and_a_wrong_one_with_1() {
    let place = Place::new(PIPELINE);
    let output = twofold_test(&place, &[]);
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("there are no tests: "), "{}", text(&output.stderr));

    place.write("tests/some.toml", &one_test("by_page", EVENT, "rows = ''"));
    let output = twofold_test(&place, &["--only", "other"]);
    assert_eq!(output.status.code(), Some(3));
    assert!(
        text(&output.stderr).contains("no name of a test holds `other`; there are: some"),
        "{}",
        text(&output.stderr)
    );

    place.write("tests/some.toml", &one_test("by_pages", EVENT, "rows = ''"));
    let output = twofold_test(&place, &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("some.toml:1: test `some`: there is no view"), "{}", text(&output.stderr));
}
