//! Links of the pages: each leads to a file that is there, and to a heading that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use super::{check, root};

/// Folders of pages, and how deep they are looked through.
const PLACES: [(&str, usize); 3] = [("", 1), ("docs", 2), ("examples", 2)];

fn pages(folder: &Path, depth: usize, found: &mut BTreeMap<PathBuf, String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && depth > 1 {
            pages(&path, depth - 1, found);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            let text = fs::read_to_string(&path).unwrap();
            found.insert(path, text);
        }
    }
}

/// The text without its fenced lines, whose brackets are code.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

/// Where the links of a page lead: what stands in brackets behind `](`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.map(|target| target.split_whitespace().next().unwrap_or_default().to_owned());
    targets.filter(|target| !target.contains("://") && !target.starts_with("mailto:")).collect()
}

/// The anchors of a page's headings, as they are made of their words on the web: small letters, digits, `-` and `_`,
/// and a hyphen for each blank.
fn anchors(text: &str) -> BTreeSet<String> {
    let prose = prose(text);
    let headings = prose.lines().filter(|line| line.starts_with('#'));
    let anchor = |line: &str| {
        let words = line.trim_start_matches('#').trim().to_lowercase();
        let kept = words.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
    };
    headings.map(anchor).collect()
}

#[test]
fn links_lead_to_files_and_headings_that_exist() {
    let mut found = BTreeMap::new();
    for (place, depth) in PLACES {
        pages(&root().join(place), depth, &mut found);
    }
    let (mut broken, mut count) = (Vec::new(), 0);
    for (page, text) in &found {
        for link in links(text) {
            count += 1;
            let (file, heading) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if file.is_empty() { page.clone() } else { page.parent().unwrap().join(file) };
            let has_heading = || fs::read_to_string(&target).is_ok_and(|text| anchors(&text).contains(heading));
            if !target.exists() || (!heading.is_empty() && !has_heading()) {
                broken.push(format!("{}: {link}", page.strip_prefix(root()).unwrap().display()));
            }
        }
    }
    assert!(count > 100, "the rule looks past them: it found {count}");
    check("links that lead nowhere", broken);
}

#[test]
fn links_and_anchors_are_read_as_the_web_reads_them() {
    let text = "# Why `x`, not y?\n[a](b.md#c) [d](https://e) ![f](g.png \"h\")\n```\n[i](j)\n```\n## Read-only_root";
    assert_eq!(links(text), ["b.md#c", "g.png"]);
    assert_eq!(anchors(text), BTreeSet::from(["why-x-not-y".to_owned(), "read-only_root".to_owned()]));
}
