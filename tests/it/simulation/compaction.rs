//! Compaction in the simulated worlds: batch schedulers compact after every round; here are the acts that bring two of
//! them, an archive and a reader of old files together, and a mistake planted into the commit.

use super::plan::{Act, Bug, Plan, Rates};
use super::run::{check, sweep};

fn check_acts(seed: u64, rates: Rates, acts: &[(u64, Act)]) {
    check(&Plan::by_hand(seed, rates, acts));
}

#[test]
fn two_schedulers_that_compact_the_same_files_double_nothing() {
    let acts = [(200, Act::Send(11)), (1_600, Act::Send(11)), (1_700, Act::Send(11))];
    for seed in 40..44 {
        check_acts(seed, Rates { delay: 120, fail: 0, kill: 0 }, &[acts, acts, acts].concat());
    }
}

#[test]
fn a_scheduler_that_wakes_up_over_files_that_are_gone_changes_nothing() {
    let acts = [(300, Act::Send(9)), (1_500, Act::Send(9)), (1_700, Act::Pause(4, 9)), (1_000, Act::Send(9))];
    for seed in 50..54 {
        check_acts(seed, Rates { delay: 60, fail: 0, kill: 0 }, &[acts, acts, acts].concat());
    }
}

#[test]
fn a_scheduler_killed_between_files_and_commit_leaves_nothing_to_see() {
    let acts = [(300, Act::Send(9)), (1_600, Act::Send(9)), (1_900, Act::Kill(4)), (40, Act::Kill(5))];
    for seed in 60..64 {
        check_acts(seed, Rates { delay: 60, fail: 10, kill: 30 }, &[acts, acts, acts].concat());
    }
}

#[test]
fn a_compaction_rebased_over_files_that_are_gone_is_found() {
    let (found, totals) = sweep(0..500, Some(Bug::BlindCompaction));
    let (plan, violation) = found.unwrap_or_else(|| panic!("it was not found: {totals:?}"));
    eprintln!("blind compaction: seed {} of {}, {}", plan.seed, totals.worlds, violation.kind);
}
