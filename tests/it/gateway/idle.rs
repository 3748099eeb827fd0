//! What a gateway does while nothing happens: next to nothing; and what happens then is seen at the next tick.

use std::sync::Arc;
use std::time::Duration;

use edge::Principal;
use positions::{Offset, PartitionId};
use query_gateway::{Gateway, GatewayComponents, GatewaySettings, RowsAnswer, run};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use views::Pipeline;

use super::world::{World, event, request};
use crate::support::counted_store::CountedStore;

/// In virtual time.
const PATIENCE: Duration = Duration::from_secs(60);
const ONE: PartitionId = PartitionId(0);

/// Asks until an answer is as wanted.
pub(super) async fn wait_for(gateway: &Gateway, what: &str, is_wanted: impl Fn(&RowsAnswer) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = gateway.rows(&Principal::anyone(), request("by_page", &[])).await;
        if answer.as_ref().is_ok_and(&is_wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {:?}", answer.map(|answer| answer.envelope));
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_gateway_reads_no_index_and_misses_nothing() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3), event(1, "B", "bob", 5)]);
    world.append_run(0).await;
    world.own(1).await;
    world.publish("totals", &[2, 0]).await;
    let version = world.publish("by_page", &[2, 0]).await;
    let store = Arc::new(CountedStore::new(world.memory.clone()));
    let components = GatewayComponents {
        pipeline: world.pipeline.clone(),
        lake: world.lake.clone(),
        store: store.clone(),
        status: world.board.clone(),
        rejected: None,
        runs: None,
        clock: world.clock.clone(),
    };
    let gateway = Gateway::new(components, GatewaySettings::default()).unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn(run::run(gateway.clone(), shutdown.clone()));
    let reaches = |head: i64| move |answer: &RowsAnswer| answer.envelope.head.get(&ONE) == Some(&Offset(head));
    wait_for(&gateway, "a start", reaches(2)).await;
    wait_for(&gateway, "a version", |answer| answer.envelope.version == Some(version)).await;
    sleep(Duration::from_secs(2)).await;
    let before = store.index_reads();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(store.index_reads(), before, "indexes were read although none had changed");

    world.send(0, [event(2, "A", "cid", 7)]);
    world.append_run(0).await;
    wait_for(&gateway, "a run", reaches(3)).await;
    world.publish("by_page", &[3, 0]).await;
    wait_for(&gateway, "another version", |answer| answer.envelope.cut.get(&ONE) == Some(&Offset(3))).await;
    world.send(4, [event(3, "D", "fay", 9)]);
    world.append_run(4).await;
    world.announce_partitions(&[0, 1, 4]);
    let fourth = (PartitionId(4), Offset(1));
    wait_for(&gateway, "a partition", |answer| answer.envelope.head.get(&fourth.0) == Some(&fourth.1)).await;
    wait_for(&gateway, "a good answer", |answer| !answer.envelope.stale).await;
    world.memory.wipe();
    wait_for(&gateway, "a loss", |answer| answer.envelope.stale).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

/// The readers of the two are not the same: those of the first one are refreshed no longer.
#[tokio::test(start_paused = true)]
async fn what_waits_at_a_gateway_goes_over_to_the_one_over_other_definitions_that_takes_its_place() {
    let world = World::new();
    world.send(0, [event(0, "A", "ann", 3)]);
    world.append_run(0).await;
    let (shutdown, began) = (CancellationToken::new(), Instant::now());
    let running = tokio::spawn(run::run(world.gateway.clone(), shutdown.clone()));
    let head = |head: i64| move |answer: &RowsAnswer| answer.envelope.head.get(&ONE) == Some(&Offset(head));
    wait_for(&world.gateway, "a start", head(1)).await;
    let limit = Duration::from_secs(30);
    let asked = request("by_page", &[("after", &world.token(0, 1)), ("timeout", "30s")]);
    let gateway = world.gateway.clone();
    let waiting = tokio::spawn(async move { gateway.rows(&Principal::anyone(), asked).await });
    sleep(Duration::from_secs(1)).await;
    shutdown.cancel();
    running.await.unwrap().unwrap();

    let mut changed = Pipeline::clone(&world.pipeline);
    changed.views.retain(|view| view.name.as_str() == "by_page");
    let next = world.gateway.successor(Arc::new(changed), Vec::new()).unwrap();
    world.send(0, [event(1, "B", "bob", 5)]);
    world.append_run(0).await;
    world.gateway.give_way(&next);
    let answer = waiting.await.unwrap().unwrap();
    assert!(head(2)(&answer), "{:?}", answer.envelope);
    assert!(began.elapsed() < limit, "it waited where nothing comes any more");
}
