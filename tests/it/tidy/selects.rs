//! Every `select!` looks at its branches in the order in which they stand.
//!
//! Without `biased;` tokio draws the order by a generator that no seed controls: the simulation would live one seed in
//! more than one way. So the order is part of the code: who ends the loop first, and what may always be ready last, or
//! it would starve the others.

use super::paths::tokens;
use super::{all_sources, check};

/// How many of the `select!` in a text do not begin with `biased;`, and how many there are.
fn drawn(text: &str) -> (usize, usize) {
    let tokens = tokens(text);
    let selects =
        tokens.windows(5).filter(|next| next[0] == "select" && next[1] == "!" && ["{", "("].contains(&next[2]));
    let biased: Vec<bool> = selects.map(|next| next[3..] == ["biased", ";"]).collect();
    (biased.iter().filter(|is_biased| !**is_biased).count(), biased.len())
}

#[test]
fn every_select_says_in_which_order_it_looks() {
    let (mut findings, mut found) = (Vec::new(), 0);
    for (path, text) in all_sources() {
        let (drawn, all) = drawn(&text);
        found += all;
        findings.extend((drawn > 0).then(|| format!("{path}: {drawn} of {all}")));
    }
    assert!(found > 10, "the rule looks past them: it found {found}");
    check("`select!` that does not begin with `biased;`", findings);
}

#[test]
fn a_select_is_found_however_it_is_named() {
    let bare = "select! { () = a => {} }";
    assert_eq!(drawn(bare), (1, 1));
    assert_eq!(drawn(&format!("let x = tokio::{bare}; futures::{bare}")), (2, 2));
    assert_eq!(drawn("tokio::select! {\n    // Why.\n    biased;\n    () = a => {} }"), (0, 1));
    assert_eq!(
        drawn("// select! { }\nlet text = \"select! { () = a => {} }\"; select(a, b); select_biased! { }"),
        (0, 0)
    );
}
