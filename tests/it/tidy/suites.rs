//! Which suites need services and which are quick: the two lists of the Makefile, held against what the tests use.
//!
//! A suite is a module of `main.rs`, or one below it where the lists name that. What no list names is quick and runs
//! without services, so the tests below see to it that nothing is missing there.

use std::collections::BTreeSet;
use std::fs;

use super::{check, root, sources_of};

/// What a file says that uses Kafka, Redis and S3 where they run.
const SERVICES: [&str; 5] = ["services::", "OwnServices", "on_all_parts!", "Kind::Real,", "Kind::Real)"];
/// What a file says that starts a process, or cannot do without services.
const PROCESSES: [&str; 6] =
    ["Running::", "Command::new", "RedisServer::", "OwnServices::start", "on_all_parts!", "Parts::of"];

/// A list of the Makefile. Names of tests that it refers to by a variable are left out.
fn list(name: &str) -> Vec<String> {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap().replace("\\\n", " ");
    let line = makefile.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(":="));
    let words = line.unwrap_or_else(|| panic!("the Makefile has no {name}")).split_whitespace();
    words.filter(|word| !word.starts_with('$')).map(str::to_owned).collect()
}

/// The tests of the binary by their files, as paths of modules that end with `::`.
fn suites() -> Vec<(String, String)> {
    let of_file = |path: &str| {
        let module = path.strip_prefix("tests/it/").unwrap().trim_end_matches(".rs").trim_end_matches("/mod");
        format!("{}::", module.replace('/', "::"))
    };
    // Rules speak of what they look for.
    let is_suite = |path: &String| !["support", "tidy", "main."].iter().any(|own| path[9..].starts_with(own));
    sources_of("tests")
        .into_iter()
        .filter(|(path, _)| is_suite(path))
        .map(|(path, text)| (of_file(&path), text))
        .collect()
}

/// Whether a list names a suite, all of it or a part.
fn names(list: &[String], suite: &str) -> bool {
    list.iter().any(|entry| suite.starts_with(entry.as_str()) || entry.starts_with(suite))
}

fn missing(list_name: &str, uses: &[&str]) -> Vec<String> {
    let list = list(list_name);
    let using = suites().into_iter().filter(|(_, text)| uses.iter().any(|word| text.contains(word)));
    using.filter(|(suite, _)| !names(&list, suite)).map(|(suite, _)| format!("{suite} in {list_name}")).collect()
}

#[test]
fn suites_that_use_services_have_them_started() {
    check("missing in the Makefile", missing("WITH_SERVICES", &SERVICES));
}

#[test]
fn suites_that_start_processes_are_not_called_quick() {
    check("missing in the Makefile", missing("NOT_QUICK", &PROCESSES));
}

#[test]
fn the_lists_name_suites_that_exist() {
    let suites: BTreeSet<String> = suites().into_iter().map(|(suite, _)| suite).collect();
    let listed = ["WITH_SERVICES", "NOT_QUICK", "FUZZ"].into_iter().flat_map(list);
    let unknown = listed.filter(|entry| !suites.iter().any(|suite| suite.starts_with(entry.as_str())));
    let unknown = unknown.filter(|entry| !suites.contains(&format!("{}::", entry.trim_end_matches("::"))));
    check("suites of the Makefile that do not exist", unknown.collect());
}

#[test]
fn the_slow_tests_exist() {
    let suites = suites();
    // In the file of its module, or above it, where a macro makes one test for each implementation.
    let is_test = |entry: &String| {
        let name = entry.rsplit("::").next().unwrap();
        suites.iter().any(|(suite, text)| entry.starts_with(suite.as_str()) && text.contains(name))
    };
    check(
        "tests of the Makefile that do not exist",
        list("SLOW").into_iter().filter(|entry| !is_test(entry)).collect(),
    );
}
