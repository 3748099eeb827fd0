//! Which batch version and which runs an answer is made of.

use std::sync::atomic::Ordering;
use std::time::Duration;

use query_gateway::{Envelope, GatewayError};
use views::{Offset, PartitionId};

use super::world::{World, check_against_fold, event, request};

/// Two partitions with some events each, in one run each.
async fn two_partitions() -> World {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3), event(70, "B", "bob", 5)]);
    world.append_run(0).await;
    world.send(1, [event(1, "A", "cat", 7)]);
    world.append_run(1).await;
    world
}

async fn check(world: &World, view: &str) -> Envelope {
    let answer = world.rows(view, &[]).await.unwrap();
    if view == "by_page" {
        check_against_fold(world, &answer);
    }
    answer.envelope
}

fn offsets(pairs: &std::collections::BTreeMap<PartitionId, Offset>) -> Vec<i64> {
    pairs.values().map(|offset| offset.0).collect()
}

#[tokio::test]
async fn realtime_alone_answers_before_the_first_version() {
    let world = two_partitions().await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale), (None, false));
    assert_eq!((offsets(&envelope.cut), offsets(&envelope.head)), (vec![0, 0], vec![2, 1]));
    assert_eq!((envelope.batch_rows, envelope.realtime_rows, envelope.realtime_share), (0, 3, 1.0));
}

#[tokio::test]
async fn the_newest_version_that_tiles_is_merged_with_the_runs_above_it() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    world.send(0, [event(5, "A", "ann", 1), event(6, "C", "dan", 2)]);
    world.append_run(0).await;
    let newest = world.publish("by_page", &[2, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!(envelope.version, Some(newest));
    assert_eq!((offsets(&envelope.cut), offsets(&envelope.head)), (vec![2, 1], vec![4, 1]));
    assert_eq!((envelope.batch_rows, envelope.realtime_rows, envelope.stale), (3, 2, false));
}

#[tokio::test]
async fn a_version_whose_cut_lies_inside_a_run_waits_for_the_next() {
    let world = two_partitions().await;
    let older = world.publish("by_page", &[2, 1]).await;
    world.send(0, [event(5, "A", "ann", 1), event(6, "C", "dan", 2)]);
    world.append_run(0).await;
    world.publish("by_page", &[3, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale), (Some(older), false));
    assert_eq!(offsets(&envelope.head), vec![4, 1]);
    let repaired = world.publish("by_page", &[4, 1]).await;
    assert_eq!(check(&world, "by_page").await.version, Some(repaired));
}

#[tokio::test]
async fn a_version_at_or_above_the_head_answers_alone() {
    let world = two_partitions().await;
    world.send(0, [event(9, "A", "eve", 4)]);
    let newest = world.publish("by_page", &[3, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((envelope.version, envelope.stale, envelope.runs), (Some(newest), false, 0));
    assert_eq!(offsets(&envelope.head), vec![3, 1]);
}

#[tokio::test]
async fn runs_that_leave_a_gap_are_not_answered_from() {
    let world = two_partitions().await;
    world.publish("by_page", &[1, 1]).await;
    world.send(0, [event(5, "A", "ann", 1)]);
    world.append_run(0).await;
    world.expire(0, 2).await;
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale);
    assert_eq!(offsets(&envelope.head), vec![1, 1]);
    assert!(envelope.stale_reasons[0].contains("partition 0: no run starts at 1"), "{:?}", envelope.stale_reasons);
}

#[tokio::test]
async fn the_head_is_kept_when_the_realtime_store_forgets() {
    let world = two_partitions().await;
    world.publish("by_page", &[1, 0]).await;
    world.publish("by_page", &[2, 0]).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 1]);
    world.store.inner.wipe();
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale);
    assert_eq!(offsets(&envelope.head), vec![2, 1]);
    let fresh = world.another_gateway().rows(&request("by_page", &[])).await.unwrap();
    assert_eq!(offsets(&fresh.envelope.head), vec![2, 0]);
    world.publish("by_page", &[2, 1]).await;
    let envelope = check(&world, "by_page").await;
    assert_eq!((offsets(&envelope.head), envelope.stale), (vec![2, 1], false));
}

#[tokio::test]
async fn a_missing_blob_is_a_gap_and_never_an_empty_run() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 1]).await;
    world.send(0, [event(5, "A", "ann", 1)]);
    let lost = world.append_run(0).await;
    world.store.hidden.lock().unwrap().insert(lost);
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale_reasons[0].contains("has no blob"), "{:?}", envelope.stale_reasons);
    assert_eq!(offsets(&envelope.head), vec![2, 1]);
    world.store.hidden.lock().unwrap().clear();
    let envelope = check(&world, "by_page").await;
    assert_eq!((offsets(&envelope.head), envelope.stale), (vec![3, 1], false));
}

#[tokio::test]
async fn answers_go_on_while_the_realtime_store_is_unreachable() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    let fresh = world.another_gateway();
    world.store.is_down.store(true, Ordering::SeqCst);
    let answer = fresh.rows(&request("by_page", &[])).await.unwrap();
    check_against_fold(&world, &answer);
    assert!(answer.envelope.stale);
    assert_eq!(offsets(&answer.envelope.head), vec![2, 0]);
    assert!(!fresh.readiness().await.ready);
    world.store.is_down.store(false, Ordering::SeqCst);
    let answer = fresh.rows(&request("by_page", &[])).await.unwrap();
    assert_eq!((offsets(&answer.envelope.head), answer.envelope.stale), (vec![2, 1], false));
}

#[tokio::test]
async fn what_was_read_is_answered_from_while_the_store_is_down() {
    let world = two_partitions().await;
    world.publish("by_page", &[2, 0]).await;
    assert!(!check(&world, "by_page").await.stale);
    world.store.is_down.store(true, Ordering::SeqCst);
    let envelope = check(&world, "by_page").await;
    assert_eq!((offsets(&envelope.head), envelope.stale), (vec![2, 1], true));
    world.store.is_down.store(false, Ordering::SeqCst);
    assert!(!check(&world, "by_page").await.stale);
}

#[tokio::test]
async fn an_old_answer_is_marked_stale() {
    let world = two_partitions().await;
    assert!(!check(&world, "by_page").await.stale);
    world.clock.advance(Duration::from_secs(60));
    let envelope = check(&world, "by_page").await;
    assert!(envelope.stale_reasons[0].contains("60 seconds ago"), "{:?}", envelope.stale_reasons);
    assert_eq!(envelope.age_ms, Some(60_000));
}

#[tokio::test]
async fn a_view_that_nothing_covers_yet_is_being_built() {
    let world = World::new();
    let error = world.rows("totals", &[]).await.unwrap_err();
    assert!(matches!(&error, GatewayError::Building { view, .. } if view == "totals"), "{error}");
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run_of(0, &["by_page"]).await;
    assert!(!check(&world, "by_page").await.stale);
    let error = world.rows("totals", &[]).await.unwrap_err();
    assert_eq!((error.problem().status, error.problem().retry_after), (503, Some(1)));
    assert!(world.gateway.readiness().await.ready);
    world.publish("totals", &[1, 0]).await;
    check(&world, "totals").await;
}

#[tokio::test]
async fn a_partition_that_appears_later_is_answered_from() {
    let world = two_partitions().await;
    world.send(4, [event(2, "D", "fay", 9)]);
    world.append_run(4).await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 1]);
    world.announce_partition(4);
    world.gateway.status().await;
    assert_eq!(offsets(&check(&world, "by_page").await.head), vec![2, 1, 1]);
}

#[tokio::test]
async fn one_version_can_be_asked_for_by_its_number() {
    let world = two_partitions().await;
    let first = world.publish("by_page", &[1, 0]).await;
    world.publish("by_page", &[2, 1]).await;
    let answer = world.rows("by_page", &[("version", &first.to_string())]).await.unwrap();
    check_against_fold(&world, &answer);
    assert_eq!((answer.envelope.version, offsets(&answer.envelope.head)), (Some(first), vec![1, 0]));
    let error = world.rows("by_page", &[("version", "99")]).await.unwrap_err();
    assert_eq!((error.problem().status, error.problem().known), (404, vec!["2".to_owned(), "1".to_owned()]));
}
