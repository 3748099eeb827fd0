//! What the manifests name, held against the sources, the table of ARCHITECTURE.md and each other.

use std::collections::BTreeSet;
use std::fs;

use super::paths::tokens;
use super::{ALL, EDGES, check, manifest, root, rust_files};

/// Dependencies that no source names, and what they are for: features of a crate further down, programs of the build.
const NOT_IN_SOURCES: &[(&str, &str, &str)] =
    &[("tests", "fail", "features of what it depends on are the same in builds with fail points and without")];

/// The rows of the table of crates in ARCHITECTURE.md: a name, and what it may depend on.
fn rows(page: &str) -> Vec<(String, String)> {
    let table = page.lines().skip_while(|line| !line.starts_with("| crate |")).skip(2);
    let cells = table.take_while(|line| line.starts_with('|')).map(|line| line.split('|').map(str::trim).collect());
    cells.map(|cells: Vec<&str>| (cells[1].trim_matches('`').to_owned(), cells[3].to_owned())).collect()
}

/// As the table writes it.
fn written(allowed: &[&str]) -> String {
    if allowed == ALL { "all".to_owned() } else { allowed.join(", ") }
}

#[test]
fn the_architecture_page_shows_the_edges_that_are_checked() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let checked = EDGES.map(|(name, allowed)| (name.to_owned(), written(allowed)));
    assert_eq!(rows(&page), checked, "the table of crates, and EDGES in tests/it/tidy.rs");
}

#[test]
fn every_member_of_the_workspace_is_checked() {
    let root: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let members: Vec<&str> =
        root["workspace"]["members"].as_array().unwrap().iter().filter_map(|member| member.as_str()).collect();
    assert_eq!(members, EDGES.map(|(name, _)| name), "members of the workspace, and EDGES in tests/it/tidy.rs");
}

/// The dependencies of a crate, of whatever kind.
fn dependencies(name: &str) -> BTreeSet<String> {
    let manifest = manifest(name);
    let sections = ["dependencies", "dev-dependencies", "build-dependencies"].into_iter();
    let tables = sections.filter_map(|section| manifest.get(section)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

/// Whether a text names a crate: as the first part of a path, or in a `use` of its own.
fn names(tokens: &[&str], name: &str) -> bool {
    let at = |at: Option<usize>| at.and_then(|at| tokens.get(at)).copied().unwrap_or_default();
    let mut places = (0..tokens.len()).filter(|place| tokens[*place] == name);
    places.any(|place| {
        let (before, back) = (at(place.checked_sub(1)), at(place.checked_sub(2)));
        // `use ::name` begins at the root; `a::name` is a part of `a`.
        let is_part = before == "::" && back != "use" && back.starts_with(|first: char| first.is_alphanumeric());
        !is_part && (at(Some(place + 1)) == "::" || before == "use")
    })
}

#[test]
fn every_dependency_is_used_by_a_source() {
    let mut findings = Vec::new();
    for (name, _) in EDGES {
        let texts = rust_files(&root().join(name));
        let texts: Vec<Vec<&str>> = texts.values().map(|text| tokens(text)).collect();
        for used in dependencies(name) {
            let word = used.replace('-', "_");
            let is_excused = NOT_IN_SOURCES.iter().any(|(of, what, _)| *of == name && *what == used);
            if is_excused == texts.iter().any(|text| names(text, &word)) {
                findings.push(format!("{name}/Cargo.toml: {used}"));
            }
        }
    }
    check("dependencies that no source of the crate uses, or that are excused and used", findings);
}

#[test]
fn every_version_at_the_root_is_of_a_crate_that_is_used() {
    let root: toml::Table = fs::read_to_string(root().join("Cargo.toml")).unwrap().parse().unwrap();
    let pinned = root["workspace"]["dependencies"].as_table().unwrap();
    let used: BTreeSet<String> = EDGES.iter().flat_map(|(name, _)| dependencies(name)).collect();
    check("versions that no crate asks for", pinned.keys().filter(|name| !used.contains(*name)).cloned().collect());
}

#[test]
fn a_crate_is_named_by_the_beginning_of_a_path() {
    let is_named = |text: &str| names(&tokens(text), "metrics");
    for text in [
        "use metrics::counter;",
        "use ::metrics::counter;",
        "fn f() { metrics::counter!(\"a\"); }",
        "use metrics;",
        "fn f() -> ::metrics::A",
    ] {
        assert!(is_named(text), "{text}");
    }
    for text in ["use crate::metrics::counter;", "mod metrics;", "// metrics::counter", "let metrics = \"metrics::a\";"]
    {
        assert!(!is_named(text), "{text}");
    }
}
