//! What only a cluster of Redis does: spread, fill up node by node, move slots, lose nodes, fail over.

use super::*;

/// The key of the index of a partition of `edits`: all keys of the partition lie in its slot.
fn index_key(place: &PartitionKey) -> String {
    format!("{{twofold:test:edits:{}}}:index", place.partition)
}

/// A partition that lies on this master.
async fn place_on(cluster: &RedisCluster, master: usize) -> PartitionKey {
    for number in 0..1_000 {
        let place = place("edits", number);
        if cluster.holder_of(&index_key(&place)).await == master {
            return place;
        }
    }
    panic!("none of 1,000 partitions lies on master {master}");
}

/// Writes until it is refused in these words.
async fn until_refused(on: &Fixture, place: &PartitionKey, words: &[&str]) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let outcome = on.store.put_blobs(place, vec![(blob(9), bytes(9))], LONG).await;
        let said = outcome.err().map(|error| error.to_string()).unwrap_or_default();
        if words.iter().all(|words| said.contains(words)) {
            return;
        }
        assert!(Instant::now() < deadline, "no {words:?} in: {said}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn partitions_are_spread_over_all_masters() {
    check_spread(Fixture::redis_cluster().await).await;
}

/// A cluster tells the addresses of its nodes itself; each shows its certificate.
#[tokio::test]
async fn a_cluster_over_tls_is_reached_on_every_master() {
    let certificates = Certificates::new();
    let cluster = RedisCluster::start_tls(&certificates).await;
    let tls = tls_settings_of(&certificates);
    let settings = RedisSettings { tls, ..cluster_settings(&cluster.url().replace("redis://", "rediss://")) };
    check_spread(Fixture { cluster: Some(cluster), ..Fixture::on(settings).await }).await;
}

async fn check_spread(on: Fixture) {
    const PARTITIONS: i32 = 60;
    for partition in 0..PARTITIONS {
        assert_eq!(on.swap(&place("edits", partition), None, &index(1, &[]), LONG).await, Swap::Done);
    }
    let mut held = 0;
    for master in &on.cluster.as_ref().unwrap().masters {
        let keys: i32 = master.run(&["DBSIZE"]).await;
        assert!(keys > 0, "a master without a key");
        held += keys;
    }
    assert_eq!(held, PARTITIONS);
    for partition in 0..PARTITIONS {
        assert_eq!(on.store.read_index(&place("edits", partition)).await.unwrap(), Some(index(1, &[])));
    }
}

#[tokio::test]
async fn a_master_without_memory_refuses_what_lies_on_it_and_nothing_else() {
    let on = Fixture::redis_cluster().await;
    let cluster = on.cluster.as_ref().unwrap();
    let (full, roomy) = (place_on(cluster, 1).await, place_on(cluster, 0).await);
    // Less than a server takes by itself.
    cluster.masters[1].configure("maxmemory", "500kb").await;
    let refused = on.store.put_blobs(&full, vec![(blob(1), bytes(1))], LONG).await;
    let Err(ServingError::Full { used_bytes, limit_bytes }) = refused else { panic!("{refused:?}") };
    assert!(limit_bytes == Some(512_000) && used_bytes > limit_bytes, "{used_bytes:?} of {limit_bytes:?}");
    on.adopt(&roomy, &[1], None, &index(1, &[1])).await;
    cluster.masters[1].configure("maxmemory", "0").await;
    on.adopt(&full, &[1], None, &index(1, &[1])).await;
}

#[tokio::test]
async fn a_slot_that_moved_is_followed() {
    let on = Fixture::redis_cluster().await;
    let cluster = on.cluster.as_ref().unwrap();
    let place = place_on(cluster, 0).await;
    on.adopt(&place, &[1], None, &index(1, &[1])).await;
    cluster.move_slot(&index_key(&place), 0, 2).await;
    on.put(&place, &[2], LONG).await;
    assert_eq!(on.swap(&place, Some(1), &index(2, &[1, 2]), LONG).await, Swap::Done);
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(2, &[1, 2])));
    assert_eq!(on.held(&place, &[2, 1]).await, [Some(bytes(2)), Some(bytes(1))]);
    let left: i32 = cluster.masters[0].run(&["DBSIZE"]).await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_cluster_that_lacks_a_master_says_so_and_goes_on_with_it() {
    let mut on = Fixture::redis_cluster().await;
    let mut cluster = on.cluster.take().unwrap();
    let (there, away) = (place_on(&cluster, 0).await, place_on(&cluster, 2).await);
    on.adopt(&away, &[1], None, &index(1, &[1])).await;
    cluster.masters[2].kill();
    // Also of slots that are served elsewhere: a cluster answers for all of them, or for none.
    until_refused(&on, &there, &["redis refuses", "CLUSTERDOWN", "`CLUSTER NODES`"]).await;
    cluster.masters[2].restart().await;
    cluster.masters[2].let_in("twofold", &acl_rules("test", true)).await;
    on.until(|| async { on.store.read_index(&away).await.is_ok() }).await;
    assert_eq!(on.store.read_index(&away).await.unwrap(), Some(index(1, &[1])));
    on.until(|| async { on.store.put_blobs(&there, vec![(blob(1), bytes(1))], LONG).await.is_ok() }).await;
}

#[tokio::test]
async fn a_cluster_that_was_killed_as_a_whole_comes_back() {
    let mut on = Fixture::redis_cluster().await;
    let mut cluster = on.cluster.take().unwrap();
    let place = place_on(&cluster, 1).await;
    on.adopt(&place, &[1], None, &index(1, &[1])).await;
    cluster.masters.iter_mut().for_each(RedisServer::kill);
    until_refused(&on, &place, &["redis is unreachable"]).await;
    for master in &mut cluster.masters {
        master.restart().await;
        master.let_in("twofold", &acl_rules("test", true)).await;
    }
    on.until(|| async { on.store.read_index(&place).await.is_ok() }).await;
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(1, &[1])));
    on.put(&place, &[2], LONG).await;
    assert_eq!(on.swap(&place, Some(1), &index(2, &[1, 2]), LONG).await, Swap::Done);
}

/// What it has is how everything was a moment ago: an index, and every blob that it names.
#[tokio::test]
async fn a_replica_that_takes_over_without_the_last_writes_is_an_older_copy_and_refuses_who_saw_more() {
    let mut on = Fixture::redis_cluster().await;
    let mut cluster = on.cluster.take().unwrap();
    let place = place_on(&cluster, 0).await;
    let mut replica = cluster.add_replica(0).await;
    replica.let_in("twofold", &acl_rules("test", true)).await;
    on.adopt(&place, &[1], None, &index(1, &[1])).await;
    let copied = async || replica.run::<String>(&["INFO"]).await;
    let written: String = cluster.masters[0].run(&["INFO"]).await;
    let offset = |facts: &str, name: &str| -> i64 {
        let line = facts.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    let written = offset(&written, "master_repl_offset:");
    on.until(|| async { offset(&copied().await, "slave_repl_offset:") >= written }).await;
    replica.kill();
    on.put(&place, &[2], LONG).await;
    assert_eq!(on.swap(&place, Some(1), &index(2, &[1, 2]), LONG).await, Swap::Done, "acknowledged");
    cluster.masters[0].kill();
    replica.restart().await;
    replica.let_in("twofold", &acl_rules("test", true)).await;
    replica.run::<()>(&["CLUSTER", "FAILOVER", "TAKEOVER"]).await;
    on.until(|| async { on.store.read_index(&place).await.is_ok() }).await;
    let older = index(1, &[1]);
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(older.clone()));
    assert_eq!(on.held(&place, &[1, 2]).await, [Some(bytes(1)), None]);
    on.put(&place, &[3], LONG).await;
    assert_eq!(on.swap(&place, Some(2), &index(3, &[1, 2, 3]), LONG).await, Swap::Lost(Some(older)));
    assert_eq!(on.swap(&place, Some(1), &index(4, &[1, 3]), LONG).await, Swap::Done, "whoever reads it again goes on");
}

#[tokio::test]
async fn a_cluster_and_a_single_server_are_told_apart() {
    let cluster = RedisCluster::start().await;
    let error = RedisStore::connect(settings(&cluster.masters[0])).await.err().unwrap();
    assert!(matches!(error, ServingError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("`realtime.cluster = true`"), "{error}");
    let server = RedisServer::start().await;
    let error = RedisStore::connect(cluster_settings(&server.url())).await.err().unwrap();
    assert!(matches!(error, ServingError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("`realtime.cluster = false`"), "{error}");
}

#[tokio::test]
async fn a_redirection_is_told_by_name_where_nothing_else_tells_of_a_cluster() {
    let cluster = RedisCluster::start().await;
    // Who may not ask what kind of server it is finds out by the first key that lies elsewhere.
    cluster.let_in("limited", &format!("{} -info", acl_rules("test", false))).await;
    let settings = RedisSettings { url: cluster.masters[0].url_of("limited"), ..settings(&cluster.masters[0]) };
    let store = RedisStore::connect(settings).await.unwrap();
    let place = place_on(&cluster, 1).await;
    let error = store.read_index(&place).await.unwrap_err();
    assert!(matches!(error, ServingError::Refusing { .. }), "{error}");
    let told = ["MOVED", "`realtime.cluster = true`"];
    assert!(told.iter().all(|words| error.to_string().contains(words)), "{error}");
}

#[tokio::test]
async fn one_node_of_those_that_are_named_is_enough_to_start() {
    let cluster = RedisCluster::start().await;
    let gone = RedisServer::start().await.url();
    let host = gone.trim_start_matches("redis://").trim_end_matches('/');
    let url = cluster.url().replace("redis://", &format!("redis://{host},"));
    let on = Fixture { cluster: Some(cluster), ..Fixture::on(cluster_settings(&url)).await };
    on.adopt(&place("edits", 0), &[1], None, &index(1, &[1])).await;
}
