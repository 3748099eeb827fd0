//! A realtime store that is restarted, restored from an older copy, wiped, or a cluster that fails over, while events
//! come in and questions are asked. Answers are right for the head that they claim, the head does not go back, and at
//! the end everything is exact.

use std::time::Instant;

use serde_json::json;

use super::World;
use crate::support::process::{DEADLINE, Running};
use crate::support::redis::RedisServer;
use crate::support::redis_cluster::RedisCluster;

/// A world on a Redis of its own, which may be killed.
async fn with_own_redis() -> Option<(World, RedisServer)> {
    let world = World::new()?;
    let redis = RedisServer::start_durable().await;
    let world = world
        .with("REALTIME__STORE", &redis.url())
        .with("REALTIME__REDIS_RESPONSE_TIMEOUT", "1s")
        // Only batch rounds that a test asks for: what Redis forgets is not covered by a cut a moment later.
        .with("BATCH__INTERVAL", "1h");
    Some((world, redis))
}

/// Sends and asks `turns` times: every answer must be right for the head that it claims.
async fn load(world: &World, running: &Running, seen: &mut i64, turns: usize) {
    for _ in 0..turns {
        world.send(running).await;
        world.check_claim(running, seen).await;
    }
}

/// Asks until an answer is fresh, each one right for its head.
async fn until_fresh(world: &World, running: &Running, seen: &mut i64) {
    let deadline = Instant::now() + DEADLINE;
    while world.check_claim(running, seen).await["envelope"]["stale"] != json!(false) {
        assert!(Instant::now() < deadline, "answers stay stale\n{}", running.log());
    }
}

async fn publish(running: &Running) {
    let output = running.run_batch(&[]).await;
    assert!(output.status.success(), "{output:?}");
}

/// The end of each test: exact from both layers, then from batch.
async fn check_end(world: &World, running: Running) {
    world.check_exact(&running).await;
    publish(&running).await;
    world.check_exact(&running).await;
    assert!(running.terminate().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_redis_comes_back_with_everything() {
    let Some((world, mut redis)) = with_own_redis().await else { return };
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    let mut seen = 0;
    for _ in 0..3 {
        load(&world, &running, &mut seen, 5).await;
        world.check_exact(&running).await;
        redis.kill();
        // Without a store the last answer stays.
        load(&world, &running, &mut seen, 5).await;
        redis.restart().await;
        until_fresh(&world, &running, &mut seen).await;
        world.check_exact(&running).await;
    }
    check_end(&world, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_restored_from_an_older_copy_takes_nothing_back() {
    let Some((world, mut redis)) = with_own_redis().await else { return };
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    let mut seen = 0;
    for is_published in [false, true] {
        load(&world, &running, &mut seen, 3).await;
        let backup = redis.back_up();
        load(&world, &running, &mut seen, 5).await;
        world.check_exact(&running).await;
        if is_published {
            publish(&running).await;
            world.check_claim(&running, &mut seen).await;
        }
        redis.restore(&backup).await;
        load(&world, &running, &mut seen, 5).await;
        until_fresh(&world, &running, &mut seen).await;
        world.check_exact(&running).await;
    }
    check_end(&world, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_redis_is_filled_again_from_the_log() {
    let Some((world, redis)) = with_own_redis().await else { return };
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    let mut seen = 0;
    for is_published in [false, true, false] {
        load(&world, &running, &mut seen, 5).await;
        if is_published {
            publish(&running).await;
        }
        redis.wipe().await;
        load(&world, &running, &mut seen, 5).await;
        until_fresh(&world, &running, &mut seen).await;
        world.check_exact(&running).await;
    }
    check_end(&world, running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_whose_replica_takes_over_without_the_last_writes_takes_nothing_back() {
    let Some(world) = World::new() else { return };
    let mut cluster = RedisCluster::start().await;
    // One of the four partitions, at least, loses its last runs.
    let index = format!("{{twofold:{}:hits:0}}:index", world.services.name);
    let holder = cluster.holder_of(&index).await;
    let mut replica = cluster.add_replica(holder).await;
    let world = world
        .with("REALTIME__STORE", &cluster.url())
        .with("REALTIME__CLUSTER", "true")
        .with("REALTIME__REDIS_RESPONSE_TIMEOUT", "1s")
        .with("BATCH__INTERVAL", "1h");
    let running = Running::start(&world.setup).await;
    world.send(&running).await;
    world.check_exact(&running).await;
    let mut seen = 0;
    load(&world, &running, &mut seen, 3).await;
    replica.kill();
    load(&world, &running, &mut seen, 5).await;
    world.check_exact(&running).await;
    cluster.masters[holder].kill();
    load(&world, &running, &mut seen, 3).await;
    replica.restart().await;
    replica.run::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await;
    load(&world, &running, &mut seen, 5).await;
    until_fresh(&world, &running, &mut seen).await;
    world.check_exact(&running).await;
    check_end(&world, running).await;
}
