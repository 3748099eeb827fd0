//! Which partitions an answer speaks of, where the topic has others than the pipeline file writes, or it writes none.

use edge::Principal;
use positions::Offset;
use query_gateway::{Envelope, run};
use tokio_util::sync::CancellationToken;

use super::idle::wait_for;
use super::world::{World, check_against_fold, event};

async fn check(world: &World) -> Envelope {
    let answer = world.rows("by_page", &[]).await.unwrap();
    check_against_fold(world, &answer);
    answer.envelope
}

/// Partition and offset of each head.
fn heads(envelope: &Envelope) -> Vec<(i32, i64)> {
    envelope.head.iter().map(|(partition, Offset(offset))| (partition.0, *offset)).collect()
}

#[tokio::test]
async fn a_partition_that_is_written_is_not_waited_for_once_the_log_has_listed_all() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run(0).await;
    let before = check(&world).await;
    assert!(before.stale, "a gateway that knows of no log believes what is written");
    assert_eq!(heads(&before), [(0, 1), (1, 0)]);

    world.announce_partitions(&[0]);
    world.gateway.status(&Principal::anyone()).await;
    let told = check(&world).await;
    assert_eq!((told.stale, heads(&told)), (false, vec![(0, 1)]), "{:?}", told.stale_reasons);
    world.publish("by_page", &[1]).await;
    let published = check(&world).await;
    assert_eq!((published.stale, heads(&published)), (false, vec![(0, 1)]), "{:?}", published.stale_reasons);

    world.announce_partitions(&[0, 1]);
    world.gateway.status(&Principal::anyone()).await;
    assert!(check(&world).await.stale, "the topic was raised and nobody has read the new partition");
    world.send(1, [event(1, "B", "bob", 5)]);
    world.append_run(1).await;
    let raised = check(&world).await;
    assert_eq!((raised.stale, heads(&raised)), (false, vec![(0, 1), (1, 1)]), "{:?}", raised.stale_reasons);
}

#[tokio::test]
async fn where_no_number_is_written_the_partitions_with_an_index_are_answered_from() {
    let world = World::without_a_number();
    world.send(1, [event(0, "A", "ann", 3)]);
    world.append_run(1).await;
    let first = check(&world).await;
    assert_eq!((first.stale, heads(&first)), (true, vec![(0, 0), (1, 1)]), "every topic has a partition 0");
    world.own(0).await;
    let owned = check(&world).await;
    assert_eq!((owned.stale, heads(&owned)), (false, vec![(0, 0), (1, 1)]), "{:?}", owned.stale_reasons);
    world.send(3, [event(1, "B", "bob", 5)]);
    world.append_run(3).await;
    assert_eq!(heads(&check(&world).await), [(0, 0), (1, 1), (3, 1)]);
}

/// As in a process that is a gateway alone, beside a topic with more partitions than written.
#[tokio::test(start_paused = true)]
async fn a_gateway_that_nobody_tells_finds_the_partitions_that_workers_read() {
    let world = World::new();
    for partition in 0..4 {
        world.send(partition, [event(0, "A", "ann", 3)]);
        world.append_run(partition).await;
    }
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run::run(world.gateway.clone(), shutdown.clone()));
    wait_for(&world.gateway, "four partitions", |answer| answer.envelope.head.len() == 4).await;
    assert_eq!(heads(&check(&world).await), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    world.send(4, [event(1, "B", "bob", 5)]);
    world.append_run(4).await;
    wait_for(&world.gateway, "a fifth", |answer| answer.envelope.head.len() == 5).await;
    assert!(!check(&world).await.stale);
    shutdown.cancel();
    running.await.unwrap().unwrap();
}
