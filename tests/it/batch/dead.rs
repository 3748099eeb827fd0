//! Rejected records in a topic of their own: each at least once, whatever fails, and no good record waits for ever.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use batch_layer::archive::{ArchiveComponents, ArchiveSettings, run_archive};
use event_log::memory::MemoryLog;
use event_log::{EventLog, EventLogError, NewRecord, Poll, PollLimit};
use positions::{ErasedRecord, Offset, PartitionId};
use rand::Rng;
use tokio_util::sync::CancellationToken;

use super::archive::{check_holds_all, poll_at_most};
use super::world::{Sent, World};
use crate::support::log_layer::{Layered, LogLayer};
use crate::support::seeds::seeds;

/// What a log says that does not take a record.
type Refusal = fn(String) -> EventLogError;

const DEAD: &str = "hits.dead";

/// A log in memory that fails appends to the dead topic, after they were done or instead, and notes what is released.
struct DeadFails {
    inner: MemoryLog,
    /// How many appends fail.
    left: AtomicUsize,
    is_after: bool,
    error: fn(String) -> EventLogError,
    attempts: AtomicUsize,
    released: Mutex<BTreeMap<PartitionId, Offset>>,
}

impl DeadFails {
    fn new(world: &World, failures: usize, error: fn(String) -> EventLogError) -> Self {
        let (left, attempts) = (AtomicUsize::new(failures), AtomicUsize::new(0));
        Self { inner: world.log.clone(), left, is_after: false, error, attempts, released: Mutex::default() }
    }
}

#[async_trait]
impl LogLayer for DeadFails {
    fn inner(&self) -> &MemoryLog {
        &self.inner
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Vec<Result<(PartitionId, Offset), EventLogError>> {
        assert_eq!(topic, DEAD, "the archive appends to no other topic");
        self.attempts.fetch_add(1, Ordering::SeqCst);
        let is_failing = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        let count = records.len();
        if !is_failing || self.is_after {
            let answers = self.inner.append(topic, records).await;
            if !is_failing {
                return answers;
            }
        }
        (0..count).map(|_| Err((self.error)("this append was to fail".to_owned()))).collect()
    }

    fn release(&self, topic: &str, committed: &BTreeMap<PartitionId, Offset>) {
        if topic == DEAD {
            self.released.lock().unwrap().extend(committed);
        }
    }
}

fn with_dead_topics(world: &mut World) -> ArchiveSettings {
    ArchiveSettings { dead_topics: true, ..world.archive_settings() }
}

/// Archives everything that was sent, on this log.
async fn archive_on(world: &World, log: Arc<Layered<DeadFails>>, settings: ArchiveSettings) {
    let (components, told) = world.archive_components();
    let components = ArchiveComponents { log, ..components };
    let shutdown = CancellationToken::new();
    let stopping = async {
        world.wait_until_archived(told).await;
        shutdown.cancel();
    };
    let (ended, ()) = tokio::join!(run_archive(components, settings, shutdown.clone()), stopping);
    ended.unwrap();
}

/// The payloads in the dead topic, sorted; none where there is no such topic.
async fn dead(world: &World) -> Vec<String> {
    let Ok(partitions) = world.log.partitions(DEAD).await else { return Vec::new() };
    assert_eq!(partitions.len(), 2, "as many as the source names");
    let mut consumer = world.log.consumer(DEAD, None).await.unwrap();
    consumer.seek(&partitions.into_iter().map(|partition| (partition, Offset(0))).collect()).await.unwrap();
    let limit = PollLimit { records: 100_000, bytes: usize::MAX, wait: Duration::ZERO };
    let Poll::Records(records) = consumer.poll(limit).await.unwrap() else { panic!("nobody shares this topic") };
    let mut payloads: Vec<String> =
        records.iter().map(|record| String::from_utf8(record.payload.to_vec()).unwrap()).collect();
    payloads.sort();
    payloads
}

/// The payloads that were sent and are no events, sorted.
fn rejected(world: &World) -> Vec<String> {
    let rejected = world.sent.iter().filter(|sent| sent.event.is_none());
    let mut payloads: Vec<String> = rejected.map(|sent| sent.payload.clone()).collect();
    payloads.sort();
    payloads
}

#[tokio::test]
async fn every_rejected_record_is_in_the_topic_as_it_came_and_no_other_is() {
    let mut world = World::new(21).await;
    for _ in 0..3 {
        world.send(60).await;
        let settings = with_dead_topics(&mut world);
        world.archive_with(settings).await;
        assert_eq!(dead(&world).await, rejected(&world));
    }
    assert!(rejected(&world).len() > 3, "nothing was tested");
    check_holds_all(&world, &world.snapshot().await).await;
}

#[tokio::test]
async fn what_was_erased_is_not_in_the_topic_of_an_archive_that_is_built_again() {
    let mut world = World::new(29).await;
    world.send(60).await;
    let place = |sent: &Sent| (PartitionId(sent.partition), Offset(sent.offset));
    let erased = world.sent.iter().step_by(2).map(place);
    let erased = erased.map(|(partition, offset)| ErasedRecord::whole(partition, offset));
    let erased: Vec<ErasedRecord> = erased.collect();
    world.master().erased().add(&erased, world.ids.as_ref()).await.unwrap();
    let settings = with_dead_topics(&mut world);
    world.archive_with(settings).await;
    let is_left = |sent: &&Sent| !erased.iter().any(|one| (one.partition, one.offset) == place(sent));
    let left = world.sent.iter().filter(is_left).filter(|sent| sent.event.is_none());
    let mut left: Vec<String> = left.map(|sent| sent.payload.clone()).collect();
    left.sort();
    assert!(!left.is_empty() && left.len() < rejected(&world).len(), "nothing was tested");
    assert_eq!(dead(&world).await, left);
}

#[tokio::test]
async fn without_the_setting_there_is_no_topic() {
    let mut world = World::new(22).await;
    world.send(60).await;
    world.archive().await;
    assert!(!rejected(&world).is_empty() && world.log.partitions(DEAD).await.is_err());
}

#[tokio::test]
async fn a_topic_that_is_there_is_taken_as_it_is_and_what_it_holds_may_expire() {
    let mut world = World::new(23).await;
    world.log.ensure_topic(DEAD, 2).await.unwrap();
    let old =
        NewRecord { key: None, payload: "older".into(), timestamp: positions::TimestampMicros(0), clock_shift: None };
    world.log.append(DEAD, vec![old]).await;
    world.send(60).await;
    let log = Arc::new(Layered(DeadFails::new(&world, 0, EventLogError::Unreachable)));
    let settings = with_dead_topics(&mut world);
    archive_on(&world, log.clone(), settings).await;
    assert_eq!(dead(&world).await.len(), rejected(&world).len() + 1);
    let released = log.released.lock().unwrap().clone();
    for partition in [0, 1].map(PartitionId) {
        let high = world.log.bounds(DEAD, partition).await.unwrap().high;
        assert_eq!(released.get(&partition), Some(&high), "partition {partition}");
    }
}

/// Every payload that was rejected is there, at least as often as it was sent.
fn check_at_least_once(world: &World, dead: &[String]) {
    let count = |payloads: &[String], payload: &String| payloads.iter().filter(|other| *other == payload).count();
    let rejected = rejected(world);
    for payload in &rejected {
        assert!(count(dead, payload) >= count(&rejected, payload), "{payload} is missing");
    }
    assert!(dead.iter().all(|payload| rejected.contains(payload)), "good records are in the dead topic");
}

#[tokio::test]
async fn an_archive_killed_at_any_await_leaves_no_rejected_record_out() {
    for seed in seeds(20) {
        let mut world = World::new(seed).await;
        for _ in 0..8 {
            world.send(10).await;
            let (components, _told) = world.archive_components();
            let settings = with_dead_topics(&mut world);
            let times = world.rng.random_range(1..60);
            poll_at_most(times, run_archive(components, settings, CancellationToken::new())).await;
        }
        let settings = with_dead_topics(&mut world);
        world.archive_with(settings).await;
        check_at_least_once(&world, &dead(&world).await);
        check_holds_all(&world, &world.snapshot().await).await;
    }
}

#[tokio::test]
async fn appends_that_fail_for_a_while_are_tried_again() {
    for is_after in [false, true] {
        let mut world = World::new(24).await;
        world.send(60).await;
        let log = Arc::new(Layered(DeadFails { is_after, ..DeadFails::new(&world, 4, EventLogError::Full) }));
        let settings = with_dead_topics(&mut world);
        archive_on(&world, log, settings).await;
        check_holds_all(&world, &world.snapshot().await).await;
        let dead = dead(&world).await;
        check_at_least_once(&world, &dead);
        assert_eq!(dead == rejected(&world), !is_after, "a lost acknowledgement doubles, and nothing else");
    }
}

#[tokio::test]
async fn a_topic_that_takes_nothing_does_not_keep_good_records_from_the_archive() {
    let errors: [(Refusal, bool); 3] =
        [(EventLogError::Unreachable, true), (EventLogError::Unusable, false), (EventLogError::Refused, false)];
    for (error, may_pass) in errors {
        let mut world = World::new(25).await;
        world.send(60).await;
        let log = Arc::new(Layered(DeadFails::new(&world, usize::MAX, error)));
        // All in one commit.
        let mut settings = with_dead_topics(&mut world);
        settings.poll.records = 1_000;
        archive_on(&world, log.clone(), settings).await;
        check_holds_all(&world, &world.snapshot().await).await;
        assert_eq!(dead(&world).await, [""; 0]);
        let attempts = |log: &DeadFails| log.attempts.load(Ordering::SeqCst);
        assert_eq!(attempts(&log), if may_pass { 5 } else { 1 });

        // Once the topic takes records again, those of the next commit are there.
        let before = rejected(&world).len();
        world.send(60).await;
        log.left.store(0, Ordering::SeqCst);
        archive_on(&world, log, settings).await;
        assert_eq!(dead(&world).await.len(), rejected(&world).len() - before);
    }
}
