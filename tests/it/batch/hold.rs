//! Rounds by hand beside others: each ends with what was asked for, and loops wait for no holder that died.

use std::sync::Arc;
use std::time::Duration;

use batch_layer::hold::{HoldWatch, PATIENCE, run_held_round};
use batch_layer::recompute::{Mode, Outcome};
use batch_layer::run::run_batch;
use batch_layer::{BatchComponents, BatchSettings, BatchStatus, NoFormer, NoRuns, RecomputeSettings};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::recompute::check_equals_fold;
use super::world::World;
use crate::support::seeds::seeds;

const OBJECT: &str = "_hold/batch";

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

#[tokio::test]
async fn a_loop_passes_over_the_hold_of_a_process_that_died() {
    let mut world = World::new(31).await;
    world.send(60).await;
    world.archive().await;
    let hold = world.lake.path(OBJECT);
    world.lake.put(&hold, "somebody 1".into()).await.unwrap();
    let (_ask, requests) = mpsc::channel(1);
    let (status, mut told) = watch::channel(BatchStatus::default());
    let (context, turn) = (world.batch_context(), Arc::new(Semaphore::new(1)));
    let components =
        BatchComponents { context, requests, status, turn, former: Arc::new(NoFormer), runs: Arc::new(NoRuns) };
    let settings = BatchSettings { interval: Duration::from_secs(3600), ..BatchSettings::default() };
    tokio::time::pause();
    let (began, shutdown) = (Instant::now(), CancellationToken::new());
    let waiting = async {
        told.wait_for(|status| status.finished_at.is_some()).await.unwrap();
        assert!(began.elapsed() >= PATIENCE, "it began after {:?}", began.elapsed());
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(run_batch(components, settings, shutdown.clone()), waiting);
    ended.unwrap();
    assert_eq!(world.lake.get(&hold).await.unwrap(), None, "the next start does not wait for it");
    check_equals_fold(&world).await;
}
