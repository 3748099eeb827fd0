//! Interleavings that random search rarely meets; each fails when one rule of the protocol is left out.

use positions::{
    Counters, DefinitionHash, DefinitionNumber, Fingerprint, Incarnation, Index, IndexRefusal, IndexStamp, Offset,
    Position, Run, RunId, RunView, Start, TilingGap, TimestampMicros, choose_start, tile,
};

use super::clocks::Skew;
use super::plan::{Act, Bug, Plan, Rates};
use super::run::{Outcome, check, run, shrink, sweep};

const VIEW: DefinitionHash = DefinitionHash(7);
const NOW: TimestampMicros = TimestampMicros(0);

fn at(offset: i64) -> Position {
    match offset {
        0 => Position::start(Incarnation(0)),
        _ => Position {
            offset: Offset(offset),
            max_timestamp: TimestampMicros(offset),
            fingerprint: Fingerprint(offset.unsigned_abs().into()),
            incarnation: Incarnation(0),
            capped: None,
        },
    }
}

fn piece(id: u128, from: i64, to: i64) -> Run {
    let counters = Counters { rows: (to - from).unsigned_abs(), ..Counters::default() };
    let views = vec![RunView { view: VIEW, rows: 1 }];
    Run { id: RunId(id), from: at(from), to: at(to), views, counters, starts_at_border: from == 0 }
}

fn index(stamp: u128, runs: &[(u128, i64, i64)]) -> Index {
    let empty = Index::new(IndexStamp(stamp), DefinitionNumber(1), at(runs.first().map_or(0, |run| run.1)), NOW);
    let append = |index: Index, run: &(u128, i64, i64)| {
        index.append(IndexStamp(stamp), DefinitionNumber(1), piece(run.0, run.1, run.2), NOW).unwrap()
    };
    runs.iter().fold(empty, append)
}

/// A plan without chance: the acts alone, under a seed for delays.
fn plan(seed: u64, delay: u32, acts: &[(u64, Act)]) -> Plan {
    Plan::by_hand(seed, Rates { delay, fail: 0, kill: 0 }, acts)
}

fn check_acts(seed: u64, delay: u32, acts: &[(u64, Act)]) -> Outcome {
    check(&plan(seed, delay, acts))
}

#[test]
fn a_merge_decided_before_a_fail_over_is_refused_at_the_same_head() {
    // Decided on [0,2) [2,3); the store falls back to [0,2) and another worker divides the rest differently.
    let decided = index(1, &[(1, 0, 2), (2, 2, 3)]);
    let merged = piece(9, 0, 3);
    let after = index(2, &[(1, 0, 2), (3, 2, 3)]);
    assert_eq!(decided.head, after.head, "a comparison of heads would not see the difference");
    let refused = after.merge(IndexStamp(3), &[RunId(1), RunId(2)], merged);
    assert_eq!(refused, Err(IndexRefusal::RunsGone));
}

#[test]
fn a_merge_that_would_cross_the_border_behind_a_fail_over_is_refused() {
    let decided = index(1, &[(1, 0, 2), (2, 2, 4)]);
    let after = index(2, &[(1, 0, 2), (3, 2, 3), (4, 3, 4)]);
    assert_eq!(decided.head, after.head);
    assert_eq!(after.merge(IndexStamp(3), &[RunId(1), RunId(2)], piece(9, 0, 4)), Err(IndexRefusal::RunsGone));
}

#[test]
fn an_index_that_failed_over_below_the_cut_is_left_behind_by_a_jump() {
    // Published at 6, the store came back with head 3: going on at 3 would leave a part below the cut in the runs.
    let older = index(1, &[(1, 0, 3)]);
    assert_eq!(choose_start(Some(&older), &[at(6)], at(0)), Start::Jump(at(6)));
    let jumped = older.jump(IndexStamp(2), DefinitionNumber(1), at(6), NOW).unwrap();
    let next = jumped.append(IndexStamp(3), DefinitionNumber(1), piece(2, 6, 8), NOW).unwrap();
    assert_eq!(tile(Some(&next), VIEW, at(6)).unwrap().head, at(8));
    assert_eq!(tile(Some(&next), VIEW, at(0)), Err(TilingGap::NotAt { at: Offset(3), found: Offset(6) }));
}

#[test]
fn a_wiped_store_is_filled_from_the_least_of_several_cuts() {
    assert_eq!(choose_start(None, &[at(6), at(3)], at(0)), Start::Create(at(3)));
}

#[test]
fn a_topic_created_again_and_already_longer_does_not_tile() {
    let mut other = index(1, &[(1, 3, 5)]);
    other.runs[0].from.fingerprint = Fingerprint(99);
    assert_eq!(tile(Some(&other), VIEW, at(3)), Err(TilingGap::OtherRecords { at: Offset(3) }));
}

#[test]
fn two_workers_and_fail_overs_between_their_merges_count_each_event_once() {
    let acts = [(300, Act::Send(6)), (700, Act::FailOver(0, 2)), (100, Act::FailOver(1, 3))];
    check_acts(11, 120, &[acts, acts, acts, acts].concat());
}

#[test]
fn a_fail_over_right_after_a_publication_counts_each_event_once() {
    let acts = [(100, Act::Send(10)), (4_200, Act::FailOver(0, 6)), (10, Act::FailOver(1, 6)), (10, Act::Send(4))];
    check_acts(12, 0, &[acts, acts].concat());
}

#[test]
fn copies_on_both_sides_of_a_wipe_are_counted_once() {
    let acts = [(100, Act::Send(10)), (900, Act::Wipe), (100, Act::Send(10))];
    check_acts(13, 40, &[acts, acts, acts].concat());
}

#[test]
fn copies_in_an_added_partition_follow_the_law() {
    check_acts(14, 20, &[(100, Act::Send(10)), (500, Act::Grow), (10, Act::Send(10)), (3_000, Act::Send(10))]);
}

#[test]
fn files_imported_beside_the_roles_count_by_the_law() {
    let acts = [
        (300, Act::Send(9)),
        (400, Act::Import(20)),
        (900, Act::Send(9)),
        (50, Act::Import(12)),
        (10, Act::Import(3)),
        (1_200, Act::Send(6)),
    ];
    check_acts(16, 60, &[acts, acts].concat());
}

#[test]
fn files_imported_while_roles_die_and_views_change_count_by_the_law() {
    let acts = [
        (300, Act::Send(9)),
        (100, Act::Kill(0)),
        (20, Act::Import(15)),
        (700, Act::Upgrade),
        (300, Act::Import(9)),
        (500, Act::Wipe),
        (100, Act::Send(9)),
    ];
    check_acts(17, 80, &acts);
}

#[test]
fn a_worker_that_wakes_up_after_others_went_on_changes_nothing() {
    let acts = [(100, Act::Send(5)), (50, Act::Pause(2, 9)), (900, Act::Send(11)), (8_500, Act::Pause(3, 9))];
    check_acts(15, 60, &[acts, acts].concat());
}

#[test]
fn definitions_that_change_under_way_are_built_beside_the_old_ones() {
    check_acts(16, 20, &[(100, Act::Send(11)), (4_000, Act::Upgrade), (10, Act::Send(11)), (5_000, Act::Send(3))]);
}

#[test]
fn records_that_expire_after_a_wipe_are_read_from_the_master_dataset() {
    let acts = [(100, Act::Send(11)), (3_000, Act::Expire(0)), (1, Act::Expire(1)), (1, Act::Wipe), (50, Act::Send(5))];
    check_acts(17, 20, &[acts, acts].concat());
}

#[test]
fn a_gateway_that_holds_runs_takes_those_that_a_fail_over_put_in_their_place() {
    let acts = [(300, Act::Send(3)), (900, Act::FailOver(0, 2)), (1, Act::FailOver(1, 2)), (900, Act::Send(2))];
    let acts = [acts, acts, acts, acts].concat();
    check_acts(18, 0, &acts);
    // When readers ask is drawn, and not every moment shows the mistake.
    let careless = |seed| Plan { bug: Some(Bug::RunsCachedByCount), ..plan(seed, 0, &acts) };
    let found = (18..26).find_map(|seed| run(&careless(seed)).violation);
    assert_eq!(found.unwrap().kind, "wrong answer");
}

#[test]
fn records_lost_before_they_were_archived_are_named_and_the_rest_is_counted() {
    let acts = [(100, Act::Send(10)), (1, Act::Lose(0)), (1_500, Act::Send(6)), (1, Act::Lose(1)), (50, Act::Send(9))];
    let outcome = check_acts(19, 20, &[&acts[..], &acts[..1], &[(1, Act::Lose(0))][..]].concat());
    assert!(outcome.lost > 0);
}

#[test]
fn a_wiped_store_is_filled_around_a_hole() {
    let acts = [(100, Act::Send(11)), (1, Act::Lose(0)), (4_000, Act::Send(9)), (2_000, Act::Wipe), (10, Act::Send(3))];
    assert!(check_acts(20, 20, &[acts, acts].concat()).lost > 0);
}

#[test]
fn a_topic_created_again_under_running_roles_stops_them_and_is_in_no_answer() {
    let acts = [(100, Act::Send(11)), (5_000, Act::Send(8)), (2_000, Act::Recreate), (10, Act::Send(11))];
    assert!(check_acts(21, 20, &[&acts[..], &[(2_000, Act::Send(11))][..]].concat()).is_replaced);
}

#[test]
fn a_topic_created_again_beside_a_wiped_store_is_in_no_answer() {
    // Before anything is published: the workers come back with nothing but the archive to know the topic by.
    let before = [(100, Act::Send(6)), (2_300, Act::Recreate), (1, Act::Wipe), (1, Act::Kill(2)), (1, Act::Kill(3))];
    for seed in 22..30 {
        let outcome = check_acts(seed, 20, &[&before[..], &[(10, Act::Send(11)), (900, Act::Send(11))][..]].concat());
        assert!(outcome.is_replaced, "seed {seed}: nothing was archived yet");
    }
}

#[test]
fn a_topic_created_again_counts_from_its_reset_on_behind_what_the_first_one_was() {
    let first = [(100, Act::Send(11)), (5_000, Act::Send(8)), (2_000, Act::Recreate), (10, Act::Send(9))];
    let second = [(3_000, Act::Reset), (10, Act::Send(11)), (4_000, Act::Send(5)), (10, Act::Wipe), (1, Act::Send(3))];
    for seed in 24..32 {
        let outcome = check_acts(seed, 40, &[&first[..], &second[..]].concat());
        assert!(!outcome.is_replaced, "seed {seed}");
    }
}

#[test]
fn a_topic_may_be_created_again_and_reset_at_any_moment_and_again() {
    let life = [(100, Act::Send(11)), (6_000, Act::Recreate), (1, Act::Send(6)), (1, Act::Reset), (500, Act::Send(6))];
    for seed in 32..40 {
        let plan = Plan::by_hand(seed, Rates { delay: 40, fail: 20, kill: 10 }, &[life, life, life].concat());
        let outcome = check(&plan);
        assert!(!outcome.is_replaced, "seed {seed}");
    }
}

#[test]
fn a_reset_of_the_archived_topic_is_refused_and_changes_nothing() {
    let acts = [(1, Act::Reset), (100, Act::Send(11)), (10, Act::Reset), (4_000, Act::Send(3)), (5_000, Act::Reset)];
    check_acts(33, 20, &acts);
}

#[test]
fn clocks_that_are_minutes_apart_change_no_number() {
    let acts = [(300, Act::Send(6)), (4_000, Act::Send(9)), (2_000, Act::FailOver(0, 3)), (5_000, Act::Send(7))];
    for ahead in [[-55, 200, 0, 230, -60, 120, 90, -30], [240, -60, 200, -60, 240, -60, 0, 240]] {
        let skews = ahead.map(|ahead| Skew { ahead, drift: ahead / 5 });
        check(&Plan { skews, ..plan(23, 30, &[acts, acts].concat()) });
    }
}

#[test]
fn a_source_that_stops_and_starts_again_counts_each_event_once() {
    let acts =
        [(100, Act::Send(8)), (900, Act::Stop(3)), (10, Act::Send(11)), (2_500, Act::Stop(0)), (1, Act::Send(5))];
    for seed in 40..48 {
        check(&Plan::by_hand(seed, Rates { delay: 40, fail: 20, kill: 10 }, &[acts, acts].concat()));
    }
}

#[test]
fn a_source_that_is_replaced_counts_each_event_once() {
    let acts = [(100, Act::Send(11)), (3_000, Act::Stop(1)), (500, Act::Send(6))];
    let then = [(900, Act::Replace(2)), (10, Act::Send(11)), (4_000, Act::Stop(2)), (10, Act::Send(6))];
    for seed in 48..56 {
        check(&Plan::by_hand(seed, Rates { delay: 40, fail: 20, kill: 10 }, &[&acts[..], &then[..]].concat()));
    }
}

#[test]
fn what_was_rejected_counts_once_a_changed_definition_takes_it() {
    let before = [(100, Act::Send(11)), (3_000, Act::Send(11)), (3_000, Act::Send(11))];
    let then = [(10, Act::Send(11)), (4_000, Act::Send(5)), (1, Act::Wipe), (1, Act::Send(5))];
    for (seed, change) in (60..66).zip([Act::Upgrade, Act::Replace(2)].into_iter().cycle()) {
        let acts = [&before[..], &[(900, change)][..], &then[..]].concat();
        check(&Plan::by_hand(seed, Rates { delay: 40, fail: 20, kill: 10 }, &acts));
    }
}

#[test]
fn former_definitions_answer_by_their_own_fold_while_others_are_built() {
    let before = [(100, Act::Send(11)), (3_000, Act::Send(11))];
    let then = [(10, Act::Send(11)), (4_000, Act::Send(5)), (1, Act::Wipe), (1, Act::Send(5)), (6_000, Act::Kill(2))];
    let last = [(100, Act::Send(9)), (3_000, Act::FailOver(0, 3)), (5_000, Act::Send(7))];
    for (seed, change) in (70..76).zip([Act::Upgrade, Act::Replace(2)].into_iter().cycle()) {
        let acts = [&before[..], &[(900, change)][..], &then[..], &last[..]].concat();
        let plan = Plan::by_hand(seed, Rates { delay: 40, fail: 20, kill: 10 }, &acts);
        check(&Plan { keeps_former: true, ..plan });
    }
}

#[test]
fn tables_that_are_opened_from_checkpoints_count_each_event_once() {
    let acts = [(2_500, Act::Send(5)), (2_500, Act::Send(6)), (2_500, Act::Send(4)), (100, Act::Kill(0))];
    let rates = Rates { delay: 40, fail: 20, kill: 20 };
    for seed in 56..60 {
        let outcome = check(&Plan::by_hand(seed, rates, &[acts, acts, acts].concat()));
        assert!(outcome.checkpoints > 0, "seed {seed}: no table has a checkpoint");
    }
}

#[test]
fn a_plan_that_fails_is_shrunk() {
    let (found, _) = sweep(0..100, Some(Bug::AppendWithoutComparison));
    let (plan, violation) = found.unwrap();
    let (small, same) = shrink(plan.clone(), violation.clone(), 30);
    assert_eq!(same.kind, violation.kind);
    assert!(small.acts.len() < plan.acts.len(), "{small:?}");
}
