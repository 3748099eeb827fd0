//! The speed layer against the fold of the log, with workers that die, double, stall and lose their stores.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use event_log::EventLogError;
use positions::{
    Backoff, Clock, CurrentDefinitions, Cut, DefinitionNumber, IdSource, IndexStamp, Offset, PartitionId,
    TimestampMicros,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use records::master::Hole;
use serving_layer::{BlobKey, RealtimeStore, Swap};
use speed_layer::{SpeedError, SpeedSettings};
use tokio_util::sync::CancellationToken;

use crate::support::seeds::seeds;
use crate::support::surroundings::foreign_plans;

mod erased;
mod former;
mod kappa;
mod pace;
mod system;

use system::{Event, PARTITIONS, System};

/// Runs a case for some seeds and says which one failed.
async fn for_each<F: Future<Output = ()>>(count: u64, case: impl Fn(u64, StdRng) -> F) {
    for seed in seeds(count) {
        eprintln!("TWOFOLD_SEED={seed}");
        case(seed, StdRng::seed_from_u64(seed)).await;
    }
}

#[tokio::test]
async fn runs_hold_the_fold_of_the_log() {
    for_each(25, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        let count = rng.random_range(1..400);
        system.send(&mut rng, count).await;
        system.run_to_end(System::settings(&mut rng)).await;
        system.check(&Cut::default()).await;
        for partition in PARTITIONS {
            let index = system.index(partition).await.unwrap();
            let sent = system.sent.get(&partition).map_or(&[][..], Vec::as_slice);
            assert_eq!(index.counters.rows as usize, sent.len());
            assert_eq!(index.counters.rejected as usize, sent.iter().filter(|(_, event)| event.is_none()).count());
        }
    })
    .await;
}

/// A view that was planned over other columns than its source has: what fails at every micro-batch.
#[tokio::test]
async fn a_view_that_cannot_be_run_is_left_out_of_the_runs_and_its_siblings_are_not() {
    let mut rng = StdRng::seed_from_u64(12);
    let mut system = System::new(12).await;
    system.views[1].plans = foreign_plans();
    system.send(&mut rng, 200).await;
    system.run_to_end(System::settings(&mut rng)).await;
    for partition in PARTITIONS {
        let index = system.index(partition).await.unwrap();
        assert!(!index.runs.is_empty());
        for run in &index.runs {
            let held: Vec<_> = run.views.iter().map(|held| held.view).collect();
            assert_eq!(held, [system.views[0].hash], "run from {}", run.from.offset);
        }
    }
}

#[tokio::test]
async fn copies_are_judged_by_the_running_maximum_across_micro_batches() {
    let mut rng = StdRng::seed_from_u64(0);
    let mut system = System::new(0).await;
    let start = 1_700_000_000_000_000;
    // One id, so one partition; another time, so another event. The horizon is 10 s.
    let event = |time| Event { id: Some(1), time, page: Some("page".to_owned()), amount: Some(1), ..Event::default() };
    system.send_one(Some(event(start)), start).await;
    system.send_one(Some(event(start + 1)), start + 10_400_000).await;
    system.send_one(Some(event(start)), start + 9_900_000).await;
    system.run_to_end(SpeedSettings { max_records: 1, ..System::settings(&mut rng) }).await;
    system.check(&Cut::default()).await;
    let mut copies = 0;
    for partition in PARTITIONS {
        copies += system.index(partition).await.unwrap().counters.copies;
    }
    assert_eq!(copies, 0, "the third lies 10.4 s of log time behind the first, whatever its own timestamp says");
}

#[tokio::test]
async fn merges_keep_the_answer_and_leave_few_runs() {
    for_each(4, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        let settings = SpeedSettings { max_records: 2, merge_fan_in: 3, ..System::settings(&mut rng) };
        system.send(&mut rng, 300).await;
        system.run_to_end(settings.clone()).await;
        let (worker, stop) = system.spawn(settings);
        system.until("closed segments are one run each", || system.is_merged(3)).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&Cut::default()).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_killed_anywhere_counts_each_event_once() {
    for_each(25, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.store.fail(30);
        for _ in 0..rng.random_range(1..12) {
            let count = rng.random_range(0..60);
            system.send(&mut rng, count).await;
            let polls = rng.random_range(1..60);
            system.run_and_kill(System::settings(&mut rng), polls).await;
        }
        system.run_to_end(System::settings(&mut rng)).await;
        system.check(&Cut::default()).await;
    })
    .await;
}

#[tokio::test]
async fn two_workers_on_the_same_partitions_double_nothing() {
    for_each(10, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.store.fail(20);
        let (one, stop_one) = system.spawn(System::settings(&mut rng));
        let (other, stop_other) = system.spawn(System::settings(&mut rng));
        for _ in 0..6 {
            system.send(&mut rng, 40).await;
            system.until("heads at the end", || system.is_at_end()).await;
        }
        stop_one.cancel();
        stop_other.cancel();
        one.await.unwrap().unwrap();
        other.await.unwrap().unwrap();
        system.check(&Cut::default()).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_was_paused_while_another_went_on_changes_nothing() {
    for_each(15, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        let stop = CancellationToken::new();
        let zombie = speed_layer::run::run(system.components(), System::settings(&mut rng), stop.clone());
        let mut zombie = Box::pin(zombie);
        system.send(&mut rng, 80).await;
        for _ in 0..rng.random_range(1..40) {
            assert!(matches!(futures::poll!(zombie.as_mut()), Poll::Pending));
            tokio::task::yield_now().await;
        }
        system.run_to_end(System::settings(&mut rng)).await;
        system.send(&mut rng, 40).await;
        system.run_to_end(System::settings(&mut rng)).await;
        let revived = tokio::spawn(zombie);
        system.send(&mut rng, 40).await;
        system.until("the revived worker goes on at the head", || system.is_at_end()).await;
        stop.cancel();
        revived.await.unwrap().unwrap();
        system.check(&Cut::default()).await;
    })
    .await;
}

#[tokio::test]
async fn a_wiped_store_is_rebuilt_from_the_cut_with_the_copies_before_it() {
    for_each(20, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 200).await;
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        system.until("heads at the end", || system.is_at_end()).await;
        let share = rng.random_range(0.2..1.0);
        let (archived, cut) = (system.grid_cut(share), system.grid_cut(share * rng.random_range(0.3..1.0)));
        system.archive(&archived, &[]).await;
        system.publish(&cut).await;
        system.memory.wipe();
        system.send(&mut rng, 60).await;
        system.until("heads at the end again", || system.is_at_end()).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&cut).await;
        for partition in PARTITIONS {
            let index = system.index(partition).await.unwrap();
            let first = index.runs.first().map_or(index.head.offset, |run| run.from.offset);
            assert!(first >= cut.offset(partition), "nothing below the cut was computed again");
        }
    })
    .await;
}

#[tokio::test]
async fn a_wiped_store_of_an_idle_log_is_filled_again_whatever_clock_marked_it_last() {
    let mut rng = StdRng::seed_from_u64(11);
    let system = System::new(11).await;
    system.run_to_end(System::settings(&mut rng)).await;
    // A worker whose clock was an hour ahead.
    let ahead = TimestampMicros(system.clock.now().0 + 3_600_000_000);
    for partition in PARTITIONS {
        let index = system.index(partition).await.unwrap();
        let stamp = IndexStamp(system.ids.next_id());
        let marked = index.touch(stamp, DefinitionNumber(1), index.head, ahead).unwrap();
        let swapped =
            system.memory.swap_index(&system.key(partition), Some(index.stamp), &marked, Duration::ZERO).await;
        assert_eq!(swapped.unwrap(), Swap::Done);
    }
    let (worker, stop) = system.spawn(System::settings(&mut rng));
    for partition in PARTITIONS {
        let was = system.index(partition).await.unwrap();
        system.until("marked anew", async || system.index(partition).await.unwrap().stamp != was.stamp).await;
        assert_eq!(system.index(partition).await.unwrap().as_of, ahead, "it never goes back");
    }
    system.memory.wipe();
    system.until("heads at the end again", || system.is_at_end()).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_long_horizon_reaches_behind_records_that_were_too_far_ahead() {
    for_each(20, async |seed, mut rng| {
        let mut system = System::with_long_horizon(seed).await;
        system.send(&mut rng, 200).await;
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        system.until("heads at the end", || system.is_at_end()).await;
        let share = rng.random_range(0.2..1.0);
        let (archived, cut) = (system.grid_cut(share), system.grid_cut(share * rng.random_range(0.3..1.0)));
        system.archive(&archived, &[]).await;
        system.publish(&cut).await;
        system.memory.wipe();
        system.send(&mut rng, 100).await;
        system.until("heads at the end again", || system.is_at_end()).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&cut).await;
    })
    .await;
}

#[tokio::test]
async fn a_far_jump_of_offsets_is_passed_in_the_log_and_in_the_master_dataset() {
    for is_archived in [false, true] {
        let mut rng = StdRng::seed_from_u64(10);
        let mut system = System::new(10).await;
        system.send(&mut rng, 60).await;
        for partition in PARTITIONS {
            system.log.skip_offsets("edits", partition, 1_000_000_000_000).unwrap();
        }
        system.send(&mut rng, 60).await;
        if is_archived {
            let archived = system.grid_cut(1.0);
            system.archive(&archived, &[]).await;
            for partition in PARTITIONS {
                system.log.expire_below("edits", partition, archived.offset(partition)).unwrap();
            }
        }
        system.run_to_end(System::settings(&mut rng)).await;
        system.check(&Cut::default()).await;
    }
}

#[tokio::test]
async fn runs_below_every_cut_are_dropped_after_the_courtesy_and_answers_stay() {
    for_each(10, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 200).await;
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        system.until("heads at the end", || system.is_at_end()).await;
        let (low, high) = (system.grid_cut(0.4), system.grid_cut(0.8));
        system.archive(&high, &[]).await;
        system.publish_view(&system.views[0], &high).await;
        system.check(&Cut::default()).await;
        system.publish_view(&system.views[1], &low).await;
        let first_run = async |partition| {
            let index = system.index(partition).await.unwrap();
            index.runs.first().map_or(index.head.offset, |run| run.from.offset)
        };
        system
            .until("runs below the least cut are gone", async || {
                first_run(PARTITIONS[0]).await >= low.offset(PARTITIONS[0])
                    && first_run(PARTITIONS[1]).await >= low.offset(PARTITIONS[1])
            })
            .await;
        for partition in PARTITIONS {
            assert!(
                first_run(partition).await <= low.offset(partition).max(Offset(0)),
                "the other view needs the rest"
            );
        }
        system.check(&low).await;
        system.send(&mut rng, 50).await;
        system.until("heads at the end", || system.is_at_end()).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&low).await;
    })
    .await;
}

/// The end of the log in every partition: a cut off the grid, as after a silence.
fn end_cut(system: &System) -> Cut {
    Cut(PARTITIONS.iter().map(|partition| (*partition, system.position(*partition, system.end(*partition)))).collect())
}

#[tokio::test]
async fn published_cuts_are_borders() {
    for_each(6, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 40).await;
        system.run_to_end(System::settings(&mut rng)).await;
        system.send(&mut rng, 40).await;
        let cut = end_cut(&system);
        // The other view is still answered from the start, so the worker does not jump over the cut.
        system.publish_view(&system.views[0], &cut).await;
        system.send(&mut rng, 40).await;
        system.run_to_end(SpeedSettings { max_records: 1_000, ..System::settings(&mut rng) }).await;
        for (partition, cut) in &cut.0 {
            let index = system.index(*partition).await.unwrap();
            let crosses = |run: &positions::Run| run.from.offset < cut.offset && cut.offset < run.to.offset;
            assert!(!index.runs.iter().any(crosses), "a run crosses the cut at {}", cut.offset);
        }
        system.check(&Cut::default()).await;
        system.check(&cut).await;
    })
    .await;
}

#[tokio::test]
async fn a_head_below_every_cut_jumps_to_the_least() {
    for_each(6, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 40).await;
        system.run_to_end(System::settings(&mut rng)).await;
        system.send(&mut rng, 60).await;
        let cut = end_cut(&system);
        system.archive(&cut, &[]).await;
        system.publish(&cut).await;
        system.send(&mut rng, 60).await;
        system.run_to_end(System::settings(&mut rng)).await;
        system.check(&cut).await;
    })
    .await;
}

#[tokio::test]
async fn where_the_log_has_expired_the_master_dataset_is_read() {
    for_each(10, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 150).await;
        let archived = system.grid_cut(0.7);
        for partition in PARTITIONS {
            system.log.expire_below("edits", partition, archived.offset(partition)).unwrap();
        }
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        system.send(&mut rng, 20).await;
        for _ in 0..50 {
            system.clock.advance(Duration::from_millis(20));
            tokio::task::yield_now().await;
        }
        assert!(system.index(PartitionId(0)).await.is_none_or(|index| index.runs.is_empty()), "nothing is skipped");
        system.archive(&archived, &[]).await;
        system.until("heads at the end", || system.is_at_end()).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&Cut::default()).await;
    })
    .await;
}

#[tokio::test]
async fn a_declared_hole_is_passed_and_counted() {
    for_each(6, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 150).await;
        let mut holes = Vec::new();
        let low = system.grid_cut(0.5);
        for partition in PARTITIONS {
            let to = low.offset(partition);
            system.log.expire_below("edits", partition, to).unwrap();
            // The records are lost: from here on nobody has ever seen them.
            system.sent.get_mut(&partition).unwrap().retain(|(record, _)| record.offset >= to);
            holes.push(Hole { partition, from: Offset(0), to });
        }
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        let archived = Cut(PARTITIONS.iter().map(|p| (*p, system.position(*p, low.offset(*p)))).collect());
        system.archive(&archived, &holes).await;
        system.until("heads at the end", || system.is_at_end()).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&Cut::default()).await;
        for hole in holes {
            let index = system.index(hole.partition).await.unwrap();
            assert_eq!(index.counters.holes, (hole.to.0 - hole.from.0) as u64);
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_that_is_away_for_a_while_loses_nothing() {
    for_each(6, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 60).await;
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        system.until("heads at the end", || system.is_at_end()).await;
        system.store.set_up(false);
        system.send(&mut rng, 60).await;
        for _ in 0..100 {
            system.clock.advance(Duration::from_millis(20));
            tokio::task::yield_now().await;
        }
        assert!(!system.is_at_end().await);
        system.store.set_up(true);
        system.until("heads at the end", || system.is_at_end()).await;
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&Cut::default()).await;
    })
    .await;
}

#[tokio::test]
async fn a_full_store_stops_appending_until_runs_are_dropped() {
    let mut rng = StdRng::seed_from_u64(1);
    let mut system = System::with_memory(1, 60_000).await;
    system.send(&mut rng, 600).await;
    let settings = SpeedSettings { grace: Duration::from_millis(50), ..System::settings(&mut rng) };
    let settings = SpeedSettings { blob_time_to_live: Duration::from_millis(200), ..settings };
    let (worker, stop) = system.spawn(settings);
    system.until("the store is nearly full", async || system.memory.used_bytes() > 55_000).await;
    for _ in 0..100 {
        system.clock.advance(Duration::from_millis(20));
        tokio::task::yield_now().await;
    }
    assert!(!system.is_at_end().await, "what does not fit is not appended");
    assert!(system.memory.used_bytes() <= 60_000);
    let cut = system.grid_cut(1.0);
    system.archive(&cut, &[]).await;
    system.publish(&cut).await;
    system.until("heads at the end", || system.is_at_end()).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    system.check(&cut).await;
}

#[tokio::test]
async fn a_lost_blob_makes_the_partition_start_again() {
    let mut rng = StdRng::seed_from_u64(2);
    let mut system = System::new(2).await;
    let settings = SpeedSettings { max_records: 3, merge_fan_in: 8, ..System::settings(&mut rng) };
    for number in 0..6 {
        let event =
            Event { id: Some(number), time: 0, page: Some("page".to_owned()), amount: Some(1), ..Event::default() };
        system.send_one(Some(event), 1_700_000_000_000_000).await;
    }
    system.run_to_end(settings.clone()).await;
    let index = system.index(PartitionId(0)).await.unwrap();
    let lost = BlobKey { run: index.runs[0].id, view: system.views[0].hash };
    system.store.lose_blob(lost);
    let (worker, stop) = system.spawn(settings);
    system.send(&mut rng, 200).await;
    system.until_started_again(lost).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    system.check(&Cut::default()).await;
}

#[tokio::test]
async fn a_topic_that_was_created_again_stops_the_source() {
    let mut rng = StdRng::seed_from_u64(3);
    let mut system = System::new(3).await;
    system.send(&mut rng, 50).await;
    system.run_to_end(System::settings(&mut rng)).await;
    system.log.recreate_topic("edits").unwrap();
    system.send(&mut rng, 200).await;
    let (worker, _stop) = system.spawn(System::settings(&mut rng));
    let ended = tokio::time::timeout(Duration::from_secs(60), worker).await.unwrap().unwrap();
    assert!(matches!(ended, Err(SpeedError::Log(EventLogError::AnotherTopic { .. }))), "{ended:?}");
}

#[tokio::test]
async fn a_worker_with_older_definitions_is_refused() {
    let mut rng = StdRng::seed_from_u64(4);
    let mut system = System::new(4).await;
    system.send(&mut rng, 50).await;
    let newer = speed_layer::SpeedComponents { definitions: Arc::new(DefinitionNumber(2)), ..system.components() };
    let stop = CancellationToken::new();
    let worker = tokio::spawn(speed_layer::run::run(newer, System::settings(&mut rng), stop.clone()));
    system.until("heads at the end", || system.is_at_end()).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    let before = system.index(PartitionId(0)).await.unwrap();
    assert_eq!(before.definitions, DefinitionNumber(2));
    system.send(&mut rng, 50).await;
    system.run_and_kill(System::settings(&mut rng), 200).await;
    assert_eq!(system.index(PartitionId(0)).await.unwrap(), before);
}

/// The number of a set of definitions that changes under a worker.
struct Raised(AtomicU64);

impl CurrentDefinitions for Raised {
    fn number(&self) -> DefinitionNumber {
        DefinitionNumber(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test]
async fn a_worker_that_lives_on_writes_under_the_number_of_the_set_that_followed() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut system = System::new(7).await;
    system.send(&mut rng, 50).await;
    let raised = Arc::new(Raised(AtomicU64::new(1)));
    let components = speed_layer::SpeedComponents { definitions: raised.clone(), ..system.components() };
    let stop = CancellationToken::new();
    let worker = tokio::spawn(speed_layer::run::run(components, System::settings(&mut rng), stop.clone()));
    system.until("heads at the end", || system.is_at_end()).await;
    assert_eq!(system.index(PartitionId(0)).await.unwrap().definitions, DefinitionNumber(1));

    raised.0.store(3, Ordering::SeqCst);
    let number = async || system.index(PartitionId(0)).await.unwrap().definitions;
    system.until("an idle index carries the new number", async || number().await == DefinitionNumber(3)).await;
    // Another process wrote under a still newer set; then this one goes over to it, too.
    let taken = async || {
        let index = system.index(PartitionId(0)).await.unwrap();
        let stamp = IndexStamp(system.ids.next_id());
        let touched = index.touch(stamp, DefinitionNumber(4), index.head, index.as_of).unwrap();
        let key = system.key(PartitionId(0));
        system.memory.swap_index(&key, Some(index.stamp), &touched, Duration::ZERO).await.unwrap() == Swap::Done
    };
    system.until("the index is taken over", taken).await;
    raised.0.store(4, Ordering::SeqCst);
    system.send(&mut rng, 50).await;
    system.until("heads at the end again", || system.is_at_end()).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    assert_eq!(system.index(PartitionId(0)).await.unwrap().definitions, DefinitionNumber(4));
}

#[tokio::test]
async fn workers_of_one_group_share_the_partitions() {
    let mut rng = StdRng::seed_from_u64(5);
    let mut system = System::new(5).await;
    let settings = SpeedSettings { group: Some("speed".to_owned()), ..System::settings(&mut rng) };
    let (one, stop_one) = system.spawn(settings.clone());
    system.send(&mut rng, 60).await;
    system.until("heads at the end", || system.is_at_end()).await;
    let (other, stop_other) = system.spawn(settings);
    system.send(&mut rng, 60).await;
    system.until("heads at the end", || system.is_at_end()).await;
    stop_one.cancel();
    one.await.unwrap().unwrap();
    system.send(&mut rng, 60).await;
    system.until("the other takes over", || system.is_at_end()).await;
    stop_other.cancel();
    other.await.unwrap().unwrap();
    system.check(&Cut::default()).await;
}

#[tokio::test]
async fn an_idle_index_is_marked_as_still_right() {
    let mut rng = StdRng::seed_from_u64(6);
    let mut system = System::new(6).await;
    system.send(&mut rng, 20).await;
    let (worker, stop) = system.spawn(System::settings(&mut rng));
    system.until("heads at the end", || system.is_at_end()).await;
    let before = system.index(PartitionId(0)).await.unwrap();
    system.until("a later as-of", async || system.index(PartitionId(0)).await.unwrap().as_of > before.as_of).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
    let after = system.index(PartitionId(0)).await.unwrap();
    assert_eq!((after.head, after.counters), (before.head, before.counters));
}

#[tokio::test]
async fn the_as_of_stands_still_while_the_log_is_silent_and_goes_on_after() {
    let mut rng = StdRng::seed_from_u64(7);
    let mut system = System::new(7).await;
    system.send(&mut rng, 20).await;
    let (worker, stop) = system.spawn(System::settings(&mut rng));
    let as_of = async |partition| system.index(partition).await.unwrap().as_of;
    system.until("heads at the end", || system.is_at_end()).await;
    system.log.set_silent(true);
    // What was known before may still be written.
    let silent_from = system.clock.now();
    for _ in 0..200 {
        system.clock.advance(Duration::from_millis(20));
        tokio::task::yield_now().await;
    }
    for partition in PARTITIONS {
        assert!(as_of(partition).await <= silent_from, "the as-of moved although the log told of no end");
    }
    system.log.set_silent(false);
    let is_later = async || as_of(PARTITIONS[0]).await > silent_from && as_of(PARTITIONS[1]).await > silent_from;
    system.until("a later as-of", is_later).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_as_of_does_not_move_before_the_end_of_the_log_was_read() {
    let mut rng = StdRng::seed_from_u64(8);
    let mut system = System::new(8).await;
    system.send(&mut rng, 300).await;
    // Later than every record: only reading to the end gives such an as-of.
    system.clock.advance(Duration::from_secs(100_000));
    let begun = system.clock.now();
    let (worker, stop) = system.spawn(SpeedSettings { max_records: 3, ..System::settings(&mut rng) });
    let is_known = async |partition| match system.index(partition).await {
        Some(index) if index.as_of >= begun => {
            assert_eq!(index.head.offset, system.end(partition), "an as-of before the end was read");
            true
        }
        _ => false,
    };
    system.until("an as-of", async || is_known(PARTITIONS[0]).await && is_known(PARTITIONS[1]).await).await;
    stop.cancel();
    worker.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_store_without_room_for_merges_takes_appends() {
    let mut rng = StdRng::seed_from_u64(9);
    let mut system = System::new(9).await;
    system.store.refuse_merges();
    system.send(&mut rng, 400).await;
    // Had a merge the pauses of an append, the first failed one would end the test's patience.
    let hour = Duration::from_secs(3_600);
    let settings = SpeedSettings {
        max_records: 10,
        merge_fan_in: 2,
        backoff: Backoff { first: hour, longest: hour },
        ..System::settings(&mut rng)
    };
    system.run_to_end(settings).await;
    system.check(&Cut::default()).await;
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_replaced_from_the_least_cut() {
    for_each(4, async |seed, mut rng| {
        let mut system = System::new(seed).await;
        system.send(&mut rng, 200).await;
        let (worker, stop) = system.spawn(System::settings(&mut rng));
        system.until("heads at the end", || system.is_at_end()).await;
        let cut = system.grid_cut(0.5);
        system.archive(&cut, &[]).await;
        system.publish(&cut).await;
        let is_running = rng.random_bool(0.5);
        if !is_running {
            stop.cancel();
        }
        system.store.corrupt_index(system.key(PARTITIONS[0]));
        system.memory.wipe();
        system.send(&mut rng, 60).await;
        match is_running {
            true => system.until("heads at the end again", || system.is_at_end()).await,
            false => system.run_to_end(System::settings(&mut rng)).await,
        }
        stop.cancel();
        worker.await.unwrap().unwrap();
        system.check(&cut).await;
    })
    .await;
}
