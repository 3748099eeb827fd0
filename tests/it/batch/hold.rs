//! Rounds by hand beside others: each ends with what was asked for.

use std::time::Duration;

use batch_layer::RecomputeSettings;
use batch_layer::hold::{HoldWatch, PATIENCE, run_held_round};
use batch_layer::recompute::{Mode, Outcome};
use tokio::time::Instant;

use super::recompute::check_equals_fold;
use super::world::World;
use crate::support::seeds::seeds;

pub const OBJECT: &str = "_hold/batch";

#[test]
fn a_hold_is_in_force_while_it_changes() {
    let start = Instant::now();
    let at = |seconds| start + Duration::from_secs(seconds);
    let beat = |number: u8| Some(vec![number]);
    let mut watch = HoldWatch::default();
    assert!(!watch.is_in_force(None, at(0)));
    assert!(watch.is_in_force(beat(1), at(1)));
    assert!(watch.is_in_force(beat(1), at(10)));
    assert!(watch.is_in_force(beat(2), at(100)));
    assert!(!watch.is_in_force(beat(2), at(100) + PATIENCE));
    // It lived after all.
    assert!(watch.is_in_force(beat(3), at(200)));
    assert!(!watch.is_in_force(None, at(201)));
    assert!(watch.is_in_force(beat(3), at(300)));
}

#[tokio::test]
async fn two_full_recomputes_by_hand_at_once_are_both_done() {
    for seed in seeds(5) {
        let mut world = World::new(seed).await;
        world.send(60).await;
        world.archive().await;
        let context = world.batch_context();
        let settings = RecomputeSettings { target_partitions: 2, ..RecomputeSettings::default() };
        let run = || run_held_round(&context, Mode::Full, None, &settings);
        let (one, other) = tokio::join!(run(), run());
        for (view, outcome) in one.iter().chain(&other) {
            assert!(matches!(outcome, Ok(Outcome::Published(_))), "{view}: {outcome:?}");
        }
        assert_eq!(world.lake.get(&world.lake.path(OBJECT)).await.unwrap(), None, "nobody is held off any more");
        check_equals_fold(&world).await;
    }
}
