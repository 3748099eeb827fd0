//! The archive: every record once, whatever is killed, raced or full.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use batch_layer::BatchError;
use batch_layer::archive::{ArchiveState, ArchiveStatus, run_archive};
use event_log::EventLogError;
use positions::{Offset, PartitionId};
use rand::Rng;
use records::decode::column;
use records::master::{Hole, MasterSnapshot};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::world::{World, end_of, wait_until};
use crate::support::seeds::seeds;

/// The master dataset holds exactly what was sent, in order, and says so in its facts.
pub async fn check_holds_all(world: &World, snapshot: &MasterSnapshot) {
    snapshot.check_ledger().unwrap();
    assert_eq!(snapshot.facts.rows, world.sent.len() as u64);
    for (partition, end) in world.ends().await {
        let mut sent: Vec<_> = world.sent.iter().filter(|sent| sent.partition == partition.0).collect();
        sent.sort_by_key(|sent| sent.offset);
        let mut held = Vec::new();
        for batch in snapshot.read_range(partition, Offset(0), end).await.unwrap() {
            let offsets = batch.column_by_name(views::column::OFFSET).unwrap().as_primitive::<Int64Type>().clone();
            let payloads = batch.column_by_name(column::PAYLOAD).unwrap().as_binary::<i32>().clone();
            let errors = batch.column_by_name(column::ERROR).unwrap().clone();
            for row in 0..batch.num_rows() {
                let payload = String::from_utf8(payloads.value(row).to_vec()).unwrap();
                held.push((offsets.value(row), payload, errors.is_valid(row)));
            }
        }
        let sent: Vec<_> = sent.iter().map(|sent| (sent.offset, sent.payload.clone(), sent.event.is_none())).collect();
        assert_eq!(held, sent, "partition {partition}");
        let rejected = sent.iter().filter(|(_, _, is_rejected)| *is_rejected).count() as u64;
        let known = snapshot.facts.partitions.get(&partition).copied();
        assert_eq!(known.map_or(0, |known| known.counters.rejected), rejected);
        assert_eq!(known.map_or(0, |known| known.counters.rows), sent.len() as u64);
    }
}

#[tokio::test]
async fn archive_keeps_every_record_once_in_any_batching() {
    for seed in seeds(10) {
        let mut world = World::new(seed).await;
        for _ in 0..3 {
            let count = world.rng.random_range(0..60);
            world.send(count).await;
            world.archive().await;
        }
        check_holds_all(&world, &world.snapshot().await).await;
    }
}

/// Polls a future at most `times` times.
pub async fn poll_at_most<F: Future>(times: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = times;
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn archive_killed_at_any_await_loses_and_doubles_nothing() {
    for seed in seeds(20) {
        let mut world = World::new(seed).await;
        for _ in 0..8 {
            world.send(10).await;
            let (components, _told) = world.archive_components();
            let settings = world.archive_settings();
            let times = world.rng.random_range(1..60);
            poll_at_most(times, run_archive(components, settings, CancellationToken::new())).await;
        }
        world.archive().await;
        check_holds_all(&world, &world.snapshot().await).await;
    }
}

/// Archives a log with a gap of offsets, a hole and a new partition while one call to log or store fails; answers
/// whether there were that many calls.
async fn check_with_failing_call(number: u64, is_after: bool) -> bool {
    let mut world = World::new(13).await;
    world.send(20).await;
    world.log.skip_offsets("hits", PartitionId(0), 5).unwrap();
    world.send(20).await;
    let (components, told) = world.archive_components();
    let mut settings = world.archive_settings();
    settings.poll.records = 24;
    let shutdown = CancellationToken::new();
    world.faults.fail_call(number, is_after);
    let running = async {
        world.wait_until_archived(told.clone()).await;
        // One moment for the archive: the log in memory never makes this task wait.
        world.send(40).await;
        world.log.expire_below("hits", PartitionId(1), Offset(31)).unwrap();
        world.log.skip_offsets("hits", PartitionId(0), 3).unwrap();
        world.log.grow_topic("hits", 3).unwrap();
        world.send(30).await;
        world.wait_until_archived(told).await;
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(run_archive(components, settings, shutdown.clone()), running);
    ended.unwrap_or_else(|error| panic!("call {number}, after it was done: {is_after}: {error}"));
    let has_failed = world.faults.has_failed();
    world.faults.fail_call(0, false);
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot.facts.holes, vec![Hole { partition: PartitionId(1), from: Offset(20), to: Offset(31) }]);
    world.sent.retain(|sent| sent.partition != 1 || !(20..31).contains(&sent.offset));
    check_holds_all(&world, &snapshot).await;
    has_failed
}

#[tokio::test]
async fn whichever_call_fails_the_archive_holds_every_record_and_hole_once() {
    for is_after in [false, true] {
        let mut number = 1;
        while check_with_failing_call(number, is_after).await {
            number += 1;
        }
        assert!(number > 30, "only {number} calls: nothing was tested");
    }
}

#[tokio::test]
async fn two_archivers_write_one_history() {
    for seed in seeds(10) {
        let mut world = World::new(seed).await;
        world.send(120).await;
        let shutdown = CancellationToken::new();
        let mut archivers = tokio::task::JoinSet::new();
        let mut told = Vec::new();
        for _ in 0..2 {
            let (components, status) = world.archive_components();
            let mut settings = world.archive_settings();
            settings.poll.records = 3;
            archivers.spawn(run_archive(components, settings, shutdown.clone()));
            told.push(status);
        }
        for status in told {
            world.wait_until_archived(status).await;
        }
        shutdown.cancel();
        archivers.join_all().await.into_iter().for_each(|ended| ended.unwrap());
        check_holds_all(&world, &world.snapshot().await).await;
    }
}

#[tokio::test]
async fn archive_waits_for_a_full_disk_and_drops_nothing() {
    let mut world = World::new(7).await;
    world.send(20).await;
    world.archive().await;
    world.disk_full.store(true, Ordering::SeqCst);
    world.send(20).await;
    let settings = world.archive_settings();
    let watched = async |told: watch::Receiver<ArchiveStatus>| {
        wait_until(told.clone(), |status| matches!(status.state, ArchiveState::Retrying { .. })).await;
        world.disk_full.store(false, Ordering::SeqCst);
        world.wait_until_archived(told).await;
    };
    world.archive_while(settings, watched).await.unwrap();
    check_holds_all(&world, &world.snapshot().await).await;
}

#[tokio::test]
async fn the_next_commit_is_read_while_one_is_written_and_no_more_than_that() {
    let mut world = World::new(14).await;
    world.send(10).await;
    world.archive().await;
    let before = world.snapshot().await.snapshot.version();
    world.send(80).await;
    world.disk_stalled.send_replace(true);
    let mut settings = world.archive_settings();
    settings.poll.records = 5;
    (settings.commit_rows, settings.commit_interval) = (20, Duration::from_secs(3600));
    let watched = async |told: watch::Receiver<ArchiveStatus>| {
        wait_until(told.clone(), |status| status.pending_rows == 40).await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
            assert_eq!(told.borrow().pending_rows, 40, "two commits are all that is held");
            assert_eq!(told.borrow().version, Some(before));
        }
        world.disk_stalled.send_replace(false);
        world.wait_until_archived(told).await;
    };
    world.archive_while(settings, watched).await.unwrap();
    let snapshot = world.snapshot().await;
    assert_eq!(snapshot.snapshot.version().0, before.0 + 4, "each commit has its 20 rows");
    check_holds_all(&world, &snapshot).await;
}

#[tokio::test]
async fn expired_offsets_become_a_hole() {
    let mut world = World::new(8).await;
    world.send(40).await;
    world.archive().await;
    world.send(40).await;
    world.log.expire_below("hits", PartitionId(1), Offset(31)).unwrap();
    world.archive().await;
    let snapshot = world.snapshot().await;
    let hole = Hole { partition: PartitionId(1), from: Offset(20), to: Offset(31) };
    assert_eq!(snapshot.facts.holes, vec![hole]);
    assert_eq!(snapshot.facts.partitions[&PartitionId(1)].counters.holes, 11);
    assert_eq!(snapshot.facts.partitions[&PartitionId(1)].counters.rows, 29);
    assert_eq!(snapshot.facts.partitions[&PartitionId(1)].archived.end.offset, Offset(40));
    snapshot.check_ledger().unwrap();
}

#[tokio::test]
async fn offsets_without_records_are_no_hole() {
    let mut world = World::new(9).await;
    world.send(10).await;
    world.log.skip_offsets("hits", PartitionId(0), 5).unwrap();
    world.send(10).await;
    world.archive().await;
    assert!(world.snapshot().await.facts.holes.is_empty());
    check_holds_all(&world, &world.snapshot().await).await;
}

#[tokio::test]
async fn a_topic_created_again_stops_the_archive() {
    let mut world = World::new(10).await;
    world.send(40).await;
    world.archive().await;
    world.log.recreate_topic("hits").unwrap();
    world.send(60).await;
    let (components, told) = world.archive_components();
    let settings = world.archive_settings();
    let ended =
        tokio::time::timeout(Duration::from_secs(30), run_archive(components, settings, CancellationToken::new()));
    let error = ended.await.unwrap().unwrap_err();
    assert!(matches!(error, BatchError::Log(EventLogError::AnotherTopic { .. })), "{error}");
    assert!(matches!(told.borrow().state, ArchiveState::Stopped { error: Some(_) }));
}

#[tokio::test]
async fn new_partitions_are_archived_from_their_start() {
    let mut world = World::new(11).await;
    world.send(20).await;
    let (components, told) = world.archive_components();
    let settings = world.archive_settings();
    let shutdown = CancellationToken::new();
    let running = async {
        wait_until(told.clone(), |status| end_of(status, PartitionId(0)) == Offset(10)).await;
        world.log.grow_topic("hits", 3).unwrap();
        world.send(30).await;
        world.wait_until_archived(told).await;
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(run_archive(components, settings, shutdown.clone()), running);
    ended.unwrap();
    check_holds_all(&world, &world.snapshot().await).await;
}

#[tokio::test]
async fn an_idle_archive_commits_nothing() {
    let mut world = World::new(12).await;
    world.send(20).await;
    world.archive().await;
    let before = world.snapshot().await.snapshot.version();
    world.archive().await;
    assert_eq!(world.snapshot().await.snapshot.version(), before);
}
