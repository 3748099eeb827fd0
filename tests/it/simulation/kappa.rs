//! Worlds in kappa mode. Their answers are held against the same oracle as all others, which at a cut of nothing is
//! their law: `finish(state(V, fresh(L[0, H))))`. So copies further apart than the horizon, or in two partitions, all
//! count.

use super::plan::{Act, Plan, Rates};
use super::run::{Outcome, check};

fn check_acts(seed: u64, rates: Rates, acts: &[(u64, Act)]) -> Outcome {
    check(&Plan { is_kappa: true, ..Plan::by_hand(seed, rates, acts) })
}

const DELAYED: Rates = Rates { delay: 40, fail: 0, kill: 0 };

#[test]
fn a_log_that_has_expired_is_replayed_from_the_master_dataset_after_a_wipe() {
    for seed in 0..4 {
        let acts = [
            (100, Act::Send(20)),
            (9_000, Act::Expire(0)),
            (10, Act::Expire(1)),
            (100, Act::Wipe),
            (100, Act::Send(10)),
            (4_000, Act::Wipe),
            (2_000, Act::Send(5)),
        ];
        check_acts(seed, DELAYED, &acts);
    }
}

#[test]
fn workers_that_are_killed_paused_and_doubled_count_every_record_once() {
    for seed in 0..4 {
        let acts = [
            (100, Act::Send(15)),
            (500, Act::Kill(2)),
            (200, Act::Pause(3, 8)),
            (100, Act::Send(15)),
            (700, Act::Kill(3)),
            (300, Act::Kill(2)),
            (100, Act::Send(15)),
        ];
        check_acts(seed, Rates { delay: 40, fail: 10, kill: 20 }, &acts);
    }
}

#[test]
fn a_changed_definition_is_replayed_beside_the_former_one() {
    for seed in 0..4 {
        let acts = [(100, Act::Send(20)), (6_000, Act::Upgrade), (100, Act::Send(20)), (3_000, Act::Send(5))];
        check_acts(seed, DELAYED, &acts);
    }
}

#[test]
fn a_lost_blob_is_noticed_and_its_partition_read_again() {
    for seed in 0..4 {
        let acts = [(100, Act::Send(25)), (5_000, Act::Evict(0)), (10, Act::Evict(1)), (100, Act::FailOver(0, 3))];
        check_acts(seed, DELAYED, &acts);
    }
}
