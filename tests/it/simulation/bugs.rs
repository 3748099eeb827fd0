//! Tests of the simulation itself: mistakes planted into stores and decisions are found within 500 seeds each.

use super::plan::Bug;
use super::run::sweep;

fn check(bug: Bug) {
    let (found, totals) = sweep(0..500, Some(bug));
    let (plan, violation) = found.unwrap_or_else(|| panic!("{bug:?} was not found: {totals:?}"));
    eprintln!("{bug:?}: seed {} of {}, {}", plan.seed, totals.worlds, violation.kind);
}

#[test]
fn a_cut_one_too_high_is_found() {
    check(Bug::CutTooHigh);
}

#[test]
fn an_append_without_comparison_is_found() {
    check(Bug::AppendWithoutComparison);
}

#[test]
fn a_merge_that_compares_only_the_head_is_found() {
    check(Bug::MergeByHeadAlone);
}

#[test]
fn runs_cached_by_count_are_found() {
    check(Bug::RunsCachedByCount);
}

#[test]
fn expiry_one_run_early_is_found() {
    check(Bug::ExpiryOneRunEarly);
}

#[test]
fn ids_that_are_not_primed_are_found() {
    check(Bug::NotPrimed);
}

#[test]
fn a_rebased_commit_is_found() {
    check(Bug::RebasedCommit);
}
