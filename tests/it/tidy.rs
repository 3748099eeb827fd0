//! Rules about the source itself that a tool can check: crate edges, circles, names, sizes, where tasks are started.

mod circles;
mod deny;
mod links;
mod manifests;
mod named_files;
mod paths;
mod selects;
mod suites;
mod visible_states;
mod ways_out;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The binary and the tests may use every crate.
const ALL: [&str; 14] = [
    "positions",
    "views",
    "lake",
    "event-log",
    "records",
    "edge",
    "collector",
    "serving-layer",
    "batch-layer",
    "ballista-engine",
    "workflow",
    "speed-layer",
    "query-gateway",
    "twofold",
];

/// Which crate may use which of ours; the table of ARCHITECTURE.md.
const EDGES: [(&str, &[&str]); 15] = [
    ("positions", &[]),
    ("views", &["positions"]),
    ("lake", &[]),
    ("event-log", &["positions"]),
    ("records", &["positions", "views", "lake", "event-log"]),
    ("edge", &["positions"]),
    ("collector", &["positions", "views", "event-log", "records", "edge"]),
    ("serving-layer", &["positions", "views", "lake"]),
    ("batch-layer", &["positions", "views", "lake", "event-log", "records", "serving-layer"]),
    ("ballista-engine", &["views", "lake", "batch-layer"]),
    ("speed-layer", &["positions", "views", "event-log", "records", "serving-layer"]),
    ("query-gateway", &["positions", "views", "edge", "serving-layer"]),
    ("workflow", &["positions", "lake"]),
    ("twofold", &ALL),
    ("tests", &ALL),
];

/// Crates of which two versions in the tree would be two incompatible sets of types.
const SINGLE_VERSIONS: [&str; 5] = ["arrow", "parquet", "datafusion", "object_store", "deltalake-core"];

const MAX_FILE_LINES: usize = 400;
const MAX_FUNCTION_LINES: usize = 70;
/// `max_width` of rustfmt.toml, which leaves comments alone.
const MAX_COLUMNS: usize = 120;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// All Rust files of a crate, by their path from the root of the workspace.
fn sources_of(name: &str) -> BTreeMap<String, String> {
    rust_files(&root().join(name).join(if name == "tests" { "it" } else { "src" }))
}

/// All Rust files in a folder, by their path from the root of the workspace.
fn rust_files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
                found.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    found
}

fn all_sources() -> BTreeMap<String, String> {
    EDGES.iter().flat_map(|(name, _)| sources_of(name)).collect()
}

/// All Rust files that are shipped.
pub fn product_sources() -> BTreeMap<String, String> {
    all_sources().into_iter().filter(|(path, _)| !path.starts_with("tests/")).collect()
}

/// Fails with every finding at once, so that one run shows all there is to do.
fn check(rule: &str, findings: Vec<String>) {
    assert!(findings.is_empty(), "{rule}:\n  {}", findings.join("\n  "));
}

#[test]
fn crates_use_only_the_allowed_crates() {
    let ours: BTreeSet<&str> = EDGES.iter().map(|(name, _)| *name).collect();
    let mut findings = Vec::new();
    for (name, allowed) in EDGES {
        let manifest = manifest(name);
        for section in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let used = manifest.get(section).and_then(|table| table.as_table()).into_iter().flatten();
            for (used, _) in used.filter(|(used, _)| ours.contains(used.as_str())) {
                if !allowed.contains(&used.as_str()) {
                    findings.push(format!("{name} uses {used}"));
                }
            }
        }
    }
    check("crate edges that ARCHITECTURE.md does not allow", findings);
}

#[test]
fn every_file_says_what_it_is() {
    let missing = all_sources().into_iter().filter(|(_, text)| !text.starts_with("//! ")).map(|(path, _)| path);
    check("files without a module doc", missing.collect());
}

#[test]
fn files_are_short() {
    let long = product_sources().into_iter().filter_map(|(path, text)| {
        let lines = text.lines().count();
        (lines > MAX_FILE_LINES).then(|| format!("{path}: {lines} lines"))
    });
    check("files longer than 400 lines", long.collect());
}

#[test]
fn functions_are_short() {
    let long = all_sources().into_iter().flat_map(|(path, text)| {
        let functions = function_lengths(&text).into_iter().filter(|(_, lines)| *lines > MAX_FUNCTION_LINES);
        functions.map(|(name, lines)| format!("{path}: {name} has {lines} lines")).collect::<Vec<_>>()
    });
    check("functions longer than 70 lines", long.collect());
}

/// Functions and their lengths; rustfmt puts the closing brace at the indentation of the `fn` line.
fn function_lengths(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        let Some(name) = function_name(code) else { continue };
        let closing = format!("{}}}", " ".repeat(indent));
        let ends_at_once = code.ends_with(';') || code.ends_with('}');
        let length = lines[at..].iter().position(|candidate| *candidate == closing).filter(|_| !ends_at_once);
        found.push((name.to_owned(), length.map_or(1, |length| length + 1)));
    }
    found
}

fn function_name(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace();
    let before_fn =
        |word: &&str| ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "default"].contains(word);
    let word = words.find(|word| !before_fn(word))?;
    (word == "fn").then(|| words.next())?.map(|name| name.split(['(', '<']).next().unwrap_or(name))
}

#[test]
fn comments_are_no_wider_than_code() {
    // A table row cannot be wrapped.
    let is_text = |line: &str| line.trim_start().starts_with("//") && !line.contains(" | ");
    let wide = all_sources().into_iter().flat_map(|(path, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| is_text(line) && line.chars().count() > MAX_COLUMNS);
        lines.map(|(at, _)| format!("{path}:{}", at + 1)).collect::<Vec<_>>()
    });
    check("comments over 120 columns", wide.collect());
}

#[test]
fn names_say_what_a_file_is_for() {
    let vague = ["utils", "util", "common", "helpers", "helper", "manager", "service", "misc"];
    let found = all_sources().into_keys().filter(|path| path.split(['/', '.']).any(|part| vague.contains(&part)));
    check("file names that say nothing", found.collect());
}

#[test]
fn only_run_files_start_tasks_and_sleep() {
    let starts = ["tokio::spawn", ".spawn(", "sleep(", "interval("];
    let mut findings = Vec::new();
    for (path, text) in product_sources() {
        if path.ends_with("/run.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            if let Some(pattern) = starts.iter().find(|pattern| code.contains(**pattern)) {
                findings.push(format!("{path}:{}: {pattern}", number + 1));
            }
        }
    }
    check("tasks, sleeps and timers outside run.rs", findings);
}

#[test]
fn no_crate_is_in_the_tree_twice() {
    let lock: toml::Table = fs::read_to_string(root().join("Cargo.lock")).unwrap().parse().unwrap();
    let packages = lock["package"].as_array().unwrap();
    let versions = |name: &str| -> Vec<String> {
        let of_name = packages.iter().filter(|package| package["name"].as_str() == Some(name));
        of_name.map(|package| package["version"].as_str().unwrap().to_owned()).collect()
    };
    let doubled = SINGLE_VERSIONS.into_iter().filter(|name| versions(name).len() != 1);
    check("crates with several versions", doubled.map(|name| format!("{name}: {:?}", versions(name))).collect());
}

fn manifest(name: &str) -> toml::Table {
    fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap().parse().unwrap()
}

/// What a feature of a crate leads to.
fn enabled<'a>(manifest: &'a toml::Table, feature: &str) -> Vec<&'a str> {
    let list = manifest["features"].get(feature).and_then(|list| list.as_array());
    list.into_iter().flatten().filter_map(|on| on.as_str()).collect()
}

#[test]
fn fail_points_are_in_no_build_that_does_not_ask_for_them() {
    let ours = manifest("twofold");
    assert_eq!(enabled(&ours, "failpoints"), ["dep:fail", "fail/failpoints", "records/failpoints"]);
    assert_eq!(ours["dependencies"]["fail"]["optional"].as_bool(), Some(true));
    for manifest in [&ours, &manifest("records")] {
        // What the default leads to, however far.
        let mut of_default = vec!["default"];
        for at in 0.. {
            let Some(feature) = of_default.get(at) else { break };
            of_default.extend(enabled(manifest, feature));
        }
        assert!(!of_default.iter().any(|feature| feature.contains("fail")), "{of_default:?}");
    }

    // Named there for what it depends on; without its feature the crate does nothing.
    let of_tests = manifest("tests")["dependencies"]["fail"].to_string();
    assert_eq!(of_tests, manifest("tests")["dependencies"]["rand"].to_string());
    let mut findings = Vec::new();
    for (name, _) in EDGES.into_iter().filter(|(name, _)| !["twofold", "records", "tests"].contains(name)) {
        let text = fs::read_to_string(root().join(name).join("Cargo.toml")).unwrap();
        findings.extend(text.contains("fail").then(|| format!("{name}/Cargo.toml")));
    }
    findings.extend(
        fs::read_to_string(root().join("Dockerfile")).unwrap().contains("fail").then(|| "Dockerfile".to_owned()),
    );
    for (path, text) in product_sources() {
        let is_theirs = path.starts_with("twofold/src/fail_points");
        findings.extend((!is_theirs && text.contains("fail::")).then_some(path));
    }
    check("fail points outside their place", findings);
}

/// The guards about each record and each expression catch panics: with `panic = "abort"` one record could end a role.
#[test]
fn panics_unwind_in_every_profile() {
    let root: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let profiles = root["profile"].as_table().unwrap();
    let aborting = profiles.iter().filter(|(_, profile)| profile.get("panic").is_some());
    check("profiles that say how panics end", aborting.map(|(name, _)| name.clone()).collect());
}

#[test]
fn only_what_runs_tests_is_built_with_fail_points() {
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let mut target = "";
    let mut with = BTreeSet::new();
    for line in makefile.lines() {
        let is_rule = line.starts_with(|letter: char| letter.is_ascii_lowercase()) && line.contains(':');
        if is_rule {
            target = line.split(':').next().unwrap();
        } else if line.starts_with('\t') && line.contains("FAIL_POINTS") {
            with.insert(target);
        }
    }
    assert_eq!(with, ["chaos", "check", "fuzz", "sim", "test", "upgrade"].into());
}

#[test]
fn every_setting_is_documented() {
    let text = fs::read_to_string(root().join("config/default.toml")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let undocumented = lines.iter().enumerate().filter_map(|(at, line)| {
        let is_setting = !line.starts_with('#') && !line.starts_with('[') && line.contains('=');
        let is_documented = at > 0 && lines[at - 1].starts_with('#');
        (is_setting && !is_documented).then(|| format!("line {}: {line}", at + 1))
    });
    check("settings of config/default.toml without a comment above", undocumented.collect());
}
