//! One suite for every realtime store, and what only Redis can do wrong.

mod cluster;
mod refusals;
mod rights;
mod tls;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use positions::{
    Counters, DefinitionHash, DefinitionNumber, Incarnation, Index, IndexStamp, Offset, PartitionId, Position, Run,
    RunId, RunView, SourceName, TimestampMicros,
};
use serving_layer::memory::MemoryStore;
use serving_layer::redis::{RedisSettings, RedisStore, RedisTls, acl_rules};
use serving_layer::{BlobKey, PartitionKey, RealtimeStore, ServingError, Swap, named_blobs};

use crate::support::certificates::Certificates;
use crate::support::redis::RedisServer;
use crate::support::redis_cluster::RedisCluster;
use crate::support::seams::ManualClock;

const VIEW: DefinitionHash = DefinitionHash(0xabc);
const LONG: Duration = Duration::from_secs(3_600);
const SHORT: Duration = Duration::from_millis(60);
const PATIENCE: Duration = Duration::from_secs(30);

/// A store, and how time passes for it.
struct Fixture {
    store: Arc<dyn RealtimeStore>,
    clock: Option<Arc<ManualClock>>,
    server: Option<RedisServer>,
    cluster: Option<RedisCluster>,
}

impl Fixture {
    fn memory(limit_bytes: u64) -> Self {
        let clock = Arc::new(ManualClock::at(1_000_000));
        let store = Arc::new(MemoryStore::new(limit_bytes, clock.clone()));
        Self { store, clock: Some(clock), server: None, cluster: None }
    }

    async fn redis() -> Self {
        let server = RedisServer::start().await;
        let settings = settings(&server);
        Self { server: Some(server), ..Self::on(settings).await }
    }

    /// As a user who may do what the documents say that suffices, and nothing else.
    async fn redis_as_a_user() -> Self {
        let server = RedisServer::start().await;
        server.let_in("twofold", &acl_rules("test", false)).await;
        let settings = RedisSettings { url: server.url_of("twofold"), ..settings(&server) };
        Self { server: Some(server), ..Self::on(settings).await }
    }

    /// Both sides show a certificate of an authority that is known nowhere else.
    async fn redis_over_tls() -> Self {
        let certificates = Certificates::new();
        let server = RedisServer::start_tls(&certificates, "server").await;
        let settings = tls_settings(&server, &certificates);
        Self { server: Some(server), ..Self::on(settings).await }
    }

    /// As a user here, too.
    async fn redis_cluster() -> Self {
        let cluster = RedisCluster::start().await;
        cluster.let_in("twofold", &acl_rules("test", true)).await;
        let settings = cluster_settings(&cluster.url_of("twofold"));
        Self { cluster: Some(cluster), ..Self::on(settings).await }
    }

    async fn on(settings: RedisSettings) -> Self {
        let store = Arc::new(RedisStore::connect(settings).await.unwrap());
        Self { store, clock: None, server: None, cluster: None }
    }

    /// Lets time pass until `condition` holds.
    async fn until<F: Future<Output = bool>>(&self, condition: impl Fn() -> F) {
        let deadline = Instant::now() + PATIENCE;
        while !condition().await {
            assert!(Instant::now() < deadline, "the condition does not come true");
            match &self.clock {
                Some(clock) => clock.advance(Duration::from_millis(5)),
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    /// Lets at least `span` pass: a blob that lives that long expires.
    async fn pass(&self, span: Duration) {
        let (place, canary) = (place("canary", 0), [BlobKey { run: RunId(rand::random()), view: VIEW }]);
        self.store.put_blobs(&place, vec![(canary[0], bytes(1))], span).await.unwrap();
        self.until(|| async { self.store.get_blobs(&place, &canary).await.unwrap()[0].is_none() }).await;
    }

    async fn put(&self, place: &PartitionKey, runs: &[u128], time_to_live: Duration) {
        let blobs = runs.iter().map(|run| (blob(*run), bytes(*run))).collect();
        self.store.put_blobs(place, blobs, time_to_live).await.unwrap();
    }

    /// Puts short-lived blobs and swaps to an index that names `next.runs`; again where the machine was slower than
    /// they.
    async fn adopt(&self, place: &PartitionKey, short_lived: &[u128], expected: Option<u128>, next: &Index) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            self.put(place, short_lived, SHORT).await;
            match self.swap(place, expected, next, LONG).await {
                Swap::Done => return,
                Swap::MissingBlobs(_) => assert!(Instant::now() < deadline, "blobs expire before they are named"),
                lost => panic!("{lost:?}"),
            }
        }
    }

    async fn held(&self, place: &PartitionKey, runs: &[u128]) -> Vec<Option<Bytes>> {
        let keys: Vec<BlobKey> = runs.iter().map(|run| blob(*run)).collect();
        self.store.get_blobs(place, &keys).await.unwrap()
    }

    async fn swap(&self, place: &PartitionKey, expected: Option<u128>, next: &Index, grace: Duration) -> Swap {
        self.store.swap_index(place, expected.map(IndexStamp), next, grace).await.unwrap()
    }
}

fn settings(server: &RedisServer) -> RedisSettings {
    RedisSettings {
        url: server.url(),
        prefix: "test".to_owned(),
        response_timeout: Duration::from_secs(10),
        reconnect_pause: Duration::from_millis(50),
        ..RedisSettings::default()
    }
}

fn tls_settings(server: &RedisServer, certificates: &Certificates) -> RedisSettings {
    RedisSettings { url: server.tls_url(), tls: tls_settings_of(certificates), ..settings(server) }
}

fn tls_settings_of(certificates: &Certificates) -> RedisTls {
    let identity = (certificates.read("client.pem"), certificates.read("client.key"));
    RedisTls { authority: Some(certificates.read("ca.pem")), identity: Some(identity) }
}

fn cluster_settings(url: &str) -> RedisSettings {
    RedisSettings {
        url: url.to_owned(),
        is_cluster: true,
        prefix: "test".to_owned(),
        response_timeout: Duration::from_secs(10),
        reconnect_pause: Duration::from_millis(50),
        ..RedisSettings::default()
    }
}

fn place(source: &str, partition: i32) -> PartitionKey {
    PartitionKey::new(&SourceName::new(source), PartitionId(partition))
}

fn blob(run: u128) -> BlobKey {
    BlobKey { run: RunId(run), view: VIEW }
}

fn bytes(run: u128) -> Bytes {
    Bytes::from(format!("states of run {run}\0\r\n"))
}

/// An index whose runs cover one offset each; run 0 stands for an empty one, without a blob.
fn index(stamp: u128, runs: &[u128]) -> Index {
    let at = |offset| Position { offset: Offset(offset), ..Position::start(Incarnation(3)) };
    let runs: Vec<Run> = (0..)
        .zip(runs)
        .map(|(offset, run)| Run {
            id: RunId(*run),
            from: at(offset),
            to: at(offset + 1),
            views: vec![RunView { view: VIEW, rows: u64::from(*run != 0) }],
            counters: Counters { rows: 1, ..Counters::default() },
            starts_at_border: offset == 0,
        })
        .collect();
    let head = at(runs.len() as i64);
    Index { runs, ..Index::new(IndexStamp(stamp), DefinitionNumber(1), head, TimestampMicros(7)) }
}

macro_rules! on_every_store {
    ($($property:ident),* $(,)?) => {
        on_store!(in_memory, super::Fixture::memory(1 << 20), $($property),*);
        on_store!(in_redis, super::Fixture::redis().await, $($property),*);
        on_store!(in_redis_as_a_user, super::Fixture::redis_as_a_user().await, $($property),*);
        on_store!(in_redis_over_tls, super::Fixture::redis_over_tls().await, $($property),*);
        on_store!(in_a_redis_cluster, super::Fixture::redis_cluster().await, $($property),*);
    };
}

macro_rules! on_store {
    ($store:ident, $fixture:expr, $($property:ident),*) => {
        mod $store {
            $(
                #[tokio::test]
                async fn $property() {
                    super::$property($fixture).await;
                }
            )*
        }
    };
}

on_every_store!(
    an_index_is_replaced_only_under_its_stamp,
    a_blob_lives_while_the_index_names_it,
    a_missing_blob_refuses_the_swap,
    a_named_blob_that_is_put_again_does_not_begin_to_expire,
    of_concurrent_swaps_exactly_one_wins_and_no_read_is_torn,
    odd_source_names_do_not_meet,
    many_and_large_blobs_come_back_in_order,
    an_index_that_can_be_read_is_not_discarded,
    a_partition_is_forgotten_whole_and_at_once,
    a_generation_is_a_place_of_its_own,
    blobs_are_looked_for_in_the_order_asked,
);

async fn a_generation_is_a_place_of_its_own(on: Fixture) {
    let above = place("edits", 0);
    let generation = |hash| PartitionKey { generation: Some(DefinitionHash(hash)), ..place("edits", 0) };
    let places = [above, generation(1), generation(2)];
    for (place, stamp) in places.iter().zip(1..) {
        on.put(place, &[stamp], LONG).await;
        assert_eq!(on.swap(place, None, &index(stamp, &[stamp]), LONG).await, Swap::Done);
    }
    on.store.forget(&places[1]).await.unwrap();
    assert_eq!(on.store.read_index(&places[1]).await.unwrap(), None);
    for (place, stamp) in [(&places[0], 1), (&places[2], 3)] {
        assert_eq!(on.store.read_index(place).await.unwrap(), Some(index(stamp, &[stamp])));
        assert_eq!(on.held(place, &[1, 2, 3]).await.iter().flatten().count(), 1, "each has its own blob alone");
    }
}

async fn blobs_are_looked_for_in_the_order_asked(on: Fixture) {
    let place = place("edits", 0);
    on.put(&place, &[1, 3], LONG).await;
    let found = on.store.has_blobs(&place, &[blob(3), blob(2), blob(1)]).await.unwrap();
    assert_eq!(found, [true, false, true]);
    assert!(on.store.has_blobs(&place, &[]).await.unwrap().is_empty());
}

async fn a_partition_is_forgotten_whole_and_at_once(on: Fixture) {
    let (place, other) = (place("edits", 0), place("edits", 1));
    for place in [&place, &other] {
        on.put(place, &[1, 2, 3], LONG).await;
        assert_eq!(on.swap(place, None, &index(1, &[1, 2]), LONG).await, Swap::Done);
        // One blob is no longer named, and one never was.
        assert_eq!(on.swap(place, Some(1), &index(2, &[2]), LONG).await, Swap::Done);
    }
    on.store.forget(&place).await.unwrap();
    assert_eq!(on.store.read_index(&place).await.unwrap(), None);
    assert_eq!(on.held(&place, &[1, 2, 3]).await, [None, None, None]);
    // Whoever knew it has lost it, and another may be made.
    assert_eq!(on.swap(&place, Some(2), &index(3, &[]), LONG).await, Swap::Lost(None));
    assert_eq!(on.swap(&place, None, &index(4, &[]), LONG).await, Swap::Done);
    on.store.forget(&place).await.unwrap();
    on.store.forget(&place).await.unwrap();
    assert_eq!(on.store.read_index(&other).await.unwrap(), Some(index(2, &[2])));
    assert_eq!(on.held(&other, &[1, 2, 3]).await, [Some(bytes(1)), Some(bytes(2)), Some(bytes(3))]);
}

async fn an_index_that_can_be_read_is_not_discarded(on: Fixture) {
    let place = place("edits", 0);
    on.store.discard_corrupt_index(&place).await.unwrap();
    assert_eq!(on.swap(&place, None, &index(1, &[]), LONG).await, Swap::Done);
    on.store.discard_corrupt_index(&place).await.unwrap();
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(1, &[])));
}

async fn an_index_is_replaced_only_under_its_stamp(on: Fixture) {
    let place = place("edits", 0);
    assert_eq!(on.store.read_index(&place).await.unwrap(), None);
    assert_eq!(on.swap(&place, Some(9), &index(1, &[]), LONG).await, Swap::Lost(None));
    assert_eq!(on.swap(&place, None, &index(1, &[]), LONG).await, Swap::Done);
    assert_eq!(on.swap(&place, None, &index(2, &[]), LONG).await, Swap::Lost(Some(index(1, &[]))));
    assert_eq!(on.swap(&place, Some(1), &index(2, &[0, 0]), LONG).await, Swap::Done);
    assert_eq!(on.swap(&place, Some(1), &index(3, &[]), LONG).await, Swap::Lost(Some(index(2, &[0, 0]))));
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(2, &[0, 0])));
    let elsewhere = PartitionKey { partition: PartitionId(1), ..place };
    assert_eq!(on.store.read_index(&elsewhere).await.unwrap(), None);
}

async fn a_blob_lives_while_the_index_names_it(on: Fixture) {
    let place = place("edits", 0);
    on.adopt(&place, &[1, 2], None, &index(1, &[1])).await;
    on.pass(SHORT * 2).await;
    assert_eq!(on.held(&place, &[2, 1]).await, [None, Some(bytes(1))], "only the named blob stays");
    on.put(&place, &[3], LONG).await;
    assert_eq!(on.swap(&place, Some(1), &index(2, &[3]), LONG).await, Swap::Done);
    on.pass(SHORT).await;
    assert_eq!(on.held(&place, &[1, 3]).await, [Some(bytes(1)), Some(bytes(3))], "a dropped blob stays for the grace");
    on.put(&place, &[4], LONG).await;
    assert_eq!(on.swap(&place, Some(2), &index(3, &[4]), SHORT).await, Swap::Done);
    on.pass(SHORT * 2).await;
    assert_eq!(on.held(&place, &[3, 4]).await, [None, Some(bytes(4))], "and goes after it");
}

async fn a_missing_blob_refuses_the_swap(on: Fixture) {
    let place = place("edits", 0);
    on.put(&place, &[1], LONG).await;
    assert_eq!(on.swap(&place, None, &index(1, &[1]), LONG).await, Swap::Done);
    on.put(&place, &[3], LONG).await;
    let gap = on.swap(&place, Some(1), &index(2, &[1, 2, 3, 5, 0]), LONG).await;
    assert_eq!(gap, Swap::MissingBlobs(BTreeSet::from([blob(2), blob(5)])));
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(1, &[1])), "nothing was changed");
    on.put(&place, &[2, 5], LONG).await;
    assert_eq!(on.swap(&place, Some(1), &index(2, &[1, 2, 3, 5, 0]), LONG).await, Swap::Done);
    assert_eq!(named_blobs(&index(2, &[1, 2, 3, 5, 0])).len(), 4, "the empty run has no blob");
}

async fn a_named_blob_that_is_put_again_does_not_begin_to_expire(on: Fixture) {
    let place = place("edits", 0);
    on.put(&place, &[1], LONG).await;
    assert_eq!(on.swap(&place, None, &index(1, &[1]), LONG).await, Swap::Done);
    on.put(&place, &[1], SHORT).await;
    on.pass(SHORT * 2).await;
    assert_eq!(on.held(&place, &[1]).await, [Some(bytes(1))]);
}

/// Eight writers append one run per round each; whoever loses reads what won. A reader looks on.
async fn of_concurrent_swaps_exactly_one_wins_and_no_read_is_torn(on: Fixture) {
    const ROUNDS: usize = 25;
    let place = place("edits", 0);
    assert_eq!(on.swap(&place, None, &index(1, &[]), LONG).await, Swap::Done);
    let stamps = Arc::new(AtomicU64::new(2));
    for round in 0..ROUNDS {
        let before = on.store.read_index(&place).await.unwrap().unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let (store, place, stamps, before) = (on.store.clone(), place.clone(), stamps.clone(), before.clone());
            tasks.spawn(async move {
                let stamp = u128::from(stamps.fetch_add(1, Ordering::SeqCst));
                store.put_blobs(&place, vec![(blob(stamp), bytes(stamp))], LONG).await.unwrap();
                let runs: Vec<u128> = before.runs.iter().map(|run| run.id.0).chain([stamp]).collect();
                store.swap_index(&place, Some(before.stamp), &index(stamp, &runs), LONG).await.unwrap()
            });
        }
        let (store, looked_at, over) = (on.store.clone(), place.clone(), is_over.clone());
        let reader = tokio::spawn(async move {
            while !over.load(Ordering::SeqCst) {
                let seen = store.read_index(&looked_at).await.unwrap().unwrap();
                let runs: Vec<u128> = seen.runs.iter().map(|run| run.id.0).collect();
                assert_eq!(seen, index(seen.stamp.0, &runs), "a read is one writer's index");
                assert_eq!(runs.last().copied().unwrap_or(1), seen.stamp.0, "stamp and runs belong together");
                let keys: Vec<BlobKey> = runs.iter().map(|run| blob(*run)).collect();
                let blobs = store.get_blobs(&looked_at, &keys).await.unwrap();
                assert!(blobs.iter().all(Option::is_some), "every blob that an index names is there");
                tokio::task::yield_now().await;
            }
        });
        let outcomes = tasks.join_all().await;
        is_over.store(true, Ordering::SeqCst);
        reader.await.unwrap();
        let won = outcomes.iter().filter(|outcome| **outcome == Swap::Done).count();
        assert_eq!(won, 1, "round {round}");
        let stored = on.store.read_index(&place).await.unwrap();
        assert_eq!(stored.as_ref().unwrap().runs.len(), round + 1);
        for lost in outcomes.iter().filter(|outcome| **outcome != Swap::Done) {
            assert_eq!(*lost, Swap::Lost(stored.clone()), "a loser is shown what won");
        }
    }
}

async fn odd_source_names_do_not_meet(on: Fixture) {
    let names = ["a", "a:0", "a}", "{a}", "}", "", "a b", "a%7d", "ä", "a\r\nSET x", "a:index", "a:blob:1"];
    let places: Vec<PartitionKey> = names.iter().flat_map(|name| [place(name, 0), place(name, 10)]).collect();
    for (stamp, place) in (1..).zip(&places) {
        on.adopt(place, &[stamp], None, &index(stamp, &[stamp])).await;
    }
    for (stamp, place) in (1..).zip(&places) {
        assert_eq!(on.store.read_index(place).await.unwrap(), Some(index(stamp, &[stamp])), "{place:?}");
        assert_eq!(on.held(place, &[stamp]).await, [Some(bytes(stamp))], "{place:?}");
    }
}

async fn many_and_large_blobs_come_back_in_order(on: Fixture) {
    let place = place("edits", 0);
    let large = |run: u128| Bytes::from(vec![run as u8; 5_000]);
    let runs: Vec<u128> = (1..=100).collect();
    let blobs = runs.iter().map(|run| (blob(*run), large(*run))).collect();
    on.store.put_blobs(&place, blobs, LONG).await.unwrap();
    let asked: Vec<u128> = runs.iter().rev().copied().chain([500]).collect();
    let expected: Vec<Option<Bytes>> = runs.iter().rev().map(|run| Some(large(*run))).chain([None]).collect();
    assert_eq!(on.held(&place, &asked).await, expected);
}

/// A full store refuses, keeps what it has, still drops runs, and has room again after that.
async fn check_full(on: Fixture) {
    let place = place("edits", 0);
    let large = || Bytes::from((0..100_000).map(|_| rand::random::<u8>()).collect::<Vec<u8>>());
    let (mut runs, mut refused) = (Vec::new(), None);
    for run in 1..1_000 {
        match on.store.put_blobs(&place, vec![(blob(run), large())], LONG).await {
            Ok(()) => runs.push(run),
            Err(error) => {
                refused = Some(error);
                break;
            }
        }
    }
    match refused.expect("a bounded store fills up") {
        ServingError::Full { used_bytes, limit_bytes } => assert!(used_bytes > Some(0) && limit_bytes > Some(0)),
        error => panic!("not full, but: {error}"),
    }
    assert!(!runs.is_empty());
    assert_eq!(on.swap(&place, None, &index(1, &runs), LONG).await, Swap::Done);
    assert!(on.held(&place, &runs).await.iter().all(Option::is_some), "nothing was evicted");
    assert_eq!(on.swap(&place, Some(1), &index(2, &runs[runs.len() - 1..]), SHORT).await, Swap::Done);
    on.until(|| async { on.store.put_blobs(&place, vec![(blob(5_000), large())], LONG).await.is_ok() }).await;
}

#[tokio::test]
async fn a_full_memory_store_refuses_and_never_evicts() {
    check_full(Fixture::memory(1 << 20)).await;
}

/// So that a publication makes room at once, not after a grace.
#[tokio::test]
async fn a_memory_store_without_room_gives_up_what_no_index_names_any_more_and_nothing_else() {
    let on = Fixture::memory(100_000);
    let place = place("edits", 0);
    let large = |run: u128| vec![(blob(run), Bytes::from(vec![1; 30_000]))];
    for run in [1, 2] {
        on.store.put_blobs(&place, large(run), LONG).await.unwrap();
    }
    assert_eq!(on.swap(&place, None, &index(1, &[1, 2]), LONG).await, Swap::Done);
    assert_eq!(on.swap(&place, Some(1), &index(2, &[2]), LONG).await, Swap::Done);
    on.store.put_blobs(&place, large(3), LONG).await.unwrap();
    let held = async || on.held(&place, &[1, 2, 3, 4]).await.iter().map(Option::is_some).collect::<Vec<bool>>();
    assert_eq!(held().await, [true, true, true, false], "for readers of the first index, while there is room");
    on.store.put_blobs(&place, large(4), LONG).await.unwrap();
    assert_eq!(held().await, [false, true, true, true]);
    let full = on.store.put_blobs(&place, large(5), LONG).await;
    assert!(matches!(full, Err(ServingError::Full { .. })), "{full:?}");
    assert_eq!(held().await, [false, true, true, true]);
}

#[tokio::test]
async fn a_full_redis_refuses_and_never_evicts() {
    let on = Fixture::redis().await;
    on.server.as_ref().unwrap().configure("maxmemory", "8mb").await;
    check_full(on).await;
}

#[test]
fn a_full_store_that_does_not_tell_its_size_is_not_called_empty() {
    let full = |used_bytes, limit_bytes| ServingError::Full { used_bytes, limit_bytes }.to_string();
    let way_out = "; a batch publication frees runs";
    assert_eq!(full(Some(7), Some(8)), format!("realtime store is full: 7 of 8 bytes{way_out}"));
    assert_eq!(full(None, None), format!("realtime store is full (`INFO memory` did not answer){way_out}"));
}

#[tokio::test]
async fn an_index_without_blobs_is_bounded_too() {
    let on = Fixture::memory(20_000);
    let place = place("edits", 0);
    assert_eq!(on.swap(&place, None, &index(1, &[]), LONG).await, Swap::Done);
    let grown = on.store.swap_index(&place, Some(IndexStamp(1)), &index(2, &[0; 1_000]), LONG).await;
    assert!(matches!(grown, Err(ServingError::Full { .. })), "{grown:?}");
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(1, &[])));
}

#[tokio::test]
async fn a_redis_that_was_killed_is_unreachable_and_comes_back_empty() {
    let mut on = Fixture::redis().await;
    let place = place("edits", 0);
    on.put(&place, &[1], LONG).await;
    assert_eq!(on.swap(&place, None, &index(1, &[1]), LONG).await, Swap::Done);
    let mut server = on.server.take().unwrap();
    server.kill();
    let outcome = on.store.swap_index(&place, Some(IndexStamp(1)), &index(2, &[1]), LONG).await;
    assert!(matches!(outcome, Err(ServingError::Unreachable { store: "redis", .. })), "{outcome:?}");
    let outcome = on.store.put_blobs(&place, vec![(blob(2), bytes(2))], LONG).await;
    assert!(matches!(outcome, Err(ServingError::Unreachable { store: "redis", .. })), "{outcome:?}");
    server.restart().await;
    on.until(|| async { on.store.read_index(&place).await.is_ok() }).await;
    assert_eq!(on.store.read_index(&place).await.unwrap(), None, "a wiped store has no index");
    assert_eq!(on.swap(&place, Some(1), &index(2, &[1]), LONG).await, Swap::Lost(None));
    on.put(&place, &[1], LONG).await;
    assert_eq!(on.swap(&place, None, &index(3, &[1]), LONG).await, Swap::Done);
    server.wipe().await;
    assert_eq!(on.store.read_index(&place).await.unwrap(), None);
}

#[tokio::test]
async fn a_redis_that_would_evict_views_is_refused() {
    let server = RedisServer::start().await;
    server.configure("maxmemory-policy", "allkeys-lru").await;
    server.configure("maxmemory", "100mb").await;
    let refused = RedisStore::connect(settings(&server)).await.err().unwrap();
    assert!(refused.to_string().contains("noeviction"), "{refused}");
    assert!(matches!(refused, ServingError::Unusable { .. }));
}

#[tokio::test]
async fn a_redis_that_is_not_there_is_unreachable_and_a_wrong_address_unusable() {
    let server = RedisServer::start().await;
    let nobody = settings(&server);
    drop(server);
    let error = RedisStore::connect(nobody.clone()).await.err().unwrap();
    assert!(matches!(error, ServingError::Unreachable { .. }), "{error}");
    let error = RedisStore::connect(RedisSettings { url: "http://x".to_owned(), ..nobody }).await.err().unwrap();
    assert!(matches!(error, ServingError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn an_index_that_cannot_be_read_is_corrupt_until_it_is_discarded() {
    let on = Fixture::redis().await;
    let mut connection = on.server.as_ref().unwrap().connection().await.unwrap();
    let cut_short = format!("{:032x}{{\"stamp\": ", 1);
    for rubbish in ["rubbish", "", cut_short.as_str()] {
        let place = place("edits", 0);
        redis::cmd("SET").arg("{twofold:test:edits:0}:index").arg(rubbish).exec_async(&mut connection).await.unwrap();
        let found = on.store.read_index(&place).await;
        assert!(matches!(found, Err(ServingError::Corrupt { .. })), "{found:?}");
        let swapped = on.store.swap_index(&place, None, &index(2, &[]), LONG).await;
        assert!(matches!(swapped, Err(ServingError::Corrupt { .. })), "{swapped:?}");
        on.store.discard_corrupt_index(&place).await.unwrap();
        assert_eq!(on.store.read_index(&place).await.unwrap(), None);
        assert_eq!(on.swap(&place, None, &index(2, &[]), LONG).await, Swap::Done);
    }
}

#[tokio::test]
async fn an_index_with_one_flipped_bit_is_corrupt() {
    let on = Fixture::redis().await;
    let mut connection = on.server.as_ref().unwrap().connection().await.unwrap();
    let (place, key) = (place("edits", 0), "{twofold:test:edits:0}:index");
    on.put(&place, &[1, 2], LONG).await;
    assert_eq!(on.swap(&place, None, &index(1, &[1, 2]), LONG).await, Swap::Done);
    let whole: Vec<u8> = redis::cmd("GET").arg(key).query_async(&mut connection).await.unwrap();
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        redis::cmd("SET").arg(key).arg(damaged).exec_async(&mut connection).await.unwrap();
        let found = on.store.read_index(&place).await;
        assert!(matches!(found, Err(ServingError::Corrupt { .. })), "bit {bit}: {found:?}");
    }
    redis::cmd("SET").arg(key).arg(whole).exec_async(&mut connection).await.unwrap();
    assert_eq!(on.store.read_index(&place).await.unwrap(), Some(index(1, &[1, 2])));
}
