//! What `deny.toml` says, held against the rules here: cargo-deny reads it, and cannot know what was meant.

use std::fs;

use super::{SINGLE_VERSIONS, check, root};

fn deny() -> toml::Table {
    fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

/// Whether a text holds a day, as `2027-02-28`, behind the words that ask for another look.
fn names_a_day(reason: &str) -> bool {
    let Some((_, rest)) = reason.split_once("Look again by ") else { return false };
    let day: Vec<char> = rest.chars().take(10).collect();
    day.len() == 10
        && day
            .iter()
            .enumerate()
            .all(|(at, letter)| if at == 4 || at == 7 { *letter == '-' } else { letter.is_ascii_digit() })
}

#[test]
fn every_accepted_advisory_has_a_reason_and_a_day() {
    let ignored = deny()["advisories"]["ignore"].as_array().unwrap().clone();
    let bare = ignored.iter().filter(|entry| {
        let reason = entry.get("reason").and_then(|reason| reason.as_str());
        !reason.is_some_and(|reason| reason.len() > 100 && names_a_day(reason))
    });
    check("advisories that are ignored without a reason and a day", bare.map(ToString::to_string).collect());
    assert!(
        names_a_day("Look again by 2027-02-28.") && !names_a_day("Look again by spring.") && !names_a_day("2027-02-28")
    );
}

#[test]
fn one_version_is_asked_of_the_same_crates_here_and_there() {
    let deny = deny();
    let denied = deny["bans"]["deny"].as_array().unwrap();
    let is_single = |name: &&str| {
        let of_name = |entry: &&toml::Value| entry.get("crate").and_then(|name| name.as_str()) == Some(*name);
        denied.iter().find(of_name).is_some_and(|entry| entry.get("deny-multiple-versions") == Some(&true.into()))
    };
    let missing = SINGLE_VERSIONS.into_iter().filter(|name| !is_single(name));
    check("crates without deny-multiple-versions in deny.toml", missing.map(str::to_owned).collect());
}

#[test]
fn dependencies_come_from_the_registry_alone() {
    let deny = deny();
    for rule in ["unknown-registry", "unknown-git"] {
        assert_eq!(deny["sources"][rule].as_str(), Some("deny"), "{rule}");
    }
    assert!(deny["sources"]["allow-git"].as_array().unwrap().is_empty());
    let makefile = fs::read_to_string(root().join("Makefile")).unwrap();
    let checks = makefile.split_once("\ncheck:").unwrap().1.split("\n\n").next().unwrap();
    assert!(checks.contains("scripts/deny.sh check"), "{checks}");
}
